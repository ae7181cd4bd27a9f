// Files of `nutshell quantize` are as good in llama.cpp as here: the perplexity of each, on the second halves of windows of 512
// tokens of WikiText-2's test part, by both engines.
//
//   node tests/peers/perplexity-test.mjs [--windows 1] [FILE.gguf…]
//
// Without files, those that are written from the model in models/, by way of F16, since a matrix is not made larger than it was
// in a quantized file. Engines round activations to int8 in their own ways, which
// moves the logarithm of a token's probability by about 0.09 (a KL divergence of 0.004): that is what few tokens are allowed
// beside half a percent.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, ensure, finish, skip } from '../browser/harness.mjs';

const SOURCE = 'models/SmolLM2-135M-Instruct-Q4_1.gguf', WORK = 'build/perplexity-test', WINDOW = 512;
const HALVES = `${WORK}/f16.gguf`;
const WIKI = `${process.env.NUT_DATA ?? '../shared/data'}/text/wiki.test.raw`;
const MIXES = ['Q4_K_M', 'IQ4_NL', 'Q6_K', 'Q5_K_M', 'IQ3_XXS'];
const args = process.argv.slice(2), at = args.indexOf('--windows');
const windows = at < 0 ? 1 : Number(args.splice(at, 2)[1]), scored = windows * (WINDOW / 2 - 1);
const bound = 0.005 + 3 * 0.09 / Math.sqrt(scored);

const nutshell = (...words) =>
  execFileSync('build/native/nutshell', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
const entry = resolve('.toolchain/peers/node_modules/node-llama-cpp/dist/index.js');
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry).href);

/** Minus the logarithms of the probabilities that llama.cpp gives to the tokens of a window's second half, added up. */
async function lossOf(sequence, ids) {
  let loss = 0;
  const wanted = { generateNext: { probabilities: true, options: { temperature: 0 } } };
  await sequence.clearHistory();
  await sequence.controlledEvaluate(ids.slice(0, -1).map((id, i) => (i < WINDOW / 2 ? id : [id, wanted])), {
    onTokenResult(i, result) {
      loss -= Math.log(result.next.probabilities.get(ids[i + 1]));
      delete result.next.probabilities; // of the whole vocabulary
    },
  });
  return loss;
}

async function theirs(llama, path, ids) {
  const model = await llama.loadModel({ modelPath: resolve(path) });
  const context = await model.createContext({ contextSize: WINDOW, batchSize: WINDOW, threads: 1 });
  const sequence = context.getSequence();
  let loss = 0;
  for (let w = 0; w < windows; w++) loss += await lossOf(sequence, ids.slice(w * WINDOW, (w + 1) * WINDOW));
  await model.dispose();
  return Math.exp(loss / scored);
}

async function compare(llama, path, text) {
  const ids = nutshell('tokenize', path, text).trim().split(' ').map(Number);
  const wiki = join(WORK, 'wiki.txt');
  writeFileSync(wiki, text);
  const ours = JSON.parse(nutshell('evaluate', path, '--text', wiki, '--windows', `${windows}`, '--threads', '1', '--json'));
  const other = await theirs(llama, path, ids), apart = other / ours.perplexity - 1;
  console.log(`  perplexity ${ours.perplexity.toFixed(3)} here, ${other.toFixed(3)} in llama.cpp: ${(100 * apart).toFixed(2)} %`);
  ensure(Math.abs(apart) < bound, `${(100 * apart).toFixed(2)} % apart, ${(100 * bound).toFixed(2)} % may be`);
}

mkdirSync(WORK, { recursive: true });
const cases = args.length ? args.map((path) => ({ path })) : MIXES.map((mix) => ({ mix, path: join(WORK, `${mix}.gguf`) }));
const missing = [WIKI, ...(args.length ? [] : [SOURCE])].find((path) => !existsSync(path));
const llama = missing ? null : await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
if (!missing && !args.length) nutshell('quantize', SOURCE, HALVES, '--type', 'f16');
for (const { mix, path } of cases) {
  const name = `the perplexity of ${basename(path)} in llama.cpp`;
  if (missing) {
    skip(name, `${missing} is missing`);
    continue;
  }
  await check(name, async () => {
    const text = readFileSync(WIKI).subarray(0, 6 * WINDOW * windows).toString();
    if (mix) nutshell('quantize', HALVES, path, '--mix', mix);
    await compare(llama, path, text);
    if (mix) rmSync(path);
  });
}
rmSync(HALVES, { force: true });
finish();
process.exit();
