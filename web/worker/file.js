// Brings one file into the engine, chunk by chunk and in order. Chunks that the cache has come from there,
// the others from the source; those are stored on the way, once the engine has accepted the first, so that a
// file that is no model is never stored.
import { Aborted, NutshellError } from '../shared/errors.js';
import { xxh32 } from '../shared/checksum.js';
import { bytesOf } from './byte_reader.js';
import { loadUpkeep } from './cache.js';
import { DownloadLock } from './download_lock.js';
import { Downloads, chunksPerRequest, retry } from './downloads.js';
import { hasChanged } from './http.js';
import { chunkBytesFor } from './layout.js';
import { Changed } from './source.js';

const FIRST_BYTES = 1 << 20; // of the first request, before it is known how large the file is
const SAMPLE_BYTES = 64 << 10; // that are compared with the server's where nothing else tells whether the file is the same

/** Errors that say that the bytes are wrong, whatever machine loads them. */
const BAD_BYTES = ['not-gguf', 'truncated-model', 'corrupt-model', 'wrong-checksum'];
/** Errors that make storing the rest of a download useless. */
const REFUSALS = ['unsupported-model', 'model-too-large'];

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
 * @property {string | null} sha256  of the whole file, in hexadecimal
 * @property {Record<string, string>} headers
 * @property {import('./progress.js').ProgressMeter} meter
 * @property {AbortSignal} signal
 * @property {() => Promise<Store>} openStore
 * @property {(size: number) => void} begin  tells the engine that the file's bytes come now; size 0 if unknown
 * @property {() => void} end  all have come; throws the engine's error
 * @typedef {object} CacheResult
 * @property {import('../nutshell.d.ts').CacheState['state']} state
 * @property {string | null} id
 * @property {NutshellError | null} error
 */

export class FileLoader {
  #job;
  /** @type {Store | null} */
  #store = null;
  /** @type {Manifest | null} */
  #manifest = null;
  /** Chunks of the manifest that are stored. @type {Set<number>} */
  #have = new Set();
  /** The stored chunk that is being looked up ahead. @type {{ index: number, chunk: ReturnType<Store['getChunk']> } | null} */
  #next = null;
  /** @type {DownloadLock | null} */
  #lock = null;
  /** @type {Downloads | null} */
  #downloads = null;
  /** @type {NutshellError | null} why the model is not stored */
  #storeError = null;
  /** @type {unknown} why the load fails, found while storing */
  #fatal = null;
  /** Whether the server has another version than the stored one; asked while that is read. @type {Promise<boolean>} */
  #changed = Promise.resolve(false);
  #outdated = false; // it has
  /** Of the bytes that the cache gave. @type {import('./version.js').Version | null} */
  #version = null;
  /** Stored chunks whose bytes are wrong. @type {Set<number>} */
  #damaged = new Set();
  /** Checksums of the chunks. @type {number[]} */
  #sums = [];
  /** @type {ReturnType<typeof import('./upkeep.js').newSha256> | null} */
  #hash = null;
  #chunkBytes = 0;
  #at = 0; // bytes that the engine has taken
  #fromCache = 0;
  /** Whether the engine has taken a chunk, so that this is a model. */
  #accepted;
  #accept = (/** @type {boolean} */ _) => {};
  /** Writes, one after the other. @type {Promise<unknown>} */
  #writing = Promise.resolve();

  /** @param {Job} job @param {Store | null} store */
  constructor(job, store) {
    this.#job = job;
    this.#store = store;
    this.#manifest = job.stored;
    this.#accepted = new Promise((resolve) => { this.#accept = resolve; });
  }

