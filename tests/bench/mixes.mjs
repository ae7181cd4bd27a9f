// llama.cpp's mixes of types, written by us: the KL divergence of each beside that of llama.cpp's own file of the same mix, for
// both models of ../shared/data/ladder. Statistics are of the same text (40 windows of groups_merged.txt). It measures what is
// not yet in quality.csv, as rows of `nutshell quantize`, and prints the table of docs/compression.md.
//
//   node tests/bench/mixes.mjs [--only smollm2] [--mixes Q4_K_M,IQ4_XS+emb iq4_nl] [--print]
//
// References are those of quality.mjs. A file takes one to three minutes of one core.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DATA, MODELS, WORK, judge, ladder, measured, nutshell, referenceOf } from './quality.mjs';

const TOOL = 'nutshell quantize', CALIBRATION_BYTES = 82_500; // 40 windows of 512 of SmolLM2's tokens, as the ladder has them

/** Statistics of a model's inputs, gathered once. */
function statistics(model) {
  const out = join(WORK, `${model.name}.imatrix`), text = join(WORK, 'groups.txt');
  if (existsSync(out)) return out;
  mkdirSync(WORK, { recursive: true });
  writeFileSync(text, readFileSync(join(DATA, 'text/groups_merged.txt')).subarray(0, CALIBRATION_BYTES));
  nutshell('calibrate', referenceOf(model), '--text', text, '-o', out);
  return out;
}

function measure(model, mix) {
  const out = join(WORK, `${model.name}-mix.gguf`), [type, embedding] = mix.split('+emb ');
  nutshell('quantize', referenceOf(model), out, '--mix', type, ...(embedding ? ['--embedding', embedding] : []), '--imatrix',
    statistics(model));
  judge(model, TOOL, mix, out);
  rmSync(out);
}

/** The mixes of llama.cpp's table; `pure` ones are no mixes. @returns {string[]} */
const mixesOf = (model) => ladder(model).map((p) => p.file).filter((file) => !file.startsWith('pure '));

function print(model) {
  const ours = measured().filter((p) => p.model === model.name && p.tool === TOOL);
  console.log(`\n${model.title}\n\n| mix | MB | KL | llama.cpp's | ratio |\n|---|---|---|---|---|`);
  for (const theirs of ladder(model)) {
    const own = ours.find((p) => p.file === theirs.file);
    if (own) console.log(`| ${own.file} | ${own.MB} | ${own.KL} | ${theirs.KL} | ${(own.KL / theirs.KL).toFixed(2)} |`);
  }
}

const args = process.argv.slice(2), option = (name) => args.includes(name) ? args[args.indexOf(name) + 1] : null;
for (const model of MODELS.filter((m) => !option('--only') || m.name === option('--only'))) {
  const isThere = (mix) => measured().some((p) => p.model === model.name && p.tool === TOOL && p.file === mix);
  const asked = option('--mixes')?.split(',') ?? mixesOf(model);
  for (const mix of args.includes('--print') ? [] : mixesOf(model).filter((m) => asked.includes(m) && !isThere(m)))
    if (existsSync(referenceOf(model))) measure(model, mix);
  print(model);
}
