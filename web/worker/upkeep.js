// dist/nutshell-cache.mjs: what few pages ask of the cache: checking stored models, exporting and importing
// them as files, and SHA-256. It works on the store that the worker has opened, so that the database's code
// is there once.
import { sha256 } from '@noble/hashes/sha2.js';
import { xxh32 } from '../shared/checksum.js';
import { NutshellError } from '../shared/errors.js';
import { IMPORT, IMPORT_LOCK, chunkBytesFor, newId } from './layout.js';
import { lastPart } from './source.js';

const MAGIC = 'GGUF';

/**
 * @typedef {import('./cache.js').Context} Context
 * @typedef {import('./store.js').Store} Store
 * @typedef {import('./store.js').Manifest} Manifest
 * @typedef {import('../nutshell.d.ts').CacheReport} CacheReport
 * @typedef {[id: string, url: string]} Target  what the page gave is one of them
 */

/** SHA-256 of bytes that come bit by bit: the browser's own function takes all at once. */
export function newSha256() {
  const hash = sha256.create();
  return {
    update: (/** @type {Uint8Array} */ bytes) => { hash.update(bytes); },
    hex: () => Array.from(hash.digest(), (byte) => byte.toString(16).padStart(2, '0')).join(''),
  };
}

/** @param {Store} store @param {Target} target @returns {Promise<Manifest>} */
async function find(store, [id, url]) {
  const manifest = await store.byId(id) ?? await store.byKey(url);
  if (manifest) return manifest;
  throw new NutshellError('not-cached', `there is no model ${id} in the cache: Nutshell.cache.list() tells which there are`);
}

/* ---- verify ---- */

/** A chunk's bytes if they have their checksum; null if not. @param {Store} store @param {Manifest} manifest @param {number} i */
async function soundChunk(store, manifest, i) {
  try {
    const chunk = await store.getChunk(manifest, i);
    if (!chunk) return null;
    const bytes = new Uint8Array(chunk.bytes instanceof Blob ? await chunk.bytes.arrayBuffer() : chunk.bytes);
    const sum = xxh32(bytes);
    return sum === chunk.sum && (!manifest.complete || sum === manifest.sums[i]) ? bytes : null;
  } catch {
    return null; // the browser cannot read its own file any more
  }
}

/**
 * @param {Store} store
 * @param {Manifest} manifest
 * @param {Context} context
 * @param {(bytes: number) => void} passed  is called after each chunk
 * @returns {Promise<CacheReport>}
 */
async function verifyModel(store, manifest, { checkStopped }, passed) {
  const { id, url, name, size, chunkBytes, complete, sha256: sum } = manifest;
  const count = Math.ceil(size / chunkBytes);
  const chunks = complete ? Array.from({ length: count }, (_, i) => i) : [...await store.indexes(manifest)];
  const hash = complete && sum ? newSha256() : null;
  const sound = new Set();
  for (const i of chunks) {
    checkStopped();
    const bytes = await soundChunk(store, manifest, i);
    if (bytes) sound.add(i);
    if (bytes) hash?.update(bytes);
    passed(chunkBytes);
  }
  const same = hash && sound.size === count ? hash.hex() === sum : null;
  const damaged = same === false ? chunks : chunks.filter((i) => !sound.has(i)); // any chunk of a wrong file may be wrong
  for (const i of damaged) {
    await store.removeChunk(manifest, i).catch((error) => {
      if (error.code !== 'quota') throw error; // a full disk: they stay, and each load finds them damaged
    });
  }
  return { id, url, name, chunks: chunks.length, damaged, sha256: same, complete: complete && !damaged.length };
}

/** @param {Store} store @param {Target | null} target null: all @param {Context} context */
async function verify(store, target, context) {
  const manifests = target ? [await find(store, target)] : await store.all();
  let total = 0, loaded = 0;
  for (const manifest of manifests) total += manifest.complete ? manifest.size : await store.storedBytes(manifest);
  const passed = (/** @type {number} */ bytes) => {
    loaded = Math.min(loaded + bytes, total);
    context.report({ loaded, total });
  };
  const reports = [];
  for (const manifest of manifests) reports.push(await verifyModel(store, manifest, context, passed));
  return reports;
}

