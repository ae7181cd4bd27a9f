// Models like those of the conformance set with other sizes and options, and random weights (make_variant.c), here and
// in llama.cpp: after each token the logarithms of the probabilities must be the same. llama.cpp keeps keys and values
// as half floats, and takes GELU from a table of such: that is the tolerance.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, ensure, finish, skip } from '../browser/harness.mjs';

const SET = `${process.env.NUT_DATA ?? '../shared/data'}/conformance`, WORK = 'build/variants-test';
const IDS = [1, 300, 17, 450, 99, 260, 411, 33, 270, 505, 12, 388, 290, 77, 430, 301];
const PROMPT = 6;
const NEARLY = 0.1, LIKELY = 1e-3; // how far the logarithm of a probability of at least LIKELY may be off, behind 27 layers

const heads = (n, kv, dim) => [`attention.head_count=${n}`, `attention.head_count_kv=${kv}`, `attention.key_length=${dim}`,
  `attention.value_length=${dim}`, `rope.dimension_count=${dim}`];
const mla = (n, rank, rot, key, value) => [`attention.head_count=${n}`, `attention.kv_lora_rank=${rank}`,
  `attention.key_length=${rank + rot}`, `attention.value_length=${rank}`, `attention.key_length_mla=${key}`,
  `attention.value_length_mla=${value}`, `rope.dimension_count=${rot}`];
const ssm = (conv, inner, state, rank, groups) => [
  `ssm.conv_kernel=${conv}`, `ssm.inner_size=${inner}`, `ssm.state_size=${state}`,
  `ssm.time_step_rank=${rank}`, `ssm.group_count=${groups}`];
const linear = ['rope.scaling.type=s:linear', 'rope.scaling.factor=2.5'];
const yarn = ['rope.scaling.type=s:yarn', 'rope.scaling.factor=4.0', 'rope.scaling.original_context_length=32'];
const biases = ['q', 'k', 'v', 'output'].map((name) => `+attn_${name}.bias`);

/** What is varied: a model of the set, and for each variant the arguments of make_variant. */
const VARIANTS = {
  'llama-mqa': { 'heads of 20': heads(3, 1, 20), 'heads of 100': heads(2, 1, 100), 'odd sizes': ['embedding_length=44',
    'feed_forward_length=37', ...heads(2, 1, 16)], linear, yarn, rope_freqs: ['+rope_freqs.weight'], biases,
    untied: ['+output.weight'], 'five layers': ['block_count=5'] },
  'llama-mixtral': { experts: ['expert_count=5', 'expert_used_count=3'] },
  'qwen2-tied': { 'no biases': biases.map((name) => `-${name.slice(1)}`), linear },
  'qwen2moe-shared': { shared: ['expert_shared_feed_forward_length=44', 'expert_feed_forward_length=20', 'expert_count=7',
    'expert_used_count=3'] },
  'qwen3-tied': { 'heads of 12': heads(5, 1, 12) },
  'gemma3-window': { 'heads of 12': heads(4, 2, 12), window: ['attention.sliding_window=4'], linear },
  'gemma4-window': { inputs: ['embedding_length_per_layer_input=12'], 'no shared keys': ['attention.shared_kv_layers=0'] },
  'granite-multipliers': { multipliers: ['embedding_scale=2.5', 'residual_scale=0.6', 'logit_scale=3.0', 'attention.scale=0.4'] },
  'granitemoe-plain': { 'not tuned': ['rope.scaling.finetuned=false'] },
  'bloom-alibi': { 'five heads': ['embedding_length=60', 'attention.head_count=5', 'attention.head_count_kv=5'] },
  'mpt-alibi': { 'six heads': ['embedding_length=48', 'attention.head_count=6', 'attention.head_count_kv=6'] },
  'falcon-new-decoder': { 'heads of 10': ['embedding_length=60', 'attention.head_count=6', 'attention.head_count_kv=3',
    'attention.key_length=', 'attention.value_length='] },
  'phi3-longrope-short': { partial: ['rope.dimension_count=12'] },
  'gpt-oss-sinks': { 'a base of windows': ['rope.freq_base_swa=300.0', 'rope.scaling.type=', 'rope.scaling.factor='] },
  'deepseek2-v2-lite': { whole: mla(2, 512, 64, 192, 128), odd: mla(3, 20, 12, 22, 10) },
  'deepseek2-v3-groups': {
    groups: ['expert_count=12', 'expert_group_count=3', 'expert_group_used_count=1', 'expert_used_count=2'],
  },
  'mamba2-groups': { sizes: ssm(3, 96, 12, 6, 3) },
  'falcon-h1-multipliers': { sizes: ssm(3, 96, 12, 6, 3) },
  'qwen35-delta-net': { sizes: ssm(3, 96, 16, 6, 3), interval: ['full_attention_interval=2'] },
  'qwen3next-delta-net-moe': { 'one group': ssm(4, 48, 16, 3, 1) },
  'lfm2-hybrid': { convolution: ['shortconv.l_cache=4'] },
  'rwkv6-finch': { sizes: ['embedding_length=48', 'wkv.head_size=8', 'time_mix_extra_dim=6', 'time_decay_extra_dim=10'] },
  'rwkv7-goose': { sizes: ['embedding_length=128', 'attention.decay_lora_rank=5', 'attention.iclr_lora_rank=6',
    'attention.value_residual_mix_lora_rank=7', 'attention.gate_lora_rank=9'] },
  'glm4moe-plain': { experts: ['expert_count=6', 'expert_used_count=4', 'expert_shared_count=2', 'leading_dense_block_count=0',
    'expert_weights_scale=1.5', 'expert_weights_norm=false'] },
};

