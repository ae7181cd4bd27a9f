// Brings a model's bytes into the engine: those that the cache has, then the rest from the source, which is stored on
// the way. Bytes go from the network straight into the engine's memory, chunk by chunk, and a chunk is stored only after
// the engine has taken it, so that what is no model never lands in the cache.
import { Aborted, NutshellError } from '../shared/errors.js';
import { xxh32 } from '../shared/checksum.js';
import { piecesOf } from './pieces.js';
import { hasChanged } from './http.js';
import { Changed } from './source.js';
import { MAX_CHUNK_BYTES, chunkBytesFor } from './store.js';

const MAX_RESTARTS = 3;

/** Errors that say that the bytes are wrong, wherever they are tried. */
const BAD_BYTES = ['not-gguf', 'truncated-model', 'corrupt-model'];
/** Errors that make storing the rest of a download useless. */
const REFUSALS = [...BAD_BYTES, 'unsupported-model', 'model-too-large'];

/**
 * @typedef {import('./store.js').Store} Store
 * @typedef {import('./store.js').Manifest} Manifest
 * @typedef {import('./source.js').Source} Source
 * @typedef {object} Job
 * @property {import('./engine.js').Engine} engine
 * @property {Source | null} source  null: the cache alone
 * @property {Manifest | null} stored  what the cache is known to hold of it
 * @property {boolean | 'reload' | 'required'} cache
 * @property {boolean} evict  whether other models may be deleted for this one
 * @property {{ contextLength: number, kvType: string, kernel: string | undefined, threads: number }} options
 * @property {import('./progress.js').ProgressMeter} meter
 * @property {AbortSignal} signal
 * @property {() => Promise<Store>} openStore
 */

export class Loader {
  #job;
  /** @type {Store | null} */
  #store = null;
  /** @type {Manifest | null} */
  #manifest = null;
  /** @type {NutshellError | null} why the model is not stored */
  #trouble = null;
  /** Whether the server has another version than what is stored; asked while that is read. @type {Promise<boolean>} */
  #changed = Promise.resolve(false);
  /** Checksums of the chunks that the engine has taken. @type {number[]} */
  #sums = [];
  #chunkBytes = MAX_CHUNK_BYTES;
  #at = 0; // bytes that the engine has taken
  #fromCache = 0;
  /** The write that is under way. @type {Promise<void>} */
  #writing = Promise.resolve();

  /** @param {Job} job @param {Store | null} store */
  constructor(job, store) {
    this.#job = job;
    this.#store = store;
    this.#manifest = job.stored;
  }

