// How much the browser lets this origin store, which models may be deleted for another one, and the error
// where space is short.
import { NutshellError } from '../shared/errors.js';

const STALE = 24 * 3600 * 1000; // milliseconds: an incomplete model that was not used for so long counts as abandoned
const NAMED = 5; // models, in an error message

/** @typedef {{ id: string, name: string, bytes: number }} Victim  a model that may be deleted, and its stored bytes */

/** @param {unknown} error */
export const isQuotaError = (error) => /** @type {any} */ (error)?.name === 'QuotaExceededError';

/** @returns {Promise<{ used: number | null, quota: number | null }>} */
export async function estimate() {
  const told = await navigator.storage?.estimate().catch(() => null);
  return { used: told?.usage ?? null, quota: told?.quota ?? null };
}

/** Bytes that may still be stored; Infinity where the browser does not say. */
export async function freeBytes() {
  const { used, quota } = await estimate();
  return used === null || quota === null ? Infinity : Math.max(quota - used, 0);
}

/** Whether a model may be deleted for another one. @param {{ complete: boolean, used: number }} manifest */
export const mayEvict = ({ complete, used }) => complete || used < Date.now() - STALE;

/**
 * The first of the candidates that together have enough; null where all of them have not.
 * @param {Victim[]} candidates
 * @param {number} missing
 */
export function choose(candidates, missing) {
  let sum = 0;
  const count = candidates.findIndex(({ bytes }) => (sum += bytes) >= missing);
  return count < 0 ? null : candidates.slice(0, count + 1);
}

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/**
 * @param {number} bytes    that were to be stored; 0 if unknown
 * @param {number} free     as freeBytes() says
 * @param {Victim[]} others
 * @param {unknown} [cause]
 */
export function quotaError(bytes, free, others, cause) {
  const lack = bytes > free
    ? `${megabytes(bytes)} and the browser grants ${megabytes(free)}: ${megabytes(bytes - free)} are missing`
    : 'more than the browser grants';
  const names = others.slice(0, NAMED).map(({ name, id, bytes }) => `${name || id} (${megabytes(bytes)})`);
  const advice = names.length ? `delete others (Nutshell.cache.delete, or the option evict), such as ${names.join(', ')}; ` : '';
  return new NutshellError('quota', `storing this model takes ${lack}; ${advice}free disk space, or load with cache: false`,
    { cause });
}