mkdirSync(WORK, { recursive: true });
const entry = resolve('.toolchain/peers/node_modules/node-llama-cpp/dist/index.js');
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry).href);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });

/** Probabilities after each of IDS from the prompt's last one on, by llama.cpp. @param {string} path */
async function theirs(path) {
  const model = await llama.loadModel({ modelPath: resolve(path) });
  const context = await model.createContext({ contextSize: 64, threads: 1 });
  const answers = context.getSequence().evaluateWithMetadata(IDS.slice(0, PROMPT), { probabilities: true },
    { temperature: 0, yieldEogToken: true });
  const rows = [];
  let answer = await answers.next();
  for (let i = PROMPT; i <= IDS.length && !answer.done; i++) {
    rows.push(answer.value.probabilities);
    if (i < IDS.length) answer = await answers.next(IDS[i]);
  }
  await answers.return();
  await model.dispose();
  return rows;
}

/** The same here, of all tokens: logarithms. @param {string} path */
function ours(path) {
  const out = join(WORK, 'logits.f32');
  const options = ['--ids', IDS.join(','), '--reference', '--context', '64', '-o', out];
  execFileSync('build/native/nutshell', ['logits', path, ...options], { stdio: 'ignore' });
  const bytes = readFileSync(out), all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const n = all.length / IDS.length;
  return IDS.map((_, i) => all.subarray(i * n, (i + 1) * n)).slice(PROMPT - 1).map((row) => {
    const most = Math.max(...row), total = Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) + most;
    return row.map((x) => x - total);
  });
}

for (const [model, variants] of Object.entries(VARIANTS)) {
  if (!existsSync(`${SET}/${model}.gguf`)) {
    skip(model, `${SET}/${model}.gguf is missing`);
    continue;
  }
  for (const [name, changes] of Object.entries(variants)) {
    await check(`${model}, ${name}`, async () => {
      const path = join(WORK, 'variant.gguf');
      execFileSync('build/native/make_variant', [`${SET}/${model}.gguf`, path, '7', ...changes]);
      const expected = await theirs(path), got = ours(path);
      ensure(expected.length === got.length, `llama.cpp stops after ${expected.length} tokens`);
      let worst = 0, n = 0;
      for (const [i, row] of expected.entries()) {
        for (const [token, p] of row) {
          if (p < LIKELY) continue;
          worst = Math.max(worst, Math.abs(Math.log(p) - got[i][token]));
          n++;
        }
      }
      ensure(n > got.length, `only ${n} probabilities`);
      ensure(worst < NEARLY, `probabilities differ by a factor of e^${worst.toFixed(3)}`);
    });
  }
}
finish();
process.exit();
