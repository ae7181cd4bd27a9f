// A model on a web server: its size and version, and its bytes from any offset on.
import { Aborted, NutshellError } from '../shared/errors.js';
import { PieceReader } from './pieces.js';

const REVALIDATE_SECONDS = 2;

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
 * @property {boolean} html   the answer calls itself an HTML page
 * @property {PieceReader} body
 */

/** @param {Response} response @param {number} asked the offset asked for @returns {Omit<Answer, 'body'>} */
function describe(response, asked) {
  const header = (/** @type {string} */ name) => response.headers.get(name);
  const encoded = (header('Content-Encoding') ?? 'identity') !== 'identity'; // Content-Length then counts other bytes
  const facts = { offset: 0, size: encoded ? 0 : Number(header('Content-Length')) || 0, etag: header('ETag'),
    html: /^text\/html\b/i.test(header('Content-Type') ?? '') };
  if (response.status !== 206) return facts;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header('Content-Range') ?? '');
  // Across origins the header can be hidden; then the server is taken to have done what it was asked for.
  if (!range) return { ...facts, offset: asked, size: facts.size && asked + facts.size };
  return { ...facts, offset: Number(range[1]), size: Number(range[2]) || 0 };
}

/**
 * Asks for the file from an offset on. A server that ignores ranges answers from 0 on. The browser's own HTTP cache is
 * left out, or it would keep a second copy.
 * @param {string} url
 * @param {number} offset
 * @param {string | null} etag  of the part at hand: another version of the file is then sent from 0 on
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export async function get(url, offset, etag, signal) {
  /** @type {Record<string, string>} */
  const headers = offset > 0 ? { Range: `bytes=${offset}-` } : {};
  if (offset > 0 && etag && !etag.startsWith('W/') && isSameOrigin(url)) headers['If-Range'] = etag;
  const response = await fetch(url, { headers, signal, cache: 'no-store' }).catch((cause) => {
    throw signal.aborted ? new Aborted() : networkError(url, cause);
  });
  if (!response.ok || !response.body) throw statusError(url, response.status);
  return { ...describe(response, offset), body: new PieceReader(response.body) };
}

/** If-Range on another origin would need the server's permission first. @param {string} url */
function isSameOrigin(url) {
  return new URL(url).origin === self.location.origin;
}

/**
 * The next bytes of a body, valid until the next call; null at its end.
 * @param {Answer} answer
 * @param {string} url
 * @param {AbortSignal} signal
 */
export function pull(answer, url, signal) {
  return answer.body.read().catch((cause) => {
    throw signal.aborted ? new Aborted() : networkError(url, cause);
  });
}

/**
 * Whether the server now has another version than the one that is stored. A server that does not answer soon, or not
 * with this file, does not tell. @param {{ url: string | null, etag: string | null, size: number }} stored
 * @param {AbortSignal} signal
 */
export async function hasChanged({ url, etag, size }, signal) {
  if (!url) return false;
  const late = AbortSignal.timeout ? AbortSignal.timeout(REVALIDATE_SECONDS * 1000) : signal;
  const response = await fetch(url, { method: 'HEAD', cache: 'no-store', signal: late }).catch(() => null);
  if (!response?.ok) return false;
  const now = describe(response, 0);
  if (etag && now.etag) return etag !== now.etag;
  return size > 0 && now.size > 0 && size !== now.size;
}
