// GGUF files for the checks: written and read from ggml's docs/gguf.md, without the engine's code.

const ALIGNMENT = 32;
const pad = (n) => Math.ceil(n / ALIGNMENT) * ALIGNMENT;

const u32 = (v) => { const b = Buffer.alloc(4); b.writeUInt32LE(v); return b; };
const u64 = (v) => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(v)); return b; };
const f32 = (v) => { const b = Buffer.alloc(4); b.writeFloatLE(v); return b; };
const text = (v) => Buffer.concat([u64(Buffer.byteLength(v)), Buffer.from(v)]);

/** Writers of values, with their type numbers. */
const TYPES = { u32: [4, u32], i32: [5, u32], f32: [6, f32], text: [8, text] };

/**
 * @param {[key: string, type: string, value: unknown][]} metadata type "u32", "f32", "text" or one with [] behind it
 * @param {{ name: string, dims: number[], type: number, bytes: Uint8Array }[]} tensors dims: row length first
 */
export function writeGguf(metadata, tensors) {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.length)];
  for (const [key, type, value] of metadata) {
    const [number, write] = TYPES[type.replace('[]', '')];
    parts.push(text(key));
    if (type.endsWith('[]')) parts.push(u32(9), u32(number), u64(value.length), ...value.map((v) => write(v)));
    else parts.push(u32(number), write(value));
  }
  let offset = 0;
  for (const { name, dims, type, bytes } of tensors) {
    parts.push(text(name), u32(dims.length), ...dims.map((n) => u64(n)), u32(type), u64(offset));
    offset = pad(offset + bytes.length);
  }
  const header = Buffer.concat(parts);
  const file = Buffer.alloc(pad(header.length) + offset);
  header.copy(file);
  let at = pad(header.length);
  for (const { bytes } of tensors) {
    file.set(bytes, at);
    at = pad(at + bytes.length);
  }
  return file;
}

/** The tensors of a file: name to { dims, type, bytes from the tensor's first one to the file's end }. @param {Buffer} file */
export function readTensors(file) {
  let at = 8, alignment = 32;
  const number = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
  const readU32 = () => (at += 4, file.readUInt32LE(at - 4)), readU64 = () => (at += 8, Number(file.readBigUInt64LE(at - 8)));
  const readText = () => { const n = readU64(); at += n; return file.toString('utf8', at - n, at); };
  const pass = (type) => {
    if (type === 8) readText();
    else if (type === 9) for (let inner = readU32(), n = readU64(); n > 0; n--) pass(inner);
    else at += number[type];
  };
  const nTensors = readU64(), nPairs = readU64(), found = [], tensors = new Map();
  for (let i = 0; i < nPairs; i++) {
    const key = readText(), type = readU32();
    if (key === 'general.alignment') alignment = file.readUInt32LE(at);
    pass(type);
  }
  for (let i = 0; i < nTensors; i++) {
    const name = readText(), dims = Array.from({ length: readU32() }, readU64);
    found.push({ name, dims, type: readU32(), offset: readU64() });
  }
  const data = Math.ceil(at / alignment) * alignment;
  for (const { name, dims, type, offset } of found) tensors.set(name, { dims, type, bytes: file.subarray(data + offset) });
  return tensors;
}

/** A small SentencePiece vocabulary: <unk>, <s>, </s>, the bytes, and some letters. */
export function vocabulary() {
  const letters = [...'zqjxvkpbgfywmucldrhsinoate', '▁'];
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...letters], n = tokens.length;
  return {
    n,
    metadata: [
      ['tokenizer.ggml.model', 'text', 'llama'], ['tokenizer.ggml.tokens', 'text[]', tokens],
      ['tokenizer.ggml.scores', 'f32[]', tokens.map((_, i) => (i < 259 ? 0 : i - n))],
      ['tokenizer.ggml.token_type', 'i32[]', tokens.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1))],
      ['tokenizer.ggml.bos_token_id', 'u32', 1], ['tokenizer.ggml.eos_token_id', 'u32', 2],
      ['tokenizer.ggml.unknown_token_id', 'u32', 0],
    ],
  };
}

/** Numbers in [0, 1) from a seed (mulberry32, public domain). @param {number} seed */
export function randomNumbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The half float nearest to a number, ties to even, and a half float as a number (IEEE 754 binary16). */
export function toHalf(x) {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0, a = Math.abs(x);
  if (a >= 65520) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(a || 1e-30)), -14), unit = 2 ** (exponent - 10);
  let n = Math.floor(a / unit);
  const rest = a / unit - n;
  if (rest > 0.5 || (rest === 0.5 && n % 2)) n++;
  return sign | (n + (exponent + 14) * 1024); // a carry goes into the exponent
}
export function fromHalf(h) {
  const exponent = (h >> 10) & 31, fraction = h & 1023;
  const value = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  return h & 0x8000 ? -value : value;
}
