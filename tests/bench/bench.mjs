// make bench: the speed of Nutshell, llama.cpp and wllama on this machine, in one run.
//
//   node tests/bench/bench.mjs [--rounds N] [--surfaces ID,ID...|all] [--long] [MODEL.gguf | SHAPE:TYPE | all]...
//
// Each round measures every surface (see surfaces.mjs) once, every second round in reverse order, so that other load on the
// machine affects all alike. The figures are medians over the rounds. A ratio is the median of the ratios within a round, to
// the best of llama.cpp there with as many threads or fewer: its threads wait without sleeping, so that two are slower than
// one where anything else needs a processor.
//
// Where llama.cpp uses AMX it is measured a second time without it (llama-vnni.mjs), and there are ratios to both.
//
// SHAPE:TYPE (qwen2.5-0.5b:q4_k) is a model with random weights, made by tools/gguf_random.py of the shared folder (it needs
// NumPy: set PYTHON to an interpreter that has it); "all" stands for the models of models.mjs. --long also reads a prompt of
// 4,096 tokens. Models with trained weights get the loss of int8 activations too (loss.mjs). The program prints a table and
// appends a row per surface to results.csv; after three rounds or more of everything it draws comparison.svg from the newest
// rows of each model. The exit status is 1 when a surface fails, uses another kernel than its fast one, or does not read and
// generate as many tokens as the others.
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { PROMPT_TOKENS } from '../../demo/bench/bench.js';
import { startServer } from '../../demo/serve.mjs';
import { appendRows, printSizes, readRuns, tableOf } from './report.mjs';
import { drawChart } from './chart.mjs';
import { ALL_MODELS, DEFAULT_MODEL, modelFile } from './models.mjs';
import { faultOf, summarize } from './summary.mjs';
import { int8Loss } from './loss.mjs';
import { caseOf, layOutSite } from './site.mjs';
import { SURFACES } from './surfaces.mjs';

/** @typedef {import('./surfaces.mjs').Surface} Surface */
/** @typedef {import('./surfaces.mjs').Case} Case */
/** @typedef {import('./summary.mjs').Series & { surface: Surface }} Series */

const ROUNDS_FOR_CHART = 3;
const QUIET = 0.7; // load average below which a machine is quiet enough for figures to be quoted
const CONTEXT = 2048;
const LONG_PROMPT = 4096, LONG_CONTEXT = 4608;

const say = (text) => process.stderr.write(`${text}\n`);

/** An action for the end of this process, whatever ends it. */
function atEnd(action) {
  process.on('exit', action);
}
for (const [signal, status] of /** @type {const} */ ([['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]])) {
  process.on(signal, () => process.exit(status));
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

/** @param {Series} series @param {Case} c @returns {Promise<import('./surfaces.mjs').Result | null>} */
function measureOnce({ surface, threads }, c) {
  const name = `${surface.name}, ${threads} thread${threads > 1 ? 's' : ''}, prompt of ${c.ids.length}`;
  return attempt(name, async () => {
    const result = await surface.measure(c, threads);
    const fault = faultOf(surface, threads, c.ids.length, result);
    if (fault) throw new Error(fault);
    say(`  ${name}: decode ${result.decode.toFixed(1)}, prefill ${result.prefill.toFixed(1)} tokens/s`);
    return result;
  });
}

/** @param {Surface[]} surfaces @param {Case} c @param {Case | null} long @param {number} rounds @returns {Promise<Series[]>} */
async function measureRounds(surfaces, c, long, rounds) {
  for (const surface of surfaces) await attempt(surface.name, async () => surface.prepare?.(c));
  const series = surfaces.flatMap((surface) => surface.threads.map((threads) => ({ surface, threads, results: [], long: [] })));
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}`);
    for (const one of round % 2 ? series.toReversed() : series) {
      one.results.push(await measureOnce(one, c));
      if (long && one.surface.long) one.long.push(await measureOnce(one, long));
    }
  }
  return series;
}

// --- the program ------------------------------------------------------------------------------------------------------

/** @param {string} name @param {Surface[]} surfaces @param {number} rounds @param {boolean} long */
async function benchModel(name, surfaces, rounds, long) {
  const model = await modelFile(name);
  const load = loadavg()[0];
  say(`${basename(model)}, load average ${load.toFixed(2)}${load > QUIET ? ': the machine is busy, figures will be low' : ''}`);
  const profiles = mkdtempSync(join(tmpdir(), 'nutshell-bench-'));
  const removeProfiles = () => rmSync(profiles, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  atEnd(removeProfiles);
  const server = await startServer({ port: 0, root: layOutSite(model) });
  try {
    const usual = await caseOf(model, server.url, profiles, PROMPT_TOKENS, CONTEXT);
    const longer = long ? await caseOf(model, server.url, profiles, LONG_PROMPT, LONG_CONTEXT) : null;
    const series = await measureRounds(surfaces, usual, longer, rounds);
    const kl = await attempt('loss of int8 activations', () => int8Loss(model, cpus().length));
    return { model: basename(model), rounds, load, rows: summarize(series, kl ?? undefined) };
  } finally {
    await server.close();
    removeProfiles();
  }
}

/** @param {string} list */
function chosenSurfaces(list) {
  if (list === 'all') return SURFACES.filter(({ missing }) => !missing);
  if (!list) return SURFACES.filter(({ extra, missing }) => !extra && !missing);
  return list.split(',').map((id) => {
    const surface = SURFACES.find((one) => one.id === id);
    if (!surface) throw new Error(`there is no surface ${id}, only ${SURFACES.map((one) => one.id).join(', ')}`);
    if (surface.missing) throw new Error(`${id}: ${surface.missing}`);
    return surface;
  });
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '3' }, surfaces: { type: 'string', default: '' },
      long: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a whole number from 1');
  const surfaces = chosenSurfaces(values.surfaces);
  const models = positionals.length ? positionals.flatMap((name) => (name === 'all' ? ALL_MODELS : [name])) : [DEFAULT_MODEL];
  for (const name of models) {
    const run = await benchModel(name, surfaces, rounds, values.long);
    console.log(`\n${tableOf(run)}`);
    appendRows(run);
  }
  const whole = rounds >= ROUNDS_FOR_CHART && failures.length === 0 && surfaces.length >= chosenSurfaces('').length;
  if (whole) drawChart(readRuns());
  printSizes();
}

try {
  await main();
} catch (error) {
  failures.push(error.message);
}
for (const failure of failures) console.error(`bench: ${failure}`);
process.exit(failures.length ? 1 : 0);
