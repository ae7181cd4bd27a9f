// The output of a run of the benchmark: a table on the screen and rows in results.csv.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { PEERS, RIVALS, ROOT } from './surfaces.mjs';

/** @typedef {import('./summary.mjs').Row} Row */
/** @typedef {import('./summary.mjs').Run} Run */

const RESULTS = join(import.meta.dirname, 'results.csv');

// --- the table --------------------------------------------------------------------------------------------------------

const fixed = (digits, unit = 1) => (value) => (value === undefined ? '–' : (value / unit).toFixed(digits));
const over = (a, b) => (a === undefined || !b ? undefined : a / b);

/** @typedef {{ heading: string, value: (row: Row) => string, left?: boolean, optional?: boolean }} Column  optional: left out
 *    where no row has it */

/** @type {Column[]} */
const WHO = [
  { heading: '', value: ({ name }) => name, left: true },
  { heading: 'threads', value: ({ threads }) => String(threads) },
];

/** Speed. Where llama.cpp used AMX there are ratios to llama.cpp with AMX and without. @type {(amx: boolean) => Column[]} */
const SPEED = (amx) => [
  ...WHO,
  { heading: 'kernel', value: ({ kernel }) => kernel, left: true },
  ...(/** @type {const} */ (['decode', 'prefill'])).flatMap((what) => [
    { heading: `${what} t/s`, value: (row) => fixed(1)(row[what]) },
    { heading: amx ? 'x llama AMX' : 'x llama.cpp', value: (row) => fixed(2)(row[`${what}Ratio`]), optional: true },
    { heading: 'x llama VNNI', value: (row) => fixed(2)(row[`${what}RatioVnni`]), optional: true },
    { heading: 'x 1 thread', value: (row) => fixed(2)(row[`${what}Gain`]), optional: true },
  ]),
];

/** @type {Column[]} */
const REST = [
  ...WHO,
  { heading: 'load s', value: ({ load }) => fixed(2)(load) },
  { heading: 'first token s', value: ({ first }) => fixed(2)(first) },
  { heading: 'peak MB', value: ({ peakBytes }) => fixed(0, 1e6)(peakBytes) },
  { heading: 'x model', value: ({ peakBytes, modelBytes }) => fixed(2)(over(peakBytes, modelBytes)) },
  { heading: 'held MB', value: ({ heldBytes }) => fixed(0, 1e6)(heldBytes), optional: true },
  { heading: 'wasm MB', value: ({ wasmBytes }) => fixed(0, 1e6)(wasmBytes), optional: true },
  { heading: 'x model', value: ({ wasmBytes, modelBytes }) => fixed(2)(over(wasmBytes, modelBytes)), optional: true },
  { heading: 'prefill 4096 t/s', value: ({ longPrefill }) => fixed(1)(longPrefill), optional: true },
  { heading: 'x prefill 149', value: ({ longShare }) => fixed(2)(longShare), optional: true },
  { heading: 'then decode t/s', value: ({ longDecode }) => fixed(1)(longDecode), optional: true },
  { heading: 'KL of int8', value: ({ kl }) => fixed(4)(kl), optional: true },
];

/** What the memory columns mean, in the run's own figures. @param {Row[]} rows */
function memoryNotes(rows) {
  const { modelBytes } = rows.find((row) => row.modelBytes) ?? {};
  const program = Math.max(...rows.map((row) => row.programBytes ?? 0));
  return [
    ...(modelBytes ? [`model: weights, key/value cache and buffers, ${fixed(1, 1e6)(modelBytes)} MB`] : []),
    ...(program ? [`peak: with the pages of the browser's program that were read meanwhile, up to ${fixed(0, 1e6)(program)} MB; `
      + 'held: without them, for most of the time; wasm: of that, the memory of the WebAssembly module'] : []),
  ];
}

/** @param {Column[]} columns @param {Row[]} rows */
function layOut(columns, rows) {
  const shown = columns.filter(({ optional, value }) => !optional || rows.some((row) => value(row) !== '–'));
  const cells = [shown.map(({ heading }) => heading), ...rows.map((row) => shown.map(({ value }) => value(row)))];
  const widths = shown.map((_, i) => Math.max(...cells.map((line) => line[i].length)));
  const pad = (cell, i) => (shown[i].left ? cell.padEnd(widths[i]) : cell.padStart(widths[i]));
  return cells.map((line) => line.map(pad).join('  ').trimEnd());
}

/** @param {Run} run */
export function tableOf({ model, rounds, rows }) {
  const amx = rows.some((row) => row.decodeRatioVnni !== undefined);
  return [
    `${model}: medians of ${rounds} round${rounds > 1 ? 's' : ''}`,
    ...layOut(SPEED(amx), rows), '', ...layOut(REST, rows), ...memoryNotes(rows),
  ].join('\n');
}

const zipped = (path) => gzipSync(readFileSync(path), { level: 9 }).length;
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;

