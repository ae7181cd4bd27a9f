// Models in IndexedDB: a manifest per model, and its bytes in chunks of fixed size, each with a checksum and written in
// a transaction of its own. A manifest is marked complete in one more transaction, after the last chunk; until then the
// chunks that are there are a download that can be resumed.
import { openDB } from 'idb';
import { NutshellError } from '../shared/errors.js';

export const CHUNK_BYTES = 4 << 20;

/** @param {number} size */
export function chunkBytesFor(size) {
  return Math.min(Math.max(2 ** Math.ceil(Math.log2((size || Infinity) / 64)), 256 << 10), CHUNK_BYTES);
}

const DATABASE = 'nutshell';
const VERSION = 1;
const OPEN_SECONDS = 8;

// Firefox frees a Blob's bytes when its garbage collector comes by, and does not count them among what makes it come. An
// ArrayBuffer counts, and costs no memory where nobody writes to it.
const DECOY_BYTES = 4 * CHUNK_BYTES;

/**
 * @typedef {object} Manifest
 * @property {string} id
 * @property {string} key       what the model is looked up by: its URL, or what is known of a file
 * @property {string | null} url
 * @property {string} name
 * @property {number} size      bytes; 0 while unknown
 * @property {string | null} etag
 * @property {number} chunkBytes
 * @property {string | null} sha256
 * @property {boolean} complete
 * @property {number[]} sums     of the chunks, once complete
 * @property {number} created   milliseconds since 1970
 * @property {number} used
 *
 * @typedef {object} Chunk  as it is stored
 * @property {Blob | ArrayBuffer} bytes  a Blob is read from the disk piece by piece; an ArrayBuffer takes twice the time and
 *   several times the memory, and is what browsers get that store no Blobs
 * @property {number} sum  xxHash32
 */

/** @param {unknown} error */
const isQuotaError = (error) => /** @type {any} */ (error)?.name === 'QuotaExceededError';

/** What IndexedDB's errors mean for a page. @param {unknown} cause @param {number} size of the model, 0 if unknown */
async function explain(cause, size) {
  if (isQuotaError(cause)) return quotaError(size, await estimate(), cause);
  return new NutshellError('storage', `the browser's storage (IndexedDB) cannot be used here (${cause}): private windows and `
    + 'blocked site data forbid it; models then load from their source each time', { cause });
}

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/**
 * @param {number} size
 * @param {{ used: number | null, quota: number | null }} room
 * @param {unknown} [cause]
 */
function quotaError(size, { used, quota }, cause) {
  const free = used === null || quota === null ? null : Math.max(quota - used, 0);
  const lack = free === null || !size ? 'more than the browser grants'
    : `${megabytes(size)} and the browser grants ${megabytes(free)}: ${megabytes(Math.max(size - free, 0))} are missing`;
  return new NutshellError('quota', `storing this model takes ${lack}; delete other models (Nutshell.cache.delete), free `
    + 'disk space, or load with cache: false', { cause });
}

/** @returns {Promise<{ used: number | null, quota: number | null }>} */
export async function estimate() {
  const told = await navigator.storage?.estimate?.().catch(() => null);
  return { used: told?.usage ?? null, quota: told?.quota ?? null };
}

/** @param {string} id all chunks of a model */
const chunksOf = (id) => IDBKeyRange.bound([id, 0], [id, Infinity]);

export class Store {
  #db;
  /** A chunk on its way to the database: Blobs take no bytes of memory that is shared. */
  #copy = new Uint8Array(CHUNK_BYTES);
  #takesBlobs = true;
  /** @type {ArrayBuffer | undefined} */
  decoy;

  /** @param {import('idb').IDBPDatabase<any>} db */
  constructor(db) {
    this.#db = db;
  }

