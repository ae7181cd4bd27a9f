// A BERT of sentence-transformers as GGUF, family bert, with llama.cpp's names of tensors and keys: such as MiniLM-L6.
//
//   node tests/peers/bert-to-gguf.mjs FOLDER OUT.gguf
//
// FOLDER has what such models are published with: config.json, model.safetensors (floats), vocab.txt, and the way of pooling
// in 1_Pooling/config.json.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeGguf } from '../growth/gguf.mjs';

const F32 = 0;
const NORMAL = 1, CONTROL = 3; // kinds of tokens

const json = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));

/** A file of safetensors: its header, and the bytes behind it. @param {string} path */
function readTensors(path) {
  const file = readFileSync(path), n = Number(file.readBigUInt64LE(0));
  const { __metadata__: _, ...header } = JSON.parse(file.toString('utf8', 8, 8 + n));
  const data = file.subarray(8 + n);
  return Object.entries(header).map(([name, { dtype, shape, data_offsets: [begin, end] }]) =>
    ({ name, dtype, dims: shape.reverse(), bytes: data.subarray(begin, end) }));
}

const OUTSIDE = {
  'embeddings.word_embeddings.weight': 'token_embd.weight', 'embeddings.position_embeddings.weight': 'position_embd.weight',
  'embeddings.token_type_embeddings.weight': 'token_types.weight', 'embeddings.LayerNorm': 'token_embd_norm',
};
const INSIDE = {
  'attention.self.query': 'attn_q', 'attention.self.key': 'attn_k', 'attention.self.value': 'attn_v',
  'attention.output.dense': 'attn_output', 'attention.output.LayerNorm': 'attn_output_norm', 'intermediate.dense': 'ffn_up',
  'output.dense': 'ffn_down', 'output.LayerNorm': 'layer_output_norm',
};
/** Not used for the vectors of texts. */
const LEFT_OUT = /^(embeddings\.position_ids|pooler\.)/;

function newName(name) {
  const [, base, kind] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  const [, layer, part] = /^encoder\.layer\.(\d+)\.(.*)$/.exec(base) ?? [];
  const found = OUTSIDE[name] ?? (OUTSIDE[base] ? `${OUTSIDE[base]}.${kind}` : undefined)
    ?? (part && INSIDE[part] ? `blk.${layer}.${INSIDE[part]}.${kind}` : undefined);
  if (!found) throw new Error(`there is no place for the tensor ${name}: only BERT is converted`);
  return found;
}

/** Words begin with a mark of their own there, not their later pieces. */
const newToken = (token) =>
  /^\[.*\]$/.test(token) ? token : token.startsWith('##') ? token.slice(2) : `\u2581${token}`;

/** @param {string} folder @returns {[string, string, unknown][]} */
function metadata(folder) {
  const config = json(folder, 'config.json'), pooling = json(folder, '1_Pooling', 'config.json');
  if (config.model_type !== 'bert') throw new Error(`the model is a ${config.model_type}: only BERT is converted`);
  if (!pooling.pooling_mode_mean_tokens && !pooling.pooling_mode_cls_token) {
    throw new Error('only pooling by the mean or the first token is converted');
  }
  const words = readFileSync(join(folder, 'vocab.txt'), 'utf8').split('\n').filter(Boolean);
  const sizes = {
    context_length: config.max_position_embeddings, embedding_length: config.hidden_size, block_count: config.num_hidden_layers,
    feed_forward_length: config.intermediate_size, 'attention.head_count': config.num_attention_heads,
    pooling_type: pooling.pooling_mode_mean_tokens ? 1 : 2,
  };
  const special = { unknown: '[UNK]', seperator: '[SEP]', padding: '[PAD]', cls: '[CLS]', mask: '[MASK]' };
  return [['general.architecture', 'text', 'bert'], ['general.file_type', 'u32', 0],
    ...Object.entries(sizes).map(([key, size]) => /** @type {[string, string, number]} */ ([`bert.${key}`, 'u32', size])),
    ['bert.attention.layer_norm_epsilon', 'f32', config.layer_norm_eps],
    ['tokenizer.ggml.model', 'text', 'bert'], ['tokenizer.ggml.pre', 'text', 'default'],
    ['tokenizer.ggml.token_type_count', 'u32', config.type_vocab_size],
    ['tokenizer.ggml.tokens', 'text[]', words.map(newToken)],
    ['tokenizer.ggml.token_type', 'i32[]', words.map((word) => (Object.values(special).includes(word) ? CONTROL : NORMAL))],
    ...Object.entries(special).map(([key, word]) =>
      /** @type {[string, string, number]} */ ([`tokenizer.ggml.${key}_token_id`, 'u32', words.indexOf(word)]))];
}

/** Converts a folder. @param {string} folder @param {string} to */
export function convert(folder, to) {
  if (!existsSync(join(folder, 'config.json'))) throw new Error(`${folder} has no config.json: give the model's folder`);
  const tensors = readTensors(join(folder, 'model.safetensors')).filter(({ name }) => !LEFT_OUT.test(name));
  const other = tensors.find(({ dtype }) => dtype !== 'F32');
  if (other) throw new Error(`${other.name} is ${other.dtype}: only F32 is converted`);
  const renamed = tensors.map(({ name, dims, bytes }) => ({ name: newName(name), dims, type: F32, bytes }));
  writeFileSync(to, writeGguf(metadata(folder), renamed));
}

if (process.argv[1] === import.meta.filename) {
  const [folder, to] = process.argv.slice(2);
  try {
    if (!to) throw new Error('usage: node tests/peers/bert-to-gguf.mjs FOLDER OUT.gguf');
    convert(folder, to);
  } catch (error) {
    console.error(/** @type {Error} */ (error).message);
    process.exitCode = 1;
  }
}
