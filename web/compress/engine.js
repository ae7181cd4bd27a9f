// Drives the module nutshell-compress (wasm/nut_compress.c): a job says which bytes it needs and which it has
// made, the caller reads and writes them, wherever they are. All that the module knows is in its memory, so
// that a copy of it, taken between two steps, goes on elsewhere: see `memory` and `restore`.
import { NutshellError } from '../shared/errors.js';
import { EVALUATION, JOB_EVENT } from '../shared/tables.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const OPEN = 0, WANT = 1, WRITE = 2, NOTE = 3, PROGRESS = 4, DONE = 5; // the order of nut_job_kind
const LOAD_BYTES = 1 << 20; // of a model that is loaded, at once

/**
 * @typedef {object} JobInput  one file of a model
 * @property {number} size  bytes
 * @property {(offset: number, n: number) => Promise<Uint8Array> | Uint8Array} read  n bytes, or fewer, but at least one
 */

/**
 * @typedef {object} JobIo
 * @property {(split: number, splits: number) => Promise<JobInput> | JobInput} open  file `split` (from 0) of the model;
 *   splits: how many it has, 0 for the first
 * @property {(offset: number, bytes: Uint8Array) => Promise<void> | void} [write]  to the output. The bytes are valid until the
 *   promise settles. The offset is at most what was written so far
 * @property {(text: string) => void} [note]  a sentence for the user
 * @property {(progress: { what: string, done: number, total: number }) => void} [progress]
 * @property {() => Promise<void> | void} [between]  after each step, while the job waits for nothing
 * @property {() => Promise<void> | void} [stopped]  before the job ends because of the signal
 * @property {AbortSignal} [signal]
 *
 * @typedef {object} CompressRequest  see nut_compress_options
 * @property {string} [method]
 * @property {string} [type]
 * @property {number} [size]  bytes
 * @property {number} [bpw]  bits of the file a weight
 * @property {string} [recipe]  JSON
 * @property {boolean} [fast]
 * @property {string} [text]  to calibrate with
 *
 * @typedef {object} TrainRequest  see docs/training.md
 * @property {string} training  the recipe, JSON
 * @property {string} text  to learn from
 * @property {boolean} adapts  the recipe has a rank: what the job writes is an adapter
 *
 * @typedef {Record<typeof EVALUATION[number], number>} Figures
 */

export class JobEngine {
  #started;
  /** Files of the model that were opened. @type {JobInput[]} */
  #inputs = [];
  #splits = 0;

  /** @param {import('../worker/instantiate.js').Started} started the module nutshell-compress, fresh */
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

