// The models of the browser suites: the repository's small model, and the same padded to several chunks.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomNumbers, toHalf, vocabulary, writeGguf } from '../growth/gguf.mjs';

export const DATA = process.env.NUT_DATA ?? join(import.meta.dirname, '../../../shared/data');
export const DIST = process.env.NUT_DIST ?? join(import.meta.dirname, '../../dist');

/** A file's bytes; null where it is missing. @param {string} path */
const readIf = (path) => (existsSync(path) ? readFileSync(path) : null);

/** The repository's model. */
export const tiny = () => readIf(join(DIST, 'nutshell-tiny-q8_0.gguf'));

/** karpathy's stories260K and the results of an independent float64 program (see the file); null without the data. */
export function stories() {
  const model = readIf(join(DATA, 'models/stories260K-f32.gguf'));
  const golden = readIf(join(DATA, 'models/stories260K-golden.json'));
  return model && golden ? { model, golden: JSON.parse(golden.toString()) } : null;
}

/* GGUF v3, little-endian: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
const FIXED_SIZE = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const STRING = 8, ARRAY = 9, UINT32 = 4;

export class Reader {
  at = 24; // after magic, version and the two counts
  constructor(bytes) {
    this.bytes = bytes;
  }
  u32() {
    return this.bytes.readUInt32LE((this.at += 4) - 4);
  }
  u64() {
    return Number(this.bytes.readBigUInt64LE((this.at += 8) - 8));
  }
  string() {
    const n = this.u64();
    return this.bytes.toString('utf8', this.at, (this.at += n));
  }
  skipValue(type) {
    if (type === STRING) this.string();
    else if (type !== ARRAY) this.at += FIXED_SIZE[type];
    else for (let element = this.u32(), n = this.u64(); n > 0; n--) this.skipValue(element);
  }
}

function alignmentEntry(alignment) {
  const key = Buffer.from('general.alignment');
  const entry = Buffer.alloc(8 + key.length + 8);
  entry.writeBigUInt64LE(BigInt(key.length));
  key.copy(entry, 8);
  entry.writeUInt32LE(UINT32, 8 + key.length);
  entry.writeUInt32LE(alignment, 12 + key.length);
  return entry;
}

const roundUp = (n, step) => Math.ceil(n / step) * step;

/**
 * The same model with its tensors further apart, so that a small one fills several chunks of the cache.
 * @param {Buffer} model without a general.alignment of its own @param {number} alignment a power of two
 */
export function padded(model, alignment) {
  const reader = new Reader(model);
  const tensorCount = Number(model.readBigUInt64LE(8)), entryCount = Number(model.readBigUInt64LE(16));
  for (let i = 0; i < entryCount; i++) {
    if (reader.string() === 'general.alignment') throw new Error('the model has an alignment of its own');
    reader.skipValue(reader.u32());
  }
  const offsetsAt = Array.from({ length: tensorCount }, () => {
    reader.string();
    const dimensions = reader.u32();
    reader.at += 8 * dimensions + 4; // shape, type
    return (reader.at += 8) - 8;
  });
  const oldData = roundUp(reader.at, 32);
  const starts = offsetsAt.map((at) => Number(model.readBigUInt64LE(at)));
  const ends = starts.map((start) => Math.min(...starts.filter((other) => other > start), model.length - oldData));

  const entry = alignmentEntry(alignment);
  const header = Buffer.concat([model.subarray(0, 24), entry, model.subarray(24, reader.at)]);
  header.writeBigUInt64LE(BigInt(entryCount + 1), 16);
  const parts = [header, Buffer.alloc(roundUp(header.length, alignment) - header.length)];
  let offset = 0;
  for (const i of [...starts.keys()].sort((a, b) => starts[a] - starts[b])) {
    header.writeBigUInt64LE(BigInt(offset), offsetsAt[i] + entry.length);
    const data = model.subarray(oldData + starts[i], oldData + ends[i]);
    parts.push(data, Buffer.alloc(roundUp(data.length, alignment) - data.length));
    offset += roundUp(data.length, alignment);
  }
  return Buffer.concat(parts);
}

/** A model of random weights whose matrices are large enough that sets of kernels race for them (src/run/race.c): 11 MB of Q4_0,
 * of family llama. */
export function raced() {
  const EMBD = 512, FF = 4096, LAYERS = 3, Q4_0 = 2, F32 = 0, BLOCK = 32, BLOCK_BYTES = 18;
  const { n, metadata } = vocabulary(), next = randomNumbers(1);
  const tensor = (/** @type {string} */ name, /** @type {number[]} */ dims) => {
    const size = dims.reduce((a, b) => a * b, 1);
    if (dims.length === 1) return { name, dims, type: F32, bytes: Buffer.from(new Float32Array(size).fill(1).buffer) };
    const bytes = Buffer.alloc(size / BLOCK * BLOCK_BYTES);
    for (let i = 0; i < bytes.length; i++) bytes[i] = next() * 256;
    for (let i = 0; i < bytes.length; i += BLOCK_BYTES) bytes.writeUInt16LE(toHalf(0.01), i);
    return { name, dims, type: Q4_0, bytes };
  };
  const layer = (/** @type {number} */ i) => [
    ['attn_norm', [EMBD]], ['attn_q', [EMBD, EMBD]], ['attn_k', [EMBD, EMBD / 2]], ['attn_v', [EMBD, EMBD / 2]],
    ['attn_output', [EMBD, EMBD]], ['ffn_norm', [EMBD]], ['ffn_gate', [EMBD, FF]], ['ffn_up', [EMBD, FF]],
    ['ffn_down', [FF, EMBD]],
  ].map(([part, dims]) => tensor(`blk.${i}.${part}.weight`, /** @type {number[]} */ (dims)));
  return writeGguf([
    ['general.architecture', 'text', 'llama'], ['llama.block_count', 'u32', LAYERS], ['llama.context_length', 'u32', 128],
    ['llama.embedding_length', 'u32', EMBD], ['llama.feed_forward_length', 'u32', FF], ['llama.attention.head_count', 'u32', 8],
    ['llama.attention.head_count_kv', 'u32', 4], ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5], ...metadata,
  ], [tensor('token_embd.weight', [EMBD, n]), ...Array.from({ length: LAYERS }, (_, i) => layer(i)).flat(),
    tensor('output_norm.weight', [EMBD])]);
}
