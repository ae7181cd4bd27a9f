// llama.cpp reads what we write: it loads files of `nutshell quantize`, tokenizes alike, and every token that is greedily
// sampled here is the likeliest there too, or nearly so. Where two tokens are nearly equal, two int8 engines may choose
// differently: on random weights the best two are often 0.01 apart, while a wrong product chooses one that is 1 or 2 below.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, ensure, equal, finish, skip } from '../browser/harness.mjs';

const STORIES = `${process.env.NUT_DATA ?? '../shared/data'}/models/stories260K-f32.gguf`;
const TEXT = 'LICENSE'; // which does not change, as the README does: near ties would come and go
const TINY = 'dist/nutshell-tiny-q8_0.gguf';
const WORK = 'build/llama-test';
const PROMPTS = ['Once upon a time', 'One day, a little dog'];
const TOKENS = 24;
const NEARLY = 0.05; // how far below the best a token's logit may be
// Where the float reference finds two tokens equal up to TIE, either may come first by the rounding of activations alone,
// which moved logits of a model of 64 columns by 0.1; no token may be FAR below.
const TIE = 0.005, FAR = 0.25;
mkdirSync(WORK, { recursive: true });

const nutshell = (...args) =>
  execFileSync('build/native/nutshell', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
const entry = resolve('.toolchain/peers/node_modules/node-llama-cpp/dist/index.js');
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry).href);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });

/** llama.cpp's token ids of the prompt. */
function tokenIds(model, prompt) {
  return [...(model.tokens.shouldPrependBosToken ? [model.tokens.bos] : []), ...model.tokenize(prompt)];
}

/** How far the logit of each sampled token is below the best, and which that is, as llama.cpp computes them after the same
 *  tokens. */
async function shortfalls(model, ids, drawn, lora) {
  const context = await model.createContext({ contextSize: 256, threads: 1, lora });
  const sequence = context.getSequence();
  const answers = sequence.evaluateWithMetadata(ids, { probabilities: true }, { temperature: 0, yieldEogToken: true });
  const below = [];
  let answer = await answers.next();
  for (const token of drawn) { // continue with our token instead of its own
    ensure(!answer.done, `llama.cpp stops after ${below.length} tokens`);
    const { probabilities } = answer.value;
    const [best, most] = [...probabilities].reduce((a, b) => (b[1] > a[1] ? b : a));
    below.push({ below: Math.log(most / (probabilities.get(token) ?? 0)), best });
    answer = await answers.next(token);
  }
  await answers.return();
  return below;
}

/** Loads a model for each prompt: contexts that share one sometimes never answer. */
async function judge(path, prompt, ids, drawn, lora) {
  const model = await llama.loadModel({ modelPath: resolve(path) });
  equal(ids, tokenIds(model, prompt), 'token ids');
  const below = await shortfalls(model, ids, drawn, lora);
  await model.dispose();
  return below;
}

/** How far token a is below token b by the float reference, after these tokens. */
function apart(path, ids, a, b) {
  const out = join(WORK, 'logits.f32');
  nutshell('logits', path, '--ids', `${ids}`, '--reference', '-o', out);
  const all = new Float32Array(new Uint8Array(readFileSync(out)).buffer);
  const row = all.subarray(-all.length / ids.length);
  return row[b] - row[a];
}

/** A file of ours with what llama.cpp is given: the same, or another with an adapter (lora) beside it. */
async function compare(path, theirs = path, lora = undefined) {
  for (const prompt of PROMPTS) {
    const ids = nutshell('tokenize', path, prompt, '--bos').trim().split(' ').map(Number);
    const drawn = JSON.parse(
      nutshell('run', path, prompt, '--temperature', '0', '--max-tokens', `${TOKENS}`, '--ignore-eos', '--json')).ids;
    equal(drawn.length, TOKENS, 'drawn tokens');
    const below = await judge(theirs, prompt, ids, drawn, lora);
    for (const [i, at] of below.entries()) {
      const tied = at.below > NEARLY && apart(path, [...ids, ...drawn.slice(0, i)], drawn[i], at.best) < TIE;
      ensure(at.below <= (tied ? FAR : NEARLY), `"${prompt}": token ${i} is ${at.below.toFixed(3)} below the best`);
    }
  }
}