  /**
   * As #call, of a function that gives a struct of wasm/boundary.h.
   * @template {readonly string[]} Fields
   * @param {Fields} fields
   * @param {string} name
   * @returns {Record<Fields[number], number>}
   */
  #struct(fields, name) {
    const at = this.#call(name) >>> 0;
    if (at === 0) throw this.#error();
    const doubles = new Float64Array(this.#started.memory.buffer, at, fields.length);
    return /** @type {any} */ (Object.fromEntries(fields.map((field, i) => [field, doubles[i]])));
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

  /** Puts texts there, one after the other. @param {string[]} texts */
  #stageTexts(texts) {
    const parts = texts.map((text) => encoder.encode(text)), sizes = parts.map((part) => part.length);
    const staged = new Uint8Array(sizes.reduce((sum, n) => sum + n, 0));
    parts.reduce((at, part) => (staged.set(part, at), at + part.length), 0);
    return { at: this.#stage(staged), sizes };
  }

  /* ---- compressing ---- */

  /**
   * Writes a model's compressed file.
   * @param {CompressRequest} request
   * @param {JobIo} io
   */
  async compress({ method, type, size = 0, bpw = 0, recipe = '', fast = false, text = '' }, io) {
    const { at, sizes: [n, nRecipe, nMethod] } = this.#stageTexts([text, recipe, `${method ?? ''}\0`, `${type ?? ''}\0`]);
    const texts = at + n + nRecipe;
    this.#inputs = [];
    const [methodAt, typeAt] = [method === undefined ? 0 : texts, type === undefined ? 0 : texts + nMethod];
    this.#check('compress', methodAt, typeAt, size, bpw, Number(fast), n, nRecipe);
    await this.goOn(io);
  }

  /** Writes a trained model, or an adapter. @param {TrainRequest} request @param {JobIo} io */
  async train({ training, text }, io) {
    const { sizes } = this.#stageTexts([text, training]);
    this.#inputs = [];
    this.#check('train', ...sizes);
    await this.goOn(io);
  }

  /** Writes a model with an adapter added to it. @param {Uint8Array} adapter @param {JobIo} io */
  async merge(adapter, io) {
    this.#stage(adapter);
    this.#inputs = [];
    this.#check('merge', adapter.length);
    await this.goOn(io);
  }

  /** Runs the job to its end, from where it is. @param {JobIo} io */
  async goOn(io) {
    try {
      await this.#run(io);
    } finally {
      this.#call('end');
      this.#call('staging', 0);
    }
  }

  /** @param {JobIo} io */
  async #run(io) {
    for (let kind = -1; kind !== DONE;) {
      if (io.signal?.aborted) {
        await io.stopped?.();
        throw io.signal.reason;
      }
      kind = this.#check('step');
      const event = this.#struct(JOB_EVENT, 'event');
      if (kind === OPEN) await this.#open(event, io);
      else if (kind === WANT) await this.#feed(event, io);
      else if (kind === WRITE) await io.write?.(event.offset, new Uint8Array(this.#started.memory.buffer, event.bytes, event.n));
      else if (kind === NOTE) io.note?.(this.#text(event.text));
      else if (kind === PROGRESS) io.progress?.({ what: this.#text(event.text), done: event.done, total: event.total });
      await io.between?.();
    }
  }

  /** @param {{ split: number, splits: number }} event @param {JobIo} io */
  async #open({ split, splits }, io) {
    this.#splits = splits;
    this.#inputs[split] = await io.open(split, splits);
    this.#check('open', this.#inputs[split].size);
  }

  /** @param {{ split: number, offset: number, n: number }} event @param {JobIo} io */
  async #feed({ split, offset, n }, io) {
    const input = this.#inputs[split] ??= await io.open(split, this.#splits); // after a restart it is not open
    const bytes = await input.read(offset, n);
    if (bytes.length === 0) throw new NutshellError('io', 'a file of the model has become shorter; try again');
    this.#stage(bytes);
    this.#check('feed', bytes.length);
  }

  /* ---- going on elsewhere ---- */

  /** The module's memory, which between two steps holds the whole job; valid until the next step. @returns {Uint8Array} */
  get memory() {
    return new Uint8Array(this.#started.memory.buffer);
  }

  get splits() {
    return this.#splits;
  }

  /**
   * Makes this fresh engine the one whose memory was copied.
   * @param {number} bytes of it, a whole number of pages of 64 KiB
   * @param {number} splits
   * @returns {Uint8Array} the memory, which the caller fills before anything else is called
   */
  restore(bytes, splits) {
    const { memory } = this.#started;
    this.#splits = splits;
    this.#inputs = [];
    try {
      memory.grow(Math.max(bytes - memory.buffer.byteLength, 0) / 65536);
    } catch (cause) {
      throw new NutshellError('out-of-memory', 'no memory is left to go on with this job; close other tabs', { cause });
    }
    return new Uint8Array(memory.buffer);
  }

  /* ---- evaluating ---- */

  /**
   * Loads a model: the one that is judged, or the reference, which is held as floats.
   * @param {JobIo['open']} open
   * @param {{ reference?: boolean, signal?: AbortSignal, passed?: (bytes: number, of: number) => Promise<void> | void }} [how]
   */
  async load(open, { reference = false, signal, passed } = {}) {
    for (let i = 0, n = 1; i < n; i++) {
      const input = await open(i, i ? n : 0);
      if (i === 0) this.#check('load_begin', input.size, Number(reference));
      else this.#check('load_next', input.size);
      for (let at = 0; at < input.size;) {
        signal?.throwIfAborted();
        const bytes = await input.read(at, Math.min(LOAD_BYTES, input.size - at));
        if (bytes.length === 0) throw new NutshellError('io', 'a file of the model has become shorter; try again');
        this.#stage(bytes);
        this.#check('load_feed', at, bytes.length);
        at += bytes.length;
        await passed?.(at, input.size);
      }
      n = Math.max(this.#call('load_splits'), 1);
    }
    this.#call('staging', 0);
    this.#check('load_finish', Number(reference));
  }

  /**
   * Evaluates the models that were loaded.
   * @param {{ text: string, window: number, windows: number }} request  windows: at most so many, 0: all
   * @param {Pick<JobIo, 'progress' | 'between' | 'signal'>} io
   * @returns {Promise<Figures>}
   */
  async evaluate({ text, window, windows }, io) {
    const bytes = encoder.encode(text);
    this.#stage(bytes);
    this.#check('evaluate', bytes.length, window, windows);
    try {
      await this.#run({ ...io, open: () => { throw new Error('an evaluation reads no file'); } });
      return this.#struct(EVALUATION, 'figures');
    } finally {
      this.#call('end');
    }
  }

  /** Frees the models. */
  forget() {
    this.#call('forget');
  }
}
