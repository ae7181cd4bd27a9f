// Quality against bytes and against decode speed, for quantization alone and behind each kind of pruning: KL divergence and
// LAMBADA of SmolLM2-135M-Instruct's coded files. It measures what is not yet in frontier.csv, and draws docs/frontier.svg.
//
//   node tests/bench/frontier.mjs [--only layers] [--sizes 45,60] [--speed] [--draw]
//
// The reference is that of quality.mjs. A file takes five to ten minutes of one core; it stays in build/frontier. --speed
// times the files that are there, in turn with Q4_0's, and needs a quiet machine: it writes the column "of Q4_0's speed".
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DATA, MODELS, judged, measured as measuredSizes, nutshell, referenceOf } from './quality.mjs';

const MODEL = MODELS[0], WORK = 'build/frontier', FIGURE = 'docs/frontier.svg', ITEMS = 200, ROUNDS = 7, TOKENS = 64;
const TABLE = join(import.meta.dirname, 'frontier.csv');
const COLUMNS = ['kind', 'MB', 'KL', 'perplexity', 'LAMBADA %', 'LAMBADA nats', "of Q4_0's speed"];

/** What comes before calibration and coding. @type {Record<string, object[]>} */
const KINDS = {
  'nothing': [],
  'half of the weights': [{ step: 'prune', share: 0.5, metric: 'wanda', refit: true }],
  '2:4': [{ step: 'prune', pattern: '2:4', metric: 'wanda', permute: true, refit: true }],
  'a third of the channels': [{ step: 'channels', share: 0.34 }],
  'a tenth of the channels': [{ step: 'channels', share: 0.1, by_layer: true }],
  'a ninth of the heads': [{ step: 'heads', share: 0.11, by_layer: true }],
  '3 of 30 layers': [{ step: 'layers', remove: 3 }],
  'a ninth of the width': [{ step: 'width', share: 0.1 }],
};

/** @typedef {Record<string, string>} Row */

/** @returns {Row[]} */
function measured() {
  if (!existsSync(TABLE)) return [];
  const [, ...lines] = readFileSync(TABLE, 'utf8').trim().split('\n');
  return lines.map((line) => Object.fromEntries(line.split(',').map((value, i) => [COLUMNS[i], value])));
}

/** @param {Row[]} rows */
const write = (rows) => writeFileSync(TABLE, [COLUMNS, ...rows.map((row) => COLUMNS.map((name) => row[name] ?? ''))]
  .map((cells) => `${cells.join(',')}\n`).join(''));

const fileOf = (kind, size) => join(WORK, `${kind.replaceAll(/[^a-z0-9]+/gi, '-')}-${size}.gguf`);

/** @param {string} kind @param {number} size of the file, MB */
function measure(kind, size) {
  const out = fileOf(kind, size), recipe = join(WORK, 'recipe.json');
  writeFileSync(recipe, JSON.stringify([...KINDS[kind], { step: 'calibrate' }, { step: 'coded', size: `${size}MB` }]));
  if (!existsSync(out)) nutshell('compress', referenceOf(MODEL), out, '--recipe', recipe);
  const { kl, perplexity } = judged(MODEL, out);
  const task = `lambada=${join(DATA, 'eval/lambada_500.jsonl')}`;
  const [lambada] = JSON.parse(nutshell('evaluate', out, '--task', task, '--items', `${ITEMS}`, '--json')).tasks;
  write([...measured(), {
    kind, MB: (statSync(out).size / 1e6).toFixed(1), KL: kl.toFixed(4), perplexity: perplexity.toFixed(2),
    'LAMBADA %': (100 * lambada.accuracy).toFixed(1), 'LAMBADA nats': lambada.nll.toFixed(3),
  }]);
}

// ---- speed ---------------------------------------------------------------------------------------------------------------

/** Seconds of a token. @param {string} file */
function timed(file) {
  const options = ['--max-tokens', `${TOKENS}`, '--ignore-eos', '--temperature', '0', '--lookup', '0', '--json'];
  const said = execFileSync('build/native/nutshell', ['run', file, 'Once upon a time', ...options],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const { decode } = JSON.parse(said).timings;
  return decode.seconds / decode.tokens;
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** Speeds beside that of Q4_0, a file of the whole model, in turn with it. */
function time() {
  const base = join(WORK, 'q4_0.gguf'), rows = measured();
  if (!existsSync(base)) nutshell('quantize', referenceOf(MODEL), base, '--type', 'q4_0');
  const files = rows.map((row) => fileOf(row.kind, Math.round(Number(row.MB)))), ratios = files.map(() => []);
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, file] of files.entries()) if (existsSync(file)) ratios[i].push(timed(base) / timed(file));
  rows.forEach((row, i) => { if (ratios[i].length) row["of Q4_0's speed"] = median(ratios[i]).toFixed(2); });
  write(rows);
}

