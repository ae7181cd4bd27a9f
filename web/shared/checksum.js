// xxHash32 (Collet, https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md): finds damaged chunks in the
// cache. It reads several GB/s in plain JavaScript, so that it works on pages without crypto.subtle too. It
// does not protect against anybody who changes the bytes on purpose.

const P1 = 0x9e3779b1 | 0, P2 = 0x85ebca77 | 0, P3 = 0xc2b2ae3d | 0, P4 = 0x27d4eb2f | 0, P5 = 0x165667b1 | 0;

/** @param {number} x @param {number} n */
const rotate = (x, n) => (x << n) | (x >>> (32 - n));

/** @param {number} lane @param {number} word */
const round = (lane, word) => Math.imul(rotate((lane + Math.imul(word, P2)) | 0, 13), P1);

/** Sixteen bytes a step in four lanes. @param {Int32Array} words @param {number} n a multiple of 4 */
function lanes(words, n) {
  let a = (P1 + P2) | 0, b = P2, c = 0, d = -P1 | 0;
  for (let i = 0; i < n; i += 4) {
    a = round(a, words[i]);
    b = round(b, words[i + 1]);
    c = round(c, words[i + 2]);
    d = round(d, words[i + 3]);
  }
  return (rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)) | 0;
}

/**
 * @param {Uint8Array} bytes  its offset in its buffer must be a multiple of 4 (little-endian machines)
 * @returns {number} 0 .. 2^32 - 1, seed 0
 */
export function xxh32(bytes) {
  const n = bytes.length;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, n >> 2);
  const whole = n >> 4 << 2; // words in steps of sixteen bytes
  let h = ((whole ? lanes(words, whole) : P5) + n) | 0;
  for (let i = whole; i < words.length; i++) h = Math.imul(rotate((h + Math.imul(words[i], P3)) | 0, 17), P4);
  for (let i = words.length << 2; i < n; i++) h = Math.imul(rotate((h + Math.imul(bytes[i], P5)) | 0, 11), P1);
  h = Math.imul(h ^ (h >>> 15), P2);
  h = Math.imul(h ^ (h >>> 13), P3);
  return (h ^ (h >>> 16)) >>> 0;
}
