// Runs the harnesses of this folder and prints the results:
//
//   make fuzz T=600                            all of them, 600 seconds altogether
//   node tests/fuzz/run.mjs SECONDS [NAME...]  the same once they are built, or only the named ones
//
// First each harness runs the inputs of crashes that were fixed (regressions/NAME/), which count as cases. Then it looks for
// new ones, starting from the seeds of make_seeds.c and the inputs that earlier runs stored in build/fuzz/corpus/. An input
// that crashes is stored in build/fuzz/finds/: fix the cause, make the input small (-minimize_crash=1) and put it into
// regressions/. Last, the same inputs run through builds that count lines; the coverage of the readers is a case too.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { check, ensure, finish } from '../browser/harness.mjs';

/** @typedef {{ name: string, share: number, most: number, dict?: string }} Harness  share of the time; bytes of an input */

/** @type {Harness[]} */
const HARNESSES = [
  { name: 'load', share: 6, most: 46000, dict: 'gguf' },
  { name: 'session', share: 4, most: 40 },
  { name: 'header', share: 3, most: 4096, dict: 'gguf' },
  { name: 'tokenizer', share: 4, most: 3000 },
  { name: 'quantize', share: 2, most: 20000, dict: 'gguf' },
  { name: 'coded', share: 2, most: 8000 },
  { name: 'imatrix', share: 1, most: 3000, dict: 'gguf' },
  { name: 'formats', share: 1, most: 3000 },
  { name: 'recipe', share: 1, most: 2000 },
  { name: 'sampler', share: 2, most: 2000 },
  { name: 'answer', share: 2, most: 2000 },
  { name: 'chat', share: 4, most: 3000 },
  { name: 'forge', share: 2, most: 400 },
  { name: 'args', share: 1, most: 20000, dict: 'args' },
];

/** The files that read untrusted bytes, and the share of their lines that must be reached. */
const READERS = [
  'src/base/cursor.c', 'src/base/json_read.c', 'src/compress/recipe_read.c',
  'src/chat/answer.c', 'src/chat/answer_formats.c', 'src/chat/answer_gemma.c', 'src/chat/answer_python.c',
  'src/chat/answer_read.c', 'src/chat/answer_schema.c', 'src/chat/answer_tags.c', 'src/chat/json_scan.c',
  'src/chat/json_read.c', 'src/chat/lex.c', 'src/chat/number.c', 'src/chat/parse.c', 'src/chat/parse_value.c', 'src/chat/run.c',
  'src/chat/evaluate.c', 'src/chat/call.c', 'src/chat/format.c', 'src/chat/object.c', 'src/chat/operate.c',
  'src/evaluate/imatrix.c', 'src/model/arch.c', 'src/model/arch_read.c', 'src/kernels/rans.c',
  'src/model/bind.c',
  'src/model/coded.c', 'src/model/gguf.c', 'src/model/merge.c',
  'src/model/pretok.c', 'src/model/special.c', 'src/model/special_ids.c', 'src/model/splits.c', 'src/run/load.c',
  'src/model/tok_bpe.c', 'src/model/tok_spm.c', 'src/model/tok_unigram.c', 'src/model/tok_wordpiece.c', 'src/model/tok_rwkv.c',
  'src/model/charsmap.c', 'src/model/trie.c', 'src/model/token_table.c', 'src/model/tokenize.c', 'src/model/vocab.c',
];
const LEAST_COVERAGE = 95; // percent

const WORK = 'build/fuzz';
const VOCABULARIES = `${process.env.NUT_DATA ?? '../shared/data'}/vocab`;
const LIMITS = ['-timeout=100', '-rss_limit_mb=2048', '-malloc_limit_mb=512'];
const ENV = { ...process.env, ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1' };

const seeds = (/** @type {Harness} */ h) => `${WORK}/seeds/${h.name}`;
const corpus = (/** @type {Harness} */ h) => `${WORK}/corpus/${h.name}`;
const regressions = (/** @type {Harness} */ h) => `tests/fuzz/regressions/${h.name}`;
const filesIn = (/** @type {string} */ folder) => (existsSync(folder) ? readdirSync(folder) : []);

/** Runs a program; its exit status and both its streams.
 * @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<{ status: number | null, output: string }>} */
function run(command, args, env = ENV) {
  return new Promise((done) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    /** @type {Buffer[]} */
    const chunks = [];
    child.stdout.on('data', (chunk) => chunks.push(chunk));
    child.stderr.on('data', (chunk) => chunks.push(chunk));
    child.on('close', (status) => done({ status, output: Buffer.concat(chunks).toString() }));
  });
}