// ---- the figure ----------------------------------------------------------------------------------------------------------

const WIDTH = 760, PANEL = 270, HEIGHT = 320, LEFT = 46, TOP = 30, BOTTOM = 40, LEGEND = 2 * PANEL + 20;
const COLORS = ['#a4672f', '#3f7392', '#5d8a4a', '#8a5d8a', '#b0413e', '#c78c3c', '#4a7f7f', '#777777'];
const STYLE = `
  text { font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; fill: #2b2119; }
  .grid { stroke: #8884; }
  @media (prefers-color-scheme: dark) { text { fill: #efe6da; } }`;

/** KL against one column. @param {Row[]} rows @param {string} column @param {number} left @param {string} title */
function panel(rows, column, left, title) {
  const own = rows.filter((row) => row[column]), values = own.map((row) => Number(row[column]));
  if (!own.length) return '';
  const margin = 0.06 * (Math.max(...values) - Math.min(...values) || 1);
  const first = Math.min(...values) - margin, last = Math.max(...values) + margin;
  const logs = rows.map((row) => Math.log10(Number(row.KL)));
  const low = Math.floor(2 * Math.min(...logs)) / 2, high = Math.ceil(2 * Math.max(...logs)) / 2;
  const x = (value) => +(left + LEFT + (value - first) / (last - first) * (PANEL - LEFT - 8)).toFixed(1);
  const y = (log) => +(TOP + (high - log) / (high - low) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const parts = [`<text x="${left + PANEL / 2 + 20}" y="${HEIGHT - 6}" text-anchor="middle">${title}</text>`];
  for (let log = low; log <= high; log += 0.5)
    parts.push(`<line class="grid" x1="${left + LEFT}" x2="${left + PANEL - 8}" y1="${y(log)}" y2="${y(log)}"/>`,
      `<text x="${left + LEFT - 6}" y="${y(log) + 4}" text-anchor="end">${Number((10 ** log).toPrecision(1))}</text>`);
  for (let i = 0; i <= 4; i++) {
    const value = first + margin + i * (last - first - 2 * margin) / 4;
    parts.push(`<text x="${x(value)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${Number(value.toPrecision(2))}</text>`);
  }
  for (const row of own)
    parts.push(`<circle cx="${x(Number(row[column]))}" cy="${y(Math.log10(Number(row.KL)))}" r="4.5"`,
      ` fill="${COLORS[Object.keys(KINDS).indexOf(row.kind)]}"><title>${row.kind}: ${row.MB} MB, KL ${row.KL}</title></circle>`);
  return parts.join('\n');
}

/** Files of other sizes of which nothing was pruned, as quality.csv has them. @returns {Row[]} */
const otherSizes = () => measuredSizes()
  .filter((p) => p.model === MODEL.name && p.tool === 'nutshell' && p.MB <= 75 && Math.round(p.MB) !== 60)
  .map((p) => ({ kind: 'nothing', MB: `${p.MB}`, KL: `${p.KL}` }));

/** @param {Row[]} rows */
export function figureOf(rows) {
  const kinds = Object.keys(KINDS).filter((kind) => rows.some((row) => row.kind === kind));
  const legend = kinds.map((kind, i) => `<circle cx="${LEGEND}" cy="${TOP + 16 + 24 * i}" r="4.5"`
    + ` fill="${COLORS[Object.keys(KINDS).indexOf(kind)]}"/><text x="${LEGEND + 12}" y="${TOP + 20 + 24 * i}">${kind}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img">
<title>KL divergence against megabytes, and against decode speed, behind each kind of pruning</title>
<style>${STYLE}</style>
<text x="${LEFT}" y="18">KL</text><text x="${LEGEND - 6}" y="18">before coding goes:</text>
${panel(rows, 'MB', 0, 'MB')}
${panel(rows, "of Q4_0's speed", PANEL, "decode speed, of Q4_0's")}
${legend.join('\n')}
</svg>
`;
}

const { values } = parseArgs({ options: {
  only: { type: 'string' }, sizes: { type: 'string', default: '45,60' }, speed: { type: 'boolean' },
  draw: { type: 'boolean' } } });
mkdirSync(WORK, { recursive: true });
const isThere = (kind, size) => measured().some((row) => row.kind === kind && Math.round(Number(row.MB)) === size);
if (!values.draw && !values.speed)
  for (const size of values.sizes.split(',').map(Number))
    for (const kind of Object.keys(KINDS).filter((name) => !values.only || name.includes(values.only)))
      if (!isThere(kind, size)) measure(kind, size);
if (values.speed) time();
writeFileSync(FIGURE, figureOf([...measured(), ...otherSizes()]));
