// What the caches of questions and of prefixes keep in IndexedDB: entries of a bounded size, of which the least recently used
// ones go. Nothing here ever fails for want of storage: what cannot be stored is kept in memory as long as the page is open.
import { openDB } from 'idb';

const DATABASE = 'nutshell-dynamic', VERSION = 1;
const OPEN_SECONDS = 8; // browsers now and then never answer

/**
 * @typedef {object} Note  what is known of an entry without reading it
 * @property {string} key
 * @property {number} bytes
 * @property {number} used     milliseconds since 1970
 * @property {number} created
 * @property {any} [more]      of the kind
 *
 * @typedef {{ maxBytes: number, maxEntries: number }} Limits
 */

/** @returns {Promise<import('idb').IDBPDatabase>} */
function open() {
  const opening = openDB(DATABASE, VERSION, {
    upgrade: (db) => {
      db.createObjectStore('notes');
      db.createObjectStore('values');
    },
    blocking: (_, __, event) => /** @type {any} */ (event.target).close(),
  });
  opening.catch(() => {}); // where it is late, nobody waits any more
  return Promise.race([opening, new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`the database did not open within ${OPEN_SECONDS} seconds`)), OPEN_SECONDS * 1000);
  })]);
}

/** @param {unknown} error */
const isQuota = (error) => /** @type {any} */ (error)?.name === 'QuotaExceededError';

export class Entries {
  #kind;
  #limits;
  /** @type {Promise<import('idb').IDBPDatabase | null> | null} */
  #opening = null;
  /** By key, the least recently used first. @type {Map<string, Note>} */
  #notes = new Map();
  /** Values that are not in the database. @type {Map<string, any>} */
  #held = new Map();
  /** Why entries are kept in memory alone. @type {unknown} */
  error = null;

  /** @param {string} kind  whose entries these are, with the name that the page gave @param {Limits} limits */
  constructor(kind, limits) {
    this.#kind = kind;
    this.#limits = limits;
  }

  /** Opens the database once. @returns {Promise<import('idb').IDBPDatabase | null>} null: there is none */
  #database() {
    return this.#opening ??= (async () => {
      const db = await open();
      const all = await db.getAll('notes', IDBKeyRange.bound([this.#kind], [this.#kind, []]));
      const held = [...this.#notes.values()];
      for (const note of [...all.sort((a, b) => a.used - b.used), ...held]) this.#notes.set(note.key, note);
      return db;
    })().catch((error) => {
      this.error = error;
      return null;
    });
  }

  /** @param {string} key */
  #id(key) {
    return [this.#kind, key];
  }

  /** What is known of all entries, the least recently used first. @returns {Promise<Note[]>} */
  async notes() {
    await this.#database();
    return [...this.#notes.values()];
  }

  /** An entry's value, which counts as used now; null where there is none. @param {string} key @returns {Promise<any>} */
  async get(key) {
    const db = await this.#database(), note = this.#notes.get(key);
    if (!note) return null;
    const value = this.#held.get(key) ?? await db?.get('values', this.#id(key)).catch(() => null) ?? null;
    if (value === null) { // another page has deleted it
      await this.delete(key);
      return null;
    }
    note.used = Date.now();
    this.#notes.delete(key);
    this.#notes.set(key, note);
    if (!this.#held.has(key)) db?.put('notes', note, this.#id(key)).catch(() => {}); // it is only the order that suffers
    return value;
  }

  /** Stores an entry in place of one with this key. @param {string} key @param {any} value @param {number} bytes
   *  @param {any} [more] of its note @returns {Promise<boolean>} whether it outlives the page */
  async put(key, value, bytes, more) {
    const db = await this.#database();
    await this.delete(key);
    if (bytes > this.#limits.maxBytes) return false;
    const note = { key, bytes, used: Date.now(), created: Date.now(), more };
    await this.#makeRoom(bytes);
    this.#notes.set(key, note);
    if (db && await this.#write(db, note, value)) return true;
    this.#held.set(key, value);
    return false;
  }

  /** @param {import('idb').IDBPDatabase} db @param {Note} note @param {any} value */
  async #write(db, note, value) {
    for (const again of [true, false]) {
      try {
        const transaction = db.transaction(['notes', 'values'], 'readwrite');
        const id = this.#id(note.key);
        await Promise.all([transaction.objectStore('values').put(value, id), transaction.objectStore('notes').put(note, id),
          transaction.done]);
        return true;
      } catch (error) {
        this.error = error;
        if (!again || !isQuota(error)) return false;
        await this.#makeRoom(this.#limits.maxBytes / 2, note.key); // the browser grants less than the limit
      }
    }
    return false;
  }

  /** Deletes the least recently used entries until there are `bytes` and a place. @param {number} bytes @param {string} [but] */
  async #makeRoom(bytes, but) {
    const { maxBytes, maxEntries } = this.#limits;
    let sum = [...this.#notes.values()].reduce((all, note) => all + note.bytes, 0);
    for (const note of [...this.#notes.values()]) {
      if (sum + bytes <= maxBytes && this.#notes.size < maxEntries) return;
      if (note.key === but) continue;
      sum -= note.bytes;
      await this.delete(note.key);
    }
  }

  /** @param {string} key @returns {Promise<boolean>} whether there was one */
  async delete(key) {
    const db = await this.#database();
    this.#held.delete(key);
    const was = this.#notes.delete(key);
    if (db && was) {
      const transaction = db.transaction(['notes', 'values'], 'readwrite');
      await Promise.all([transaction.objectStore('values').delete(this.#id(key)),
        transaction.objectStore('notes').delete(this.#id(key)), transaction.done]).catch((error) => { this.error = error; });
    }
    return was;
  }

  async clear() {
    for (const { key } of await this.notes()) await this.delete(key);
  }

  /** @returns {Promise<{ entries: number, bytes: number, stored: boolean }>} */
  async usage() {
    const notes = await this.notes();
    return { entries: notes.length, bytes: notes.reduce((sum, { bytes }) => sum + bytes, 0), stored: this.#held.size === 0
      && await this.#database() !== null };
  }
}