  /** Opens the database; rejects with 'storage' where the browser forbids it or never answers. @returns {Promise<Store>} */
  static async open() {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('no answer')), OPEN_SECONDS * 1000);
    });
    try {
      const opening = openDB(DATABASE, VERSION, {
        upgrade(db) {
          db.createObjectStore('models', { keyPath: 'id' }).createIndex('key', 'key', { unique: true });
          db.createObjectStore('chunks');
        },
        blocking: (_current, _wanted, event) => /** @type {any} */ (event.target).close(),
      });
      return new Store(await Promise.race([opening, late]));
    } catch (cause) {
      throw await explain(cause, 0);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Runs a database operation; its errors become 'quota' or 'storage'.
   * @template T
   * @param {() => Promise<T>} work
   * @param {number} [size]  of the model
   */
  async #run(work, size = 0) {
    try {
      return await work();
    } catch (cause) {
      throw await explain(cause, size);
    }
  }

  /** @returns {Promise<Manifest[]>} */
  all() {
    return this.#run(() => this.#db.getAll('models'));
  }

  /** @param {string} id @returns {Promise<Manifest | undefined>} */
  byId(id) {
    return this.#run(() => this.#db.get('models', id));
  }

  /** @param {string} key @returns {Promise<Manifest | undefined>} */
  byKey(key) {
    return this.#run(() => this.#db.getFromIndex('models', 'key', key));
  }

  /**
   * Starts a model that has no chunks yet. Refuses with 'quota' what the browser says cannot be stored.
   * @param {{ key: string | null, url: string | null, name: string, size: number, etag: string | null }} facts
   * @returns {Promise<Manifest>}
   */
  async create(facts) {
    const room = await estimate();
    const free = room.used === null || room.quota === null ? Infinity : room.quota - room.used;
    if (facts.size > free) throw quotaError(facts.size, room);
    const now = Date.now();
    const id = newId();
    /** @type {Manifest} */
    const manifest = {
      ...facts, key: facts.key ?? `bytes:${id}`, id, chunkBytes: chunkBytesFor(facts.size), sha256: null, complete: false,
      sums: [], created: now, used: now,
    };
    await this.#run(() => this.#db.add('models', manifest), facts.size);
    return manifest;
  }

  /**
   * @param {Manifest} manifest
   * @param {number} index
   * One at a time.
   * @param {Uint8Array} bytes  copied before this returns
   * @param {number} sum
   */
  async putChunk(manifest, index, bytes, sum) {
    this.#copy.set(bytes);
    this.decoy = new ArrayBuffer(DECOY_BYTES);
    const copy = this.#copy.subarray(0, bytes.length);
    const put = (/** @type {Chunk['bytes']} */ bytes) => this.#db.put('chunks', { bytes, sum }, [manifest.id, index]);
    await this.#run(async () => {
      try {
        if (this.#takesBlobs) return await put(new Blob([copy]));
      } catch (error) {
        if (isQuotaError(error)) throw error;
        this.#takesBlobs = false; // private windows of Safari
      }
      await put(copy.slice().buffer);
    }, manifest.size);
  }

  /**
   * A chunk that is yet to be read and compared with its checksum; null where it is absent or of the wrong length.
   * @param {Manifest} manifest
   * @param {number} index
   * @returns {Promise<Chunk | null>}
   */
  async getChunk(manifest, index) {
    /** @type {Chunk | undefined} */
    const chunk = await this.#run(() => this.#db.get('chunks', [manifest.id, index]));
    if (!chunk) return null;
    const stored = chunk.bytes instanceof Blob ? chunk.bytes.size : chunk.bytes.byteLength;
    const { size, chunkBytes } = manifest;
    const due = size ? Math.min(chunkBytes, size - index * chunkBytes) : chunkBytes;
    return stored === due ? chunk : null;
  }

  /**
   * Marks that all chunks are there. A file that is stored already under another name is not kept twice.
   * @param {Manifest} manifest
   * @param {number} size
   * @param {number[]} sums
   * @param {string | null} sha256
   * @returns {Promise<string>} id of the stored model
   */
  async complete(manifest, size, sums, sha256 = null) {
    Object.assign(manifest, { size, sums, sha256, complete: true, used: Date.now() });
    const twin = manifest.url === null && (await this.all()).find((other) => isTwin(other, manifest));
    if (twin) await this.remove(manifest.id);
    else await this.#run(() => this.#db.put('models', manifest), size);
    return twin ? twin.id : manifest.id;
  }

  /** Notes that the model was used now. @param {Manifest} manifest */
  async touch(manifest) {
    manifest.used = Date.now();
    await this.#run(() => this.#db.put('models', manifest));
  }

  /** @param {string} id */
  remove(id) {
    return this.#run(async () => {
      const transaction = this.#db.transaction(['models', 'chunks'], 'readwrite');
      transaction.objectStore('models').delete(id);
      transaction.objectStore('chunks').delete(chunksOf(id));
      await transaction.done;
    });
  }

  /** Which chunks are stored. @param {Manifest} manifest @returns {Promise<Set<number>>} */
  async indexes(manifest) {
    const keys = await this.#run(() => this.#db.getAllKeys('chunks', chunksOf(manifest.id)));
    return new Set(keys.map((key) => key[1]));
  }

  /** Bytes that are stored of a model. @param {Manifest} manifest */
  async storedBytes(manifest) {
    const count = await this.#run(() => this.#db.count('chunks', chunksOf(manifest.id)));
    const bytes = count * manifest.chunkBytes;
    return manifest.size ? Math.min(bytes, manifest.size) : bytes;
  }

  close() {
    this.#db.close();
  }
}

/** Whether two stored files hold the same bytes. @param {Manifest} a @param {Manifest} b */
function isTwin(a, b) {
  return a.id !== b.id && a.complete && a.url === null && a.size === b.size && a.chunkBytes === b.chunkBytes
    && a.sums.every((sum, i) => sum === b.sums[i]);
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');
}
