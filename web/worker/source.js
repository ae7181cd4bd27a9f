// Where a model's bytes come from. Each kind of source gives any part of a file, or only the file from its beginning on; what
// is wanted, how often it is tried and what becomes of it is decided elsewhere. A source knows nothing of the cache.
import { NutshellError } from '../shared/errors.js';
import { PieceReader } from './pieces.js';
import { get } from './http.js';

/** The file on the server is no longer the one whose beginning was loaded: begin again. */
export class Changed extends Error {}

/**
 * @typedef {{ size: number, etag: string | null }} Version  what is known of a file whose bytes are at hand
 * @typedef {object} Body  bytes of a file, in order
 * @property {number} offset  of the first
 * @property {() => Promise<Uint8Array | null>} read  the next ones, valid until the next call; null at the end
 * @property {() => void} cancel
 * @typedef {object} Source
 * @property {string | null} key   what the cache looks it up by; null if it cannot be looked up
 * @property {string | null} url
 * @property {string} name
 * @property {number} size   bytes; 0 while unknown
 * @property {string | null} etag
 * @property {boolean} html  it calls itself an HTML page
 * @property {boolean} ranges  gives parts of the file; known once it was opened
 * @property {number} lanes  parts that may be fetched at a time
 * @property {(known: Version | null) => void} expect  bytes of this version are at hand, or none are
 * @property {(start: number, end: number) => Promise<Body>} open  the bytes from start to end (Infinity: the file's), or those
 *   of the whole file. Throws Changed where they are not of the version at hand.
 * @property {number} place  which of several places it is had from
 * @property {(from: number) => boolean} turnAway  whether there is another place to try where it failed at this one; that is then
 *   the place, unless it is already another
 */

