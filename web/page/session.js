// Sessions of a model as the page sees them: each is a conversation with a memory of its own. The model has one, and
// opens more; their generations run at the same time.
import { NutshellError } from '../shared/errors.js';
import { checkBytes, checkMessages, checkOptions, checkText, rules } from '../shared/options.js';
import { asyncDispose } from './dispose.js';
import { Generation } from './generation.js';

/** @typedef {import('../nutshell.d.ts').ChatMessage} ChatMessage */
/** @typedef {import('./host.js').Host} Host */

/** @returns {number} below 2^53 */
function randomSeed() {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0x1fffff) * 2 ** 32 + low;
}

/** The signal among options that are not checked yet. @param {any} options */
const signalOf = (options) => (options?.signal instanceof AbortSignal ? options.signal : undefined);

/** A session of the worker's engine, and what runs on it. */
export class Slot {
  /** The generation that ran last or is running. @type {Generation | null} */
  latest = null;
  /** Ends the generation that is running with an error. @type {((error: NutshellError) => void) | null} */
  stop = null;
  /** Why the session can no longer be used. @type {NutshellError | null} */
  freed = null;

  /** @param {Host} host @param {number} session  its handle in the worker; 0: the model's own */
  constructor(host, session) {
    this.host = host;
    this.session = session;
  }

  /** Throws where nothing more can begin. */
  needIdle() {
    const ended = this.host.ended ?? this.freed;
    if (ended) throw ended;
    if (this.stop) {
      throw new NutshellError('busy', 'this session is generating: wait for the end, stop it by leaving its loop or aborting '
        + 'its signal, or open another one with model.session()');
    }
  }

  /** Asks the worker for something that no generation may disturb. @param {string} op @param {object} [request] */
  async ask(op, request) {
    this.needIdle();
    return this.host.ask(op, { session: this.session, ...request });
  }
}

/** What the model's own session and all others can do. */
export class Conversation {
  #slot;

  /** @param {Slot} slot */
  constructor(slot) {
    this.#slot = slot;
  }

  get stats() {
    return this.#slot.latest?.stats ?? null;
  }

  /** @param {string} prompt @param {object} [options] */
  generate(prompt, options) {
    return this.#generation('generate', options, (checked) => ({ prompt: checkText('prompt', prompt), ...checked }));
  }

  /** @param {ChatMessage[]} messages @param {object} [options] */
  chat(messages, options) {
    return this.#generation('chat', options, (checked) => ({ messages: checkMessages(messages), ...checked }));
  }

  /** @param {ChatMessage[]} messages @param {object} [options] @returns {Promise<string>} */
  async renderChat(messages, options) {
    return this.#slot.host.ask('render', { messages: checkMessages(messages), options: checkOptions(rules.template, options) });
  }

  /**
   * Nothing happens before the first text is asked for; arguments are checked then too.
   * @param {'generate' | 'chat'} op
   * @param {unknown} options
   * @param {(checked: { options: object }) => object} request
   */
  #generation(op, options, request) {
    const slot = this.#slot, { host, session } = slot;
    const seed = /** @type {any} */ (options)?.seed ?? randomSeed();
    /** @type {object} */
    let message;
    const generation = new Generation({
      begin: (stop) => {
        if (host.ended) throw host.ended;
        const { signal, ...checked } = checkOptions(rules[op], options);
        message = request({ options: { ...checked, seed } });
        slot.needIdle();
        slot.stop = stop;
        slot.latest = generation;
      },
      ask: (onEvent, started) => host.ask(op, { session, ...message }, onEvent, started),
      stop: (id) => host.tell(id, 'stop'),
      took: (id, count) => host.tell(id, 'took', { count }),
      end: () => { slot.stop = null; },
    }, seed, signalOf(options));
    return generation;
  }
}

/** A session that was opened with `model.session()` or by a fork. */
export class Session extends Conversation {
  #slot;
  /** @type {Promise<void> | null} */
  #freeing = null;
  /** @readonly @type {number} */
  contextLength;
  /** @readonly @type {number} */
  bytes;

  /** @param {Host} host @param {{ session: number, contextLength: number, bytes: number }} opened  by the worker */
  constructor(host, { session, contextLength, bytes }) {
    const slot = new Slot(host, session);
    super(slot);
    this.#slot = slot;
    this.contextLength = contextLength;
    this.bytes = bytes;
  }

  async fork() {
    return new Session(this.#slot.host, await this.#slot.ask('fork'));
  }

  /** @returns {Promise<Uint8Array<ArrayBuffer>>} */
  save() {
    return this.#slot.ask('save');
  }

  /** @param {Uint8Array | ArrayBuffer} bytes @returns {Promise<void>} */
  async restore(bytes) {
    await this.#slot.ask('restore', { bytes: checkBytes(bytes) });
  }

  async free() {
    this.#freeing ??= this.#free();
    await this.#freeing;
  }

  async [asyncDispose]() {
    await this.free();
  }

  /** The worker frees it when its generation has stopped; where the worker is gone, so is the session. */
  async #free() {
    const slot = this.#slot;
    slot.freed = new NutshellError('freed', 'this session was freed: open another one with model.session()');
    slot.stop?.(slot.freed);
    await slot.host.ask('free', { session: slot.session }).catch(() => {});
  }
}
