// The engine's functions: the counterpart of wasm/nut_wasm.c; one engine per worker.
import { NutshellError } from '../shared/errors.js';
import {
  ADD_BOS, FINISHES, KV_TYPES, OPTION_NAMES, PARSE_SPECIAL, RESULT, SESSION, STEP, STEP_KINDS, WHOLE_TEXT,
} from '../shared/tables.js';
import { Wasm, decoder, encoder } from './wasm.js';

/**
 * @typedef {{ addBos: boolean, parseSpecial: boolean }} TextFlags
 *
 * @typedef {object} Step
 * @property {typeof STEP_KINDS[number]} kind
 * @property {'eos' | 'stop' | 'length' | null} finish
 * @property {number} done  prompt tokens read, or tokens sampled
 * @property {{ drafted: number, accepted: number, draftedByModel: number, acceptedByModel: number, logProbability: number,
 *   entropy: number }} drafts  tokens so far, and how many of them are in the text; and how sure the model is
 * @property {string} text
 *
 * @typedef {number} Session  handle of a session; 0: the model's own, which is there as long as the model
 */

/** @param {TextFlags} flags */
const flagsOf = ({ addBos, parseSpecial }) => (addBos ? ADD_BOS : 0) | (parseSpecial ? PARSE_SPECIAL : 0);

/** @param {readonly string[]} names @param {string} name */
const numberOf = (names, name) => names.indexOf(name);

/** The bytes of numbers. @param {Float64Array | Int32Array} numbers */
const bytesOf = ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength);

export class Engine {
  /** @param {import('./instantiate.js').Started} started one of the modules */
  constructor(started) {
    /** @readonly */
    this.wasm = new Wasm(started, 'nutw_');
  }

  /** Why the engine can no longer be used. */
  get crash() {
    return this.wasm.crash;
  }

  /** Bytes that a function gives, a copy. @param {string} name @param {...number} args @returns {Uint8Array<ArrayBuffer>} */
  bytes(name, ...args) {
    const { address, bytes } = this.wasm.struct(RESULT, name, ...args);
    return this.wasm.view(address, bytes).slice();
  }

  /** Where the next `feed` takes its bytes from; valid until the next call. @param {number} n @returns {Uint8Array} */
  staging(n) {
    return this.wasm.view(this.wasm.stage(n), n);
  }

