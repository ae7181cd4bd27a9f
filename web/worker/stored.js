// Models larger than a tab's memory, for loads with a weightsLimit: a part of dist/nutshell-more.mjs. The engine asks for
// bytes in the middle of a step (wasm/nut_stored.c), so that they must be read at once. Files that the user chose can be, and
// so can the Blobs of the cache: a Blob is found in the database once, when the model is loaded, and then refers to a file of
// the browser's that FileReaderSync reads as often as it is asked. No second copy of the model is made.
import { NutshellError } from '../shared/errors.js';
import { KV_TYPES, STORAGE } from '../shared/tables.js';

/**
 * @typedef {import('./loader.js').Job} Job
 * @typedef {typeof import('./loader.js').loadModel} LoadModel
 * @typedef {import('./store.js').Store} Store
 * @typedef {{ blobs: Blob[], each: number, size: number, id?: string }} StoredFile  Blobs of `each` bytes but for the last
 */

/** A buffer that is sent there is freed at once (see byte_reader.js). */
const nowhere = new MessageChannel().port1;
nowhere.close();

/** Of the loaded model. @type {StoredFile[]} */
let files = [];
/** @type {import('./wasm.js').Wasm} */
let wasm;
/** @type {FileReaderSync} */
let reader;

/** Copies bytes of a Blob to where they are wanted. @param {Blob} blob @param {number} start @param {Uint8Array} to */
function copy(blob, start, to) {
  const buffer = reader.readAsArrayBuffer(blob.slice(start, start + to.length));
  to.set(new Uint8Array(buffer));
  if (buffer.byteLength !== to.length) throw new Error('the file is shorter');
  nowhere.postMessage(null, [buffer]);
}

/**
 * n bytes of a file to an address; -1 where the browser cannot read them.
 * @param {number} file @param {number} offset @param {number} at @param {number} n
 */
function read(file, offset, at, n) {
  const { blobs, each } = files[file];
  try {
    for (const end = offset + n; offset < end;) {
      const start = offset % each, some = Math.min(each - start, end - offset);
      copy(blobs[Math.floor(offset / each)], start, wasm.view(at, some));
      offset += some;
      at += some;
    }
    return 0;
  } catch {
    return -1;
  }
}

/** Of the modules *-more, beside those of all. */
export const imports = { nut_stored_read: read };

/** In the engine's place while the cache is filled: takes the bytes, and lets the loader go on. */
class Sink {
  crash = null;
  #bytes = new Uint8Array();

  /** @param {number} n files of the model */
  constructor(n) {
    this.splits = () => n;
  }

  /** @param {number} n */
  staging(n) {
    if (this.#bytes.length < n) this.#bytes = new Uint8Array(n);
    return this.#bytes;
  }

  /** @param {number} offset */
  feed(offset) {
    if (offset || String.fromCharCode(...this.#bytes.subarray(0, 4)) === 'GGUF') return;
    throw new NutshellError('not-gguf', 'a model file begins with "GGUF" and this one does not: choose a .gguf file');
  }

  loadBegin() {}

  loadNext() {}

  loadFinish() {}

  freeStaging() {}
}

/** How many files a model has, by what the page gave. @param {{ urls?: string[], files?: Blob[] }} source
 *  @param {string | null} stored  the address of a cached one */
function countOf({ urls, files: given }, stored) {
  const all = given ?? urls ?? [];
  const [, count] = /-00001-of-(\d{5})\.gguf$/i.exec(new URL(stored ?? urls?.[0] ?? 'file:').pathname) ?? [];
  return all.length > 1 ? all.length : Number(count ?? 1);
}

const NO_FILES = 'this browser keeps no files for the page here (a private window?), so that nothing can be read from them '
  + 'during an answer: leave weightsLimit out, or load a file that the user has chosen';

/** File i of n, from the cache. @param {Job} job @param {Store} store @param {number} i @param {number} n
 *  @returns {Promise<StoredFile>} */
async function fromCache({ sourceOf, stored }, store, i, n) {
  const key = sourceOf(i, n)?.key ?? stored?.key ?? '', manifest = await store.byKey(key), blobs = [];
  for (let index = 0; manifest && index * manifest.chunkBytes < manifest.size; index++) {
    const bytes = (await store.getChunk(manifest, index))?.bytes;
    if (bytes instanceof ArrayBuffer) throw new NutshellError('storage', NO_FILES);
    if (bytes) blobs.push(bytes);
  }
  const size = blobs.reduce((sum, blob) => sum + blob.size, 0);
  if (manifest && size === manifest.size) return { blobs, each: manifest.chunkBytes, size, id: manifest.id };
  throw new NutshellError('storage', 'the model was deleted from the cache while it was loaded: load it again');
}

/** Brings a model to the cache, and finds its Blobs. @param {Job} job @param {Store | null} store @param {LoadModel} loadModel */
async function throughCache(job, store, loadModel) {
  const { source } = /** @type {any} */ (job.options), n = countOf(source, job.stored?.url ?? null);
  const engine = /** @type {any} */ (new Sink(n)), cache = job.cache === true ? 'required' : job.cache;
  const loaded = await loadModel({ ...job, engine, cache }, store);
  if (loaded.cache.error) throw loaded.cache.error;
  const from = await job.openStore();
  for (let i = 0; i < n; i++) files.push(await fromCache(job, from, i, n));
  return loaded;
}

/** Files that the user chose, as they are. @param {Blob[]} blobs */
function asTheyAre(blobs) {
  files = blobs.map((blob) => ({ blobs: [blob], each: blob.size, size: blob.size }));
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
  return { bytes, cache: { state: /** @type {const} */ ('off'), id: null, error: null } };
}

/** Deletes what is stored of bytes that are no whole model. @param {Job} job @param {string} code of the error */
async function forget({ openStore }, code) {
  if (code !== 'truncated-model' && code !== 'corrupt-model') return;
  for (const { id } of files) if (id) await (await openStore()).remove(id);
}

/** From now on each token tells what was read for it and those before. @param {import('./engine.js').Engine} engine */
function tellFigures(engine) {
  const step = engine.generateStep.bind(engine);
  engine.generateStep = (session) => {
    const told = step(session);
    Object.assign(told.drafts, { storage: wasm.struct(STORAGE, 'stored_figures') });
    return told;
  };
}

/** @param {Job} job  its options with weightsLimit and source @param {Store | null} store @param {LoadModel} loadModel */
export async function load(job, store, loadModel) {
  const { engine, cache, options } = job, { source, weightsLimit, ...o } = /** @type {any} */ (options);
  if (source.size !== undefined || (!source.files && cache === false)) {
    throw new NutshellError('bad-argument', 'with weightsLimit the model is read again and again, from a file or from the cache: '
      + 'load a URL, a File or { cached: id }, without cache: false');
  }
  reader = new FileReaderSync();
  ({ wasm } = engine);
  files = [];
  const loaded = source.files && cache === false ? asTheyAre(source.files) : await throughCache(job, store, loadModel);
  const sizes = new Uint8Array(Float64Array.from(files, ({ size }) => size).buffer);
  const texts = new TextEncoder().encode([o.kernel, o.preTokenizer, o.races, ''].join('\0'));
  const [at, textsAt] = wasm.put(sizes, texts), kvType = KV_TYPES.indexOf(o.kvType);
  try {
    wasm.check('stored_load', at, files.length, weightsLimit, o.contextLength, kvType, textsAt, o.threads, +o.fewer);
  } catch (error) {
    await forget(job, /** @type {any} */ (error).code);
    throw error;
  }
  engine.freeStaging();
  tellFigures(engine);
  return loaded;
}
