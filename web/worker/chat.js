// Chats: the module nutshell-chat, which knows templates and what answers are made of, beside the engine, which
// has the model. With that module this is dist/nutshell-chat.mjs, fetched for the first chat of a page.
import { NutshellError } from '../shared/errors.js';
import { ANSWER_KINDS, CHAT_MODEL, PROMPT } from '../shared/tables.js';
import { checkMessages } from './messages.js';

/** @typedef {import('../nutshell.d.ts').AnswerPart} AnswerPart */
/** @typedef {import('./engine.js').Session} Session */

const TEXTS = /** @type {const} */ (['name', 'source', 'toolSource', 'bos', 'eos']); // of nut_chat_model
const encoder = new TextEncoder();
const NO_FLAGS = { addBos: false, parseSpecial: false };
const MARKS = { addBos: false, parseSpecial: true };

/** What most templates and OpenAI's clients call the arguments of a call: an object, and the object as JSON. Templates get the
 *  object. @param {any} call of a tool */
function withObject(call) {
  const text = call?.function?.arguments;
  if (typeof text !== 'string') return call;
  try {
    const read = JSON.parse(text);
    return typeof read === 'object' && read ? { ...call, function: { ...call.function, arguments: read } } : call;
  } catch {
    return call; // the template gets the text
  }
}

/** @param {any} message */
const withObjects = (message) => (Array.isArray(message.tool_calls)
  ? { ...message, tool_calls: message.tool_calls.map(withObject) } : message);

/** The messages and variables for the module. @param {any[]} messages @param {object} variables */
function asJson(messages, variables) {
  try {
    return [JSON.stringify(messages.map(withObjects)), JSON.stringify(variables)];
  } catch (cause) {
    const { message } = /** @type {Error} */ (cause);
    throw new NutshellError('bad-argument', `the messages cannot be written as JSON (${message})`, { cause });
  }
}

export class Chat {
  #engine;
  #wasm;
  #knowsModel = false;
  /** What the answer that is being fed has told. @type {AnswerPart[]} */
  #parts = [];
  /** Of its texts, which may come in parts of characters. */
  #decoder = new TextDecoder();

  /** @param {import('./engine.js').Engine} engine @param {import('./wasm.js').Wasm} wasm  the module nutshell-chat */
  constructor(engine, wasm) {
    this.#engine = engine;
    this.#wasm = wasm;
  }

  /** The module's import nut_chat_event. @param {number} kind @param {number} index @param {number} at @param {number} n */
  tell(kind, index, at, n) {
    const text = this.#decoder.decode(this.#wasm.view(at, n), { stream: true });
    this.#parts.push({ kind: ANSWER_KINDS[kind], index, text });
  }

  /** Tells the module of the engine's model, once. */
  #learn() {
    if (this.#knowsModel) return;
    const { wasm } = this.#engine, fields = wasm.struct(CHAT_MODEL, 'chat_model_of');
    const texts = TEXTS.map((name) => (fields[name] ? wasm.view(fields[name], fields[`${name}Bytes`]) : null));
    this.#wasm.put(...texts.map((text) => text ?? new Uint8Array()));
    this.#wasm.call('model', ...texts.map((text) => text?.length ?? -1));
    this.#knowsModel = true;
  }

