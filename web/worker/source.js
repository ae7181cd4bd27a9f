// Where a model's bytes come from. A source gives any range of a file, or only the file from its beginning;
// what is wanted, how often it is tried and what becomes of it is decided elsewhere. A source knows nothing
// of the cache.
import { NutshellError } from '../shared/errors.js';
import { ByteReader } from './byte_reader.js';
import { get, isOfServer, redirectedHeaders } from './http.js';
import { compareVersions, placeOf } from './version.js';

/** The file on the server is no longer the one whose beginning was loaded: begin again. */
export class Changed extends Error {}

/**
 * @typedef {import('./version.js').Version} Version
 * @typedef {Omit<Version, 'size'>} VersionMarks
 * @typedef {object} Body  bytes of a file, in order
 * @property {number} offset  of the first
 * @property {() => Promise<Uint8Array | null>} read  the next ones, valid until the next call; null at the end
 * @property {() => void} cancel
 * @typedef {object} Source
 * @property {string | null} key   what the cache looks the file up by; null if it cannot be looked up
 * @property {string | null} url
 * @property {string} name
 * @property {number} size   bytes; 0 while unknown
 * @property {VersionMarks} version  of the file under its own address
 * @property {boolean} html  the answer says that it is an HTML page
 * @property {boolean} ranges  gives ranges of the file; known once it was opened
 * @property {number} maxRequests  that may run at a time
 * @property {(known: Version | null) => void} expect  bytes of this version are at hand, or none are
 * @property {(start: number, end: number) => Promise<Body>} open  the bytes from start to end (Infinity: the file's end), or
 *   those of the whole file. Throws Changed where they are not of the version at hand.
 * @property {number} place  a number for the place that the bytes come from; another place has another number
 * @property {(place: number) => boolean} leave  goes to another place after a failure at this one; false: there is none. Where
 *   the source has left that place before, it stays where it is.
 * @property {() => void} [takeWhole]  asks for the whole file in one answer from now on
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

const MAX_REQUESTS = 4;
/** @type {VersionMarks} */
const NO_MARKS = { etag: null };

/**
 * A file on a server and its mirrors. Where an address redirects, the target of the first redirect is asked
 * from then on: an address can lead to another server each time, and nothing may tell whether that has the
 * same bytes.
 * @implements {Source}
 */
export class UrlSource {
  size = 0;
  html = false;
  ranges = true;
  maxRequests = MAX_REQUESTS;
  place = 0;
  #addresses;
  #index = 0; // of the address in use
  /** Where that address has led to. @type {string | null} */
  #target = null;
  #keepsTarget = true;
  #wantsWhole = false;
  #answered = false; // to a request for a range
  /** Of the bytes at hand, and the address that gave them. @type {(Version & { index: number }) | null} */
  #version = null;
  #headers;
  #trusted;
  #signal;

  /**
   * @param {string} url absolute; the file is known by it wherever it comes from
   * @param {object} how
   * @param {string[]} [how.mirrors]  other addresses of the same file
   * @param {Record<string, string>} [how.headers]
   * @param {boolean} [how.trusted]  the bytes are checked against a checksum of the whole file, so that those of two servers may
   *   be joined without knowing that their files are the same
   * @param {AbortSignal} signal
   */
  constructor(url, { mirrors = [], headers = {}, trusted = false }, signal) {
    this.url = url;
    this.key = url;
    this.name = lastPart(url);
    this.#addresses = [url, ...mirrors];
    this.#headers = headers;
    this.#trusted = trusted;
    this.#signal = signal;
  }