  /** @returns {Promise<{ fileBytes: number, cache: { state: string, id: string | null, error: NutshellError | null } }>} */
  async run() {
    try {
      await this.#prepareCache();
      await this.#takeAll();
      return { fileBytes: this.#at, cache: await this.#settle() };
    } catch (error) {
      await this.#writing;
      await this.#dropRefused(error);
      throw error;
    } finally {
      if (!this.#job.engine.crash) this.#job.engine.freeStaging();
    }
  }

  /* ---- the cache before ---- */

  async #prepareCache() {
    const { cache, source } = this.#job;
    if (cache === false) return;
    try {
      this.#store ??= await this.#job.openStore();
      this.#store.mayEvict = this.#job.evict;
      if (source?.key && !this.#manifest) this.#manifest = await this.#store.byKey(source.key) ?? null;
      if (this.#manifest && source) await this.#checkVersion(this.#manifest);
    } catch (error) {
      this.#giveUpCache(error);
    }
  }

  /** @param {Manifest} manifest */
  async #checkVersion(manifest) {
    if (this.#job.cache === 'reload' || manifest.chunkBytes > MAX_CHUNK_BYTES) await this.#forget();
    else if (manifest.complete) this.#changed = hasChanged(manifest, this.#job.signal);
  }

  /** Goes on without the cache, or not at all where it is required. @param {unknown} error */
  #giveUpCache(error) {
    if (!(error instanceof NutshellError) || this.#job.cache === 'required') throw error;
    this.#trouble = error;
    this.#manifest = null;
    this.#store = null;
  }

  /** Deletes what is stored of this model. */
  async #forget() {
    const { id } = /** @type {Manifest} */ (this.#manifest);
    this.#manifest = null;
    await this.#store?.remove(id);
  }

  /* ---- bytes ---- */

  /** Bytes from the cache and from the source; from the beginning when the server's file turns out to be another one. */
  async #takeAll() {
    for (let restarts = 0; ; restarts++) {
      try {
        await this.#takeStored();
        if (await this.#changed) throw new Changed();
        if (!this.#manifest?.complete || this.#at < this.#manifest.size) await this.#takeRest();
        this.#job.engine.freeStaging(); // the session may lie there
        return this.#job.engine.loadFinish(this.#job.options);
      } catch (error) {
        if (!(error instanceof Changed || (!(error instanceof Aborted) && await this.#changed))) throw error;
        if (restarts >= MAX_RESTARTS) {
          throw new NutshellError('network', 'the file changes on the server while it is loaded: try again later');
        }
        await this.#writing;
        this.#changed = Promise.resolve(false);
        if (this.#manifest) await this.#forget();
      }
    }
  }

  /** @param {number} fileSize 0 if unknown */
  #begin(fileSize) {
    this.#job.engine.loadBegin({ fileSize, ...this.#job.options });
    this.#job.meter.begin(fileSize);
    this.#at = this.#fromCache = 0;
    this.#sums = [];
    this.#chunkBytes = this.#manifest?.chunkBytes ?? chunkBytesFor(fileSize);
  }

  /** The chunks that the cache has, up to the first that is missing or damaged. The next is found while one is packed. */
  async #takeStored() {
    const manifest = this.#manifest, store = this.#store;
    if (!manifest || !store) return this.#begin(this.#job.source?.size ?? 0);
    this.#begin(manifest.size);
    this.#job.meter.enter('cache');
    const read = (/** @type {number} */ i) => store.getChunk(manifest, i).catch(() => null);
    const count = manifest.size ? Math.ceil(manifest.size / this.#chunkBytes) : Infinity;
    let stale = false;
    this.#changed.then((changed) => { stale = changed; });
    for (let i = 0, next = read(0); i < count && !stale; i++) {
      const chunk = await next;
      if (!chunk) break;
      this.#checkStopped();
      if (i + 1 < count) next = read(i + 1);
      if (!(await this.#stageStored(chunk))) break;
      this.#job.meter.add(chunk.bytes.size);
      this.#feed(chunk.bytes.size, chunk.sum);
    }
    this.#fromCache = this.#at;
    this.#job.meter.flush();
  }

  /** Whether the chunk could be read and is what was stored. @param {{ bytes: Blob, sum: number }} chunk */
  async #stageStored({ bytes, sum }) {
    const { engine } = this.#job;
    let fill = 0;
    try {
      for await (const piece of piecesOf(bytes)) {
        engine.staging(MAX_CHUNK_BYTES).set(piece, fill);
        fill += piece.length;
      }
    } catch (error) {
      if (error instanceof NutshellError) throw error;
      return false; // the browser cannot read its own file any more
    }
    return fill === bytes.size && xxh32(engine.staging(MAX_CHUNK_BYTES).subarray(0, fill)) === sum;
  }

  /** What the cache does not have, from the source. */
  async #takeRest() {
    const { source, meter } = this.#job;
    if (!source) throw new NutshellError('not-cached', 'this model is not complete in the cache: load it from its source again');
    await source.open(this.#at, this.#manifest);
    if (this.#at === 0) this.#begin(source.size);
    meter.enter('download');
    await this.#startStoring(source);
    let fill = 0;
    for await (const piece of source.pieces()) {
      this.#checkStopped();
      for (let taken = 0; taken < piece.length;) {
        const n = Math.min(piece.length - taken, this.#chunkBytes - fill);
        this.#job.engine.staging(MAX_CHUNK_BYTES).set(piece.subarray(taken, taken + n), fill);
        taken += n;
        fill += n;
        if (fill === this.#chunkBytes) fill = await this.#chunkDone(fill);
      }
      meter.add(piece.length);
    }
    if (fill > 0) await this.#chunkDone(fill);
    await this.#writing;
  }

  #checkStopped() {
    if (this.#job.signal.aborted) throw new Aborted();
  }

  /** Lets the engine take the first n staged bytes. @param {number} n @param {number} sum */
  #feed(n, sum) {
    try {
      this.#job.engine.feed(this.#at, n);
    } catch (error) {
      throw this.#job.source?.html && /** @type {any} */ (error).code === 'not-gguf' ? htmlError(error) : error;
    }
    this.#sums.push(sum);
    this.#at += n;
  }

  /** Feeds and stores a staged chunk, copied before the engine's memory is used again. @param {number} n its bytes */
  async #chunkDone(n) {
    await this.#writing;
    const sum = xxh32(this.#job.engine.staging(MAX_CHUNK_BYTES).subarray(0, n));
    this.#feed(n, sum);
    if (this.#manifest && this.#store) {
      const bytes = this.#job.engine.staging(MAX_CHUNK_BYTES).subarray(0, n);
      this.#writing = this.#store.putChunk(this.#manifest, this.#sums.length - 1, bytes, sum)
        .catch((error) => this.#storingFailed(error));
      this.#writing.catch(() => {}); // looked at by whoever awaits it next
    }
    return 0;
  }

  /* ---- the cache after ---- */

  /** @param {Source} source */
  async #startStoring(source) {
    if (!this.#store) return;
    const { key, url, name, size, etag } = source;
    try {
      if (this.#manifest) await this.#store.resume(this.#manifest);
      else this.#manifest = await this.#store.create({ key, url, name, size, etag });
    } catch (error) {
      await this.#storingFailed(error);
    }
  }

  /** Frees what was stored of a model that cannot be stored whole. @param {unknown} error */
  async #storingFailed(error) {
    if (this.#manifest) await this.#forget().catch(() => {});
    this.#giveUpCache(error);
  }

  /** Completes the manifest; tells where the bytes came from. */
  async #settle() {
    const manifest = this.#manifest;
    if (!manifest || !this.#store) return { state: this.#trouble ? 'failed' : 'off', id: null, error: this.#trouble };
    try {
      const whole = this.#fromCache === this.#at;
      const state = whole ? 'hit' : this.#fromCache > 0 ? 'resumed' : 'stored';
      if (whole && manifest.complete) await this.#store.touch(manifest);
      const id = whole && manifest.complete ? manifest.id : await this.#store.complete(manifest, this.#at, this.#sums);
      return { state, id, error: null };
    } catch (error) {
      this.#giveUpCache(error);
      return { state: 'failed', id: null, error: this.#trouble };
    }
  }

  /** A model that the engine refuses is not kept, except a whole one that only does not run here. @param {unknown} error */
  async #dropRefused(error) {
    if (!this.#manifest || !(error instanceof NutshellError)) return;
    const useless = this.#manifest.complete ? BAD_BYTES : REFUSALS;
    if (useless.includes(error.code)) await this.#forget().catch(() => {});
  }
}

/** @param {unknown} cause */
function htmlError(cause) {
  return new NutshellError('not-gguf', 'the server answered with an HTML page instead of a model: check the address; a '
    + 'link to a model\'s page is not the link to its file', { cause });
}
