// Reads the beginning of a file on a server or at hand, as much of it as its header takes.
import { NutshellError } from '../shared/errors.js';
import { Short, readHeader } from './gguf.js';

const FIRST = 1 << 18, MOST = 1 << 26; // bytes that are asked for at first, and in all

/** @typedef {{ begin: number, bytes: Uint8Array<ArrayBuffer>, size: number }} Part  of a file, and the file's size or NaN */

/** Bytes of a file up to `end`, from `begin` on, or from 0 where the server knows no ranges and sends all of it.
 *  @param {string} url @param {number} begin @param {number} end @param {AbortSignal} [signal] @returns {Promise<Part>} */
async function fetchPart(url, begin, end, signal) {
  const stop = new AbortController(), left = () => stop.abort();
  signal?.throwIfAborted();
  signal?.addEventListener('abort', left);
  try {
    const response = await fetch(url, { headers: { Range: `bytes=${begin}-${end - 1}` }, signal: stop.signal });
    if (!response.ok || !response.body) {
      throw new NutshellError(`http-${response.status}`, `HTTP status ${response.status} for ${url}: check the address`);
    }
    const isPart = response.status === 206, from = isPart ? begin : 0;
    const whole = isPart ? /\/(\d+)$/.exec(response.headers.get('Content-Range') ?? '')?.[1]
      : response.headers.get('Content-Length');
    const parts = [], reader = response.body.getReader();
    for (let n = from; n < end;) {
      const { value, done } = await reader.read();
      if (done) break;
      parts.push(/** @type {Uint8Array<ArrayBuffer>} */ (value));
      n += value.length;
    }
    return { begin: from, bytes: await joined(parts), size: Number(whole ?? NaN) };
  } finally {
    signal?.removeEventListener('abort', left);
    stop.abort();
  }
}

/** @param {Blob} blob @param {number} begin @param {number} end @returns {Promise<Part>} */
const sliceOf = async (blob, begin, end) => ({ begin, bytes: await joined([blob.slice(begin, end)]), size: blob.size });

/** @param {BlobPart[]} parts */
const joined = async (parts) => new Uint8Array(await new Blob(parts).arrayBuffer());

/** @param {any} source an address, or a Blob @param {AbortSignal} [signal]
 *  @returns {Promise<{ header: import('./gguf.js').Header, size: number }>} */
export async function headerOf(source, signal) {
  const url = source instanceof Blob ? '' : new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  let bytes = new Uint8Array(0);
  for (let end = FIRST; ; end *= 2) {
    const part = await (url ? fetchPart(url, bytes.length, end, signal) : sliceOf(source, bytes.length, end));
    bytes = part.begin ? await joined([bytes, part.bytes]) : part.bytes;
    try {
      const header = readHeader(bytes, part.size || Infinity);
      if (part.size > 0) return { header, size: part.size };
      throw new Error('the server does not say how large it is');
    } catch (error) {
      if (error instanceof Short && bytes.length >= end && bytes.length !== part.size && end < MOST) continue;
      const { message } = /** @type {Error} */ (error);
      throw new NutshellError('not-gguf', `this is no model file whose header can be read: ${message}`, { cause: error });
    }
  }
}
