// A session of a model as the page sees it: a conversation with a memory of its own. The model has one and
// opens more; their generations run at the same time.
import { NutshellError } from '../shared/errors.js';
import { checkBytes, checkOptions, checkText, rules } from '../shared/options.js';
import { Answer } from './answer.js';
import { asyncDispose } from './dispose.js';
import { Generation } from './generation.js';

/** @typedef {import('../nutshell.d.ts').ChatMessage} ChatMessage */

/** @returns {number} below 2^53 */
function randomSeed() {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0x1fffff) * 2 ** 32 + low;
}

/** The signal among options that are not checked yet. @param {any} options */
const signalOf = (options) => (options?.signal instanceof AbortSignal ? options.signal : undefined);

export class Session {
  #host;
  /** Its handle in the worker. */
  #session;
  /** The generation that is running or ran last. @type {Generation | null} */
  #latest = null;
  /** Ends the generation that is running with an error. @type {((error: unknown) => void) | null} */
  #stop = null;
  /** Why the session can no longer be used. @type {NutshellError | null} */
  #freed = null;
  /** @type {Promise<void> | null} */
  #freeing = null;
  /** @readonly @type {number} */
  contextLength;
  /** @readonly @type {number} */
  bytes;

  /**
   * @param {import('./host.js').Host} host
   * @param {{ session: number, contextLength: number, bytes: number }} opened  its handle in the worker, and its figures
   */
  constructor(host, { session, contextLength, bytes }) {
    this.#host = host;
    this.#session = session;
    this.contextLength = contextLength;
    this.bytes = bytes;
  }

  get stats() {
    return this.#latest?.stats ?? null;
  }

  /** @param {string} prompt @param {object} [options] */
  generate(prompt, options) {
    return this.#generation('generate', options, () => ({ prompt: checkText('prompt', prompt) }));
  }

  /** @param {ChatMessage[]} messages @param {object} [options] */
  chat(messages, options) {
    return this.#generation('chat', options, () => ({ messages }));
  }

  /** @param {ChatMessage[]} messages @param {object} [options] */
  async renderChat(messages, options) {
    const { tokens, ...template } = checkOptions(rules.render, options);
    const prompt = await this.#host.ask('render', { messages, options: template });
    return tokens ? prompt : prompt.text;
  }

  /** @param {ChatMessage[]} messages @param {object} [options] @returns {Promise<number>} */
  async countTokens(messages, options) {
    return (await this.renderChat(messages, { ...options, tokens: true })).ids.length;
  }

  async fork() {
    return new Session(this.#host, await this.#ask('fork'));
  }

  /** @returns {Promise<Uint8Array<ArrayBuffer>>} */
  save() {
    return this.#ask('save');
  }

  /** @param {Uint8Array | ArrayBuffer} bytes @returns {Promise<void>} */
  async restore(bytes) {
    await this.#ask('restore', { bytes: checkBytes(bytes) });
  }

  /** @param {string} text @returns {Promise<Float32Array>} */
  async embed(text) {
    return this.#ask('embed', { text: checkText('text', text) });
  }

  /** The worker frees it when its generation has stopped; where the worker has ended, so has the session. */
  async free() {
    this.#freed ??= new NutshellError('freed', 'this session was freed: open another one with model.session()');
    this.#stop?.(this.#freed);
    this.#freeing ??= this.#host.ask('free', { session: this.#session }).catch(() => {});
    await this.#freeing;
  }

  async [asyncDispose]() {
    await this.free();
  }

  /** Throws where nothing more can begin. */
  #needIdle() {
    const ended = this.#host.ended ?? this.#freed;
    if (ended) throw ended;
    if (this.#stop) {
      throw new NutshellError('busy', 'this session is generating: wait for the end, stop it, or open another with '
        + 'model.session()');
    }
  }

  /** Asks the worker for something that no generation may disturb. @param {string} op @param {object} [request] */
  async #ask(op, request) {
    this.#needIdle();
    return this.#host.ask(op, { session: this.#session, ...request });
  }

  /**
   * Nothing happens before the first text is asked for; arguments are checked then too.
   * @param {'generate' | 'chat'} op
   * @param {unknown} options
   * @param {() => object} input  the rest of the request, checked
   * @returns {any}
   */
  #generation(op, options, input) {
    const seed = /** @type {any} */ (options)?.seed ?? randomSeed();
    /** @type {object} */
    let message;
    const generation = new (op === 'chat' ? Answer : Generation)({
      begin: (stop) => {
        if (this.#host.ended) throw this.#host.ended;
        const { signal, ...checked } = checkOptions(rules[op], options);
        message = { session: this.#session, ...input(), options: { ...checked, seed } };
        this.#needIdle();
        this.#stop = stop;
        this.#latest = generation;
      },
      ask: (onEvent, started) => this.#host.ask(op, message, onEvent, started),
      stop: (id) => this.#host.tell(id, 'stop'),
      took: (id, count) => this.#host.tell(id, 'took', { count }),
      end: () => { this.#stop = null; },
    }, seed, signalOf(options));
    return generation;
  }
}