  /** The ids of a prompt, and of what the answer has begun with, in which no text is a mark.
   *  @param {Record<typeof PROMPT[number], number>} prompt @param {Uint8Array} begun */
  #ids({ text, textBytes, marks }, begun) {
    const all = new Uint8Array(textBytes + begun.length), which = new Uint8Array(marks || begun.length ? all.length : 0);
    all.set(this.#wasm.view(text, textBytes));
    all.set(begun, textBytes);
    if (marks) which.set(this.#wasm.view(marks, textBytes));
    which.fill(1, textBytes);
    const [at, marksAt] = this.#engine.wasm.put(all, which);
    return new Int32Array(this.#engine.bytes('chat_tokenize', at, all.length, which.length && marksAt).buffer);
  }

  /**
   * A prompt: see nut_chat_render.
   * @param {any[]} messages
   * @param {any} options  checked: template, templateVariables, tools, addGenerationPrompt, answer
   * @param {number} [most]  ids that it may have: the oldest turns are left out; 0: any number
   */
  prompt(messages, { template, templateVariables, tools, addGenerationPrompt, answer }, most = 0) {
    checkMessages(messages);
    this.#learn();
    const variables = tools ? { ...templateVariables, tools } : templateVariables;
    const inputs = [...asJson(messages, variables), template ?? ''].map((text) => encoder.encode(text));
    const begun = encoder.encode(answer);
    const now = Date.now() / 1000 - new Date().getTimezoneOffset() * 60;
    for (let begins = 1, leaveOut = 0; ; begins = 0) {
      const args = this.#wasm.put(...inputs).flatMap((at, i) => [at, inputs[i].length]);
      if (template === undefined) args[4] = 0;
      const prompt = this.#wasm.struct(PROMPT, 'write', ...args, +addGenerationPrompt, now, leaveOut);
      const ids = this.#ids(prompt, begun), { text, textBytes, dropped, droppedCount, name } = prompt;
      leaveOut = most ? this.#wasm.call('leave_out', begins, +(ids.length <= most)) : -1;
      if (leaveOut < 0) {
        return {
          text: this.#wasm.text(text, textBytes), ids, template: this.#wasm.cString(name),
          dropped: Array.from(new Uint32Array(this.#wasm.view(dropped, droppedCount * 4).slice().buffer)),
        };
      }
    }
  }

  /** What the page gets of a prompt. @param {any[]} messages @param {any} options  checked */
  render(messages, options) {
    const { text, ids, template } = this.prompt(messages, options);
    return { text, ids: Array.from(ids), template };
  }

  /**
   * Begins to answer messages: what the generator needs.
   * @param {any[]} messages
   * @param {any} options  checked
   * @param {Session} session
   * @returns {import('./generator.js').Request}
   */
  begin(messages, options, session) {
    const { contextLength } = this.#engine.session(session);
    const room = Math.min(options.maxTokens || contextLength, contextLength >> 2) + 1; // for the answer
    const { ids, dropped } = this.prompt(messages, options, options.overflow === 'trim' ? contextLength - room : 0);
    const answer = this.#answer(messages, options);
    return {
      prompt: ids, options, flags: NO_FLAGS, shown: this.#marks(answer), more: { dropped, shifted: 0 },
      read: (step, figures) => {
        if (options.overflow === 'shift') figures.shifted = this.#engine.session(session).shifted;
        return this.#read(answer, step);
      },
      close: () => this.#wasm.crash ?? this.#wasm.call('answer_free', answer),
    };
  }

  /** Address of what takes the answer to the last prompt apart. @param {any[]} messages @param {any} options */
  #answer(messages, { template, templateVariables, tools = templateVariables.tools }) {
    const inputs = [template, tools && JSON.stringify(tools)].map((text) => encoder.encode(text ?? ''));
    const args = this.#wasm.put(...inputs).flatMap((at, i) => (inputs[i].length ? [at, inputs[i].length] : [0, 0]));
    const calls = messages.reduce((sum, message) => sum + (message.tool_calls?.length ?? 0), 0);
    this.#decoder = new TextDecoder();
    return this.#wasm.address('answer_new', ...args, calls);
  }

  /** Special tokens that the answer's format is marked with. @param {number} answer */
  #marks(answer) {
    const ids = [];
    for (let i = 0, at; (at = this.#wasm.call('answer_mark', answer, i)) !== 0; i++) {
      const mark = this.#wasm.cString(at);
      const [id, ...more] = mark ? this.#engine.tokenize(mark, MARKS) : [];
      if (id !== undefined && !more.length) ids.push(id);
    }
    return Int32Array.from(ids);
  }

  /** @param {number} answer @param {import('./engine.js').Step} step */
  #read(answer, { text, kind }) {
    this.#parts = [];
    if (text) {
      const bytes = encoder.encode(text);
      this.#wasm.put(bytes);
      this.#wasm.check('answer_feed', answer, bytes.length);
    }
    if (kind === 'done') this.#wasm.call('answer_end', answer);
    return this.#parts.filter((part) => part.text || part.kind === 'no-call');
  }
}

/** What the worker has of its own. @typedef {{ compileModule: typeof import('./instantiate.js').compileModule,
 *  instantiate: typeof import('./instantiate.js').instantiate, Wasm: typeof import('./wasm.js').Wasm }} Parts */

/** @param {import('./engine.js').Engine} engine @param {Parts} parts */
async function start(engine, { compileModule, instantiate, Wasm }) {
  /** @type {Chat} */
  let chat;
  /** @param {[number, number, number, number]} event */
  const tell = (...event) => chat.tell(...event);
  const started = await instantiate(await compileModule('chat'), null, { nut_chat_event: tell });
  started.exports.__wasm_call_ctors();
  return (chat = new Chat(engine, new Wasm(started, 'nutm_')));
}

/** @type {Promise<Chat> | null} */
let started = null;

/** The chat of the worker's engine; where it could not be started, the next call tries again.
 *  @param {import('./engine.js').Engine} engine @param {Parts} parts */
export function chatWith(engine, parts) {
  started ??= start(engine, parts).catch((error) => {
    started = null;
    throw error;
  });
  return started;
}
