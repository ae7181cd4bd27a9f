// The header of a GGUF file, as far as it is needed to write the same one for fewer layers, whose weights are all alike: a model
// that takes as long for a token, layer by layer, as the one whose header was read.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

const MAGIC = 0x46554747; // "GGUF", little-endian
const SIZES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]; // of the types of values; 8: a text, 9: an array
const TEXT = 8, ARRAY = 9;
/** What fills the weights: read as a float or as a scale in half precision, each type has small numbers, and none that is
 *  not finite. Zeros would be computed faster than weights are: activations would all be zero. */
const FILLED = new Uint8Array(1 << 20).fill(0x3c);

/** More bytes are needed than there are. */
export class Short extends Error {}

class Cursor {
  at = 0;
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Where n bytes begin, which are passed. @param {number} n */
  pass(n) {
    if (!(n >= 0 && this.at + n <= this.bytes.length)) throw new Short(`byte ${this.at + n} of the header`);
    this.at += n;
    return this.at - n;
  }

  u32() {
    return this.view.getUint32(this.pass(4), true);
  }

  u64() {
    const low = this.u32(), high = this.u32();
    return high * 2 ** 32 + low;
  }

  text() {
    const n = this.u64(), at = this.pass(n);
    return new TextDecoder().decode(this.bytes.subarray(at, at + n));
  }

  /** Passes an array's elements. @param {number} type @param {number} n */
  elements(type, n) {
    if (type === TEXT) for (let i = 0; i < n; i++) this.pass(this.u64());
    else if (SIZES[type]) this.pass(n * SIZES[type]);
    else throw new Error(`an array has elements of type ${type}`);
  }
}

/**
 * @typedef {object} Entry  of the metadata
 * @property {string} key
 * @property {number} start  where it begins, its key included
 * @property {number} end
 * @property {number} value  where its value begins, behind its type
 * @property {number} type
 * @property {{ type: number, n: number, at: number } | null} array  its elements begin at `at`
 *
 * @typedef {object} Tensor
 * @property {string} name
 * @property {number} start  of its row in the table
 * @property {number} end
 * @property {number} offset  of its data
 * @property {number} bytes   up to the next tensor
 * @property {number} layer   -1: of none
 *
 * @typedef {object} Header
 * @property {Uint8Array} bytes
 * @property {Entry[]} entries
 * @property {Tensor[]} tensors
 * @property {number} alignment
 * @property {number} layers
 * @property {Entry} count  the entry that has the number of layers
 * @property {string} architecture
 * @property {string} name
 */

/** @param {Cursor} c @returns {Entry} */
function readEntry(c) {
  const start = c.at, key = c.text(), type = c.u32(), value = c.at;
  let array = null;
  if (type === TEXT) c.text();
  else if (type === ARRAY) {
    array = { type: c.u32(), n: c.u64(), at: c.at };
    c.elements(array.type, array.n);
  } else if (SIZES[type]) c.pass(SIZES[type]);
  else throw new Error(`the value of ${key} has type ${type}`);
  return { key, start, end: c.at, value, type, array };
}

/** @param {Cursor} c @returns {Tensor} */
function readTensor(c) {
  const start = c.at, name = c.text();
  c.pass(c.u32() * 8 + 4); // shape, type
  const offset = c.u64(), layer = /^blk\.(\d+)\./.exec(name)?.[1] ?? -1;
  return { name, start, end: c.at, offset, bytes: 0, layer: Number(layer) };
}

/** @param {Uint8Array} bytes @param {Entry | undefined} entry of a text or of a whole number of 4 bytes */
function valueOf(bytes, entry) {
  if (!entry) return undefined;
  const c = new Cursor(bytes);
  c.at = entry.value;
  return entry.type === TEXT ? c.text() : c.u32();
}

const roundUp = (/** @type {number} */ n, /** @type {number} */ step) => Math.ceil(n / step) * step;

/**
 * Throws Short where more bytes are needed, and other errors where the header cannot be read.
 * @param {Uint8Array} bytes  the file's first
 * @param {number} fileBytes
 * @returns {Header}
 */
