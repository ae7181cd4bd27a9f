// Speed by family: models of random weights in the shapes of real ones, here and in llama.cpp, in Q8_0 on one thread. What a
// token costs is counted in multiply-adds of its matrices; only their vocabulary is that of the conformance set, 512 tokens.
//
//   make build/native/nutshell build/native/make_variant build/native/bench_tokens
//   node tests/bench/families.mjs [--ours] [NAME...]
//
// Prints a table for docs/speed.md. --ours leaves llama.cpp out.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { resolve } from 'node:path';

const SET = `${process.env.NUT_DATA ?? '../shared/data'}/conformance`, WORK = 'build/bench-families';
const LLAMA = resolve('.toolchain/peers/node_modules/node-llama-cpp/dist/index.js');
const PROMPT = 256, DRAWN = 48, ROUNDS = 2;

const heads = (n, kv, dim) => [`attention.head_count=${n}`, `attention.head_count_kv=${kv}`, `attention.key_length=${dim}`,
  `attention.value_length=${dim}`, `rope.dimension_count=${dim}`];
const sizes = (layers, embd, ff) => [`block_count=${layers}`, `embedding_length=${embd}`, `feed_forward_length=${ff}`];

/** Shapes as in the models' configurations: a model of the set with the same blocks, and what differs. */
const SHAPES = {
  'Qwen3-0.6B': ['qwen3-tied', ...sizes(28, 1024, 3072), ...heads(16, 8, 128)],
  'Gemma-3-1B': ['gemma3-window', ...sizes(26, 1152, 6912), ...heads(4, 1, 256), 'attention.sliding_window=512'],
  'Phi-3-mini, 4 layers': ['phi3-plain', ...sizes(4, 3072, 8192), 'attention.head_count=32', 'attention.head_count_kv=32',
    'rope.dimension_count=96'],
  'OLMoE-1B-7B, 4 layers': ['olmoe-qk-norm', ...sizes(4, 2048, 1024), 'attention.head_count=16', 'attention.head_count_kv=16',
    'rope.dimension_count=', 'expert_count=64', 'expert_used_count=8'],
  'LFM2-350M': ['lfm2-hybrid', ...sizes(16, 1024, 4608), 'attention.head_count=16',
    'attention.head_count_kv=0,0,8,0,0,8,0,0,8,0,8,0,8,0,8,0', 'shortconv.l_cache=3'],
  'Mamba-130M': ['mamba-plain', 'block_count=24', 'embedding_length=768', 'ssm.inner_size=1536', 'ssm.state_size=16',
    'ssm.time_step_rank=48', 'ssm.conv_kernel=4'],
  'RWKV7-0.1B': ['rwkv7-goose', ...sizes(12, 768, 3072), 'wkv.head_size=64', 'attention.decay_lora_rank=64',
    'attention.iclr_lora_rank=64', 'attention.value_residual_mix_lora_rank=32', 'attention.gate_lora_rank=128'],
};

const ids = (n) => Array.from({ length: n }, (_, i) => 3 + i * 37 % 500);

/** Makes the model, and counts what a token multiplies. @param {string} name */
function make(name) {
  const [template, ...changes] = SHAPES[name], path = `${WORK}/${template}.gguf`;
  if (!existsSync(path)) {
    execFileSync('build/native/make_variant', [`${SET}/${template}.gguf`, path, '7', '@Q8_0', 'context_length=2048', ...changes]);
  }
  const { tensors } = JSON.parse(execFileSync('build/native/nutshell', ['info', path], { encoding: 'utf8', maxBuffer: 1 << 26 }));
  const [used, all] = ['expert_used_count', 'expert_count'].map((key) =>
    Number(changes.find((change) => change.startsWith(`${key}=`))?.split('=')[1] ?? 1));
  const tied = !tensors.some((tensor) => tensor.name === 'output.weight');
  const counted = tensors.filter((t) => t.shape.length > 1 && (tied || t.name !== 'token_embd.weight'));
  const macs = counted.reduce((sum, t) => sum + t.shape.reduce((a, b) => a * b) * (/_exps/.test(t.name) ? used / all : 1), 0);
  return { path, macs };
}

const ours = (path) => JSON.parse(execFileSync('build/native/bench_tokens',
  [path, String(PROMPT), String(DRAWN)], { encoding: 'utf8' }));

const theirs = (path) => JSON.parse(execFileSync(process.execPath, ['tests/bench/llama.mjs', JSON.stringify({
  library: LLAMA, model: resolve(path), threads: 1, contextLength: 512, ids: ids(PROMPT), shortIds: ids(8), warmUpIds: ids(32),
  drawn: DRAWN })], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim().split('\n').at(-1) ?? '');

/** The best of some rounds, in turn. @param {string} path @param {boolean} both */
function race(path, both) {
  const best = { ours: { prefill: 0, decode: 0 }, theirs: { prefill: 0, decode: 0 } };
  for (let i = 0; i < ROUNDS; i++) {
    for (const [who, measure] of Object.entries(both ? { ours, theirs } : { ours })) {
      const got = measure(path);
      for (const what of ['prefill', 'decode']) best[who][what] = Math.max(best[who][what], got[what]);
    }
  }
  return best;
}

const flags = process.argv.slice(2), both = !flags.includes('--ours');
const wanted = flags.filter((flag) => !flag.startsWith('--'));
mkdirSync(WORK, { recursive: true });
const today = new Date().toISOString().slice(0, 10);
console.log(`${today}, ${cpus()[0].model.trim()}, one thread, Q8_0, prompt of ${PROMPT} tokens\n`);
console.log('| shape | multiply-adds a token | written, tokens/s | 10⁹ multiply-adds/s | of llama.cpp | read, tokens/s | '
  + '10⁹ multiply-adds/s | of llama.cpp |\n|---|---|---|---|---|---|---|---|');
for (const name of Object.keys(SHAPES)) {
  if (wanted.length && !wanted.some((word) => name.toLowerCase().includes(word.toLowerCase()))) continue;
  const { path, macs } = make(name), best = race(path, both);
  const cells = ['decode', 'prefill'].flatMap((what) => {
    const mine = best.ours[what], ratio = mine / best.theirs[what];
    return [mine.toFixed(1), (mine * macs / 1e9).toFixed(1), both ? ratio.toFixed(2) : '–'];
  });
  console.log(`| ${name} | ${(macs / 1e6).toFixed(0)} million | ${cells.join(' | ')} |`);
}
if (both) rmSync(WORK, { recursive: true });
