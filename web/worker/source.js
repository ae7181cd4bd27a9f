// Where a model's bytes come from. Each kind of source gives pieces in order from an offset on, in whatever sizes they
// come; the loader makes chunks of them. A source knows nothing of the cache.
import { NutshellError } from '../shared/errors.js';
import { piecesOf } from './pieces.js';
import { get, pull } from './http.js';

const RETRY_AFTER = [300, 1000, 3000]; // milliseconds, counted anew after each byte that arrives

/** The file on the server is no longer the one whose beginning was loaded: begin again. */
export class Changed extends Error {}

/**
 * @typedef {object} Source
 * @property {string | null} key   what the cache looks it up by; null if it cannot be looked up
 * @property {string | null} url
 * @property {string} name
 * @property {number} size   bytes; 0 while unknown
 * @property {string | null} etag
 * @property {boolean} html  it calls itself an HTML page
 * @property {(offset: number, known: { size: number, etag: string | null } | null) => Promise<void>} open
 *   gets ready to give bytes from offset on; `known` is what was known when those before it were loaded. Throws Changed.
 * @property {() => AsyncIterable<Uint8Array>} pieces  from the opened offset to the end, once; each is valid until the next
 *   one is asked for
 */

/** @param {number} milliseconds @param {AbortSignal} signal */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve(undefined);
    }
  });
}

/** @param {string} url */
export function lastPart(url) {
  const part = new URL(url).pathname.split('/').pop() ?? '';
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** @param {unknown} error a failure that may be gone the next time */
const isTransient = (error) => error instanceof NutshellError && (error.code === 'network' || /^http-5/.test(error.code));

/** @implements {Source} */
export class UrlSource {
  size = 0;
  html = false;
  /** @type {string | null} */
  etag = null;
  #at = 0;
  #signal;
  /** @type {import('./http.js').Answer | null} */
  #answer = null;

  /** @param {string} url absolute @param {AbortSignal} signal */
  constructor(url, signal) {
    this.url = url;
    this.key = url;
    this.name = lastPart(url);
    this.#signal = signal;
  }

  /** @param {number} offset @param {{ size: number, etag: string | null } | null} known */
  async open(offset, known) {
    this.#at = offset;
    this.#answer = await this.#get(known?.etag ?? null);
    const { size, etag, html } = this.#answer;
    if (known && this.#isOther(known)) throw new Changed();
    Object.assign(this, { size, etag, html });
  }

  /** Whether the answer is of another version than the known one. @param {{ size: number, etag: string | null }} known */
  #isOther(known) {
    const { size, etag, offset } = /** @type {import('./http.js').Answer} */ (this.#answer);
    return (known.size > 0 && size > 0 && known.size !== size) || (known.etag !== null && etag !== null && known.etag !== etag)
      || offset > this.#at;
  }

  /** @param {string | null} etag of the bytes before */
  async #get(etag) {
    try {
      return await get(this.url, this.#at, etag, this.#signal);
    } catch (error) {
      if (this.#at === 0 || !(error instanceof NutshellError)) throw error;
      if (error.code === 'http-416') throw new Changed(); // the file is shorter now
      if (error.code !== 'network') throw error;
      return get(this.url, 0, null, this.#signal); // perhaps this server refuses the Range header across origins
    }
  }

  /** @returns {AsyncGenerator<Uint8Array, void>} */
  async *pieces() {
    for (let failures = 0; ;) {
      const before = this.#at;
      try {
        yield* this.#rest();
        return;
      } catch (error) {
        if (this.#at > before) failures = 0;
        if (!isTransient(error) || failures >= RETRY_AFTER.length) throw error;
        await pause(RETRY_AFTER[failures++], this.#signal);
        this.#answer = null;
      }
    }
  }

  /** What one answer gives, without what was there before. */
  async *#rest() {
    if (!this.#answer) await this.open(this.#at, this);
    const answer = /** @type {import('./http.js').Answer} */ (this.#answer);
    for (let at = answer.offset, piece; (piece = await pull(answer, this.url, this.#signal)); at += piece.length) {
      const skip = Math.max(this.#at - at, 0);
      if (skip >= piece.length) continue;
      this.#at = at + piece.length;
      yield piece.subarray(skip);
    }
    if (this.#at < this.size) {
      throw new NutshellError('network', `${this.url} ended after ${this.#at} of ${this.size} bytes: load it again, it goes on `
        + 'from there');
    }
  }
}

/** @implements {Source} */
export class BlobSource {
  url = null;
  etag = null;
  html = false;
  #blob;
  #at = 0;

  /** @param {Blob} blob a File has a name and a date to be known by */
  constructor(blob) {
    const { name, lastModified } = /** @type {Partial<File>} */ (blob);
    this.key = name === undefined ? null : `file:${name}:${blob.size}:${lastModified}`;
    this.name = name ?? '';
    this.size = blob.size;
    this.#blob = blob;
  }

  /** @param {number} offset */
  async open(offset) {
    this.#at = offset;
  }

  async *pieces() {
    try {
      yield* piecesOf(this.#blob.slice(this.#at));
    } catch (cause) {
      throw new NutshellError('io', `the file ${this.name} cannot be read any more (${cause}): choose it again`, { cause });
    }
  }
}

/** Bytes that the page holds or receives: it is asked for one piece after the other. @implements {Source} */
export class PageSource {
  key = null;
  url = null;
  etag = null;
  html = false;
  name = '';
  #next;

  /** @param {number} size 0 if unknown @param {() => Promise<Uint8Array | null>} next */
  constructor(size, next) {
    this.size = size;
    this.#next = next;
  }

  /** @param {number} offset */
  async open(offset) {
    if (offset !== 0) throw new Changed();
  }

  async *pieces() {
    for (let piece; (piece = await this.#next());) yield piece;
  }
}
