// How models are laid out in the database: what all code that handles chunks must agree on.

export const MAX_CHUNK_BYTES = 4 << 20;
const MIN_CHUNK_BYTES = 256 << 10;
const CHUNKS = 64; // of a model, or fewer, as long as their size allows

/** The prefix of the keys of incomplete imports, and the lock that running imports share: where nobody holds
 * it, such a key is
 *  abandoned. */
export const IMPORT = 'incoming:';
export const IMPORT_LOCK = 'nutshell-incoming';

/** Bytes of a model's chunks: small models have small ones, so that little is lost with one. @param {number} size 0 if unknown */
export function chunkBytesFor(size) {
  let bytes = size ? MIN_CHUNK_BYTES : MAX_CHUNK_BYTES;
  while (bytes < MAX_CHUNK_BYTES && bytes * CHUNKS < size) bytes *= 2;
  return bytes;
}

/** Bytes that a chunk should have. @param {{ size: number, chunkBytes: number }} manifest @param {number} index */
export function lengthOf({ size, chunkBytes }, index) {
  return size ? Math.min(chunkBytes, size - index * chunkBytes) : chunkBytes;
}

export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');
}
