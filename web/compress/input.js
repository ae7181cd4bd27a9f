// Where a job reads the model: files that the user chose, models of the cache, and addresses, whose files are
// downloaded into the cache first, since a job reads them several times. Only a window of a file is in
// memory.
import { Aborted, NutshellError } from '../shared/errors.js';
import { loadUpkeep } from '../worker/cache.js';
import { loadModel } from '../worker/loader.js';
import { ProgressMeter } from '../worker/progress.js';
import { UrlSource, lastPart } from '../worker/source.js';
import { givenSplit, splitUrl } from '../worker/splits.js';

const WINDOW = 4 << 20; // bytes that are read at once

/**
 * @typedef {import('./engine.js').JobInput} JobInput
 * @typedef {import('../worker/store.js').Store} Store
 * @typedef {{ files?: Blob[], urls?: string[], cached?: string }} ModelSource  one of them
 * @typedef {object} Context
 * @property {() => Promise<Store>} openStore
 * @property {AbortSignal} signal
 * @property {(progress: import('../nutshell.d.ts').Progress) => void} downloading
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {string | null} key  the same for the same bytes; null where nothing tells
 * @property {import('./engine.js').JobIo['open']} open
 */

/** Any bytes of a Blob, by way of one window. @implements {JobInput} */
export class BlobInput {
  #blob;
  #at = 0;
  #bytes = new Uint8Array();

  /** @param {Blob} blob */
  constructor(blob) {
    this.#blob = blob;
    this.size = blob.size;
  }

  /** @param {number} offset @param {number} n */
  async read(offset, n) {
    const end = Math.min(offset + n, this.size);
    if (offset < this.#at || end > this.#at + this.#bytes.length) await this.#fetch(offset, Math.max(end - offset, WINDOW));
    return this.#bytes.subarray(offset - this.#at, end - this.#at);
  }

  /** @param {number} offset @param {number} n */
  async #fetch(offset, n) {
    try {
      this.#bytes = new Uint8Array(); // before the next are there, so that not both take memory
      this.#bytes = new Uint8Array(await this.#blob.slice(offset, offset + n).arrayBuffer());
      this.#at = offset;
    } catch (cause) {
      throw new NutshellError('io', `the model's file cannot be read any more (${cause}): choose it again`, { cause });
    }
  }
}

/** In place of an engine, for a load that only fills the cache. */
class Keeper {
  crash = null;
  #staging = new Uint8Array();

  /** @param {number} n */
  staging(n) {
    if (this.#staging.length < n) this.#staging = new Uint8Array(n);
    return this.#staging;
  }

  /** @param {number} at */
  feed(at) {
    if (at === 0 && String.fromCharCode(...this.#staging.subarray(0, 4)) !== 'GGUF') {
      throw new NutshellError('not-gguf', 'the address leads to no model: its file does not begin with "GGUF"');
    }
  }

  splits() {
    return 1;
  }

  loadBegin() {}

  loadNext() {}

  loadFinish() {}

  freeStaging() {
    this.#staging = new Uint8Array();
  }
}

/** Downloads a file into the cache, unless it is there; its id. @param {string} url @param {Context} context */
async function download(url, { openStore, signal, downloading }) {
  const job = {
    engine: /** @type {any} */ (new Keeper()), stored: null, cache: /** @type {'required'} */ ('required'), evict: false,
    sha256: [], headers: {}, options: /** @type {any} */ ({}), meter: new ProgressMeter(downloading), signal, openStore,
    sourceOf: () => new UrlSource(url, {}, signal),
  };
  const { cache } = await loadModel(job, null);
  if (cache.error) throw cache.error;
  return /** @type {string} */ (cache.id);
}

/** The file of a model in the cache; its bytes stay on the disk. @param {Store} store @param {string} id
 *  @returns {Promise<Blob>} */
export const storedFile = async (store, id) =>
  /** @type {Promise<Blob>} */ ((await loadUpkeep()).operations.export(store, [id, id], /** @type {any} */ (null)));

/** @param {ModelSource} source @param {Context} context @returns {Promise<Model>} */
export async function openModel({ files, urls, cached }, context) {
  if (files) {
    const { name = '', lastModified } = /** @type {Partial<File>} */ (files[0]);
    const key = files.every((file) => file instanceof File)
      ? `file:${files.map((file) => `${/** @type {File} */ (file).name}:${file.size}`).join()}:${lastModified}` : null;
    return { name, key, open: (i, n) => new BlobInput(givenSplit(files, i, n)) };
  }
  const store = await context.openStore();
  const fromCache = async (/** @type {string} */ id) => {
    if (context.signal.aborted) throw new Aborted();
    return new BlobInput(await storedFile(store, id));
  };
  if (cached !== undefined) {
    const manifest = await store.byId(cached);
    return { name: manifest?.name ?? '', key: `cached:${cached}`, open: (i) => fromCache(i ? '' : cached) };
  }
  const addresses = /** @type {string[]} */ (urls);
  const address = (/** @type {number} */ i, /** @type {number} */ n) =>
    (addresses.length === 1 ? splitUrl(addresses[0], i, n) : givenSplit(addresses, i, n));
  const first = await download(address(0, 1), context);
  return {
    name: lastPart(addresses[0]), key: `cached:${first}`,
    open: async (i, n) => fromCache(i ? await download(address(i, n), context) : first),
  };
}