  /** Gives the staging buffer's memory back. */
  freeStaging() {
    if (!this.crash) this.wasm.call('staging', 0);
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
   * @param {{ fileSize: number, contextLength: number, kvType: string, kernel?: string, preTokenizer?: string,
   *   races?: unknown }} options
   */
  loadBegin({ fileSize, contextLength, kvType, kernel, preTokenizer, races }) {
    const [texts] = this.wasm.put(encoder.encode([kernel, preTokenizer, races, ''].join('\0')));
    this.wasm.check('load_begin', fileSize, contextLength, numberOf(KV_TYPES, kvType), texts);
  }

  /** Takes the first n bytes of the staging buffer as the next ones of a file. @param {number} offset @param {number} n */
  feed(offset, n) {
    this.wasm.check('load_feed', offset, n);
  }

  /** How many files the model has, as soon as a header was fed that says so; 0 before. */
  splits() {
    return this.wasm.call('load_splits');
  }

  /**
   * Goes on with the model's next file, after the one before was fed whole; its offsets begin at 0.
   * @param {number} fileSize 0 if unknown
   */
  loadNext(fileSize) {
    this.wasm.check('load_next', fileSize);
  }

  /** @param {{ contextLength: number, kvType: string, threads: number, fewer: boolean }} options */
  loadFinish({ contextLength, kvType, threads, fewer }) {
    this.wasm.check('load_finish', contextLength, numberOf(KV_TYPES, kvType), threads, +fewer);
  }

  /** Frees the model, or what was loaded of it. */
  reset() {
    this.wasm.call('reset');
  }

  /** What is known of a session. @param {Session} [session] */
  session(session = 0) {
    const { kvType, ...facts } = this.wasm.struct(SESSION, 'session_facts', session);
    return { ...facts, kvType: this.wasm.cString(kvType) };
  }

  /** Opens another session. @param {number} contextLength 0: that of the model's own @returns {Session} */
  sessionNew(contextLength) {
    return this.wasm.check('session_new', contextLength);
  }

  /** Opens a session that goes on from where another is. @param {Session} session @returns {Session} */
  sessionFork(session) {
    return this.wasm.check('session_fork', session);
  }

  /** Frees a session; the handle will be another's. @param {Session} session */
  sessionFree(session) {
    this.wasm.call('session_free', session);
  }

  /** The session as bytes, for `sessionRestore`. @param {Session} session */
  sessionSave(session) {
    try {
      return this.bytes('session_save', session);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new NutshellError('out-of-memory', 'no memory is left for so many bytes; close other tabs', { cause });
    } finally {
      this.freeStaging(); // they were there
    }
  }

  /** Makes a session what was saved. @param {Session} session @param {Uint8Array} bytes */
  sessionRestore(session, bytes) {
    this.wasm.put(bytes);
    try {
      this.wasm.check('session_restore', session, bytes.length);
    } finally {
      this.freeStaging();
    }
  }

  /** The model's facts: see src/model/info.c. @returns {Record<string, any>} */
  info() {
    return JSON.parse(decoder.decode(this.bytes('info')));
  }

  /** @param {string} text @param {TextFlags | null} flags  null: as a whole text, with what begins and ends it
   *  @returns {Int32Array} */
  tokenize(text, flags) {
    const bytes = encoder.encode(text), [at] = this.wasm.put(bytes);
    return new Int32Array(this.bytes('tokenize', at, bytes.length, flags ? flagsOf(flags) : WHOLE_TEXT).buffer);
  }

  /** @param {Int32Array} ids @param {{ special: boolean }} options @returns {string} */
  detokenize(ids, { special }) {
    const [at] = this.wasm.put(bytesOf(ids));
    return decoder.decode(this.bytes('detokenize', at, ids.length, special ? 1 : 0));
  }

  /** The vector of a text, of length 1; the session holds the text then. @param {Session} session @param {string} text */
  embed(session, text) {
    const ids = this.tokenize(text, null), [at] = this.wasm.put(bytesOf(ids));
    return new Float32Array(this.bytes('embed', session, at, ids.length).buffer);
  }

  /**
   * @param {string | Int32Array} prompt  a text, or its ids
   * @param {Record<string, any>} options  checked, with every number in it
   * @param {TextFlags} flags
   * @param {Session} [session]
   * @param {Int32Array} [shown]  special tokens whose text is part of the answer
   * @returns {number} tokens of the prompt
   */
  generateBegin(prompt, options, flags, session = 0, shown = new Int32Array()) {
    if (options.adapters) throw new NutshellError('bad-argument', 'the model was loaded without adapters');
    const numbers = Float64Array.from(OPTION_NAMES, (name) => Number(options[name]));
    const stops = [options.stop].flat();
    const isText = typeof prompt === 'string', text = isText ? encoder.encode(prompt) : bytesOf(prompt);
    const [at, shownAt, textAt, stopsAt] = this.wasm.put(bytesOf(numbers), bytesOf(shown), text,
      encoder.encode(stops.map((stop) => stop + '\0').join('')));
    return this.wasm.check('generate_begin', session, at, stopsAt, stops.length, textAt, text.length, flagsOf(flags),
      isText ? 0 : prompt.length, shownAt, shown.length, +(options.overflow === 'shift'));
  }

  /** One batch of the prompt, or one token. @param {Session} [session] @returns {Step} */
  generateStep(session = 0) {
    const { kind, finish, done, text, textBytes, ...drafts } = this.wasm.struct(STEP, 'generate_step', session);
    return {
      kind: STEP_KINDS[kind], finish: finish ? /** @type {any} */ (FINISHES[finish]) : null, done, drafts,
      text: this.wasm.text(text, textBytes),
    };
  }

  /** @param {Session} [session] */
  generateEnd(session = 0) {
    this.wasm.call('generate_end', session);
  }
}
