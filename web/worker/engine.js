// The engine's functions as JavaScript sees them: numbers, strings and byte arrays instead of addresses,
// exceptions instead of return codes. The counterpart of wasm/nut_wasm.c; one engine per worker.
import { NutshellError } from '../shared/errors.js';
import {
  ADD_BOS, CHAT, FINISHES, KV_TYPES, OPTION_NAMES, PARSE_SPECIAL, RESULT, SESSION, STEP, STEP_KINDS,
} from '../shared/tables.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true }); // a text may begin with U+FEFF, which is not to be lost

/**
 * @typedef {{ addBos: boolean, parseSpecial: boolean }} TextFlags
 *
 * @typedef {object} Step
 * @property {typeof STEP_KINDS[number]} kind
 * @property {'eos' | 'stop' | 'length' | null} finish
 * @property {number} done  prompt tokens read, or tokens sampled
 * @property {string} text
 *
 * @typedef {number} Session  handle of a session; 0: the model's own, which is there as long as the model
 */

/** @param {TextFlags} flags */
const flagsOf = ({ addBos, parseSpecial }) => (addBos ? ADD_BOS : 0) | (parseSpecial ? PARSE_SPECIAL : 0);

/** @param {readonly string[]} names @param {string} name */
const numberOf = (names, name) => names.indexOf(name);

export class Engine {
  #started;
  /** @type {NutshellError | null} */
  #crash = null;

  /** @param {import('./instantiate.js').Started} started one of the modules */
  constructor(started) {
    this.#started = started;
  }

  /** Why the engine can no longer be used. */
  get crash() {
    return this.#crash;
  }

  /** Calls a function of wasm/surface.txt; a trap makes the engine unusable. @param {string} name @param {...number} args */
  #call(name, ...args) {
    if (this.#crash) throw this.#crash;
    try {
      return this.#started.exports[`nutw_${name}`](...args);
    } catch (cause) {
      this.#crash = new NutshellError('engine-crashed', `the engine crashed (${cause}); load the model again`, { cause });
      throw this.#crash;
    }
  }

