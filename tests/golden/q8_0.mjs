// How far llama.cpp is from the expected values of the conformance set once their matrices are Q8_0: writes q8_0.json,
// which tests/unit/test_conformance.c reads. llama.cpp rounds activations to 8 bits too, so it shows what that costs;
// with a copy of the rounded weights as floats, it shows what they alone cost. The larger counts: which one that is, is
// chance where a router's scores are close.
//
//   make build/native/nutshell && node tests/golden/q8_0.mjs
//
// Of each model it is the median over its positions of the largest |difference|, over the deviation of the expected
// logits. llama.cpp gives probabilities, and so logits but for a number that is the same for a whole row.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const SET = `${process.env.NUT_DATA ?? '../shared/data'}/conformance`, WORK = 'build/q8_0';
const PEERS = '.toolchain/peers/node_modules/node-llama-cpp';

/** @type {any} */
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(resolve(`${PEERS}/dist/index.js`)).href);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });

/** Logarithms of the probabilities after each id. @param {string} path @param {any} about */
async function theirs(path, about) {
  const model = await llama.loadModel({ modelPath: resolve(path) }).catch(() => null);
  if (!model) return null; // of a key that this version wants and the set's files lack
  const context = await model.createContext({ contextSize: about.n_ctx, threads: 1 });
  const answers = context.getSequence().evaluateWithMetadata(about.ids.slice(0, 1), { probabilities: true },
    { temperature: 0, yieldEogToken: true });
  const rows = [];
  for (let next, i = 1; i <= about.ids.length; i++) {
    next = await answers.next(about.ids[i - 1]);
    const row = new Float64Array(about.shape[1]).fill(NaN);
    for (const [token, p] of next.value.probabilities) row[token] = Math.log(p);
    rows.push(row);
  }
  await answers.return();
  await model.dispose();
  return rows;
}

/** The largest difference of a row, both moved to a mean of 0. */
function farthest(a, b) {
  const mean = a.reduce((sum, x, i) => sum + x - b[i], 0) / a.length;
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i] - mean)), 0);
}

/** @param {string} path @param {any} about @param {Float32Array} values */
async function median(path, about, values) {
  const width = about.shape[1], got = await theirs(path, about);
  const rows = got?.map((row, i) => farthest(row, values.subarray(i * width, (i + 1) * width))).sort((a, b) => a - b);
  return rows ? rows[rows.length >> 1] / about.std : 0;
}

const write = (from, to, type) =>
  execFileSync('build/native/nutshell', ['quantize', from, to, '--type', type], { stdio: 'ignore' });

async function measure(name) {
  const about = JSON.parse(readFileSync(`${SET}/${name}.json`, 'utf8').replace(/\bInfinity\b/g, '1e999'));
  if (about.kind !== 'causal') return null;
  const file = `${WORK}/${name}.gguf`, copy = `${WORK}/copy.gguf`, bytes = readFileSync(`${SET}/${about.logits}`);
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  write(`${SET}/${name}.gguf`, file, 'q8_0');
  write(file, copy, 'f32');
  return Number(Math.max(await median(file, about, values), await median(copy, about, values)).toPrecision(4));
}

mkdirSync(WORK, { recursive: true });
const models = {};
for (const file of readdirSync(SET).filter((f) => f.endsWith('.gguf'))) {
  const name = file.slice(0, -5), most = await measure(name);
  if (most) models[name] = most;
}
const version = JSON.parse(readFileSync(`${PEERS}/package.json`, 'utf8')).version;
const head = { origin: `llama.cpp of node-llama-cpp ${version}, made by tests/golden/q8_0.mjs` };
writeFileSync('tests/golden/q8_0.json', `${JSON.stringify({ ...head, models }, null, 1)}\n`);
process.exit();
