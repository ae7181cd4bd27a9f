// Models in IndexedDB: a manifest for each file, and its bytes in chunks of one size, each with a checksum
// and written in a transaction of its own. A manifest is marked complete in one more transaction, after the
// last chunk; until then the stored chunks are a download that can be resumed. Other pages of the origin use
// the same database at the same time: each write checks in its own transaction that the manifest is still
// there, so that no chunk outlives it.
import { openDB, wrap } from 'idb';
import { NutshellError } from '../shared/errors.js';
import { fillsBuffers } from './byte_reader.js';
import { IMPORT, IMPORT_LOCK, chunkBytesFor, lengthOf, newId } from './layout.js';
import { choose, freeBytes, isQuotaError, mayEvict, quotaError } from './quota.js';

const DATABASE = 'nutshell';
const VERSION = 2;
const OPEN_SECONDS = 8;

// Firefox frees a Blob's bytes when its garbage collector runs, and does not count them among what makes it
// run. An ArrayBuffer counts, and takes no memory as long as nobody writes to it, so that an unused one of
// this size makes the collector run in time. WebKit does not need it and would fill it with zeros; it is
// recognized by its Blobs' streams (byte_reader.js).
const DECOYS = fillsBuffers(new Blob().stream()) ? 4 : 0; // times the bytes of a chunk

/**
 * @typedef {object} Manifest
 * @property {string} id
 * @property {string} key       what the model is looked up by: its URL, or what is known of a file
 * @property {string | null} url
 * @property {string} name
 * @property {number} size      bytes; 0 while unknown
 * @property {string | null} etag
 * @property {string | null} [modified]  see version.js; earlier releases noted neither this nor the next
 * @property {string | null} [from]
 * @property {number} chunkBytes  of all chunks but the last
 * @property {boolean} complete
 * @property {number[]} sums     checksums of the chunks, once complete
 * @property {string | null} [sha256]  of the whole file, in hexadecimal, where it was checked; missing in version 1
 * @property {number} created   milliseconds since 1970
 * @property {number} used
 *
 * @typedef {object} Chunk  as it is stored
 * @property {Blob | ArrayBuffer} bytes  a Blob is read from the disk bit by bit; an ArrayBuffer takes twice the time and
 *   several times the memory, and is stored where the browser stores no Blobs
 * @property {number} sum  xxHash32
 *
 * @typedef {import('./version.js').Version & { key: string | null, url: string | null, name: string }} Facts  what is known of a
 *   file when it begins to be stored
 */

/** Another page deleted the model, or a part of it, while it was being stored. */
export class Gone extends NutshellError {
  constructor() {
    super('storage', 'the model was deleted from the cache meanwhile: load it again');
  }
}

/** What IndexedDB's errors mean for a page. @param {unknown} cause */
async function explain(cause) {
  if (cause instanceof NutshellError) return cause;
  if (isQuotaError(cause)) return quotaError(0, await freeBytes(), [], cause);
  return new NutshellError('storage', `the browser's storage (IndexedDB) cannot be used here (${cause}): private windows and `
    + 'blocked site data forbid it; load with cache: false', { cause });
}

/** WebKit aborts transactions without an error when the disk is full; nothing else aborts those that have not
 * failed.
 *  @param {unknown} cause */
const silentlyFull = (cause) => new DOMException(`the transaction was not written (${cause})`, 'QuotaExceededError');

/**
 * Limits the time of an operation on the whole database; 'storage' where the browser forbids it or never
 * answers.
 * @template T
 * @param {() => Promise<T>} work
 */
async function inTime(work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), OPEN_SECONDS * 1000);
  });
  try {
    return await /** @type {Promise<T>} */ (Promise.race([work(), late]));
  } catch (cause) {
    throw await explain(cause);
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string} id all chunks of a model */
const chunksOf = (id) => IDBKeyRange.bound([id, 0], [id, Infinity]);

/** @param {import('idb').IDBPDatabase<any>} db @param {number} from the version of the database; manifests stay as they are */
function upgrade(db, from) {
  if (from < 1) {
    db.createObjectStore('models', { keyPath: 'id' }).createIndex('key', 'key', { unique: true });
    db.createObjectStore('chunks');
  }
  if (from < 2) db.createObjectStore('notes'); // things that are done once, by name
}

export class Store {
  #db;
  #takesBlobs = true;
  /** @type {ArrayBuffer | undefined} */
  decoy;
  /** Whether models that were not used for long may be deleted where space is short. */
  mayEvict = false;