  /** As #call, and throws the engine's own error where the result says so. @param {string} name @param {...number} args */
  #check(name, ...args) {
    const result = this.#call(name, ...args);
    if (result < 0) throw this.#error();
    return result;
  }

  /**
   * As #call, of a function that gives a struct of wasm/boundary.h.
   * @template {readonly string[]} Fields
   * @param {Fields} fields
   * @param {string} name
   * @param {...number} args
   * @returns {Record<Fields[number], number>}
   */
  #struct(fields, name, ...args) {
    const at = this.#call(name, ...args) >>> 0;
    if (at === 0) throw this.#error();
    const doubles = new Float64Array(this.#started.memory.buffer, at, fields.length);
    return /** @type {any} */ (Object.fromEntries(fields.map((field, i) => [field, doubles[i]])));
  }

  /** Bytes that a function gives, a copy. @param {string} name @param {...number} args @returns {Uint8Array<ArrayBuffer>} */
  #bytes(name, ...args) {
    const { address, bytes } = this.#struct(RESULT, name, ...args);
    return this.#view(address, bytes).slice();
  }

  #error() {
    const code = this.#cString(this.#call('error_name'));
    return new NutshellError(/** @type {any} */ (code), this.#cString(this.#call('error_message')));
  }

  /** Bytes at an address; valid until the next call. @param {number} at @param {number} n @returns {Uint8Array} */
  #view(at, n) {
    return new Uint8Array(this.#started.memory.buffer, at >>> 0, n);
  }

  /** Terminated text. Copied first, since text decoders refuse shared memory. @param {number} at */
  #cString(at) {
    const bytes = new Uint8Array(this.#started.memory.buffer, at >>> 0);
    return decoder.decode(bytes.slice(0, bytes.indexOf(0)));
  }

  /** Address of n bytes for input. @param {number} n */
  #stage(n) {
    const at = this.#call('staging', n) >>> 0;
    if (at === 0) throw this.#error();
    return at;
  }

  /** Address of bytes for input. @param {Uint8Array} bytes */
  #put(bytes) {
    const at = this.#stage(bytes.length + 1); // there is one for nothing, too
    this.#view(at, bytes.length).set(bytes);
    return at;
  }

  /** Where the next `feed` takes its bytes from; valid until the next call. @param {number} n @returns {Uint8Array} */
  staging(n) {
    return this.#view(this.#stage(n), n);
  }

  /** Gives the staging buffer's memory back. */
  freeStaging() {
    if (!this.#crash) this.#call('staging', 0);
  }

  /** Whether the module's kernels of this name compute rightly here: the engine tries them. @param {string} kernel */
  computes(kernel) {
    try {
      this.loadBegin({ fileSize: 0, contextLength: 0, kvType: KV_TYPES[0], kernel });
    } catch {
      return false;
    }
    this.reset();
    return true;
  }

  /**
   * Sizes are 0 if unknown; races: what earlier loads chose, as nutshell.h has it, or what is no text.
   * @param {{ fileSize: number, contextLength: number, kvType: string, kernel: string | undefined, races?: unknown }} options
   */
  loadBegin({ fileSize, contextLength, kvType, kernel = '', races }) {
    const texts = this.#put(encoder.encode(`${kernel}\0${races}\0`));
    this.#check('load_begin', fileSize, contextLength, numberOf(KV_TYPES, kvType), texts);
  }

  /** Takes the first n bytes of the staging buffer as the next ones of a file. @param {number} offset @param {number} n */
  feed(offset, n) {
    this.#check('load_feed', offset, n);
  }

  /** How many files the model has, as soon as a header was fed that says so; 0 before. */
  splits() {
    return this.#call('load_splits');
  }

  /**
   * Goes on with the model's next file, after the one before was fed whole; its offsets begin at 0.
   * @param {number} fileSize 0 if unknown
   */
  loadNext(fileSize) {
    this.#check('load_next', fileSize);
  }

  /** @param {{ contextLength: number, kvType: string, threads: number, fewer: boolean }} options */
  loadFinish({ contextLength, kvType, threads, fewer }) {
    this.#check('load_finish', contextLength, numberOf(KV_TYPES, kvType), threads, +fewer);
  }

  /** Frees the model, or what was loaded of it. */
  reset() {
    this.#call('reset');
  }

  /** What is known of a session. @param {Session} [session] */
  session(session = 0) {
    const { kvType, ...facts } = this.#struct(SESSION, 'session_facts', session);
    return { ...facts, kvType: this.#cString(kvType) };
  }

  /** Opens another session. @param {number} contextLength 0: that of the model's own @returns {Session} */
  sessionNew(contextLength) {
    return this.#check('session_new', contextLength);
  }

  /** Opens a session that goes on from where another is. @param {Session} session @returns {Session} */
  sessionFork(session) {
    return this.#check('session_fork', session);
  }

  /** Frees a session; the handle will be another's. @param {Session} session */
  sessionFree(session) {
    this.#call('session_free', session);
  }

  /** The session as bytes, for `sessionRestore`. @param {Session} session */
  sessionSave(session) {
    try {
      return this.#bytes('session_save', session);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new NutshellError('out-of-memory', 'no memory is left for this many bytes; close other tabs', { cause });
    } finally {
      this.freeStaging(); // they were there
    }
  }

  /** Makes a session what was saved. @param {Session} session @param {Uint8Array} bytes */
  sessionRestore(session, bytes) {
    this.#put(bytes);
    try {
      this.#check('session_restore', session, bytes.length);
    } finally {
      this.freeStaging();
    }
  }

  /** The model's facts: see src/model/info.c. @returns {Record<string, any>} */
  info() {
    return JSON.parse(decoder.decode(this.#bytes('info')));
  }

  /** @param {string} text @param {TextFlags} flags @returns {Int32Array} */
  tokenize(text, flags) {
    const bytes = encoder.encode(text);
    return new Int32Array(this.#bytes('tokenize', this.#put(bytes), bytes.length, flagsOf(flags)).buffer);
  }

  /** @param {Int32Array} ids @param {{ special: boolean }} options @returns {string} */
  detokenize(ids, { special }) {
    const at = this.#put(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
    return decoder.decode(this.#bytes('detokenize', at, ids.length, special ? 1 : 0));
  }

  /**
   * A prompt made of messages: see nut_chat_render.
   * @param {unknown[]} messages
   * @param {{ template?: string, templateVariables?: object, addGenerationPrompt?: boolean }} options
   */
  renderChat(messages, { template, templateVariables = {}, addGenerationPrompt = true }) {
    const texts = [messages, templateVariables].map((value) => encoder.encode(JSON.stringify(value)));
    if (template !== undefined) texts.push(encoder.encode(template));
    let at = this.#stage(texts.reduce((sum, { length }) => sum + length, 1));
    const args = texts.flatMap((bytes) => {
      this.#view(at, bytes.length).set(bytes);
      at += bytes.length;
      return [at - bytes.length, bytes.length];
    });
    if (template === undefined) args.push(0, 0);
    const now = Date.now() / 1000 - new Date().getTimezoneOffset() * 60;
    const prompt = this.#struct(CHAT, 'chat_render', ...args, +addGenerationPrompt, now);
    return {
      text: decoder.decode(this.#view(prompt.text, prompt.textBytes).slice()),
      ids: new Int32Array(this.#view(prompt.ids, prompt.count * 4).slice().buffer),
      template: this.#cString(prompt.template),
    };
  }

  /**
   * @param {string | Int32Array} prompt  a text, or its ids
   * @param {Record<string, any>} options  checked, with every number in it
   * @param {TextFlags} flags
   * @param {Session} [session]
   * @returns {number} tokens of the prompt
   */
  generateBegin(prompt, options, flags, session = 0) {
    const numbers = Float64Array.from(OPTION_NAMES, (name) => Number(options[name]));
    const stops = [options.stop].flat();
    const stopText = encoder.encode(stops.map((stop) => stop + '\0').join(''));
    const isText = typeof prompt === 'string', text = isText ? encoder.encode(prompt) : new Uint8Array(prompt.buffer);
    const at = this.#stage(numbers.byteLength + stopText.length + text.length);
    const textAt = at + numbers.byteLength, stopsAt = textAt + text.length;
    this.#view(at, numbers.byteLength).set(new Uint8Array(numbers.buffer));
    this.#view(stopsAt, stopText.length).set(stopText);
    this.#view(textAt, text.length).set(text);
    return this.#check('generate_begin', session, at, stopsAt, stops.length, textAt, text.length, flagsOf(flags),
      isText ? 0 : prompt.length);
  }

  /** One batch of the prompt, or one token. @param {Session} [session] @returns {Step} */
  generateStep(session = 0) {
    const { kind, finish, done, text, textBytes } = this.#struct(STEP, 'generate_step', session);
    return {
      kind: STEP_KINDS[kind], finish: finish ? /** @type {any} */ (FINISHES[finish]) : null, done,
      text: textBytes ? decoder.decode(this.#view(text, textBytes).slice()) : '',
    };
  }

  /** @param {Session} [session] */
  generateEnd(session = 0) {
    this.#call('generate_end', session);
  }
}