/** @param {string} url */
export function lastPart(url) {
  const part = new URL(url).pathname.split('/').pop() ?? '';
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** @param {unknown} error @param {string} code */
const isError = (error, code) => error instanceof NutshellError && error.code === code;

const MAX_LANES = 4;

/** @implements {Source} */
export class UrlSource {
  size = 0;
  html = false;
  ranges = true;
  lanes = MAX_LANES;
  place = 0;
  #places;
  #answered = false; // to a request for a part
  /** What the bytes at hand are of, and the place that they came from. @type {(Version & { at: number }) | null} */
  #version = null;
  #headers;
  #trusted;
  #signal;

  /**
   * @param {string} url absolute; the file is known by it wherever it comes from
   * @param {object} how
   * @param {string[]} [how.mirrors]  other addresses of the same file
   * @param {Record<string, string>} [how.headers]
   * @param {boolean} [how.trusted]  the bytes are checked against a sum of the whole file, so that those of two servers may be
   *   joined without knowing that their files are the same
   * @param {AbortSignal} signal
   */
  constructor(url, { mirrors = [], headers = {}, trusted = false }, signal) {
    this.url = url;
    this.key = url;
    this.name = lastPart(url);
    this.#places = [url, ...mirrors];
    this.#headers = headers;
    this.#trusted = trusted;
    this.#signal = signal;
  }

  /** Of the file under its own address: only that is asked for its version later. */
  get etag() {
    return this.place === 0 ? this.#version?.etag ?? null : null;
  }

  /** @param {Version | null} known */
  expect(known) {
    this.size = known?.size ?? 0;
    this.#version = known && { size: known.size, etag: known.etag, at: 0 };
  }

  /** @param {number} start @param {number} end @returns {Promise<Body>} */
  async open(start, end) {
    let answer = await this.#ask(start, end);
    const hidden = answer.partial && !answer.size && end !== Infinity;
    if (hidden) { // only the rest of the file tells its size, by its length
      answer.cancel();
      answer = await this.#ask(start, Infinity);
    } else if (!answer.partial && answer.size === end - start) { // a part, said to be the whole
      answer.cancel();
      this.ranges = false;
      answer = await this.#ask(0, Infinity);
    }
    try {
      if (this.#version && answer.html && !this.html) {
        throw new NutshellError('network', `${this.#place} answered with a page instead of the file: check the connection`);
      }
      if (this.#isOther(answer)) throw new Changed();
      if (answer.offset > start) throw new NutshellError('network', `${this.#place} sent another part than it was asked for`);
    } catch (error) {
      answer.cancel();
      throw error;
    }
    const { size, etag, html, partial } = answer;
    this.#version ??= { size, etag, at: this.place };
    this.size ||= this.#version.size || size;
    this.html = html;
    if (!partial || hidden) this.ranges = false;
    return answer;
  }

  /** @param {number} from */
  turnAway(from) {
    if (this.place !== from) return true;
    if (from + 1 >= this.#places.length) return false;
    this.place++;
    this.ranges = true;
    this.#answered = false;
    return true;
  }

  get #place() {
    return this.#places[this.place];
  }

  /** Whether the answer is of another version than the bytes at hand. @param {Version} answer */
  #isOther(answer) {
    const known = this.#version;
    if (!known) return false;
    if (known.size > 0 && answer.size > 0 && known.size !== answer.size) return true;
    if (this.#trusted) return false;
    return known.etag !== null && answer.etag !== null ? known.etag !== answer.etag : known.at !== this.place;
  }

  /** @param {number} start @param {number} end */
  async #ask(start, end) {
    const isWeb = /^https?:/.test(this.#place); // of an extension's own files parts come as if they were the whole
    const plain = !isWeb || (!this.ranges && start === 0);
    const etag = this.#version?.at === this.place ? this.#version.etag : null; // other servers may name the same file otherwise
    const whole = { headers: this.#headers, start: 0, end: Infinity, etag, plain: true };
    const wish = plain ? whole : { ...whole, start, end, plain };
    try {
      const answer = await get(this.#place, wish, this.#signal);
      this.#answered = true;
      return answer;
    } catch (error) {
      if (isError(error, 'http-416') && start > 0) throw new Changed(); // the file is shorter now
      if (plain || this.#answered || !(isError(error, 'http-416') || isError(error, 'network'))) throw error;
      this.ranges = false; // an empty file, or a server that refuses the Range header across origins
      return get(this.#place, whole, this.#signal);
    }
  }
}

/** A file that the user chose. @implements {Source} */
export class BlobSource {
  url = null;
  etag = null;
  html = false;
  ranges = true;
  lanes = 1;
  place = 0;
  #blob;

  /** @param {Blob} blob a File has a name and a date to be known by */
  constructor(blob) {
    const { name, lastModified } = /** @type {Partial<File>} */ (blob);
    this.key = name === undefined ? null : `file:${name}:${blob.size}:${lastModified}`;
    this.name = name ?? '';
    this.size = blob.size;
    this.#blob = blob;
  }

  expect() {}

  /** @param {number} start @param {number} end @returns {Promise<Body>} */
  async open(start, end) {
    const reader = new PieceReader(this.#blob.slice(start, Math.min(end, this.size)).stream());
    const read = () => reader.read().catch((cause) => {
      throw new NutshellError('io', `the file ${this.name} cannot be read any more (${cause}): choose it again`, { cause });
    });
    return { offset: start, read, cancel: () => reader.cancel() };
  }

  turnAway() {
    return false;
  }
}

/** Bytes that the page holds or receives: it is asked for one piece after the other. @implements {Source} */
export class PageSource {
  key = null;
  url = null;
  etag = null;
  html = false;
  ranges = false;
  lanes = 1;
  place = 0;
  name = '';
  #next;

  /** @param {number} size 0 if unknown @param {() => Promise<Uint8Array | null>} next */
  constructor(size, next) {
    this.size = size;
    this.#next = next;
  }

  expect() {}

  /** @param {number} start @returns {Promise<Body>} */
  async open(start) {
    if (start !== 0) throw new Changed();
    return { offset: 0, read: this.#next, cancel() {} };
  }

  turnAway() {
    return false;
  }
}