/** What a page fetches besides the model, compressed. */
export function printSizes() {
  const dist = (name) => zipped(join(ROOT, 'dist', name));
  const js = dist('nutshell.js') + dist('nutshell-worker.mjs');
  const peer = (name) => (existsSync(join(PEERS, name)) ? kilobytes(zipped(join(PEERS, name))) : 'not here');
  console.log('\nWhat a page fetches, gzipped:');
  console.log(`  Nutshell, one thread: ${kilobytes(dist('nutshell-relaxed.wasm'))} wasm, ${kilobytes(js)} JavaScript`);
  console.log(`  Nutshell, threads: ${kilobytes(dist('nutshell-relaxed-mt.wasm'))} wasm, ${kilobytes(js)} JavaScript`);
  const old = (kind) => peer(`@wllama/wllama/esm/${kind}-thread/wllama.wasm`);
  console.log(`  wllama 2.2.1: ${old('single')} wasm, threads ${old('multi')}`);
  console.log(`  wllama 3.8.1: ${peer('wllama-3/esm/wasm/wllama.wasm')} wasm, ${peer('wllama-3/esm/index.min.js')} JavaScript`);
  const rival = (name) => (existsSync(join(RIVALS, name)) ? kilobytes(zipped(join(RIVALS, name))) : 'not here');
  console.log(`  transformers.js 4.3.2: ${rival('onnxruntime-web/dist/ort-wasm-simd-threaded.wasm')} wasm, `
    + `${rival('@huggingface/transformers/dist/transformers.min.js')} JavaScript`);
}

// --- CSV --------------------------------------------------------------------------------------------------------------

/** The measured commit, marked if files differ from it. */
function commit() {
  try {
    const options = { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    const git = (...args) => execFileSync('git', args, options).trim();
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '-uno', 'src', 'wasm', 'web', 'dist') ? '+' : '');
  } catch {
    return '';
  }
}

/** The columns on where and when a row was measured. */
export function aboutMachine() {
  return {
    date: new Date().toISOString().slice(0, 16) + 'Z', commit: commit(), cpu: cpus()[0]?.model.trim() ?? '',
    cpus: String(cpus().length), load_average: loadavg()[0].toFixed(2),
  };
}

const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const joined = (fields) => `${fields.map(quoted).join(',')}\n`;

/** @param {string} line */
const split = (line) => [...`,${line}`.matchAll(/,(?:"((?:[^"]|"")*)"|([^,]*))/g)]
  .map(([, quote, plain]) => quote?.replaceAll('""', '"') ?? plain);

/** @param {string} text @returns {Record<string, string>[]} */
export function parseLines(text) {
  const [head, ...lines] = text.trim().split('\n').map(split);
  return lines.map((line) => Object.fromEntries(head.map((name, i) => [name, line[i] ?? ''])));
}

/** Appends to a file whose first line names the columns. @param {string} file @param {Record<string, string>[]} lines */
export function appendLines(file, lines) {
  if (lines.length === 0) return;
  const head = joined(Object.keys(lines[0]));
  if (!existsSync(file)) appendFileSync(file, head);
  if (!readFileSync(file, 'utf8').startsWith(head)) throw new Error(`${file} has other columns than ${head.trim()}`);
  appendFileSync(file, lines.map((line) => joined(Object.values(line))).join(''));
}

/** Figures of a row: the column's name, digits after the point. @type {{ [field in keyof Row]?: [string, number] }} */
const FIGURES = {
  decode: ['decode_tps', 2], prefill: ['prefill_tps', 2], decodeRatio: ['decode_ratio', 3], prefillRatio: ['prefill_ratio', 3],
  load: ['load_s', 3], first: ['first_token_s', 3], peakBytes: ['peak_bytes', 0], modelBytes: ['model_bytes', 0],
  decodeRatioVnni: ['decode_ratio_vnni', 3], prefillRatioVnni: ['prefill_ratio_vnni', 3],
  decodeGain: ['decode_over_1_thread', 3], prefillGain: ['prefill_over_1_thread', 3], heldBytes: ['held_bytes', 0],
  programBytes: ['program_bytes', 0], longPrefill: ['prefill_4096_tps', 2], longShare: ['prefill_4096_share', 3],
  longDecode: ['decode_4096_tps', 2], wasmBytes: ['wasm_bytes', 0],
  kl: ['int8_kl', 5],
};

/** @param {Run} run @param {ReturnType<typeof aboutMachine>} machine */
export function linesOf({ model, rounds, load, rows }, machine) {
  const about = { ...machine, load_average: load.toFixed(2), model, rounds: String(rounds) };
  return rows.map((row) => ({
    ...about, surface: row.surface, browser: row.browser, kernel: row.kernel, threads: String(row.threads),
    ...Object.fromEntries(Object.entries(FIGURES).map(([field, [name, digits]]) => [name, row[field]?.toFixed(digits) ?? ''])),
  }));
}

/** @param {Run} run */
export function appendRows(run) {
  appendLines(RESULTS, linesOf(run, aboutMachine()));
}

/** @param {Record<string, string>} line @returns {Row} */
function rowOf(line) {
  const known = Object.entries(FIGURES).filter(([, [name]]) => line[name]);
  const figures = known.map(([field, [name]]) => [field, Number(line[name])]);
  return {
    surface: line.surface, name: line.surface, threads: Number(line.threads), kernel: line.kernel, browser: line.browser,
    ...Object.fromEntries(figures),
  };
}

/**
 * @typedef {Run & { date: string, cpu: string }} PastRun
 *
 * The runs in a file of results, the oldest first. @param {string} [text] @returns {PastRun[]}
 */
export function readRuns(text = readFileSync(RESULTS, 'utf8')) {
  /** @type {Record<string, Record<string, string>[]>} */
  const runs = {};
  for (const line of parseLines(text)) (runs[[line.date, line.cpu, line.model].join()] ??= []).push(line);
  return Object.values(runs).map((lines) => {
    const [{ date, cpu, model, rounds, load_average: load }] = lines;
    return { date, cpu, model, rounds: Number(rounds), load: Number(load), rows: lines.map(rowOf) };
  });
}
