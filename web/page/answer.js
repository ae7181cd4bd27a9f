// The answer to a chat: the parts that the worker tells (see nut_answer_kind) are put together to a message.
import { Generation } from './generation.js';

/** @typedef {import('../nutshell.d.ts').AnswerPart} AnswerPart */

export class Answer extends Generation {
  /** @type {import('../nutshell.d.ts').AnswerMessage} */
  message = { role: 'assistant', content: '' };
  /** The call that is not whole yet. @type {any} */
  #call;

  /** The next text of the content. @override @returns {Promise<IteratorResult<string>>} */
  async next() {
    for (;;) {
      const { value, done } = await this.#part();
      if (done || value.kind === 'content') return { value: value?.text, done };
    }
  }

  /** @returns {AsyncIterableIterator<AnswerPart>} */
  parts() {
    const loop = { next: () => this.#part(), return: () => this.return(), [Symbol.asyncIterator]: () => loop };
    return /** @type {any} */ (loop);
  }

  async #part() {
    const result = await super.next();
    if (!result.done) this.#add(result.value);
    return result;
  }

  /** @param {AnswerPart} part */
  #add({ kind, text }) {
    const { message } = this;
    if (kind === 'content') message.content += text;
    if (kind === 'reasoning') message.reasoning_content = (message.reasoning_content ?? '') + text;
    if (kind === 'call') this.#call = { name: text, arguments: '' };
    if (kind === 'arguments') this.#call.arguments += text;
    if (kind === 'call-end') (message.tool_calls ??= []).push({ id: text, type: 'function', function: this.#call });
  }
}
