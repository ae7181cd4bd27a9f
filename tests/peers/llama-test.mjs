// llama.cpp reads what we write: files of `nutshell quantize` load there, tokenize alike, and go on with a prompt as they do
// here. Greedy texts of two int8 engines may part where two tokens are nearly equal, so their beginnings are compared.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, ensure, equal, finish, skip } from '../browser/harness.mjs';

const STORIES = `${process.env.NUT_DATA ?? '../shared/data'}/models/stories260K-f32.gguf`;
const TINY = 'dist/nutshell-tiny-q8_0.gguf';
const WORK = 'build/llama-test';
const PROMPTS = ['Once upon a time', 'One day, a little dog'];
const TOKENS = 24, SAME = 8;
mkdirSync(WORK, { recursive: true });

const nutshell = (...args) =>
  execFileSync('build/native/nutshell', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
const entry = resolve('.toolchain/peers/node_modules/node-llama-cpp/dist/index.js');
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry).href);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });

/** llama.cpp's token ids of the prompt, and its greedy continuation. */
async function continuation(path, prompt) {
  const model = await llama.loadModel({ modelPath: resolve(path) });
  const context = await model.createContext({ contextSize: 256, threads: 1 });
  const ids = [...(model.tokens.shouldPrependBosToken ? [model.tokens.bos] : []), ...model.tokenize(prompt)];
  const drawn = [];
  for await (const token of context.getSequence().evaluate(ids, { temperature: 0 })) {
    if (drawn.push(token) >= TOKENS || model.isEogToken(token)) break;
  }
  await model.dispose();
  return { ids, drawn };
}

async function compare(path, least = SAME) {
  for (const prompt of PROMPTS) {
    const theirs = await continuation(path, prompt);
    const ids = nutshell('tokenize', path, prompt, '--bos').trim().split(' ').map(Number);
    equal(ids, theirs.ids, 'token ids');
    const ours = JSON.parse(nutshell('run', path, prompt, '--temperature', '0', '--max-tokens', `${TOKENS}`, '--json'));
    let same = 0;
    while (same < ours.ids.length && ours.ids[same] === theirs.drawn[same]) same++;
    ensure(same >= Math.min(least, theirs.drawn.length), `"${prompt}": only ${same} tokens agree`);
  }
}

await check('the shipped model', () => compare(TINY));
for (const [name, from] of [['stories', STORIES], ['tiny', TINY]]) {
  for (const type of ['q8_0', 'q4_0', 'q4_1']) {
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

// Random weights: what matters is that both compute the same function of them. Floats first, one file per family, and all tokens;
// then each tensor format, whose int8 paths part sooner.
for (const family of ['llama', 'qwen2', 'qwen3']) {
  await check(`${family}, random weights`, async () => {
    const out = join(WORK, `${family}.gguf`);
    execFileSync('build/native/make_model', [family, 'f32', out]);
    await compare(out, TOKENS);
  });
}
for (const type of ['f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q4_k', 'q5_k', 'q6_k']) {
  await check(`${type}, random weights`, async () => {
    const out = join(WORK, `${type}.gguf`);
    execFileSync('build/native/make_model', ['llama', type, out]);
    await compare(out, 4);
  });
}
finish();
process.exit();