/** The lines of a harness's output that tell what went wrong, and where. @param {string} output */
function essence(output) {
  const lines = output.split('\n');
  const told = lines.filter((line) => /not so:|ERROR:|runtime error:|SUMMARY:|leak of|^\s+#\d+ .*\b(src|tests)\//.test(line));
  return (told.length ? told : lines).slice(0, 30).join('\n');
}

// ---- mended finds ----------------------------------------------------------------------------------------------------

/** @param {Harness} h */
async function runRegressions(h) {
  for (const file of filesIn(regressions(h))) {
    const { status, output } = await run(`${WORK}/fuzz_${h.name}`, [...LIMITS, `${regressions(h)}/${file}`]);
    await check(`${h.name}: ${file}`, () => ensure(status === 0, essence(output)));
  }
}

// ---- looking for new ones --------------------------------------------------------------------------------------------

/** @typedef {{ harness: Harness, runs: number, seconds: number, kept: number, finds: string[], output: string }} Result */

/** @param {Harness} h @param {number} seconds @returns {Promise<Result>} */
async function fuzz(h, seconds) {
  const finds = `${WORK}/finds/${h.name}`;
  for (const folder of [corpus(h), seeds(h), finds]) mkdirSync(folder, { recursive: true });
  const before = new Set(readdirSync(finds));
  const started = Date.now();
  const { status, output } = await run(`${WORK}/fuzz_${h.name}`, [...LIMITS, `-max_len=${h.most}`,
    `-max_total_time=${Math.max(1, Math.round(seconds))}`, ...(h.dict ? [`-dict=tests/fuzz/${h.dict}.dict`] : []),
    `-artifact_prefix=${finds}/`, '-print_final_stats=1', corpus(h), seeds(h), regressions(h)].filter(existsOrOption));
  const found = readdirSync(finds).filter((file) => !before.has(file)).map((file) => `${finds}/${file}`);
  if (status !== 0 && found.length === 0) found.push(`exit status ${status}`);
  const runs = Number(/number_of_executed_units:\s*(\d+)/.exec(output)?.[1] ?? 0);
  writeFileSync(`${WORK}/${h.name}.log`, output);
  const kept = readdirSync(corpus(h)).length;
  return { harness: h, runs, seconds: (Date.now() - started) / 1000, kept, finds: found, output };
}

const existsOrOption = (/** @type {string} */ arg) => arg.startsWith('-') || existsSync(arg);

/** As many at a time as there are cores, each for its share. @param {Harness[]} list @param {number} seconds */
async function fuzzAll(list, seconds) {
  const cores = Math.min(availableParallelism(), list.length);
  const sum = list.reduce((total, h) => total + h.share, 0);
  const waiting = [...list].sort((a, b) => b.share - a.share);
  /** @type {Result[]} */
  const results = [];
  await Promise.all(Array.from({ length: cores }, async () => {
    for (let h = waiting.shift(); h; h = waiting.shift()) {
      results.push(await fuzz(h, Math.min(seconds, seconds * cores * h.share / sum)));
    }
  }));
  return list.map((h) => results.find((result) => result.harness === h)).filter((result) => result !== undefined);
}

// ---- coverage --------------------------------------------------------------------------------------------------------

/** @typedef {{ lines: number, reached: number, missed: number[] }} Coverage */

/** Lines of each file that the harnesses' inputs reach. @param {Harness[]} list @returns {Promise<Map<string, Coverage>>} */
async function measure(list) {
  const folder = `${WORK}/profiles`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const h of list) {
    const inputs = [corpus(h), seeds(h), regressions(h)].filter(existsSync);
    const env = { ...ENV, LLVM_PROFILE_FILE: `${folder}/${h.name}.profraw` };
    const args = ['-runs=0', `-max_len=${h.most}`, `-artifact_prefix=${folder}/`, ...inputs];
    const { status, output } = await run(`build/cover/fuzz_${h.name}`, args, env);
    if (status !== 0) throw new Error(`the ${h.name} harness fails where lines are counted: ${essence(output)}`);
  }
  const raw = readdirSync(folder).filter((file) => file.endsWith('.profraw')).map((file) => `${folder}/${file}`);
  tool('llvm-profdata-19', ['merge', '-sparse', ...raw, '-o', `${folder}/all`]);
  const objects = list.flatMap((h) => ['-object', `build/cover/fuzz_${h.name}`]).slice(1);
  return readLcov(tool('llvm-cov-19', ['export', '-format=lcov', `-instr-profile=${folder}/all`, ...objects, ...READERS]));
}

