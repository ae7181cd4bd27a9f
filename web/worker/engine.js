// The engine's functions as JavaScript sees them: numbers, strings and byte arrays instead of addresses, exceptions
// instead of return codes. The counterpart of wasm/nut_wasm.c; one engine per worker.
import { NutshellError } from '../shared/errors.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const ADD_BOS = 1, SPECIAL = 2; // NUT_TOKENIZE_*
const STEP_KINDS = /** @type {const} */ (['prefill', 'token', 'done']);
const FINISHES = /** @type {const} */ ([null, 'eos', 'stop', 'length']);
const KV_TYPES = ['f16', 'q8_0']; // the order of nut_kv_type
const FACTS = 5;

// The order of the numbers that nutw_generate_begin reads.
const NUMBERS = ['maxTokens', 'temperature', 'topK', 'topP', 'minP', 'typicalP', 'repeatPenalty', 'presencePenalty',
  'frequencyPenalty', 'seed'];

/**
 * @typedef {object} Step
 * @property {'prefill' | 'token' | 'done'} kind
 * @property {'eos' | 'stop' | 'length' | null} finish
 * @property {number} done  prompt tokens read, or tokens drawn
 * @property {string} text
 */

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

  /** @param {number} at @returns {Float64Array} */
  #facts(at) {
    return new Float64Array(this.#started.memory.buffer, at >>> 0, FACTS).slice();
  }

  #result() {
    return this.#view(this.#call('result'), this.#call('result_size'));
  }

  #resultText() {
    return decoder.decode(this.#result().slice());
  }

  /** Address of n bytes for input. @param {number} n */
  #stage(n) {
    const at = this.#call('staging', n) >>> 0;
    if (at === 0) throw this.#error();
    return at;
  }

  /** Where the next `feed` takes its bytes from; valid until the next call. @param {number} n @returns {Uint8Array} */
  staging(n) {
    return this.#view(this.#stage(n), n);
  }

  /** Gives the staging buffer's memory back. */
  freeStaging() {
    this.#call('staging', 0);
  }

  version() {
    return this.#cString(this.#call('version'));
  }

  /**
   * Sizes are 0 if unknown.
   * @param {{ fileSize: number, contextLength: number, kvType: string, kernel: string | undefined }} options
   */
  loadBegin({ fileSize, contextLength, kvType, kernel }) {
    let name = 0;
    if (kernel) {
      const bytes = encoder.encode(kernel + '\0');
      this.staging(bytes.length).set(bytes);
      name = this.#stage(bytes.length);
    }
    this.#check('load_begin', fileSize, contextLength, KV_TYPES.indexOf(kvType), name);
  }

  /** Takes the first n bytes of the staging buffer as the next ones of a file. @param {number} offset @param {number} n */
  feed(offset, n) {
    this.#check('load_feed', offset, n);
  }

  /** How many files the model has, as soon as a header was fed that says so; 0 before. */
  parts() {
    return this.#call('load_parts');
  }

  /**
   * Goes on with the model's next file, after the one before was fed whole; its offsets begin at 0.
   * @param {number} fileSize 0 if unknown
   */
  loadNext(fileSize) {
    this.#check('load_next', fileSize);
  }

  /** @param {{ contextLength: number, kvType: string, threads: number }} options */
  loadFinish({ contextLength, kvType, threads }) {
    this.#check('load_finish', contextLength, KV_TYPES.indexOf(kvType), threads);
  }

  /** Frees the model, or what was loaded of it. */
  reset() {
    this.#call('reset');
  }

  session() {
    const at = this.#call('session');
    if (at === 0) throw this.#error();
    const [contextLength, positions, threads, bytes, vocabulary] = this.#facts(at);
    return { contextLength, positions, threads, bytes, vocabulary, kvType: this.#cString(this.#call('kv_type')) };
  }

  /** The model's facts: see src/model/info.c. @returns {Record<string, any>} */
  info() {
    this.#check('info');
    return JSON.parse(this.#resultText());
  }

  /** @param {string} text @param {{ addBos: boolean, parseSpecial: boolean }} options @returns {Int32Array} */
  tokenize(text, { addBos, parseSpecial }) {
    const bytes = encoder.encode(text);
    this.staging(bytes.length + 1).set(bytes);
    this.#check('tokenize', this.#stage(bytes.length + 1), bytes.length, (addBos ? ADD_BOS : 0) | (parseSpecial ? SPECIAL : 0));
    return new Int32Array(this.#result().slice().buffer);
  }

  /** @param {Int32Array} ids @param {{ special: boolean }} options @returns {string} */
  detokenize(ids, { special }) {
    if (ids.length === 0) return '';
    this.staging(ids.byteLength).set(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
    this.#check('detokenize', this.#stage(ids.byteLength), ids.length, special ? 1 : 0);
    return this.#resultText();
  }

  /**
   * @param {string} prompt
   * @param {Record<string, any>} options  checked, with every number in it
   * @param {{ addBos: boolean, parseSpecial: boolean }} flags
   * @returns {number} tokens of the prompt
   */
  generateBegin(prompt, options, { addBos, parseSpecial }) {
    const stops = [options.stop].flat();
    const text = encoder.encode(stops.map((stop) => stop + '\0').join('') + prompt);
    const stopBytes = encoder.encode(stops.map((stop) => stop + '\0').join('')).length;
    const numberBytes = 8 * NUMBERS.length;
    const at = this.#stage(numberBytes + text.length + 1);
    this.#view(at, numberBytes).set(new Uint8Array(Float64Array.from(NUMBERS, (name) => options[name]).buffer));
    this.#view(at + numberBytes, text.length).set(text);
    return this.#check('generate_begin', at, at + numberBytes, stops.length, at + numberBytes + stopBytes,
      text.length - stopBytes, (addBos ? ADD_BOS : 0) | (parseSpecial ? SPECIAL : 0));
  }

  /** One batch of the prompt, or one token. @returns {Step} */
  generateStep() {
    const kind = STEP_KINDS[this.#check('generate_step')];
    const text = this.#call('result_size') ? this.#resultText() : '';
    const [finish, , done] = this.#facts(this.#call('step_facts'));
    return { kind, finish: FINISHES[finish], done, text };
  }

  generateEnd() {
    this.#call('generate_end');
  }
}
