// A model file on a web server: its size and version, and any range of its bytes.
import { Aborted, NutshellError } from '../shared/errors.js';
import { ByteReader } from './byte_reader.js';
import { compareVersions, modifiedAt, placeOf } from './version.js';

const REVALIDATE_SECONDS = 2;
const STALL_SECONDS = 20; // without a byte: the connection counts as dead

/** What to do about a status. @type {Record<number, string>} */
const ADVICE = {
  401: 'the server asks for a login that this request lacks',
  403: 'the server does not allow this file to be fetched',
  404: 'no such file is on the server: check the address',
  410: 'the file is gone from the server',
  416: 'the server cannot give this range: delete the model from the cache and load it again',
  429: 'the server is busy: try again later',
};

/** @param {string} url @param {number} status */
function statusError(url, status) {
  const advice = ADVICE[status] ?? (status < 500 ? 'check the address' : 'the server failed: try again later');
  return new NutshellError(`http-${status}`, `HTTP status ${status} for ${url}: ${advice}`);
}

/** Whether a server answered so, or not at all. @param {unknown} error @returns {error is NutshellError} */
export const isOfServer = (error) => error instanceof NutshellError && /^(network|http-)/.test(error.code);

/** @param {string} url */
const isSameOrigin = (url) => new URL(url).origin === self.location.origin;

/** @param {string} url @param {unknown} cause */
function networkError(url, cause) {
  return new NutshellError('network', `no answer from ${url}: check the connection`
    + (isSameOrigin(url) ? '' : '; it is on another origin, so its server must allow this page '
      + '(Access-Control-Allow-Origin), and a Content-Security-Policy allow it in connect-src'), { cause });
}

/**
 * @typedef {object} Answer
 * @property {number} offset  of the first byte of the body in the file
 * @property {number} size    of the file; 0 if the server does not say
 * @property {string | null} etag
 * @property {string | null} modified  see version.js
 * @property {string} url     that gave it, after redirects
 * @property {string} from    the server and path of that
 * @property {boolean} redirected
 * @property {boolean} partial the body is the range that was asked for
 * @property {boolean} html   the answer says that it is an HTML page
 * @property {() => Promise<Uint8Array | null>} read  the next bytes, valid until the next call; null at the end
 * @property {() => void} cancel  no more bytes are wanted
 */

/** The headers' facts. @param {Response} response @param {string} asked the address @param {number} start @param {number} end
 *  the range that was asked for; Infinity: to the end */
function describe(response, asked, start, end) {
  const header = (/** @type {string} */ name) => response.headers.get(name);
  const encoded = (header('Content-Encoding') ?? 'identity') !== 'identity'; // Content-Length then counts other bytes
  const url = response.url || asked;
  const facts = {
    offset: 0, size: encoded ? 0 : Number(header('Content-Length')) || 0, etag: header('ETag'),
    modified: modifiedAt(header('Last-Modified')), url, from: placeOf(url), redirected: response.redirected, partial: false,
    html: /^text\/html\b/i.test(header('Content-Type') ?? ''),
  };
  if (response.status !== 206) return facts;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header('Content-Range') ?? '');
  if (range) return { ...facts, partial: true, offset: Number(range[1]), size: Number(range[2]) || 0 };
  // Across origins the header can be hidden. Then the server is taken to have sent the range that it was
  // asked for, and only an answer to the end of the file tells the file's size.
  return { ...facts, partial: true, offset: start, size: end === Infinity && facts.size ? start + facts.size : 0 };
}

/** Gives up waiting when the caller's signal aborts, or when nothing comes for too long. */
class StallTimer {
  #control = new AbortController();
  #signal;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  stalled = false;

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

  /** @template T @param {() => Promise<T>} work what to wait for @returns {Promise<T>} */
  async watch(work) {
    this.#timer = setTimeout(() => {
      this.stalled = true;
      this.stop();
    }, STALL_SECONDS * 1000);
    try {
      return await work();
    } finally {
      clearTimeout(this.#timer);
    }
  }
}

/** @param {string} url @param {StallTimer} timer @param {AbortSignal} signal @param {unknown} cause */
function failure(url, timer, signal, cause) {
  if (signal.aborted) return new Aborted();
  if (!timer.stalled) return networkError(url, cause);
  return new NutshellError('network', `nothing came from ${url} for ${STALL_SECONDS} seconds: check the connection, load again`);
}

