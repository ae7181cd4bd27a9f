// make bench: how fast Nutshell is beside llama.cpp and wllama, on this machine, in one run.
//
//   node tests/bench/bench.mjs [--rounds N] [--surfaces ID,ID...|all] [MODEL.gguf | SHAPE:TYPE]...
//
// Each round measures every surface (see surfaces.mjs) once, every other round in reverse order, so that what else the
// machine does falls on all alike. The figures are medians over the rounds; a ratio is the median of the ratios within
// a round, to the best that llama.cpp did there with as many threads or fewer: its threads wait for each other without
// sleeping, so that two are slower than one where anything else needs a processor.
//
// SHAPE:TYPE (qwen2.5-0.5b:q4_k) is a model with random weights, made by tools/gguf_random.py where the shared folder is
// there (it needs NumPy: set PYTHON to an interpreter that has it). A table is printed, a row per surface is appended to
// results.csv, and comparison.svg is drawn when all was measured in three rounds or more. The exit status is 1 when a
// surface fails, takes another kernel than its fast one, or does not read and draw as many tokens as the others.
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { DRAWN_TOKENS, PROMPT_TOKENS, SHORT_PROMPT, WARM_UP, fitPrompt, median } from '../../demo/bench/bench.js';
import { startServer } from '../../demo/serve.mjs';
import { appendRows, printSizes, printTable } from './report.mjs';
import { drawChart } from './chart.mjs';
import { BASE, PEERS, ROOT, SURFACES, runProgram, tokenize } from './surfaces.mjs';

/** @typedef {import('./surfaces.mjs').Surface} Surface */
/** @typedef {import('./surfaces.mjs').Case} Case */
/** @typedef {import('./surfaces.mjs').Result} Result */
/** @typedef {{ surface: Surface, threads: number, results: (Result | null)[] }} Series  null: that round failed */

const DEFAULT_MODEL = 'models/SmolLM2-135M-Instruct-Q4_1.gguf';
const RANDOM_MODELS = join(ROOT, '../shared/tools/gguf_random.py');
const WORK = join(ROOT, 'build/bench');
const ROUNDS_FOR_CHART = 3;
const QUIET = 0.7; // load average below which a machine is quiet enough for figures to be quoted

const say = (text) => process.stderr.write(`${text}\n`);

