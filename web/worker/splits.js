// The files of a model that was split in several, NAME-00001-of-00003.gguf and so on, as llama.cpp's
// gguf-split names them.
import { NutshellError } from '../shared/errors.js';

const NUMBERED = /-00001-of-(\d{5})(?=\.gguf$)/i;

/** @param {number} n files @param {string} but */
const needAll = (n, but) =>
  new NutshellError('bad-argument', `the model has ${n} files, ${but}: pass an array of all in their order`);

/**
 * The address of split i of n, derived from the first one's.
 * @param {string} url of the first @param {number} i @param {number} n
 */
export function splitUrl(url, i, n) {
  const address = new URL(url);
  if (i === 0) return url;
  const named = NUMBERED.exec(address.pathname);
  if (!named || Number(named[1]) !== n) {
    throw needAll(n, 'whose addresses do not follow from that of the first');
  }
  address.pathname = address.pathname.replace(NUMBERED, `-${String(i + 1).padStart(5, '0')}-of-${named[1]}`);
  return address.href;
}

/** Split i of n, of those that the caller gave. @template T @param {T[]} all @param {number} i @param {number} n @returns {T} */
export function givenSplit(all, i, n) {
  if (i < all.length && (i === 0 || n === all.length)) return all[i];
  throw needAll(n, `and ${all.length} were given`);
}