/** @param {Parameters<typeof get>[1]} wish @param {string} url */
function headersFor({ headers, start, end, etag, plain }, url) {
  /** @type {Record<string, string>} */
  const result = { ...headers };
  if (plain) return result;
  result.Range = `bytes=${start}-${end === Infinity ? '' : end - 1}`;
  // On another origin If-Range would need the server's permission first.
  if (start > 0 && etag && !etag.startsWith('W/') && isSameOrigin(url)) result['If-Range'] = etag;
  return result;
}

/**
 * The caller's headers for the address that a redirect led to. Logins are left out where it is on another
 * origin, as browsers do it when they follow a redirect.
 * @param {Record<string, string>} headers with names in lower case @param {string} url @param {string} target
 */
export function redirectedHeaders(headers, url, target) {
  const { authorization, ...others } = headers;
  return new URL(url).origin === new URL(target).origin ? headers : others;
}

/**
 * Asks for a range of the file. A server that ignores ranges answers with the whole file. The browser's own
 * HTTP cache is not used: it would keep a second copy.
 * @param {string} url
 * @param {object} wish
 * @param {Record<string, string>} wish.headers  the caller's own; they go with each request and are kept nowhere
 * @param {number} wish.start
 * @param {number} wish.end    Infinity: to the end of the file
 * @param {string | null} wish.etag  of the bytes at hand: another version of the file is then sent from its beginning
 * @param {boolean} wish.plain  ask for the whole file, without a range
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export async function get(url, wish, signal) {
  const timer = new StallTimer(signal);
  const request = { headers: headersFor(wish, url), signal: timer.signal, cache: /** @type {const} */ ('no-store') };
  const response = await timer.watch(() => fetch(url, request)).catch((cause) => {
    throw failure(url, timer, signal, cause);
  });
  if (!response.ok || !response.body) {
    timer.stop();
    throw statusError(url, response.status);
  }
  const body = new ByteReader(response.body);
  const read = () => timer.watch(() => body.read()).catch((cause) => {
    throw failure(url, timer, signal, cause);
  });
  const cancel = () => {
    timer.stop();
    body.cancel();
  };
  return { ...describe(response, url, wish.start, wish.end), read, cancel };
}

/**
 * Whether the server has the same bytes in this place. One that does not say counts as if it had.
 * @param {string} url
 * @param {Record<string, string>} headers
 * @param {{ start: number, bytes: Uint8Array }} sample
 * @param {AbortSignal} signal
 */
async function hasBytes(url, headers, { start, bytes }, signal) {
  let answer;
  try {
    answer = await get(url, { headers, start, end: start + bytes.length, etag: null, plain: false }, signal);
    if (!answer.partial || answer.offset !== start) return true;
    let at = 0;
    for (let given; at < bytes.length && (given = await answer.read());) {
      if (given.some((byte, i) => at + i < bytes.length && byte !== bytes[at + i])) return false;
      at += given.length;
    }
  } catch { /* it does not say */ } finally {
    answer?.cancel();
  }
  return true;
}

/**
 * Whether the server now has another version than the one that is stored. A server that does not answer soon,
 * or not with this file, does not tell.
 * @param {import('./version.js').Version & { url: string | null }} stored
 * @param {Record<string, string>} headers
 * @param {() => Promise<{ start: number, bytes: Uint8Array } | null>} takeSample  some of the stored bytes, which are compared
 *   where nothing else tells
 * @param {AbortSignal} signal
 */
export async function hasChanged({ url, ...stored }, headers, takeSample, signal) {
  if (!url) return false;
  const late = AbortSignal.timeout ? AbortSignal.timeout(REVALIDATE_SECONDS * 1000) : signal;
  const response = await fetch(url, { method: 'HEAD', headers, cache: 'no-store', signal: late }).catch(() => null);
  if (!response?.ok) return false;
  const now = describe(response, url, 0, Infinity);
  if (stored.etag && stored.etag === now.etag) return false; // whatever length an answer without a body says
  const verdict = compareVersions(stored, now);
  const sample = verdict === 'unknown' ? await takeSample() : null;
  if (!sample) return verdict === 'other';
  return !(await hasBytes(now.url, redirectedHeaders(headers, url, now.url), sample, late));
}