/* ---- export ---- */

/** The file, made of the stored chunks; nothing is read yet. @param {Store} store @param {Target} target */
async function exportModel(store, target) {
  const manifest = await find(store, target);
  const chunks = [];
  for (let i = 0; manifest.complete && i * manifest.chunkBytes < manifest.size; i++) {
    const chunk = await store.getChunk(manifest, i);
    if (!chunk) break;
    chunks.push(chunk.bytes);
  }
  const blob = new Blob(chunks, { type: 'application/octet-stream' });
  if (manifest.complete && blob.size === manifest.size) return blob;
  throw new NutshellError('not-cached', `the model ${manifest.name || manifest.id} is not complete in the cache: load it from `
    + 'its source again');
}

/* ---- import ---- */

/** A source's bytes in chunks, each valid until the next. @param {import('./source.js').Body} body @param {number} size */
async function* inChunks(body, size) {
  const chunk = new Uint8Array(size);
  let fill = 0;
  for (let bytes; (bytes = await body.read());) {
    while (bytes.length) {
      const fitting = bytes.subarray(0, size - fill);
      chunk.set(fitting, fill);
      fill += fitting.length;
      bytes = bytes.subarray(fitting.length);
      if (fill < size) continue;
      yield chunk;
      fill = 0;
    }
  }
  if (fill) yield chunk.subarray(0, fill);
}

/** @param {Uint8Array} bytes the file's first */
function checkMagic(bytes) {
  if (String.fromCharCode(...bytes.subarray(0, MAGIC.length)) === MAGIC) return;
  throw new NutshellError('not-gguf', `a model file begins with "${MAGIC}" and this one does not: choose a .gguf file`);
}

/**
 * Stores the file under a temporary key, which is replaced by the right one when the file is complete: what
 * was stored under that key before stays until then.
 * @param {Store} store
 * @param {{ url: string | null, name: string, evict: boolean }} argument
 * @param {Context} context
 */
async function importModel(store, { url, name, evict }, { source, report, checkStopped }) {
  if (!source) throw new TypeError('no source');
  const { size, key } = source;
  store.mayEvict = evict;
  const body = await source.open(0, Infinity);
  const facts = { key: IMPORT + newId(), url: null, name: name || source.name || (url ? lastPart(url) : ''), size, etag: null };
  /** @type {Manifest | null} */
  let manifest = null;
  const sums = [];
  let loaded = 0;
  try {
    for await (const bytes of inChunks(body, chunkBytesFor(size))) {
      checkStopped();
      if (!manifest) checkMagic(bytes);
      manifest ??= await store.create(facts);
      const sum = xxh32(bytes);
      await store.putChunk(manifest, sums.length, bytes, sum);
      sums.push(sum);
      loaded += bytes.length;
      report({ loaded, total: size });
    }
    if (!manifest) return checkMagic(new Uint8Array());
    manifest.url = url;
    manifest.key = url ?? key ?? `bytes:${manifest.id}`;
    const id = await store.complete(manifest, loaded, sums);
    return store.entry(/** @type {Manifest} */ (await store.byId(id)));
  } catch (error) {
    if (manifest) await store.remove(manifest.id).catch(() => {});
    throw error;
  }
}

/** While the lock is held no page takes the import for abandoned. @type {import('./cache.js').Operation} */
async function lockedImport(store, argument, context) {
  const work = () => importModel(store, argument, context);
  return navigator.locks ? navigator.locks.request(IMPORT_LOCK, { mode: 'shared' }, work) : work();
}

/** @type {Record<string, import('./cache.js').Operation>} */
export const operations = {
  verify,
  export: exportModel,
  import: lockedImport,
};