  /** @param {import('idb').IDBPDatabase<any>} db */
  constructor(db) {
    this.#db = db;
  }

  /** Opens the database; rejects with 'storage' where the browser forbids it or never answers. @returns {Promise<Store>} */
  static open() {
    return inTime(async () => {
      const blocking = (/** @type {any} */ _current, /** @type {any} */ _wanted, /** @type {any} */ { target }) => target.close();
      const store = new Store(await openDB(DATABASE, VERSION, { upgrade, blocking }));
      await store.#sweep().catch(() => {}); // the next time, then
      return store;
    });
  }

  /** Deletes what crashes, closed pages and earlier versions left behind; reads few keys and no values. */
  async #sweep() {
    const transaction = this.#db.transaction(['models', 'chunks']);
    const models = transaction.objectStore('models');
    const ids = new Set(await models.getAllKeys());
    const imports = await models.index('key').getAllKeys(IDBKeyRange.bound(IMPORT, IMPORT + '\uffff'));
    const orphans = [];
    for (let cursor = await transaction.objectStore('chunks').openKeyCursor(); cursor;) {
      const [id] = /** @type {any} */ (cursor.key);
      if (!ids.has(id)) orphans.push(id);
      cursor = await cursor.continue([id, []]); // arrays come after all numbers: to the next model's first chunk
    }
    await transaction.done;
    for (const id of orphans) await this.remove(id);
    if (!imports.length) return;
    await navigator.locks?.request(IMPORT_LOCK, { ifAvailable: true }, async (lock) => {
      if (lock) for (const id of imports) await this.remove(/** @type {string} */ (id));
    });
  }

  /* ---- reading ---- */

  /**
   * Runs a database operation; its errors become 'quota' or 'storage'.
   * @template T
   * @param {() => Promise<T>} work
   */
  async #run(work) {
    try {
      return await work();
    } catch (cause) {
      throw await explain(cause);
    }
  }

  /**
   * Reads from one of the database's stores. Where a worker ends before its transaction does, WebKit takes
   * the database for open for ever; so each transaction is waited for.
   * @template T
   * @param {'models' | 'chunks'} from
   * @param {(store: any) => Promise<T>} work  waits for nothing but the database
   */
  #read(from, work) {
    return this.#run(async () => {
      const transaction = this.#db.transaction(from);
      const [result] = await Promise.all([work(transaction.store), transaction.done]);
      return result;
    });
  }

  /** @returns {Promise<Manifest[]>} */
  all() {
    return this.#read('models', (models) => models.getAll());
  }

  /** @param {string} id @returns {Promise<Manifest | undefined>} */
  byId(id) {
    return this.#read('models', (models) => models.get(id));
  }

  /** @param {string} key @returns {Promise<Manifest | undefined>} */
  byKey(key) {
    return this.#read('models', (models) => models.index('key').get(key));
  }

  /** Indexes of the stored chunks. @param {Manifest} manifest @returns {Promise<Set<number>>} */
  async indexes({ id }) {
    /** @type {[id: string, index: number][]} */
    const keys = await this.#read('chunks', (chunks) => chunks.getAllKeys(chunksOf(id)));
    return new Set(keys.map(([, index]) => index));
  }

  /**
   * A chunk, which the caller is to read and compare with its checksum; null where it is absent or of the
   * wrong length.
   * @param {Manifest} manifest
   * @param {number} index
   * @returns {Promise<Chunk | null>}
   */
  async getChunk(manifest, index) {
    /** @type {Chunk | undefined} */
    const chunk = await this.#read('chunks', (chunks) => chunks.get([manifest.id, index]));
    if (!chunk) return null;
    const stored = chunk.bytes instanceof Blob ? chunk.bytes.size : chunk.bytes.byteLength;
    return stored === lengthOf(manifest, index) ? chunk : null;
  }

  /** Bytes that are stored of a model. @param {Manifest} manifest */
  async storedBytes(manifest) {
    return [...await this.indexes(manifest)].reduce((sum, index) => sum + Math.max(lengthOf(manifest, index), 0), 0);
  }

  /** What a page is told of a model. @param {Manifest} manifest @returns {Promise<import('../nutshell.d.ts').CachedModel>} */
  async entry(manifest) {
    const { id, url, name, size, complete, created, used } = manifest;
    return { id, url, name, size, stored: await this.storedBytes(manifest), complete, created, used };
  }

  /* ---- space ---- */

  /**
   * Makes sure that there is space for more bytes; rejects with 'quota', before anything is deleted, where
   * there cannot be. An incomplete model is deleted only when nobody has loaded it for a day.
   * @param {number} bytes  0 if unknown
   * @param {string | null} keepId  the model that they belong to
   * @param {boolean} [allowed]  whether others may be deleted, those first that were not used for the longest time
   */
  async reserve(bytes, keepId, allowed = this.mayEvict) {
    const free = await freeBytes();
    if (bytes > free) await this.#evict(bytes, free, bytes - free, keepId, allowed);
  }

  /**
   * Deletes other models of at least so many missing bytes, or none; then rejects with 'quota'.
   * @param {number} bytes  that are to be stored
   * @param {number} free
   * @param {number} missing
   * @param {string | null} keepId
   * @param {boolean} allowed
   * @param {unknown} [cause]
   */
  async #evict(bytes, free, missing, keepId, allowed, cause) {
    const victims = [];
    for (const manifest of (await this.all()).sort((a, b) => a.used - b.used)) {
      const { id, name } = manifest;
      if (id !== keepId && mayEvict(manifest)) victims.push({ id, name, bytes: await this.storedBytes(manifest) });
    }
    const chosen = allowed ? choose(victims, missing) : null;
    if (!chosen) throw quotaError(bytes, free, victims, cause);
    for (const { id } of chosen) await this.remove(id);
  }

  /**
   * After a write for which there was no space, whatever the browser says is free.
   * @param {Manifest} manifest
   * @param {number} bytes  of the write
   * @param {unknown} cause
   */
  async #evictFor(manifest, bytes, cause) {
    const free = await freeBytes();
    const rest = manifest.size && manifest.size - await this.storedBytes(manifest);
    await this.#evict(rest, free, Math.max(rest - free, bytes, 1), manifest.id, this.mayEvict, cause);
  }

  /* ---- writing ---- */

  /**
   * One transaction, of which all is done or nothing.
   * @template T
   * @param {(models: any, chunks: any) => Promise<T>} work  waits for nothing but the database
   */
  async #transact(work) {
    const transaction = this.#db.transaction(['models', 'chunks'], 'readwrite');
    const ended = transaction.done.catch(() => {}); // told below
    try {
      const result = await work(transaction.objectStore('models'), transaction.objectStore('chunks'));
      await transaction.done;
      return result;
    } catch (error) {
      try {
        transaction.abort();
      } catch { /* it has ended */ }
      await ended;
      throw transaction.error ?? (/** @type {any} */ (error).name === 'AbortError' ? silentlyFull(error) : error);
    }
  }

  /**
   * A transaction that takes space. Where there is none, other models are deleted if they may be, and it is
   * tried once more.
   * @template T
   * @param {Manifest} manifest
   * @param {number} bytes
   * @param {(models: any, chunks: any) => Promise<T>} work
   */
  #write(manifest, bytes, work) {
    return this.#run(async () => {
      try {
        return await this.#transact(work);
      } catch (error) {
        if (!isQuotaError(error)) throw error;
        await this.#evictFor(manifest, bytes, error);
        return this.#transact(work);
      }
    });
  }

  /**
   * Starts a model that has no chunks yet. Refuses with 'quota' what the browser says cannot be stored.
   * @param {Facts} facts
   * @returns {Promise<Manifest>}
   */
  async create(facts) {
    await this.reserve(facts.size, null);
    const now = Date.now(), id = newId();
    /** @type {Manifest} */
    const manifest = {
      ...facts, key: facts.key ?? `bytes:${id}`, id, chunkBytes: chunkBytesFor(facts.size), complete: false, sums: [],
      sha256: null, created: now, used: now,
    };
    await this.#write(manifest, 0, (models) => models.add(manifest));
    return manifest;
  }

  /** Continues a model that has some of its chunks; 'quota' as for `create`. @param {Manifest} manifest */
  async resume(manifest) {
    await this.reserve(manifest.size && manifest.size - await this.storedBytes(manifest), manifest.id);
    await this.touch(manifest);
  }

  /**
   * Rejects with Gone where the model was deleted meanwhile.
   * @param {Manifest} manifest
   * @param {number} index
   * @param {Uint8Array} bytes  of memory that is not shared; not to be changed until this resolves
   * @param {number} sum  checksum
   */
  async putChunk(manifest, index, bytes, sum) {
    const { id } = manifest;
    this.decoy = new ArrayBuffer(DECOYS * bytes.length);
    const own = /** @type {Uint8Array<ArrayBuffer>} */ (bytes);
    const put = (/** @type {Chunk['bytes']} */ stored) => this.#write(manifest, bytes.length, async (models, chunks) => {
      await manifestIn(models, id);
      await chunks.put({ bytes: stored, sum }, [id, index]);
    });
    if (!this.#takesBlobs) return put(own.slice().buffer);
    try {
      await put(new Blob([own]));
    } catch (error) {
      if (error instanceof Gone || /** @type {any} */ (error).code === 'quota') throw error;
      this.#takesBlobs = false; // private windows of Safari
      await put(own.slice().buffer);
    }
  }

  /** Deletes a damaged chunk; the model is then no longer complete. @param {Manifest} manifest @param {number} index */
  async removeChunk(manifest, index) {
    manifest.complete = false;
    await this.#write(manifest, 0, async (models, chunks) => {
      const stored = await manifestIn(models, manifest.id);
      await chunks.delete([manifest.id, index]);
      if (stored.complete) await models.put({ ...stored, complete: false });
    });
  }

  /**
   * Marks the model complete; rejects with Gone where chunks are missing. It replaces another model with its
   * key. A file that is stored already under another name is not kept twice.
   * @param {Manifest} manifest
   * @param {number} size
   * @param {number[]} sums
   * @param {string | null} [sha256]  of the whole file, where it was checked
   * @returns {Promise<string>} id of the stored model
   */
  async complete(manifest, size, sums, sha256 = null) {
    const { id } = manifest;
    Object.assign(manifest, { size, sums, sha256: sha256 ?? manifest.sha256 ?? null, used: Date.now() });
    const kept = await this.#write(manifest, 0, async (models, chunks) => {
      await manifestIn(models, id);
      if (await chunks.count(chunksOf(id)) !== sums.length) throw new Gone();
      /** @type {Manifest[]} */
      const others = (await models.getAll()).filter((/** @type {Manifest} */ other) => other.id !== id);
      const twin = others.find((other) => isTwin(other, manifest));
      const gone = twin ? id : others.find(({ key }) => key === manifest.key)?.id;
      if (gone) await Promise.all([models.delete(gone), chunks.delete(chunksOf(gone))]);
      if (!twin) await models.put({ ...manifest, complete: true });
      return twin?.id ?? id;
    });
    manifest.complete = true;
    return kept;
  }

  /** Notes the time of the model's use; Gone where it was deleted. @param {Manifest} manifest */
  async touch(manifest) {
    const used = manifest.used = Date.now();
    await this.#run(() => this.#transact(async (models) => models.put({ ...await manifestIn(models, manifest.id), used })))
      .catch((error) => {
        if (error.code !== 'quota') throw error; // a full disk keeps nobody from reading
      });
  }

  /** Rejects with 'quota' where the browser needs space even for this. @param {string} id */
  async remove(id) {
    try {
      await this.#transact((models, chunks) => Promise.all([models.delete(id), chunks.delete(chunksOf(id))]));
    } catch (cause) {
      if (!isQuotaError(cause)) throw await explain(cause);
      throw new NutshellError('quota', 'the disk is too full to delete a model: free some, or delete all '
        + '(Nutshell.cache.clear)', { cause });
    }
  }

  /** Deletes all models; where there is no space even for that, the whole database. The store cannot be used
   * afterwards. */
  async clear() {
    try {
      for (const { id } of await this.all()) await this.remove(id);
    } catch {
      this.close();
      await inTime(() => wrap(indexedDB.deleteDatabase(DATABASE)));
    }
  }

  /** Whether this is the first time that this is asked in this origin. @param {string} what */
  isFirst(what) {
    return this.#db.add('notes', Date.now(), what).then(() => true, () => false);
  }

  /** What races of kernels chose in this version of the browser and the library. @param {string} [races]  to be noted in its
   *  place, unless it is empty @returns {Promise<unknown>} */
  races(races) {
    const browser = NUTSHELL_VERSION + navigator.userAgent;
    return races ? this.#db.put('notes', races, browser) : this.#db.get('notes', browser);
  }

  close() {
    this.#db.close();
  }
}

/** The model's manifest as it is now. @param {any} models @param {string} id @returns {Promise<Manifest>} */
async function manifestIn(models, id) {
  const manifest = await models.get(id);
  if (!manifest) throw new Gone();
  return manifest;
}

/** Whether two stored files hold the same bytes. @param {Manifest} a @param {Manifest} b */
function isTwin(a, b) {
  return a.complete && a.url === null && b.url === null && a.size === b.size && a.chunkBytes === b.chunkBytes
    && a.sums.every((sum, i) => sum === b.sums[i]);
}
