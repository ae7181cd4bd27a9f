// Quality for bytes: KL divergence from the reference against the size of the file, of our compressed models and of llama.cpp's
// best files, for both models of ../shared/data/ladder. It measures what is not yet in quality.csv and draws docs/quality.svg.
//
//   node tests/bench/quality.mjs [--sizes 60,75,95] [--fast | --portable] [--draw]
//
// References are F32 files that ../shared/tools/offgrid.py makes, named smollm2.gguf and gemma3.gguf in the folder $NUT_OFFGRID
// (models/offgrid). A size takes minutes on two idle cores, hours on busy ones. What was not measured is listed, not guessed.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const DATA = process.env.NUT_DATA ?? '../shared/data', OFFGRID = process.env.NUT_OFFGRID ?? 'models/offgrid';
export const WORK = 'build/quality';
const TABLE = join(import.meta.dirname, 'quality.csv'), FIGURE = 'docs/quality.svg';
const TEXT_BYTES = 600_000; // of WikiText-2's test part, as the ladder has them

/** The models, with the windows that the ladder scored, and the sizes that are asked for; `portable`: with --portable. */
export const MODELS = [
  { name: 'smollm2', title: 'SmolLM2-135M-Instruct', windows: 12, sizes: [45, 50, 55, 60, 67, 75, 84, 95, 105],
    portable: [70.5, 73, 77, 80.5, 91.5, 102, 112, 138.5] },
  { name: 'gemma3', title: 'Gemma-3-270M', windows: 8, sizes: [100, 150, 157, 166, 235, 253, 290],
    portable: [151, 152, 157, 166, 242, 253, 283] },
];

/** @typedef {{ model: string, tool: string, file: string, MB: number, KL: number, ppl: number, top: number }} Point */

/** llama.cpp's files. @returns {Point[]} */
export function ladder({ name }) {
  const path = join(DATA, 'ladder', `${name}.tsv`);
  if (!existsSync(path)) return [];
  const [head, ...rows] = readFileSync(path, 'utf8').trim().split('\n').map((line) => line.split('\t'));
  const at = (row, column) => row[head.indexOf(column)];
  return rows.map((row) => ({
    model: name, tool: 'llama.cpp', file: at(row, 'type'), MB: +at(row, 'MB'), KL: +at(row, 'meanKL'), ppl: +at(row, 'PPL'),
    top: +at(row, 'same_top1'),
  }));
}