/** @param {string} name @param {string[]} args */
function tool(name, args) {
  const { status, stdout, stderr, error } = spawnSync(name, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${name}: ${error?.message ?? stderr.slice(-2000)}`);
  return stdout;
}

/** @param {string} text */
function readLcov(text) {
  /** @type {Map<string, Coverage>} */
  const files = new Map();
  let name = '';
  for (const line of text.split('\n')) {
    const [, key, rest] = /^(\w+):(.*)$/.exec(line) ?? [];
    if (key === 'SF') {
      name = READERS.find((path) => rest.endsWith(path)) ?? rest;
      files.set(name, { lines: 0, reached: 0, missed: [] });
    } else if (key === 'DA') {
      const [at, count] = rest.split(',').map(Number);
      const file = /** @type {Coverage} */ (files.get(name));
      file.lines++;
      if (count) file.reached++;
      else file.missed.push(at);
    }
  }
  return files;
}

// ---- tables ----------------------------------------------------------------------------------------------------------

/** @param {string[][]} rows  the first is the head; the first column is text, the others are numbers */
function print(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  for (const row of rows) {
    console.log(row.map((cell, i) => (i === 0 || i > 5 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '));
  }
  console.log('');
}

/** @param {Result[]} results */
function printResults(results) {
  print([['harness', 'executions', 'exec/s', 'corpus', 'seconds', 'finds'], ...results.map((r) => [r.harness.name,
    `${r.runs}`, (r.runs / r.seconds).toFixed(0), `${r.kept}`, r.seconds.toFixed(0), `${r.finds.length}`])]);
}

/** "3-5 9" @param {number[]} lines */
function ranges(lines) {
  /** @type {number[][]} */
  const out = [];
  for (const line of lines) {
    const last = out.at(-1);
    if (last && last[1] === line - 1) last[1] = line;
    else out.push([line, line]);
  }
  return out.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(' ');
}

const percent = (/** @type {Coverage} */ c) => (100 * c.reached) / c.lines;

/** @param {Map<string, Coverage>} files */
function printCoverage(files) {
  print([['reader', 'lines', 'reached', '%', '', '', 'not reached'], ...[...files].map(([name, c]) =>
    [name, `${c.lines}`, `${c.reached}`, percent(c).toFixed(1), '', '', ranges(c.missed)])]);
}

// ---- the run ---------------------------------------------------------------------------------------------------------

const [seconds, ...names] = process.argv.slice(2);
const list = HARNESSES.filter((h) => names.length === 0 || names.includes(h.name));
if (!(Number(seconds) > 0) || list.length === 0) {
  console.log(`usage: node tests/fuzz/run.mjs SECONDS [${HARNESSES.map((h) => h.name).join('|')}]...`);
  process.exit(2);
}
rmSync(`${WORK}/seeds`, { recursive: true, force: true });
mkdirSync(`${WORK}/corpus`, { recursive: true });
console.log(tool('build/native/make_seeds', [`${WORK}/seeds`, VOCABULARIES]).trimEnd());
for (const h of list) await runRegressions(h);
const results = await fuzzAll(list, Number(seconds));
printResults(results);
for (const { harness, runs, finds, output } of results) {
  await check(`${harness.name}: nothing is found`, () => ensure(finds.length === 0, `${finds}\n${essence(output)}`));
  const least = filesIn(seeds(harness)).length;
  await check(`${harness.name}: it ran`, () => ensure(runs >= least, `only ${runs} inputs`));
}
if (names.length === 0) {
  const files = await measure(list);
  printCoverage(files);
  for (const path of READERS) {
    await check(`${path} is reached`, () => {
      const c = files.get(path);
      ensure(c && percent(c) >= LEAST_COVERAGE, `${c ? percent(c).toFixed(1) : 'none'} % of its lines`);
    });
  }
}
finish();
