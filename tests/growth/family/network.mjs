// The made-up family "growthnet": a random model of it, and its logits in float64, computed from this description:
//
//   x = embedding[id]
//   each layer:  a = LayerNorm(x; attn_norm), f = LayerNorm(x; ffn_norm), both with weight and bias
//                x = x + attention(a) + down(GELU(up(f)))                 (parallel residual, as GPT-NeoX)
//   logits = output LayerNorm(x)
//
// Attention has grouped queries and biases on all four products. Of each head's D numbers the first R rotate: number i with
// i + R/2, for i < R/2, by the angle position * 10000^(-2i/R). Layers 0, 2, ... see the last W positions, their own included;
// layers 1, 3, ... see all. GELU(x) = x (1 + erf(x / sqrt 2)) / 2. LayerNorm divides by sqrt(variance + eps).
import { randomNumbers, vocabulary, writeGguf } from '../gguf.mjs';

export const SIZE = {
  embd: 64, layers: 4, heads: 4, headsKv: 2, headDim: 16, rot: 8, ff: 96, window: 8, context: 128, eps: 1e-5, base: 10000,
};

/** A number as a float has it, so that both programs begin with the same. */
const f = Math.fround;

/** @typedef {{ name: string, dims: number[], values: Float32Array }} Tensor */

/** The tensors of a random model, by name. @param {number} seed @returns {Map<string, Tensor>} */
export function makeTensors(seed) {
  const { embd, layers, heads, headsKv, headDim, ff } = SIZE, random = randomNumbers(seed), tensors = new Map();
  const add = (name, dims, middle, size) => {
    const values = Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => f(middle + size * (2 * random() - 1)));
    tensors.set(name, { name, dims, values });
  };
  const linear = (name, nIn, nOut, gain) => {
    add(`${name}.weight`, [nIn, nOut], 0, gain * Math.sqrt(3 / nIn));
    add(`${name}.bias`, [nOut], 0, 0.3);
  };
  const norm = (name) => { add(`${name}.weight`, [embd], 1, 0.3); add(`${name}.bias`, [embd], 0, 0.3); };
  add('token_embd.weight', [embd, vocabulary().n], 0, 1);
  for (let i = 0; i < layers; i++) {
    norm(`blk.${i}.attn_norm`);
    linear(`blk.${i}.attn_q`, embd, heads * headDim, 1.5);
    linear(`blk.${i}.attn_k`, embd, headsKv * headDim, 1.5);
    linear(`blk.${i}.attn_v`, embd, headsKv * headDim, 1);
    linear(`blk.${i}.attn_output`, heads * headDim, embd, 1);
    norm(`blk.${i}.ffn_norm`);
    linear(`blk.${i}.ffn_up`, embd, ff, 1);
    linear(`blk.${i}.ffn_down`, ff, embd, 1);
  }
  norm('output_norm');
  add('output.weight', [embd, vocabulary().n], 0, 1.5 * Math.sqrt(3 / embd));
  return tensors;
}

/** The model as a GGUF file. @param {Map<string, Tensor>} tensors */
export function makeFile(tensors) {
  const key = (suffix, value, type = 'u32') => [`growthnet.${suffix}`, type, value];
  return writeGguf([
    ['general.architecture', 'text', 'growthnet'],
    key('context_length', SIZE.context), key('embedding_length', SIZE.embd), key('block_count', SIZE.layers),
    key('feed_forward_length', SIZE.ff), key('attention.head_count', SIZE.heads), key('attention.head_count_kv', SIZE.headsKv),
    key('attention.layer_norm_epsilon', SIZE.eps, 'f32'),
    key('rope.dimension_count', SIZE.rot), key('rope.freq_base', SIZE.base, 'f32'),
    key('attention.sliding_window', SIZE.window), ...vocabulary().metadata,
  ], [...tensors.values()].map(({ name, dims, values }) => ({ name, dims, type: 0, bytes: new Uint8Array(values.buffer) })));
}

// ---- in float64 ---------------------------------------------------------------------------------------------------

