// Drives a job of the module nutshell-compress (wasm/nut_compress.c): the engine says which bytes it needs
// and which it has made, the caller reads and writes them, wherever they are.
import { NutshellError } from '../shared/errors.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const OPEN = 0, WANT = 1, WRITE = 2, NOTE = 3, PROGRESS = 4, DONE = 5; // the order of nut_job_kind
const FACTS = 8;

/**
 * @typedef {object} JobInput  one file of a model
 * @property {number} size  bytes
 * @property {(offset: number, n: number) => Promise<Uint8Array> | Uint8Array} read  n bytes, or fewer, but at least one
 */

/**
 * @typedef {object} JobIo
 * @property {(split: number, splits: number) => Promise<JobInput> | JobInput} open  file `split` (from 0) of the model;
 *   splits: how many it has, 0 for the first
 * @property {(offset: number, bytes: Uint8Array) => Promise<void> | void} write  to the output. The bytes are valid until the
 *   promise settles. The offset is at most what was written so far
 * @property {(text: string) => void} [note]  a sentence for the user
 * @property {(progress: { what: string, done: number, total: number }) => void} [progress]
 * @property {AbortSignal} [signal]
 */

export class JobEngine {
  #started;

  /** @param {import('./instantiate.js').Started} started the module nutshell-compress, fresh */
  constructor(started) {
    this.#started = started;
    started.exports.__wasm_call_ctors();
  }

  /** @param {string} name of wasm/surface.txt, without nutc_ @param {...number} args @returns {number} */
  #call(name, ...args) {
    try {
      return this.#started.exports[`nutc_${name}`](...args);
    } catch (cause) {
      throw new NutshellError('engine-crashed', `the engine crashed (${cause}); begin again`, { cause });
    }
  }

  /** As #call, and throws the engine's error where the call has failed. @param {string} name @param {...number} args */
  #check(name, ...args) {
    const result = this.#call(name, ...args);
    if (result < 0) throw this.#error();
    return result;
  }

  #error() {
    const code = this.#text(this.#call('error_name'));
    return new NutshellError(/** @type {any} */ (code), this.#text(this.#call('error_message')));
  }

  /** Terminated text at an address. @param {number} at */
  #text(at) {
    const bytes = new Uint8Array(this.#started.memory.buffer, at >>> 0);
    return decoder.decode(bytes.slice(0, bytes.indexOf(0)));
  }

  /** Puts bytes where the next call finds its input; their address. @param {Uint8Array} bytes */
  #stage(bytes) {
    const at = this.#call('staging', bytes.length) >>> 0;
    if (at === 0) throw this.#error();
    new Uint8Array(this.#started.memory.buffer, at, bytes.length).set(bytes);
    return at;
  }

  #event() {
    const at = this.#call('event') >>> 0;
    const [split, splits, offset, n, bytes, text, done, total] = new Float64Array(this.#started.memory.buffer, at, FACTS);
    return { split, splits, offset, n, bytes, text, done, total };
  }

  /**
   * Writes a model's compressed file.
   * @param {{ method?: string, type: string }} options see nut_compress_options
   * @param {JobIo} io
   */
  async compress({ method, type }, io) {
    const texts = encoder.encode(`${type}\0${method ?? ''}\0`);
    const at = this.#stage(texts);
    this.#check('compress', method === undefined ? 0 : at + texts.indexOf(0) + 1, at);
    try {
      await this.#run(io);
    } finally {
      this.#call('end');
      this.#call('staging', 0);
    }
  }

  /** @param {JobIo} io */
  async #run(io) {
    /** @type {JobInput[]} */
    const inputs = [];
    for (let kind = -1; kind !== DONE;) {
      io.signal?.throwIfAborted();
      kind = this.#check('step');
      const event = this.#event();
      if (kind === OPEN) {
        inputs[event.split] = await io.open(event.split, event.splits);
        this.#check('open', inputs[event.split].size);
      } else if (kind === WANT) {
        const bytes = await inputs[event.split].read(event.offset, event.n);
        if (bytes.length === 0) throw new NutshellError('io', 'a file of the model has become shorter; try again');
        this.#stage(bytes);
        this.#check('feed', bytes.length);
      } else if (kind === WRITE) {
        await io.write(event.offset, new Uint8Array(this.#started.memory.buffer, event.bytes, event.n));
      } else if (kind === NOTE) {
        io.note?.(this.#text(event.text));
      } else if (kind === PROGRESS) {
        io.progress?.({ what: this.#text(event.text), done: event.done, total: event.total });
      }
    }
  }
}
