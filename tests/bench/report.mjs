// What a run of the benchmark leaves: a table on the screen and rows in results.csv.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { PEERS, ROOT } from './surfaces.mjs';

const CSV = join(import.meta.dirname, 'results.csv');

/**
 * @typedef {object} Row
 * @property {string} surface
 * @property {string} name
 * @property {number} threads
 * @property {string} kernel
 * @property {string} browser
 * @property {number} [decode]       tokens per second, as prefill
 * @property {number} [prefill]
 * @property {number} [decodeRatio]  to llama.cpp at its best with no more threads
 * @property {number} [prefillRatio]
 * @property {number} [load]         seconds, as first
 * @property {number} [first]
 * @property {number} [peakBytes]
 * @property {number} [memoryRatio]  peak over weights, key/value cache and buffers
 * @property {number} [modelBytes]
 *
 * @typedef {{ model: string, rounds: number, load: number, rows: Row[] }} Run
 */

const fixed = (digits) => (value) => (value === undefined ? '–' : value.toFixed(digits));

/** The table's columns: heading, value. @type {[string, (row: Row) => string][]} */
const COLUMNS = [
  ['', ({ name }) => name],
  ['threads', ({ threads }) => String(threads)],
  ['kernel', ({ kernel }) => kernel],
  ['decode t/s', ({ decode }) => fixed(1)(decode)],
  ['x llama.cpp', ({ decodeRatio }) => fixed(2)(decodeRatio)],
  ['prefill t/s', ({ prefill }) => fixed(1)(prefill)],
  ['x llama.cpp', ({ prefillRatio }) => fixed(2)(prefillRatio)],
  ['load s', ({ load }) => fixed(2)(load)],
  ['first token s', ({ first }) => fixed(2)(first)],
  ['peak MB', ({ peakBytes }) => fixed(0)(peakBytes === undefined ? undefined : peakBytes / 1e6)],
  ['x model', ({ memoryRatio }) => fixed(2)(memoryRatio)],
];

/** @param {Run} run */
export function printTable({ model, rounds, rows }) {
  const cells = [COLUMNS.map(([heading]) => heading), ...rows.map((row) => COLUMNS.map(([, value]) => value(row)))];
  const widths = COLUMNS.map((_, i) => Math.max(...cells.map((line) => line[i].length)));
  console.log(`\n${model}: medians of ${rounds} round${rounds > 1 ? 's' : ''}`);
  for (const line of cells) {
    console.log(line.map((cell, i) => (i === 0 || i === 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '));
  }
  const { modelBytes } = rows.find((row) => row.modelBytes) ?? {};
  if (modelBytes) console.log(`model: weights, key/value cache and buffers, ${(modelBytes / 1e6).toFixed(1)} MB`);
}

const zipped = (path) => gzipSync(readFileSync(path), { level: 9 }).length;
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;

/** What a page fetches besides the model, compressed. */
export function printSizes() {
  const dist = (name) => zipped(join(ROOT, 'dist', name));
  const js = dist('nutshell.js') + dist('nutshell-worker.mjs');
  const wllama = (name) => join(PEERS, '@wllama/wllama/esm', name, 'wllama.wasm');
  console.log('\nWhat a page fetches, gzipped:');
  console.log(`  Nutshell, one thread: ${kilobytes(dist('nutshell-relaxed.wasm'))} wasm, ${kilobytes(js)} JavaScript`);
  console.log(`  Nutshell, threads: ${kilobytes(dist('nutshell-relaxed-mt.wasm'))} wasm, ${kilobytes(js)} JavaScript`);
  if (!existsSync(wllama('single-thread'))) return;
  const [single, multi] = ['single-thread', 'multi-thread'].map((kind) => kilobytes(zipped(wllama(kind))));
  console.log(`  wllama 2.2.1: ${single} wasm, threads ${multi}`);
}

// --- results.csv ------------------------------------------------------------------------------------------------------

/** The commit that was measured, marked where files differ from it. */
function commit() {
  try {
    const options = { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    const git = (...args) => execFileSync('git', args, options).trim();
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '-uno', 'src', 'wasm', 'web', 'dist') ? '+' : '');
  } catch {
    return '';
  }
}

const number = (value, digits) => (value === undefined ? '' : value.toFixed(digits));
const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** What every row says of where and when it was measured. */
export function aboutMachine() {
  return {
    date: new Date().toISOString().slice(0, 16) + 'Z', commit: commit(), cpu: cpus()[0]?.model.trim() ?? '',
    cpus: String(cpus().length), load_average: loadavg()[0].toFixed(2),
  };
}

/** Appends to a file whose first line names the columns. @param {string} file @param {Record<string, string>[]} lines */
export function appendLines(file, lines) {
  if (lines.length === 0) return;
  if (!existsSync(file)) appendFileSync(file, `${Object.keys(lines[0]).join(',')}\n`);
  appendFileSync(file, lines.map((line) => `${Object.values(line).map(quoted).join(',')}\n`).join(''));
}

/** @param {Run} run */
export function appendRows({ model, rounds, load, rows }) {
  const about = { ...aboutMachine(), load_average: load.toFixed(2), model, rounds: String(rounds) };
  appendLines(CSV, rows.map((row) => ({
    ...about, surface: row.surface, browser: row.browser, kernel: row.kernel, threads: String(row.threads),
    decode_tps: number(row.decode, 2), prefill_tps: number(row.prefill, 2), decode_ratio: number(row.decodeRatio, 3),
    prefill_ratio: number(row.prefillRatio, 3), load_s: number(row.load, 3), first_token_s: number(row.first, 3),
    peak_bytes: number(row.peakBytes, 0), model_bytes: number(row.modelBytes, 0),
  })));
}