/** erf by its series of positive terms, 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (1 3 5 ... (2n+1)). */
export function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term *= 2 * x * x / (2 * n + 1);
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}

const gelu = (x) => x * (1 + erf(x / Math.SQRT2)) / 2;
const plus = (a, b) => a.map((v, i) => v + b[i]);

/** What makes the family, each of which can be switched off to see that it matters. */
export const TRAITS = { parallel: true, window: true, partial: true, biases: true, gelu: true, layerNorm: true };

/**
 * Logits of all positions.
 * @param {Map<string, Tensor>} tensors @param {number[]} ids @param {typeof TRAITS} traits @returns {number[][]}
 */
export function logits(tensors, ids, traits = TRAITS) {
  const { embd, layers, heads, headsKv, headDim, window, eps, base } = SIZE, rot = traits.partial ? SIZE.rot : headDim;
  const values = (name) => tensors.get(name).values;
  const product = (name, x) => {
    const w = values(`${name}.weight`), bias = traits.biases ? tensors.get(`${name}.bias`)?.values : undefined;
    return Array.from({ length: w.length / x.length }, (_, row) =>
      x.reduce((sum, v, i) => sum + v * w[row * x.length + i], bias?.[row] ?? 0));
  };
  const norm = (name, x) => {
    const mean = traits.layerNorm ? x.reduce((a, b) => a + b) / embd : 0;
    const scale = 1 / Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / embd + f(eps));
    const w = values(`${name}.weight`), bias = values(`${name}.bias`);
    return x.map((v, i) => (v - mean) * scale * w[i] + (traits.biases ? bias[i] : 0));
  };
  const rotate = (head, position) => {
    const out = [...head];
    for (let i = 0; i < rot / 2; i++) {
      const angle = position * base ** (-2 * i / rot), c = Math.cos(angle), s = Math.sin(angle);
      out[i] = head[i] * c - head[i + rot / 2] * s;
      out[i + rot / 2] = head[i] * s + head[i + rot / 2] * c;
    }
    return out;
  };
  const headOf = (x, h) => x.slice(h * headDim, (h + 1) * headDim);
  const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const act = traits.gelu ? gelu : (x) => x / (1 + Math.exp(-x));

  const attend = (layer, inputs) => {
    const q = inputs.map((x) => product(`blk.${layer}.attn_q`, x));
    const k = inputs.map((x, t) => {
      const all = product(`blk.${layer}.attn_k`, x);
      return Array.from({ length: headsKv }, (_, h) => rotate(headOf(all, h), t));
    });
    const v = inputs.map((x) => product(`blk.${layer}.attn_v`, x));
    return inputs.map((_, t) => {
      const from = traits.window && layer % 2 === 0 ? Math.max(0, t - window + 1) : 0, joined = [];
      for (let h = 0; h < heads; h++) {
        const group = Math.floor(h / (heads / headsKv)), query = rotate(headOf(q[t], h), t);
        const scores = k.slice(from, t + 1).map((key) => dot(query, key[group]) / Math.sqrt(headDim));
        const most = Math.max(...scores), p = scores.map((s) => Math.exp(s - most)), sum = p.reduce((a, b) => a + b);
        joined.push(...Array.from({ length: headDim }, (_, i) =>
          p.reduce((a, w, j) => a + w / sum * headOf(v[from + j], group)[i], 0)));
      }
      return product(`blk.${layer}.attn_output`, joined);
    });
  };

  const table = values('token_embd.weight');
  let x = ids.map((id) => Array.from(table.subarray(id * embd, (id + 1) * embd)));
  for (let layer = 0; layer < layers; layer++) {
    const mixed = attend(layer, x.map((row) => norm(`blk.${layer}.attn_norm`, row)));
    x = x.map((row, t) => {
      const both = plus(row, mixed[t]), input = norm(`blk.${layer}.ffn_norm`, traits.parallel ? row : both);
      return plus(both, product(`blk.${layer}.ffn_down`, product(`blk.${layer}.ffn_up`, input).map(act)));
    });
  }
  return x.map((row) => product('output', norm('output_norm', row)));
}
