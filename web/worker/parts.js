// Where the files of a model are that comes in several, NAME-00001-of-00003.gguf and so on, as llama.cpp's gguf-split names them.
import { NutshellError } from '../shared/errors.js';

const NUMBERED = /-00001-of-(\d{5})(?=\.gguf$)/i;

/**
 * The address of file i of n, beside the first.
 * @param {string} url of the first @param {number} i @param {number} n
 */
export function partUrl(url, i, n) {
  const address = new URL(url);
  if (i === 0) return url;
  const named = NUMBERED.exec(address.pathname);
  if (!named || Number(named[1]) !== n) {
    throw new NutshellError('bad-argument', `this is the first of ${n} files of a model and its address does not tell those of `
      + 'the others: pass an array of all addresses');
  }
  address.pathname = address.pathname.replace(NUMBERED, `-${String(i + 1).padStart(5, '0')}-of-${named[1]}`);
  return address.href;
}

/** @template T @param {T[]} all that the caller gave @param {number} i @param {number} n @returns {T} */
export function givenPart(all, i, n) {
  if (i < all.length && (i === 0 || n === all.length)) return all[i];
  throw new NutshellError('bad-argument', `the model comes in ${n} files, and of these ${all.length} can be had here: pass an `
    + 'array of all, in their order');
}