  /** Of the file under its own address: only that one is asked for its version later. @returns {VersionMarks} */
  get version() {
    if (this.#index > 0 || !this.#version) return NO_MARKS;
    const { etag, modified, from } = this.#version;
    return { etag, modified, from };
  }

  /** @param {Version | null} known */
  expect(known) {
    this.size = known?.size ?? 0;
    this.#version = known && { ...known, index: 0 };
    this.#target = null;
    this.#keepsTarget = true;
  }

  /** @param {number} start @param {number} end @returns {Promise<Body>} */
  async open(start, end) {
    let answer = await this.#ask(start, end);
    const hidden = answer.partial && !answer.size && end !== Infinity;
    if (hidden) { // only an answer to the end of the file tells the file's size, by its length
      answer.cancel();
      answer = await this.#ask(start, Infinity);
    } else if (!answer.partial && answer.size === end - start) { // a range, said to be the whole
      answer.cancel();
      this.ranges = false;
      answer = await this.#ask(0, Infinity);
    }
    try {
      if (this.#version && answer.html && !this.html) {
        throw new NutshellError('network', `${this.#address} answered with a page instead of the file: check the connection`);
      }
      if (this.#isOther(answer)) throw new Changed();
      if (answer.offset > start) throw new NutshellError('network', `${this.#address} sent another range than it was asked for`);
    } catch (error) {
      answer.cancel();
      throw error;
    }
    const { size, etag, modified, from, html, partial } = answer;
    this.#version ??= { size, etag, modified, from, index: this.#index };
    if (answer.redirected && this.#keepsTarget) this.#target = answer.url;
    this.size ||= this.#version.size || size;
    this.html = html;
    if (!partial || hidden) this.ranges = false;
    return answer;
  }

  /** @param {number} place */
  leave(place) {
    if (this.place !== place) return true;
    if (this.#target) { // the address may lead to a server that works; it is not left for this reason again
      this.#target = null;
      this.#keepsTarget = false;
    } else {
      if (this.#index + 1 >= this.#addresses.length) return false;
      this.#index++;
      this.#keepsTarget = true;
      this.ranges = !this.#wantsWhole;
      this.#answered = false;
    }
    this.place++;
    return true;
  }

  takeWhole() {
    this.#wantsWhole = true;
    this.ranges = false;
  }

  get #address() {
    return this.#addresses[this.#index];
  }

  /** Whether the answer is of another version than the bytes at hand, or may be. @param {Version} answer */
  #isOther(answer) {
    const known = this.#version;
    if (!known) return false;
    if (known.size > 0 && answer.size > 0 && known.size !== answer.size) return true;
    if (this.#trusted) return false;
    if (known.index === this.#index) return compareVersions(known, answer) !== 'same';
    return known.etag === null || known.etag !== answer.etag; // a mirror
  }

  /** @param {number} start @param {number} end */
  async #ask(start, end) {
    const target = this.#target;
    if (!target) return this.#askAt(this.#address, start, end);
    try {
      return await this.#askAt(target, start, end);
    } catch (error) {
      if (!isOfServer(error)) throw error;
      if (this.#target === target) this.#target = null; // it may have expired
      return this.#askAt(this.#address, start, end);
    }
  }

  /** @param {string} url @param {number} start @param {number} end */
  async #askAt(url, start, end) {
    const isWeb = /^https?:/.test(url); // an extension's own files come as a range that is said to be the whole
    const plain = !isWeb || (!this.ranges && start === 0);
    const known = this.#version, address = this.#address;
    const isKnown = known?.index === this.#index && (known.from ?? placeOf(address)) === placeOf(url);
    const etag = isKnown ? known.etag : null; // another server may have another one for the same file
    const whole = { headers: redirectedHeaders(this.#headers, address, url), start: 0, end: Infinity, etag, plain: true };
    const wish = plain ? whole : { ...whole, start, end, plain };
    try {
      const answer = await get(url, wish, this.#signal);
      this.#answered = true;
      return answer;
    } catch (error) {
      if (isError(error, 'http-416') && start > 0) throw new Changed(); // the file is shorter now
      if (plain || this.#answered || !(isError(error, 'http-416') || isError(error, 'network'))) throw error;
      this.ranges = false; // an empty file, or a server that refuses the Range header across origins
      return get(url, whole, this.#signal);
    }
  }
}

/** A file that the user chose. @implements {Source} */
export class BlobSource {
  url = null;
  version = NO_MARKS;
  html = false;
  ranges = true;
  maxRequests = 1;
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
    const reader = new ByteReader(this.#blob.slice(start, Math.min(end, this.size)).stream());
    const read = () => reader.read().catch((cause) => {
      throw new NutshellError('io', `the file ${this.name} cannot be read any more (${cause}): choose it again`, { cause });
    });
    return { offset: start, read, cancel: () => reader.cancel() };
  }

  leave() {
    return false;
  }
}

/** Bytes that the page holds or receives: it is asked for them chunk by chunk. @implements {Source} */
export class PageSource {
  key = null;
  url = null;
  version = NO_MARKS;
  html = false;
  ranges = false;
  maxRequests = 1;
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

  leave() {
    return false;
  }
}
