// The files of a model that was split in several, NAME-00001-of-00003.gguf and so on, as llama.cpp's
// gguf-split names them.
import { NutshellError } from '../shared/errors.js';

const NUMBERED = /-00001-of-(\d{5})(?=\.gguf$)/i;

/**
 * The address of split i of n, derived from the first one's.
 * @param {string} url of the first @param {number} i @param {number} n
 */
export function splitUrl(url, i, n) {
  const address = new URL(url);
  if (i === 0) return url;
  const named = NUMBERED.exec(address.pathname);
  if (!named || Number(named[1]) !== n) {
    throw new NutshellError('bad-argument', `this is the first of ${n} files of a model, and the addresses of the others do not `
      + 'follow from its address: pass an array of all addresses');
  }
  address.pathname = address.pathname.replace(NUMBERED, `-${String(i + 1).padStart(5, '0')}-of-${named[1]}`);
  return address.href;
}

/** Split i of n, of those that the caller gave. @template T @param {T[]} all @param {number} i @param {number} n @returns {T} */
export function givenSplit(all, i, n) {
  if (i < all.length && (i === 0 || n === all.length)) return all[i];
  throw new NutshellError('bad-argument', `the model has ${n} files, and ${all.length} of them were given: pass an array of all, `
    + 'in their order');
}
