// Jobs that can go on after the tab was closed. A job is all in the memory of its module, so a copy of that
// memory is kept, in IndexedDB, in pieces: those that have changed since the last copy, under new keys, and
// then in one transaction the list of pieces that are the copy now. A page that ends in between leaves the
// last copy whole. Memory that is all zeros takes no piece.
import { openDB } from 'idb';
import { xxh32 } from '../shared/checksum.js';
import { isQuotaError } from '../worker/quota.js';

const DATABASE = 'nutshell-compress';
const VERSION = 1;
const PIECE = 1 << 20;

/**
 * @typedef {object} Kept  what is known of a job
 * @property {string} id
 * @property {string} name      of the file that it makes
 * @property {object} source    what page/compress.js shows of where the model comes from
 * @property {object} options   of the job
 * @property {string} module    a checksum of the module whose memory it is
 * @property {number} bytes     of that memory
 * @property {(string | null)[]} pieces  their checksums; null: zeros
 * @property {number[]} turns   the copy that each was written for, which is a part of its key
 * @property {number} splits    files of the model, 0 where it is one
 * @property {string[]} notes   that were told
 * @property {number} done      0 to 1
 * @property {number} seconds   of work so far
 * @property {number} saved     milliseconds since 1970
 */

/** Two sums of one kind over bytes that are paired differently: what is left out of a copy has to be the same.
 *  @param {Uint8Array} bytes */
const sumOf = (bytes) => `${xxh32(bytes)}-${xxh32(bytes.subarray(4))}`;

const ZEROS = sumOf(new Uint8Array(PIECE));

export class KeptJobs {
  #db;
  #takesBlobs = true;

  /** @param {import('idb').IDBPDatabase<any>} db */
  constructor(db) {
    this.#db = db;
  }

  /** Null where the browser forbids it: jobs are then not kept. @returns {Promise<KeptJobs | null>} */
  static async open() {
    const upgrade = (/** @type {import('idb').IDBPDatabase<any>} */ db) => {
      db.createObjectStore('jobs', { keyPath: 'id' });
      db.createObjectStore('pieces');
    };
    try {
      return new KeptJobs(await openDB(DATABASE, VERSION, { upgrade }));
    } catch {
      return null;
    }
  }

  /** @returns {Promise<Kept[]>} */
  all() {
    return this.#db.getAll('jobs');
  }

  /** @param {string} id @returns {Promise<Kept | undefined>} */
  find(id) {
    return this.#db.get('jobs', id);
  }

  /**
   * Keeps a copy in place of the last one; rejects where there is no space, and the last one is then still there.
   * @param {Omit<Kept, 'bytes' | 'pieces' | 'turns' | 'saved'>} facts
   * @param {Uint8Array} memory  which does not change meanwhile
   * @param {Kept | undefined} last
   * @returns {Promise<Kept>}
   */
  async save(facts, memory, last) {
    const turn = Date.now();
    /** @type {Kept} */
    const kept = { ...facts, bytes: memory.length, pieces: [], turns: [], saved: turn };
    const old = [];
    for (let i = 0; i * PIECE < memory.length; i++) {
      const bytes = memory.subarray(i * PIECE, (i + 1) * PIECE), sum = sumOf(bytes);
      const isSame = last?.pieces[i] === sum;
      kept.pieces.push(sum === ZEROS ? null : sum);
      kept.turns.push(isSame ? last.turns[i] : turn);
      if (isSame || sum === ZEROS) continue;
      await this.#put(/** @type {Uint8Array<ArrayBuffer>} */ (bytes), [facts.id, i, turn]);
    }
    for (let i = 0; i < (last?.pieces.length ?? 0); i++) {
      if (last?.pieces[i] !== null && last?.turns[i] !== kept.turns[i]) old.push([facts.id, i, last?.turns[i]]);
    }
    await this.#db.put('jobs', kept);
    await Promise.all(old.map((key) => this.#db.delete('pieces', key)));
    return kept;
  }

  /** As a Blob, which goes to the disk sooner; private windows of WebKit take none. @param {Uint8Array<ArrayBuffer>} bytes
   *  @param {[string, number, number]} key */
  async #put(bytes, key) {
    try {
      if (this.#takesBlobs) return await this.#db.put('pieces', new Blob([bytes]), key);
    } catch (error) {
      if (isQuotaError(error)) throw error;
      this.#takesBlobs = false;
    }
    return this.#db.put('pieces', bytes.slice().buffer, key);
  }

  /** Fills a memory with a copy; false where a piece is not what was kept. @param {Kept} kept @param {Uint8Array} memory */
  async fill({ id, pieces, turns }, memory) {
    for (const [i, sum] of pieces.entries()) {
      const part = memory.subarray(i * PIECE, (i + 1) * PIECE);
      /** @type {Blob | ArrayBuffer | undefined} */
      const piece = sum === null ? undefined : await this.#db.get('pieces', [id, i, turns[i]]);
      const bytes = piece instanceof Blob ? await piece.arrayBuffer() : piece;
      if (sum === null) part.fill(0);
      else if (bytes?.byteLength !== part.length) return false;
      else part.set(new Uint8Array(bytes));
      if (sum !== null && sumOf(part) !== sum) return false;
    }
    return true;
  }

  /** @param {string} id @returns {Promise<boolean>} whether there was one */
  async drop(id) {
    const transaction = this.#db.transaction(['jobs', 'pieces'], 'readwrite');
    const jobs = transaction.objectStore('jobs');
    const was = await jobs.getKey(id) !== undefined;
    await Promise.all([jobs.delete(id), transaction.objectStore('pieces').delete(IDBKeyRange.bound([id], [id, []]))]);
    await transaction.done;
    return was;
  }

  close() {
    this.#db.close();
  }
}