  /** Rejects with Changed where another version of the file is to be loaded from the beginning.
   *  @returns {Promise<{ bytes: number, cache: CacheResult }>} */
  async run() {
    try {
      await this.#openCache();
      await this.#takeAll();
      if (await this.#changed) throw new Changed();
      this.#checkSum();
      this.#job.end();
      return { bytes: this.#at, cache: await this.#finishStoring() };
    } catch (cause) {
      const isStale = !(cause instanceof Aborted) && await this.#changed;
      const error = isStale ? new Changed() : cause;
      await this.#stopDownloads(error);
      if (error instanceof Changed) await this.#forget().catch(() => {});
      else await this.#dropRefused(error);
      throw error;
    } finally {
      this.#lock?.release();
    }
  }

  /* ---- the cache before ---- */

  async #openCache() {
    const { cache, source, signal } = this.#job;
    if (cache === false) return;
    try {
      this.#store ??= await this.#job.openStore();
      this.#store.mayEvict = this.#job.evict;
      const key = source?.key ?? this.#manifest?.key;
      if (source && key) this.#lock = new DownloadLock(key, signal);
      await this.#readManifest();
      if (this.#manifest && source) await this.#checkVersion(this.#manifest);
    } catch (error) {
      this.#giveUpCache(error);
    }
  }

  /** Reads what is stored of the file now. */
  async #readManifest() {
    const store = /** @type {Store} */ (this.#store), { source } = this.#job, before = this.#manifest;
    this.#manifest = source?.key ? await store.byKey(source.key) ?? null : before;
    this.#have = this.#manifest ? await store.indexes(this.#manifest) : new Set();
    for (const i of this.#damaged) this.#have.delete(i);
    if (this.#at === 0 || !before || before.id === this.#manifest?.id) return;
    this.#manifest = null; // it is no longer this load's
    throw new Changed();
  }

  /** @param {Manifest} manifest */
  async #checkVersion(manifest) {
    const { cache, sha256: sum, headers, signal } = this.#job;
    const isOther = sum && manifest.sha256 && sum !== manifest.sha256;
    if ((cache === 'reload' || isOther) && await this.#lock?.isHeld()) return this.#forget();
    if (!manifest.complete) return undefined;
    this.#changed = hasChanged(manifest, headers, () => this.#sample(manifest), signal);
    this.#changed.then((changed) => { this.#outdated = changed; });
    return undefined;
  }

  /** Some stored bytes from the middle of a complete file, where its weights are. @param {Manifest} manifest */
  async #sample(manifest) {
    const index = manifest.sums.length >> 1;
    const chunk = await this.#store?.getChunk(manifest, index).catch(() => null);
    if (!chunk) return null;
    const bytes = new Uint8Array(await new Blob([chunk.bytes]).slice(0, SAMPLE_BYTES).arrayBuffer());
    return { start: index * manifest.chunkBytes, bytes };
  }

  /** Goes on without the cache, or not at all where it is required. @param {unknown} error */
  #giveUpCache(error) {
    if (!(error instanceof NutshellError) || this.#job.cache === 'required') throw error;
    this.#storeError = error;
    this.#manifest = null;
    this.#store = null;
    this.#have.clear();
  }

  /** Deletes what is stored of this file. */
  async #forget() {
    const id = this.#manifest?.id;
    this.#manifest = null;
    this.#have.clear();
    if (id) await this.#store?.remove(id);
  }

  /* ---- bytes ---- */

  async #takeAll() {
    if (this.#have.size === 0) await this.#ensureDownload(0);
    await this.#begin();
    for (let i = 0; !this.#size || i * this.#chunkBytes < this.#size; i++) {
      if (this.#job.signal.aborted) throw new Aborted();
      if (this.#outdated) throw new Changed();
      if (!(await this.#takeChunk(i))) break;
    }
    this.#job.meter.flush();
    await this.#writing;
    if (this.#fatal) throw this.#fatal;
  }

  /** Of the file; 0 while unknown. */
  get #size() {
    return this.#manifest?.size || this.#job.source?.size || 0;
  }

  async #begin() {
    const { sha256: sum, begin } = this.#job;
    this.#chunkBytes = this.#manifest?.chunkBytes ?? chunkBytesFor(this.#size);
    if (sum && sum !== this.#manifest?.sha256) this.#hash = (await loadUpkeep()).newSha256();
    if (this.#manifest) this.#version = versionOf(this.#manifest);
    begin(this.#size);
  }

  /** Whether there is a chunk i, which the engine has then taken. @param {number} i */
  async #takeChunk(i) {
    for (;;) {
      if (this.#have.has(i) && !this.#downloads?.covers(i) && await this.#takeStored(i)) return true;
      if (await this.#ensureDownload(i)) return this.#takeFetched(i);
    }
  }

  /** Whether the stored chunk could be read and has its checksum. The next one is looked up while the engine
   * packs it. */
  async #takeStored(/** @type {number} */ i) {
    const { engine, meter } = this.#job;
    const chunk = await this.#find(i);
    this.#next = this.#have.has(i + 1) ? { index: i + 1, chunk: this.#get(i + 1) } : null;
    const n = chunk ? await this.#stage(chunk.bytes) : 0;
    if (!chunk || xxh32(engine.staging(this.#chunkBytes).subarray(0, n)) !== chunk.sum) {
      this.#damaged.add(i);
      this.#have.delete(i);
      return false;
    }
    meter.enter('cache');
    meter.add(n);
    this.#sums[i] = chunk.sum;
    this.#feed(n);
    this.#fromCache += n;
    return true;
  }

  /** @param {number} i */
  #find(i) {
    return this.#next?.index === i ? this.#next.chunk : this.#get(i);
  }

  /** @param {number} i @returns {ReturnType<Store['getChunk']>} */
  #get(i) {
    return /** @type {Store} */ (this.#store).getChunk(/** @type {Manifest} */ (this.#manifest), i).catch(() => null);
  }

  /** Copies a stored chunk to where the engine takes it; 0 where the browser cannot read its own file.
   *  @param {Blob | ArrayBuffer} bytes */
  async #stage(bytes) {
    const { engine } = this.#job;
    let fill = 0;
    try {
      if (bytes instanceof ArrayBuffer) {
        engine.staging(this.#chunkBytes).set(new Uint8Array(bytes));
        return bytes.byteLength;
      }
      for await (const some of bytesOf(bytes)) {
        engine.staging(this.#chunkBytes).set(some, fill);
        fill += some.length;
      }
    } catch (error) {
      if (error instanceof NutshellError) throw error;
      return 0;
    }
    return fill;
  }

  /** @param {number} i */
  async #takeFetched(i) {
    const downloads = /** @type {Downloads} */ (this.#downloads), { engine } = this.#job;
    const bytes = await downloads.chunk(i);
    if (!bytes) return false;
    engine.staging(this.#chunkBytes).set(bytes);
    this.#feed(bytes.length);
    downloads.release(i);
    return true;
  }

  /** Lets the engine take the first n staged bytes. @param {number} n */
  #feed(n) {
    const { engine, source } = this.#job;
    this.#hash?.update(engine.staging(this.#chunkBytes).subarray(0, n));
    try {
      engine.feed(this.#at, n);
    } catch (error) {
      throw source?.html && /** @type {any} */ (error).code === 'not-gguf' ? htmlError(error) : error;
    }
    this.#at += n;
    this.#accept(true);
  }

  /* ---- from the source ---- */

  /** Makes sure that chunk i comes from the source, or returns false: the cache has it now. @param {number} i */
  async #ensureDownload(i) {
    if (this.#downloads) return true;
    const { source } = this.#job;
    if (!source) throw new NutshellError('not-cached', 'this model is not complete in the cache: load it again');
    if (await this.#othersStore(i)) return false;
    if (this.#have.size === 0 && this.#at === 0) await this.#forget(); // the server's version may be another one by now
    source.expect(this.#manifest ? versionOf(this.#manifest) : this.#version);
    const start = i * this.#chunkBytes, end = this.#endOfGap(i);
    const body = await retry(source, this.#job.signal, () => source.open(start, end));
    await this.#startStoring(source);
    if (this.#at === 0) this.#chunkBytes = this.#manifest?.chunkBytes ?? chunkBytesFor(source.size);
    this.#download(source, i, body);
    return true;
  }

  /** The byte after those that are missing from chunk i on, or that one request is for. @param {number} i */
  #endOfGap(i) {
    if (!this.#chunkBytes) return FIRST_BYTES;
    let end = i + 1;
    while (end < i + chunksPerRequest(this.#chunkBytes) && !this.#have.has(end)) end++;
    return end * this.#chunkBytes;
  }

  /** @param {Source} source @param {number} first @param {import('./source.js').Body} body */
  #download(source, first, body) {
    const { meter, signal } = this.#job;
    this.#downloads = new Downloads({
      source, signal, chunkBytes: this.#chunkBytes,
      has: (i) => this.#have.has(i),
      arrived: (i, bytes) => this.#arrived(i, bytes),
      received(n) {
        meter.enter('download');
        meter.add(n);
      },
    }, first, body);
  }

  /** While another page fetches this file: waits for chunk i to be stored. False where this page is to fetch
   * it. */
  async #othersStore(/** @type {number} */ i) {
    const lock = this.#lock;
    while (lock && this.#store) {
      const isHeld = await lock.isHeld();
      if (this.#job.signal.aborted) throw new Aborted();
      await this.#readManifest();
      if (this.#have.has(i)) return true;
      if (isHeld) break;
      await lock.change();
    }
    return false;
  }

  /** Stores a chunk as soon as the engine has taken one. @param {number} i @param {Uint8Array} bytes */
  #arrived(i, bytes) {
    const sum = this.#sums[i] = xxh32(bytes);
    this.#writing = this.#writing.then(async () => {
      if (!(await this.#accepted) || !this.#manifest || !this.#store || this.#have.has(i)) return;
      await this.#store.putChunk(this.#manifest, i, bytes, sum);
      this.#have.add(i);
      this.#damaged.delete(i);
      this.#lock?.notify();
    }).catch((error) => this.#storingFailed(error));
    return this.#writing;
  }

  /** @param {Source} source */
  async #startStoring(source) {
    if (!this.#store) return;
    const { key, url, name, size, version } = source;
    try {
      if (this.#manifest) await this.#store.resume(this.#manifest);
      else this.#manifest = await this.#store.create({ key, url, name, size, ...version });
    } catch (error) {
      this.#giveUpCache(error);
    }
  }

  /** Frees what was stored of a model that cannot be stored whole. @param {unknown} error */
  async #storingFailed(error) {
    await this.#forget().catch(() => {});
    try {
      this.#giveUpCache(error);
    } catch (fatal) {
      this.#fatal = fatal;
      this.#downloads?.stop(fatal);
    }
  }

  /** @param {unknown} error */
  async #stopDownloads(error) {
    this.#downloads?.stop(error);
    this.#accept(false);
    await this.#writing;
  }

  /* ---- the cache after ---- */

  #checkSum() {
    if (!this.#hash) return;
    const sum = this.#hash.hex();
    const { sha256: wanted } = this.#job;
    if (sum === wanted) return;
    throw new NutshellError('wrong-checksum', `the file's SHA-256 is ${sum}, not ${wanted}, and nothing of it was kept: `
      + 'check that, or load it again');
  }

  /** Completes the manifest; tells where the bytes came from. @returns {Promise<CacheResult>} */
  async #finishStoring() {
    const manifest = this.#manifest, sum = this.#job.sha256;
    if (!manifest || !this.#store) return { state: this.#storeError ? 'failed' : 'off', id: null, error: this.#storeError };
    try {
      const state = this.#fromCache === this.#at ? 'hit' : this.#fromCache > 0 ? 'resumed' : 'stored';
      const isNew = !manifest.complete || state !== 'hit' || (sum && sum !== manifest.sha256);
      if (!isNew) await this.#store.touch(manifest);
      const mayComplete = isNew && (!this.#lock || await this.#lock.isHeld()); // else the page that fetches does it
      const own = manifest.id;
      const id = mayComplete ? await this.#store.complete(manifest, this.#at, this.#sums, sum) : own;
      return { state, id, error: null };
    } catch (error) {
      this.#giveUpCache(error);
      return { state: 'failed', id: null, error: this.#storeError };
    }
  }

  /** Deletes a model that the engine refuses, unless it is complete and only does not run here. @param {unknown} error */
  async #dropRefused(error) {
    if (!this.#manifest || !(error instanceof NutshellError)) return;
    if (isUseless(error) || (!this.#manifest.complete && REFUSALS.includes(error.code))) await this.#forget().catch(() => {});
  }
}

/** @param {Manifest} manifest @returns {import('./version.js').Version} */
const versionOf = ({ size, etag, modified, from }) => ({ size, etag, modified, from });

/** Whether it says that the bytes are wrong. @param {unknown} error */
export const isUseless = (error) => error instanceof NutshellError && BAD_BYTES.includes(error.code);

/** @param {unknown} cause */
function htmlError(cause) {
  return new NutshellError('not-gguf', 'the server answered with an HTML page: check the address of the model', { cause });
}
