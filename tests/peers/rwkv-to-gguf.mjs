// A model of rwkv.cpp as GGUF: RWKV-7, the family rwkv7 of llama.cpp, with its names of tensors and keys.
//
//   node tests/peers/rwkv-to-gguf.mjs IN.bin OUT.gguf
//
// rwkv.cpp's format (docs/FILE_FORMAT.md there): six numbers of 32 bits, then the tensors, each with its dimensions (the one
// that is contiguous first), name and numbers. Matrices stand as ggml multiplies them, and so does GGUF. Only F32 is read.
// The file says nothing of a vocabulary: there is one token for each byte.
import { readFileSync, writeFileSync } from 'node:fs';
import { writeGguf } from '../growth/gguf.mjs';

const MAGIC = 0x67676d66, VERSION = 101, F32 = 0;

/** @typedef {{ dims: number[], bytes: Buffer }} Tensor */

/** @returns {{ nVocab: number, nEmbd: number, nLayer: number, tensors: Map<string, Tensor> }} */
function readModel(path) {
  const file = readFileSync(path);
  const number = (at) => file.readInt32LE(at);
  const [magic, version, nVocab, nEmbd, nLayer, type] = [0, 4, 8, 12, 16, 20].map(number);
  if (magic !== MAGIC || version !== VERSION) throw new Error(`${path} is no file of rwkv.cpp of version ${VERSION}`);
  if (type !== F32) throw new Error(`${path} holds type ${type}; convert the file with FP32`);
  const tensors = new Map();
  for (let at = 24; at < file.length;) {
    const [nDims, nName, tensorType] = [at, at + 4, at + 8].map(number);
    if (tensorType !== F32) throw new Error(`${path} holds a tensor of type ${tensorType}; convert the file with FP32`);
    const dims = Array.from({ length: nDims }, (_, i) => number(at + 12 + 4 * i));
    const name = file.toString('utf8', at + 12 + 4 * nDims, at += 12 + 4 * nDims + nName);
    const bytes = file.subarray(at, at += 4 * dims.reduce((a, b) => a * b));
    tensors.set(name, { dims, bytes });
  }
  return { nVocab, nEmbd, nLayer, tensors };
}

/** rwkv.cpp's name of a tensor: llama.cpp's, in a block or outside. */
const OUTSIDE = {
  'emb.weight': 'token_embd.weight', 'head.weight': 'output.weight', 'ln_out.weight': 'output_norm.weight',
  'ln_out.bias': 'output_norm.bias', 'blocks.0.ln0.weight': 'token_embd_norm.weight',
  'blocks.0.ln0.bias': 'token_embd_norm.bias',
};
const INSIDE = {
  'ln1.weight': 'attn_norm.weight', 'ln1.bias': 'attn_norm.bias', 'ln2.weight': 'attn_norm_2.weight',
  'ln2.bias': 'attn_norm_2.bias',
  'att.x_rwkvag': 'time_mix_lerp_fused.weight', 'ffn.x_k': 'channel_mix_lerp_k.weight',
  'ffn.key.weight': 'channel_mix_key.weight', 'ffn.value.weight': 'channel_mix_value.weight',
  'att.ln_x.weight': 'time_mix_ln.weight', 'att.ln_x.bias': 'time_mix_ln.bias',
  ...Object.fromEntries(['receptance', 'key', 'value', 'output'].map((x) => [`att.${x}.weight`, `time_mix_${x}.weight`])),
  ...Object.fromEntries(['w0', 'w1', 'w2', 'a0', 'a1', 'a2', 'v0', 'v1', 'v2', 'g1', 'g2', 'k_k', 'k_a', 'r_k']
    .map((x) => [`att.${x}`, `time_mix_${x}.weight`])),
};

function newName(name) {
  const [, layer, part] = /^blocks\.(\d+)\.(.*)$/.exec(name) ?? [];
  const found = OUTSIDE[name] ?? (part && INSIDE[part] ? `blk.${layer}.${INSIDE[part]}` : undefined);
  if (!found) throw new Error(`there is no place for the tensor ${name}: only RWKV-7 is converted`);
  return found;
}

/** Vectors have one dimension there; what the six mixes share is (n_embd, 1, 1, 6).
 *  @param {string} name @param {number[]} dims */
function newDims(name, dims) {
  if (name.endsWith('lerp_fused.weight')) return [dims[0], 1, 1, 6];
  return /\.(time_mix_([wav]0|k_k|k_a|r_k)|channel_mix_lerp_k)\./.test(name) ? [dims.reduce((a, b) => a * b)] : dims;
}

/** The first layer makes the values that others mix in, and mixes none; its tensors have to be there all the same. */
function unusedTensors({ nEmbd, tensors }) {
  const rank = tensors.get('blocks.0.att.a1').dims[1];
  return Object.entries({ v0: [nEmbd], v1: [nEmbd, rank], v2: [rank, nEmbd] }).map(([name, dims]) =>
    ({ name: `blk.0.time_mix_${name}.weight`, dims, type: F32, bytes: Buffer.alloc(4 * dims.reduce((a, b) => a * b)) }));
}

/** @param {ReturnType<typeof readModel>} model @returns {[string, string, unknown][]} */
function metadata({ nVocab, nEmbd, nLayer, tensors }) {
  const dims = (name) => tensors.get(`blocks.1.${name}`).dims;
  const rank = (name) => dims(`att.${name}`)[1];
  const bytes = Array.from({ length: nVocab }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
  const sizes = {
    context_length: 1 << 20, embedding_length: nEmbd, block_count: nLayer, feed_forward_length: dims('ffn.key.weight')[1],
    'attention.head_count': 0, 'wkv.head_size': dims('att.r_k')[0], 'attention.decay_lora_rank': rank('w1'),
    'attention.iclr_lora_rank': rank('a1'), 'attention.value_residual_mix_lora_rank': rank('v1'),
    'attention.gate_lora_rank': rank('g1'),
  };
  return [['general.architecture', 'text', 'rwkv7'], ['general.file_type', 'u32', 0],
    ...Object.entries(sizes).map(([key, size]) => /** @type {[string, string, number]} */ ([`rwkv7.${key}`, 'u32', size])),
    ['rwkv7.attention.layer_norm_epsilon', 'f32', 1e-5], ['tokenizer.ggml.model', 'text', 'llama'],
    ['tokenizer.ggml.tokens', 'text[]', bytes], ['tokenizer.ggml.scores', 'f32[]', bytes.map(() => 0)],
    ['tokenizer.ggml.token_type', 'i32[]', bytes.map(() => 6)]];
}

/** Converts a file. @param {string} from @param {string} to */
export function convert(from, to) {
  const model = readModel(from);
  const tensors = [...model.tensors].map(([old, { dims, bytes }]) => {
    const name = newName(old);
    return { name, dims: newDims(name, dims), type: F32, bytes };
  });
  writeFileSync(to, writeGguf(metadata(model), [...tensors, ...unusedTensors(model)]));
}

if (process.argv[1] === import.meta.filename) {
  const [from, to] = process.argv.slice(2);
  try {
    if (!to) throw new Error('usage: node tests/peers/rwkv-to-gguf.mjs IN.bin OUT.gguf');
    convert(from, to);
  } catch (error) {
    console.error(/** @type {Error} */ (error).message);
    process.exitCode = 1;
  }
}