/** @returns {Point[]} what was measured so far */
export function measured() {
  if (!existsSync(TABLE)) return [];
  return readFileSync(TABLE, 'utf8').trim().split('\n').slice(1).map((line) => {
    const [model, tool, file, MB, KL, ppl, top] = line.split(',');
    return { model, tool, file, MB: +MB, KL: +KL, ppl: +ppl, top: +top };
  });
}

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
export const nutshell = (...args) =>
  execFileSync('build/native/nutshell', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

export const referenceOf = (model) => join(OFFGRID, `${model.name}.gguf`);

/** Judges a file by the logits of the reference, which are stored once. */
export function judged(model, out) {
  const stored = join(WORK, `${model.name}.logits`), text = join(WORK, 'wiki.txt');
  const common = ['--text', text, '--windows', `${model.windows}`, '--threads', '2', '--json'];
  mkdirSync(WORK, { recursive: true });
  if (!existsSync(text)) writeFileSync(text, readFileSync(join(DATA, 'text/wiki.test.raw')).subarray(0, TEXT_BYTES));
  if (!existsSync(stored)) nutshell('evaluate', referenceOf(model), '--float', ...common, '--store', stored);
  return JSON.parse(nutshell('evaluate', out, '--reference', stored, ...common));
}

/** Judges a file, and adds a row to the table. */
export function judge(model, tool, file, out) {
  const r = judged(model, out);
  if (!existsSync(TABLE)) writeFileSync(TABLE, 'model,tool,file,MB,KL,perplexity,same likeliest token %\n');
  appendFileSync(TABLE, `${model.name},${tool},${file},${(statSync(out).size / 1e6).toFixed(1)},${r.kl.toFixed(5)},${
    r.perplexity.toFixed(3)},${(100 * r.same_top).toFixed(2)}\n`);
}

function measure(model, size, how) {
  const out = join(WORK, `${model.name}-${size}${how}.gguf`);
  mkdirSync(WORK, { recursive: true });
  if (!existsSync(out))
    nutshell('compress', referenceOf(model), out, '--size', `${size}MB`, '--threads', '2', ...(how ? [how] : []));
  judge(model, how === '--portable' ? 'nutshell --portable' : 'nutshell', `${size}MB${how === '--fast' ? ' --fast' : ''}`, out);
}

// ---- the figure ----------------------------------------------------------------------------------------------------------

const WIDTH = 760, PANEL = 340, HEIGHT = 300, LEFT = 46, TOP = 54, BOTTOM = 40;
const STYLE = `
  text { font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; fill: #2b2119; }
  .title { font-weight: 650; } .grid { stroke: #8884; } .ours { fill: #a4672f; stroke: #a4672f; } .base { fill: #6b7f8f; }
  .base, .ours { stroke-width: 2; } path { fill: none !important; }
  @media (prefers-color-scheme: dark) {
    text { fill: #efe6da; } .ours { fill: #dda066; stroke: #dda066; } .base { fill: #8fa3b3; }
  }`;

/** The points that none of the same tool beats in both bytes and KL, by size. @param {Point[]} points */
export function best(points) {
  return points.filter((p) => !points.some((q) => q !== p && q.MB <= p.MB && q.KL < p.KL)).sort((a, b) => a.MB - b.MB);
}

/** @param {{ name: string, title: string }} model @param {Point[]} points */
function panel(model, points, left) {
  const own = points.filter((p) => p.model === model.name && (p.tool === 'llama.cpp' || p.tool === 'nutshell'));
  if (!own.length) return '';
  const sizes = own.map((p) => p.MB);
  const first = Math.floor(Math.min(...sizes) / 10) * 10, last = Math.ceil(Math.max(...sizes) / 10) * 10;
  const logs = own.map((p) => Math.log10(p.KL)), low = Math.floor(Math.min(...logs)), high = Math.ceil(Math.max(...logs));
  const x = (MB) => +(left + LEFT + (MB - first) / (last - first) * (PANEL - LEFT - 8)).toFixed(1);
  const y = (KL) => +(TOP + (high - Math.log10(KL)) / (high - low) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const parts = [`<text class="title" x="${left + LEFT}" y="20">${model.title}</text>`];
  for (let power = low; power <= high; power++) {
    const at = y(10 ** power);
    parts.push(`<line class="grid" x1="${left + LEFT}" x2="${left + PANEL - 8}" y1="${at}" y2="${at}"/>`,
      `<text x="${left + LEFT - 6}" y="${at + 4}" text-anchor="end">${10 ** power}</text>`);
  }
  for (let MB = first; MB <= last; MB += (last - first) / 5)
    parts.push(`<text x="${x(MB)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${MB.toFixed(0)}</text>`);
  parts.push(`<text x="${left + PANEL / 2}" y="${HEIGHT - 6}" text-anchor="middle">MB</text>`);
  for (const [tool, kind] of [['llama.cpp', 'base'], ['nutshell', 'ours']])
    for (const p of best(own.filter((q) => q.tool === tool)))
      parts.push(`<circle class="${kind}" cx="${x(p.MB)}" cy="${y(p.KL)}" r="4">`,
        `<title>${p.tool}, ${escape(p.file)}: ${p.MB} MB, KL ${p.KL}</title></circle>`);
  return parts.join('\n');
}

/** @param {Point[]} points */
export function figureOf(points) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img">
<title>KL divergence from the reference against the size of the file</title>
<style>${STYLE}</style>
<circle class="ours" cx="${LEFT + 6}" cy="36" r="4"/><text x="${LEFT + 16}" y="40">nutshell compress</text>
<circle class="base" cx="${LEFT + 156}" cy="36" r="4"/><text x="${LEFT + 166}" y="40">llama.cpp’s best files</text>
${MODELS.map((model, i) => panel(model, points, i * (PANEL + 40))).join('\n')}
</svg>
`;
}

// ---- the run -------------------------------------------------------------------------------------------------------------

function main() {
  const args = process.argv.slice(2), asked = args[args.indexOf('--sizes') + 1];
  const how = ['--fast', '--portable'].find((option) => args.includes(option)) ?? '', portable = how === '--portable';
  const sizes = args.includes('--sizes') ? asked.split(',').map(Number) : null;
  const sizesOf = (model) => portable ? model.portable : model.sizes;
  const isThere = (model, size) => measured().some((p) =>
    p.model === model.name && (p.tool === 'nutshell --portable') === portable && p.file.startsWith(`${size}MB`));
  for (const model of args.includes('--draw') ? [] : MODELS)
    for (const size of sizes?.filter((s) => sizesOf(model).includes(s)) ?? sizesOf(model))
      if (!isThere(model, size) && existsSync(referenceOf(model))) measure(model, size, how);
  writeFileSync(FIGURE, figureOf([...MODELS.flatMap(ladder), ...measured()]));
  for (const model of MODELS) {
    const missing = sizesOf(model).filter((size) => !isThere(model, size));
    if (missing.length) console.log(`${model.title}: not measured at ${missing.join(', ')} MB`);
  }
}

if (process.argv[1] === import.meta.filename) main();