/** Something to do when this process ends, in whatever way. */
function atEnd(action) {
  process.on('exit', action);
}
for (const [signal, status] of /** @type {const} */ ([['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]])) {
  process.on(signal, () => process.exit(status));
}

// --- what is measured -------------------------------------------------------------------------------------------------

/** Path of a model that was named as a file or as SHAPE:TYPE; random weights are made once. @param {string} name */
async function modelFile(name) {
  if (existsSync(name)) return resolve(name);
  const [, shape, type] = /^([\w.-]+):(\w+)$/.exec(name) ?? [];
  if (!shape) throw new Error(`there is no ${name}; wasm/toolchain.sh model fetches ${DEFAULT_MODEL}`);
  const path = join(WORK, 'models', `random-${shape}-${type}.gguf`);
  if (existsSync(path)) return path;
  if (!existsSync(RANDOM_MODELS)) throw new Error(`${RANDOM_MODELS} is missing, which makes models with random weights`);
  say(`making ${basename(path)}`);
  mkdirSync(join(WORK, 'models'), { recursive: true });
  await runProgram(process.env.PYTHON ?? 'python3', [RANDOM_MODELS, shape, type, path]);
  return path;
}

/** A folder that the demo's server can serve: the pages, dist/, wllama and the model, by links. @param {string} model */
function layOutSite(model) {
  const site = join(WORK, 'site');
  rmSync(site, { recursive: true, force: true });
  for (const folder of ['demo', 'models']) mkdirSync(join(site, folder), { recursive: true });
  symlinkSync(join(ROOT, 'dist'), join(site, 'dist'));
  symlinkSync(join(ROOT, 'demo/bench'), join(site, 'demo/bench'));
  symlinkSync(join(import.meta.dirname, 'wllama'), join(site, 'demo/wllama'));
  symlinkSync(join(PEERS, '@wllama/wllama/esm'), join(site, 'demo/wllama-esm'));
  symlinkSync(model, join(site, 'models', basename(model)));
  return site;
}

/** @param {string} model @param {string} site @param {string} profiles @returns {Promise<Case>} */
async function caseOf(model, site, profiles) {
  const prompt = await fitPrompt(async (text) => (await tokenize(model, text)).length);
  return {
    model, modelUrl: `/models/${encodeURIComponent(basename(model))}`, site, prompt, ids: await tokenize(model, prompt),
    shortIds: await tokenize(model, SHORT_PROMPT), warmUpIds: await tokenize(model, WARM_UP),
    profile: (browser) => join(profiles, browser),
  };
}

/**
 * What would make a result one of something else than the others.
 * @param {Surface} surface @param {number} threads @param {Result} r
 */
function faultOf(surface, threads, r) {
  if (surface.kernel && r.kernel !== surface.kernel) return `it runs the kernels '${r.kernel}', not '${surface.kernel}'`;
  if (r.threads !== threads) return `${r.threads} threads are at work, not ${threads}`;
  if (r.promptTokens !== PROMPT_TOKENS) return `its prompt has ${r.promptTokens} tokens, not ${PROMPT_TOKENS}`;
  if (r.drawn !== DRAWN_TOKENS) return `it drew ${r.drawn} tokens, not ${DRAWN_TOKENS}: the model ended the text`;
  if (r.fromCache === false) return 'its model was fetched instead of coming from the browser\'s storage';
  return null;
}

// --- rounds -----------------------------------------------------------------------------------------------------------

/** @type {string[]} */
const failures = [];

/** @param {string} name @param {() => Promise<any>} measure @returns {Promise<any>} null where it failed */
async function attempt(name, measure) {
  try {
    return await measure();
  } catch (error) {
    failures.push(`${name}: ${error.message}`);
    say(`  ${failures.at(-1)}`);
    return null;
  }
}

/** @param {Series} series @param {Case} c */
async function measureOnce({ surface, threads, results }, c) {
  const name = `${surface.name}, ${threads} thread${threads > 1 ? 's' : ''}`;
  results.push(await attempt(name, async () => {
    const result = await surface.measure(c, threads);
    const fault = faultOf(surface, threads, result);
    if (fault) throw new Error(fault);
    say(`  ${name}: decode ${result.decode.toFixed(1)}, prefill ${result.prefill.toFixed(1)} tokens/s`);
    return result;
  }));
}

/** @param {Surface[]} surfaces @param {Case} c @param {number} rounds @returns {Promise<Series[]>} */
async function measureRounds(surfaces, c, rounds) {
  for (const surface of surfaces) await attempt(surface.name, async () => surface.prepare?.(c));
  const series = surfaces.flatMap((surface) => surface.threads.map((threads) => ({ surface, threads, results: [] })));
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`);
    for (const one of round % 2 ? series.toReversed() : series) await measureOnce(one, c);
  }
  return series;
}

/** Median over the rounds of what `pick` takes from a result; undefined where nothing was measured. */
function over(results, pick) {
  const values = results.map((result) => result && pick(result)).filter((value) => Number.isFinite(value));
  return values.length ? median(values) : undefined;
}

/**
 * Median of the ratios within the rounds, to the best of the bases there.
 * @param {Series} series @param {Series[]} bases @param {'decode' | 'prefill'} what
 */
function ratio(series, bases, what) {
  return over(series.results.map((result, round) => {
    const best = Math.max(0, ...bases.map(({ results }) => results[round]?.[what] ?? 0));
    return result && best > 0 ? result[what] / best : NaN;
  }), (value) => value);
}

/** The table's rows. @param {Series[]} all */
function summarize(all) {
  const modelBytes = all.flatMap(({ results }) => results).find((result) => result?.modelBytes)?.modelBytes;
  return all.filter(({ results }) => results.some(Boolean)).map((series) => {
    const { surface, threads, results } = series;
    const bases = all.filter((other) => other.surface.id === BASE && other.threads <= threads);
    const peakBytes = over(results, (r) => r.peakBytes);
    return {
      surface: surface.id, name: surface.name, threads, kernel: results.find(Boolean)?.kernel ?? '',
      browser: results.find(Boolean)?.browser ?? '',
      decode: over(results, (r) => r.decode), prefill: over(results, (r) => r.prefill),
      decodeRatio: ratio(series, bases, 'decode'), prefillRatio: ratio(series, bases, 'prefill'),
      load: over(results, (r) => r.loadSeconds), first: over(results, (r) => r.firstTokenSeconds), peakBytes,
      memoryRatio: peakBytes && modelBytes ? peakBytes / modelBytes : undefined, modelBytes,
    };
  });
}

// --- the program ------------------------------------------------------------------------------------------------------

/** @param {string} name @param {Surface[]} surfaces @param {number} rounds */
async function benchModel(name, surfaces, rounds) {
  const model = await modelFile(name);
  const load = loadavg()[0];
  say(`${basename(model)}, load average ${load.toFixed(2)}${load > QUIET ? ': the machine is busy, figures will be low' : ''}`);
  const profiles = mkdtempSync(join(tmpdir(), 'nutshell-bench-'));
  const removeProfiles = () => rmSync(profiles, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  atEnd(removeProfiles);
  const server = await startServer({ port: 0, root: layOutSite(model) });
  try {
    const series = await measureRounds(surfaces, await caseOf(model, server.url, profiles), rounds);
    return { model: basename(model), rounds, load, rows: summarize(series) };
  } finally {
    await server.close();
    removeProfiles();
  }
}

/** @param {string} list */
function chosenSurfaces(list) {
  if (list === 'all') return SURFACES;
  if (!list) return SURFACES.filter(({ extra }) => !extra);
  return list.split(',').map((id) => {
    const surface = SURFACES.find((one) => one.id === id);
    if (!surface) throw new Error(`there is no surface ${id}, only ${SURFACES.map((one) => one.id).join(', ')}`);
    return surface;
  });
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { rounds: { type: 'string', default: '3' }, surfaces: { type: 'string', default: '' } },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a whole number from 1');
  const surfaces = chosenSurfaces(values.surfaces);
  for (const name of positionals.length ? positionals : [join(ROOT, DEFAULT_MODEL)]) {
    const run = await benchModel(name, surfaces, rounds);
    printTable(run);
    appendRows(run);
    const whole = rounds >= ROUNDS_FOR_CHART && failures.length === 0 && surfaces.length >= chosenSurfaces('').length;
    if (whole && run.model === basename(DEFAULT_MODEL)) drawChart(run);
  }
  printSizes();
}

try {
  await main();
} catch (error) {
  failures.push(error.message);
}
for (const failure of failures) console.error(`bench: ${failure}`);
process.exit(failures.length ? 1 : 0);
