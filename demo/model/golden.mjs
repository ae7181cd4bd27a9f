// Writes tests/golden/tiny.json: what llama.cpp (through node-llama-cpp) makes of the demonstration model,
// beside the float64 logits of check.py. Neither shares code with the engine.
//
//   python3 demo/model/check.py logits > build/model/logits.json
//   node demo/model/golden.mjs build/model/logits.json [FOLDER OF node_modules]
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = resolve(import.meta.dirname, '../..');
const model = 'dist/nutshell-tiny-q8_0.gguf';
const GREEDY = 64;

const [, , logitsFile, modules = resolve(root, '.toolchain/peers/node_modules')] = process.argv;
const peer = resolve(modules, 'node-llama-cpp');
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(resolve(peer, 'dist/index.js')).href);
const { version } = JSON.parse(readFileSync(resolve(peer, 'package.json'), 'utf8'));

const prompts = JSON.parse(readFileSync(resolve(import.meta.dirname, 'golden_prompts.json'), 'utf8'));
const runs = JSON.parse(readFileSync(logitsFile, 'utf8'));

const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
const loaded = await llama.loadModel({ modelPath: resolve(root, model) });
const context = await loaded.createContext({ contextSize: 512, threads: 1 });
const sequence = context.getSequence();
const bos = loaded.tokens.bos;

/** Greedy continuation of a prompt: ids up to the end token, at most GREEDY. */
async function greedy(ids) {
  await sequence.clearHistory();
  const out = [];
  for await (const token of sequence.evaluate(ids, { temperature: 0 })) {
    if (loaded.isEogToken(token)) break;
    out.push(token);
    if (out.length >= GREEDY) break;
  }
  return out;
}

/** The first place where two lists differ, or -1. */
const firstDifference = (a, b) => {
  const at = a.findIndex((id, i) => id !== b[i]);
  return at < 0 && a.length !== b.length ? a.length : at;
};

for (const run of runs) {
  const ids = [bos, ...loaded.tokenize(run.prompt, true)];
  if (firstDifference(ids, run.ids) >= 0) throw new Error(`the two programs tokenize ${JSON.stringify(run.prompt)} differently`);
  run.llama_cpp_greedy = await greedy(ids);
  run.text = loaded.detokenize(run.llama_cpp_greedy);
  const at = firstDifference(run.llama_cpp_greedy, run.greedy);
  console.log(`${JSON.stringify(run.prompt)}: ${run.greedy.length} tokens, smallest gap ${Math.min(...run.gap)}, ` +
    (at < 0 ? 'llama.cpp agrees' : `llama.cpp differs at ${at}, where the gap is ${run.gap[at]}`));
}

const golden = {
  model,
  sha256: createHash('sha256').update(readFileSync(resolve(root, model))).digest('hex'),
  how: `tokenize and llama_cpp_greedy: llama.cpp through node-llama-cpp ${version}, on the file as it is (Q8_0, F16 cache). ` +
    'ids of tokenize are without bos, ids_parse_special with special tokens recognized. Of the runs, ids (with bos), top10 and ' +
    'logsumexp after the last prompt token, greedy and gap (margin of each chosen token over the second) come from ' +
    'demo/model/check.py: the Q8_0 weights dequantized, float64 NumPy arithmetic, no quantized activations, no F16 cache. ' +
    `Greedy stops before the end token or after ${GREEDY} tokens. Written by demo/model/golden.mjs.`,
  bos,
  eos: loaded.tokens.eos,
  tokenize: prompts.tokenize.map((text) => ({
    text, ids: [...loaded.tokenize(text, false)], ids_parse_special: [...loaded.tokenize(text, true)],
  })),
  runs,
};
const lines = Object.entries(golden).map(([key, item]) => Array.isArray(item)
  ? `${JSON.stringify(key)}: [\n${item.map((entry) => JSON.stringify(entry)).join(',\n')}\n]`
  : `${JSON.stringify(key)}: ${JSON.stringify(item)}`);
writeFileSync(resolve(root, 'tests/golden/tiny.json'), `{\n${lines.join(',\n')}\n}\n`);
process.exit(0);
