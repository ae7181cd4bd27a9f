// One compression, or training, from beginning to end, or from where an earlier visit left it: the module computes, and
// copies of its memory are kept until it begins to write. What was written is loaded once before success is
// told; a failure leaves nothing of it.
import { Aborted, NutshellError } from '../shared/errors.js';
import { BlobInput, storedFile } from './input.js';
import { BlobOutput, StoredOutput } from './output.js';
import { TimeLeft } from './time_left.js';

const KEEP_AFTER = 1000; // milliseconds between two copies at least,
const KEEP_SHARE = 20; // and so many times what the last one took
/** Errors after which the same job may succeed: what was computed is worth keeping. */
const PASSING = ['quota', 'storage', 'io', 'network'];

/**
 * @typedef {import('./kept.js').Kept} Kept
 * @typedef {object} Parts
 * @property {import('./engine.js').JobEngine} engine
 * @property {string} module      a checksum of it
 * @property {import('./input.js').Model} model
 * @property {import('../worker/store.js').Store | null} store  to write to; null: a Blob
 * @property {import('./kept.js').KeptJobs | null} jobs  null: nothing is kept
 * @property {string} id          of the kept job
 * @property {import('./engine.js').CompressRequest & Partial<import('./engine.js').TrainRequest>} request  with `training` it
 *   is one of training
 * @property {string} name        of the file
 * @property {object} about       what unfinished() tells: source and options
 * @property {AbortSignal} signal
 * @property {(progress: import('../nutshell-compress.d.ts').CompressProgress) => void} report
 * @property {() => Promise<void>} pause  lets messages in
 */

export class CompressTask {
  #parts;
  /** @type {import('./output.js').Output | null} */
  #output = null;
  /** What was trained, where it is one. @type {Blob | null} */
  #adapter = null;
  /** @type {Kept | undefined} the last copy */
  #kept;
  #time = new TimeLeft();
  #keptAt = performance.now();
  #keepCost = 0; // milliseconds
  #isResumed = false;
  /** @type {string[]} */
  #notes = [];
  /** Bytes of the files of the source that were opened. @type {number[]} */
  #sizes = [];

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  async run() {
    const { request, jobs, id, store } = this.#parts;
    await store?.reserve(request.size ?? 0, null);
    try {
      const kept = await jobs?.find(id);
      const goesOn = Boolean(kept && await this.#restore(kept));
      if (request.adapts) await this.#adapt(goesOn);
      else await this.#compute(this.#io(), goesOn);
      const result = await this.#finish();
      await jobs?.drop(id);
      return result;
    } catch (error) {
      await this.#output?.drop();
      if (!(error instanceof Aborted) && !PASSING.includes(/** @type {any} */ (error).code)) await jobs?.drop(id).catch(() => {});
      throw error;
    }
  }

  /** @param {import('./engine.js').JobIo} io @param {boolean} goesOn  the job was restored */
  async #compute(io, goesOn) {
    const { engine, request } = this.#parts;
    if (goesOn) await engine.goOn(io);
    else if (request.training) await engine.train(/** @type {any} */ (request), io);
    else await engine.compress(request, io);
  }

  /** Trains an adapter, which stays in memory, and adds it to the model. The copy to go on from is that of training.
   *  @param {boolean} goesOn */
  async #adapt(goesOn) {
    const io = this.#io(), written = new BlobOutput();
    await this.#compute({ ...io, write: (offset, bytes) => written.write(offset, bytes) }, goesOn);
    this.#adapter = await written.finish();
    const bytes = new Uint8Array(await this.#adapter.arrayBuffer());
    await this.#parts.engine.merge(bytes, { ...io, between: this.#parts.pause, stopped: undefined });
  }

  /** @returns {import('./engine.js').JobIo} */
  #io() {
    const { model, signal, pause } = this.#parts;
    return {
      open: async (split, splits) => {
        const input = await model.open(split, splits);
        this.#sizes[split] = input.size;
        return input;
      },
      signal,
      write: (offset, bytes) => this.#write(offset, bytes),
      note: (text) => { this.#notes.push(text); },
      progress: ({ what, done, total }) => this.#tell(this.#phase, what, total ? done / total : 0),
      between: async () => {
        await pause();
        const wait = Math.max(KEEP_AFTER, KEEP_SHARE * this.#keepCost);
        if (performance.now() - this.#keptAt >= wait) await this.#keep();
      },
      stopped: () => this.#keep(),
    };
  }

  get #phase() {
    return this.#parts.request.training ? /** @type {const} */ ('train') : /** @type {const} */ ('compress');
  }

  /** @param {'compress' | 'train' | 'check'} phase @param {string} text @param {number} share */
  #tell(phase, text, share) {
    this.#time.reach(share);
    const { done, secondsLeft } = this.#time;
    this.#parts.report({ phase, text, done, secondsLeft, resumed: this.#isResumed });
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  async #write(offset, bytes) {
    const { store, name, request } = this.#parts;
    this.#output ??= store ? await StoredOutput.begin(store, name, request.size ?? 0) : new BlobOutput();
    await this.#output.write(offset, bytes);
  }

  /* ---- copies ---- */

  /** Keeps what is computed so far; once bytes were written, the last copy is the one to go on from. */
  async #keep() {
    const { jobs, engine, id, name, module, about } = this.#parts;
    if (!jobs || this.#output) return;
    const since = performance.now();
    const facts = {
      id, name, module, ...about, splits: engine.splits, notes: this.#notes, done: this.#time.done, seconds: this.#time.seconds,
    };
    try {
      this.#kept = await jobs.save(/** @type {any} */ (facts), engine.memory, this.#kept);
    } catch {
      this.#parts.jobs = null; // no space: the job goes on, and is not kept
    }
    this.#keptAt = performance.now();
    this.#keepCost = this.#keptAt - since;
  }

  /** Whether the job goes on from a copy. @param {Kept} kept */
  async #restore(kept) {
    const { engine, jobs, module } = this.#parts;
    const isSound = kept.module === module && await jobs?.fill(kept, engine.restore(kept.bytes, kept.splits));
    if (!isSound) {
      await jobs?.drop(kept.id);
      if (kept.module === module) throw new NutshellError('storage', 'what was kept of this job was damaged; begin again');
      return false;
    }
    this.#kept = kept;
    this.#notes = kept.notes;
    this.#time = new TimeLeft(kept.seconds);
    this.#isResumed = true;
    this.#tell(this.#phase, 'going on', kept.done);
    return true;
  }

  /* ---- the file ---- */

  /** Loads what was written, which finds any damage, and then makes it a model of the cache. */
  async #finish() {
    const { engine, signal, store, pause } = this.#parts;
    const output = /** @type {import('./output.js').Output} */ (this.#output);
    const seconds = this.#time.seconds;
    const written = await output.finish();
    this.#tell('check', 'loading what was written', 1);
    engine.forget();
    await engine.load(() => new BlobInput(written), { signal, passed: pause });
    engine.forget();
    const cached = await output.keep();
    const file = cached && store ? await storedFile(store, cached.id) : written;
    const more = this.#parts.request.training ? { adapter: this.#adapter } : {};
    return { file, cached, ...more, sourceBytes: this.#sizes.reduce((sum, size) => sum + size, 0), notes: this.#notes, seconds };
  }
}