await check('the shipped model', () => compare(TINY));
const TYPES = ['q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'iq4_nl', 'mxfp4'];
for (const [name, from] of [['stories', STORIES], ['tiny', TINY]]) {
  for (const type of TYPES) {
    if (!existsSync(from)) {
      skip(`${name} in ${type}`, `${from} is missing`);
      continue;
    }
    await check(`${name} in ${type}`, async () => {
      const out = join(WORK, `${name}-${type}.gguf`);
      nutshell('quantize', from, out, '--type', type);
      await compare(out);
    });
  }
}

// Random weights: both have to compute the same function of them. One file per family, then one per tensor format.
for (const family of ['llama', 'qwen2', 'qwen3']) {
  await check(`${family}, random weights`, async () => {
    const out = join(WORK, `${family}.gguf`);
    execFileSync('build/native/make_model', [family, 'f32', out]);
    await compare(out);
  });
}
for (const type of ['f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k']) {
  await check(`${type}, random weights`, async () => {
    const out = join(WORK, `${type}.gguf`);
    execFileSync('build/native/make_model', ['llama', type, out]);
    await compare(out);
  });
}
for (const type of ['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_xs', 'tq1_0', 'tq2_0', 'iq3_s', 'iq3_xxs', 'iq2_s',
  'iq2_xs', 'iq2_xxs', 'iq1_s', 'iq1_m']) {
  await check(`${type}, written from random weights`, async () => {
    const [from, out] = [join(WORK, 'llama.gguf'), join(WORK, `written-${type}.gguf`)];
    nutshell('quantize', from, out, '--type', type);
    await compare(out);
  });
}
// Models that lost weights, or parts, and models with scales of columns that are folded, are ordinary ones of their family.
for (const [name, steps] of Object.entries({
  'pruned weights': [{ step: 'prune', metric: 'sparsegpt', pattern: '2:4' }],
  'fewer layers': [{ step: 'layers', remove: 1 }],
  'narrower layers': [{ step: 'channels', share: 0.2 }],
  'fewer heads': [{ step: 'heads', share: 0.5 }],
  'a narrower residual': [{ step: 'width', share: 0.1 }],
  'fewer tokens': [{ step: 'vocabulary', tokens: 450 }],
  'a type for each matrix': [{ step: 'calibrate', windows: 2 }, { step: 'gptq', bpw: 12 }],
})) {
  if (!existsSync(STORIES)) {
    skip(name, `${STORIES} is missing`);
    continue;
  }
  await check(name, async () => {
    const [recipe, out] = ['recipe.json', `${name.replaceAll(' ', '-')}.gguf`].map((file) => join(WORK, file));
    writeFileSync(recipe, JSON.stringify(steps));
    nutshell('compress', STORIES, out, '--recipe', recipe, '--text', TEXT);
    await compare(out);
  });
}
// An adapter that we train: llama.cpp applies it as it runs, we merge it. Without it, it computes something else.
if (!existsSync(STORIES)) skip('an adapter', `${STORIES} is missing`);
else await check('an adapter', async () => {
  const [recipe, lora, merged] = ['lora.json', 'lora.gguf', 'merged.gguf'].map((name) => join(WORK, name));
  writeFileSync(recipe, JSON.stringify({ model: STORIES, text: 'README.md', output: lora, steps: 20, batch: 2, window: 64,
    rate: 0.02, rank: 4, alpha: 8 }));
  nutshell('train', recipe);
  nutshell('merge', STORIES, lora, merged);
  await compare(merged, STORIES, lora);
  const without = await compare(merged, STORIES).then(() => true, () => false);
  ensure(!without, 'the adapter changes nothing');
});
// What makes up for rounding, beside the rounded model: llama.cpp applies it as this engine does.
for (const option of ['--rank', '--columns']) {
  const name = `a correction by ${option}`;
  if (!existsSync(STORIES)) skip(name, `${STORIES} is missing`);
  else await check(name, () => correct(option));
}
async function correct(option) {
  const [small, lora, merged] = ['small.gguf', 'correction.gguf', 'corrected.gguf'].map((name) => join(WORK, name));
  nutshell('quantize', STORIES, small, '--type', 'q4_0');
  nutshell('correct', STORIES, small, lora, option, '8', '--text', 'README.md');
  nutshell('merge', small, lora, merged, '--type', 'f32');
  await compare(merged, small, lora);
}
finish();
process.exit();
