// A loaded model as the page sees it.
import { NutshellError } from '../shared/errors.js';
import { checkIds, checkMessages, checkOptions, checkText, rules } from '../shared/options.js';
import { asyncDispose } from './dispose.js';
import { Generation } from './generation.js';

/** @typedef {import('../nutshell.d.ts').ModelInfo} ModelInfo */

/** @returns {number} below 2^53 */
function randomSeed() {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0x1fffff) * 2 ** 32 + low;
}

export class Model {
  #host;
  /** @type {Generation | null} */
  #running = null;
  /** @type {Generation | null} */
  #latest = null;
  /** @readonly @type {ModelInfo} */
  info;

  /** @param {import('./host.js').Host} host @param {ModelInfo} info */
  constructor(host, info) {
    this.#host = host;
    this.info = info;
  }

  get stats() {
    return this.#latest?.stats ?? null;
  }

  /** @param {string} prompt @param {object} [options] */
  generate(prompt, options) {
    return this.#generation('generate', options, (checked) => ({ prompt: checkText('prompt', prompt), ...checked }));
  }

  /** @param {import('../nutshell.d.ts').ChatMessage[]} messages @param {object} [options] */
  chat(messages, options) {
    return this.#generation('chat', options, (checked) => ({ messages: checkMessages(messages), ...checked }));
  }

  /** @param {import('../nutshell.d.ts').ChatMessage[]} messages @param {object} [options] @returns {Promise<string>} */
  async renderChat(messages, options) {
    return this.#host.ask('render', { messages: checkMessages(messages), options: checkOptions(rules.template, options) });
  }

  /** @param {string} text @param {object} [options] @returns {Promise<number[]>} */
  async tokenize(text, options) {
    const request = { text: checkText('text', text), options: checkOptions(rules.tokenize, options) };
    return Array.from(await this.#host.ask('tokenize', request));
  }

  /** @param {ArrayLike<number>} ids @param {object} [options] @returns {Promise<string>} */
  async detokenize(ids, options) {
    return this.#host.ask('detokenize', { ids: checkIds(ids), options: checkOptions(rules.detokenize, options) });
  }

  async unload() {
    this.#host.end(new NutshellError('unloaded', 'this model was unloaded: load it again to use it'));
  }

  async [asyncDispose]() {
    await this.unload();
  }

  /**
   * Nothing happens before the first text is asked for; arguments are checked then too.
   * @param {'generate' | 'chat'} op
   * @param {unknown} options
   * @param {(checked: { options: object }) => object} request
   */
  #generation(op, options, request) {
    const seed = /** @type {any} */ (options)?.seed ?? randomSeed();
    /** @type {object} */
    let message;
    const generation = new Generation({
      begin: () => {
        if (this.#host.ended) throw this.#host.ended;
        const { signal, ...checked } = checkOptions(rules[op], options);
        message = request({ options: { ...checked, seed } });
        if (this.#running) {
          throw new NutshellError('busy', 'this model is generating: wait for the end, stop it by leaving its loop or aborting '
            + 'its signal, or load the model a second time');
        }
        this.#running = this.#latest = generation;
      },
      ask: (onEvent, started) => this.#host.ask(op, message, onEvent, started),
      stop: (id) => this.#host.tell(id, 'stop'),
      took: (id, count) => this.#host.tell(id, 'took', { count }),
      end: () => { this.#running = null; },
    }, seed, signalOf(options));
    return generation;
  }
}

/** The signal among options that are not checked yet. @param {any} options */
const signalOf = (options) => (options?.signal instanceof AbortSignal ? options.signal : undefined);