export function readHeader(bytes, fileBytes) {
  const c = new Cursor(bytes);
  if (c.u32() !== MAGIC) throw new Error('it does not begin with "GGUF"');
  const version = c.u32();
  if (version < 2 || version > 3) throw new Error(`it is of version ${version}`);
  const n = c.u64(), entries = Array.from({ length: c.u64() }, () => readEntry(c));
  const tensors = Array.from({ length: n }, () => readTensor(c));
  const find = (/** @type {string} */ key) => entries.find((entry) => entry.key === key);
  const architecture = String(valueOf(bytes, find('general.architecture'))), count = find(`${architecture}.block_count`);
  const layers = Number(valueOf(bytes, count)), alignment = Number(valueOf(bytes, find('general.alignment')) ?? 32);
  if (!count || !(layers >= 1) || !tensors.length) throw new Error(`it has no ${architecture}.block_count, or no tensors`);
  if (find('split.count')) throw new Error('it is one of several files');
  const data = roundUp(c.at, alignment), sorted = [...tensors].sort((a, b) => a.offset - b.offset);
  for (const [i, tensor] of sorted.entries()) {
    tensor.bytes = (sorted[i + 1]?.offset ?? fileBytes - data) - tensor.offset;
    if (!(tensor.bytes >= 0)) throw new Error(`${tensor.name} lies outside of the file`);
  }
  return { bytes, entries, tensors, alignment, layers, count, architecture,
    name: String(valueOf(bytes, find('general.name')) ?? '') };
}

/** Bytes of the tensors that a model of the first n layers has. @param {Header} header @param {number} n */
export const bytesOf = ({ tensors }, n) => tensors.reduce((sum, { layer, bytes }) => sum + (layer < n ? bytes : 0), 0);

/** Bytes of numbers. @param {(view: DataView) => void} write @param {number} n */
function numbers(write, n) {
  const bytes = new Uint8Array(n);
  write(new DataView(bytes.buffer));
  return bytes;
}

/** An entry as a model of n layers has it: the number of layers, and the arrays that have a value for each, are others.
 *  @param {Header} header @param {Entry} entry @param {number} n @returns {Uint8Array[]} */
function entryFor({ bytes, layers, count, architecture }, entry, n) {
  const { key, start, value, end, array } = entry;
  if (entry === count) return [bytes.subarray(start, value), numbers((view) => view.setUint32(0, n, true), 4),
    bytes.subarray(value + 4, end)];
  if (!array || array.n !== layers || n === layers || !key.startsWith(`${architecture}.`) || !SIZES[array.type]) {
    return [bytes.subarray(start, end)];
  }
  const length = numbers((view) => view.setUint32(0, n, true), 8);
  return [bytes.subarray(start, array.at - 8), length, bytes.subarray(array.at, array.at + n * SIZES[array.type])];
}

/** The file of a model with the first n layers, whose weights say nothing. @param {Header} header @param {number} n */
export function modelOf(header, n) {
  const { bytes, entries, alignment } = header, tensors = header.tensors.filter(({ layer }) => layer < n);
  let at = 0;
  const rows = tensors.flatMap(({ start, end, bytes: size }) => {
    const offset = at;
    at += roundUp(size, alignment);
    return [bytes.subarray(start, end - 8), numbers((view) => {
      view.setUint32(0, offset % 2 ** 32, true);
      view.setUint32(4, Math.floor(offset / 2 ** 32), true);
    }, 8)];
  });
  const counts = numbers((view) => view.setUint32(0, tensors.length, true), 8);
  const head = [bytes.subarray(0, 8), counts, bytes.subarray(16, 24), ...entries.flatMap((entry) => entryFor(header, entry, n)),
    ...rows];
  const size = head.reduce((sum, { length }) => sum + length, 0);
  const parts = [...head, new Uint8Array(roundUp(size, alignment) - size)];
  for (; at > 0; at -= FILLED.length) parts.push(at >= FILLED.length ? FILLED : FILLED.subarray(0, at));
  return new Blob(/** @type {any} */ (parts));
}
