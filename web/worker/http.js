// A model on a web server: its size and version, and any part of its bytes.
import { Aborted, NutshellError } from '../shared/errors.js';
import { PieceReader } from './pieces.js';

const REVALIDATE_SECONDS = 2;
const STALL_SECONDS = 20; // without a byte: the connection is taken for dead

/** What to do about a status; others are told as they are. @type {Record<number, string>} */
const ADVICE = {
  401: 'the server asks for a login that this request did not carry',
  403: 'the server does not allow this file to be fetched',
  404: 'there is no such file on the server: check the address',
  410: 'the file was removed from the server',
  416: 'the server cannot give the requested part of the file: delete the model from the cache and load it again',
  429: 'the server asks to wait: try again later',
  500: 'the server failed: try again later',
  502: 'the server is not reachable behind its gateway: try again later',
  503: 'the server is overloaded or being serviced: try again later',
};

/** @param {string} url @param {number} status */
function statusError(url, status) {
  const advice = ADVICE[status] ?? (status < 500 ? 'check the address' : 'try again later');
  return new NutshellError(`http-${status}`, `HTTP status ${status} for ${url}: ${advice}`);
}

/** @param {string} url @param {unknown} cause */
function networkError(url, cause) {
  const foreign = new URL(url).origin !== self.location.origin;
  return new NutshellError('network', `no answer from ${url}: check the connection`
    + (foreign ? '; as it is on another origin, its server must also allow this page (Access-Control-Allow-Origin), and a '
      + 'Content-Security-Policy of this page must name it in connect-src' : ''), { cause });
}

/**
 * @typedef {object} Answer
 * @property {number} offset  of the first byte of `body` in the file
 * @property {number} size    of the file; 0 if the server does not say
 * @property {string | null} etag
 * @property {boolean} partial the server sends the part of the file that it is asked for
 * @property {boolean} html   the answer calls itself an HTML page
 * @property {() => Promise<Uint8Array | null>} read  the next bytes, valid until the next call; null at the end
 * @property {() => void} cancel  no more bytes are wanted
 */

/** @param {Response} response @param {number} start the offset asked for @param {number} end  Infinity: the file's */
function describe(response, start, end) {
  const header = (/** @type {string} */ name) => response.headers.get(name);
  const encoded = (header('Content-Encoding') ?? 'identity') !== 'identity'; // Content-Length then counts other bytes
  const facts = { offset: 0, size: encoded ? 0 : Number(header('Content-Length')) || 0, etag: header('ETag'), partial: false,
    html: /^text\/html\b/i.test(header('Content-Type') ?? '') };
  if (response.status !== 206) return facts;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header('Content-Range') ?? '');
  if (range) return { ...facts, partial: true, offset: Number(range[1]), size: Number(range[2]) || 0 };
  // Across origins the header can be hidden; then the server is taken to have done what it was asked for, and only the rest
  // of the file tells the file's size.
  return { ...facts, partial: true, offset: start, size: end === Infinity && facts.size ? start + facts.size : 0 };
}

/** Stops waiting when the caller's signal says so, or when nothing comes for too long. @param {AbortSignal} signal */
class Patience {
  #control = new AbortController();
  #signal;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  ranOut = false;

  /** @param {AbortSignal} signal */
  constructor(signal) {
    this.#signal = signal;
    if (signal.aborted) this.stop();
    signal.addEventListener('abort', this.stop);
  }

  get signal() {
    return this.#control.signal;
  }

  stop = () => {
    this.#signal.removeEventListener('abort', this.stop);
    this.#control.abort();
  };

  /** @template T @param {() => Promise<T>} work something to wait for, but not for ever @returns {Promise<T>} */
  async lend(work) {
    this.#timer = setTimeout(() => {
      this.ranOut = true;
      this.stop();
    }, STALL_SECONDS * 1000);
    try {
      return await work();
    } finally {
      clearTimeout(this.#timer);
    }
  }
}

/** @param {string} url @param {Patience} patience @param {AbortSignal} signal @param {unknown} cause */
function failure(url, patience, signal, cause) {
  if (signal.aborted) return new Aborted();
  if (!patience.ranOut) return networkError(url, cause);
  return new NutshellError('network', `nothing came from ${url} for ${STALL_SECONDS} seconds: check the connection, load again`);
}

/** If-Range on another origin would need the server's permission first. @param {string} url */
function isSameOrigin(url) {
  return new URL(url).origin === self.location.origin;
}

/** @param {Parameters<typeof get>[1]} wish @param {string} url */
function headersFor({ headers, start, end, etag, plain }, url) {
  /** @type {Record<string, string>} */
  const result = { ...headers };
  if (plain) return result;
  result.Range = `bytes=${start}-${end === Infinity ? '' : end - 1}`;
  if (start > 0 && etag && !etag.startsWith('W/') && isSameOrigin(url)) result['If-Range'] = etag;
  return result;
}

/**
 * Asks for a part of the file. A server that ignores ranges answers with the whole. The browser's own HTTP cache is left
 * out, or it would keep a second copy.
 * @param {string} url
 * @param {object} wish
 * @param {Record<string, string>} wish.headers  the caller's own; they go with each request and are kept nowhere
 * @param {number} wish.start
 * @param {number} wish.end    Infinity: the file's
 * @param {string | null} wish.etag  of the part at hand: another version of the file is then sent from 0 on
 * @param {boolean} wish.plain  ask for the whole file, without ranges
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export async function get(url, wish, signal) {
  const patience = new Patience(signal);
  const request = { headers: headersFor(wish, url), signal: patience.signal, cache: /** @type {const} */ ('no-store') };
  const response = await patience.lend(() => fetch(url, request)).catch((cause) => {
    throw failure(url, patience, signal, cause);
  });
  if (!response.ok || !response.body) {
    patience.stop();
    throw statusError(url, response.status);
  }
  const body = new PieceReader(response.body);
  const read = () => patience.lend(() => body.read()).catch((cause) => {
    throw failure(url, patience, signal, cause);
  });
  const cancel = () => {
    patience.stop();
    body.cancel();
  };
  return { ...describe(response, wish.start, wish.end), read, cancel };
}

/**
 * Whether the server now has another version than the one that is stored. A server that does not answer soon, or not
 * with this file, does not tell.
 * @param {{ url: string | null, etag: string | null, size: number }} stored
 * @param {Record<string, string>} headers
 * @param {AbortSignal} signal
 */
export async function hasChanged({ url, etag, size }, headers, signal) {
  if (!url) return false;
  const late = AbortSignal.timeout ? AbortSignal.timeout(REVALIDATE_SECONDS * 1000) : signal;
  const response = await fetch(url, { method: 'HEAD', headers, cache: 'no-store', signal: late }).catch(() => null);
  if (!response?.ok) return false;
  const now = describe(response, 0, Infinity);
  if (etag && now.etag) return etag !== now.etag;
  return size > 0 && now.size > 0 && size !== now.size;
}
