// What the benchmark computes from measurements, on made-up results: faults, medians and ratios, the table, the CSV file and the
// chart. Expected figures are calculated by hand beside each case. Also a short run of the kernels' benchmark.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, ensure, equal, finish } from '../browser/harness.mjs';
import { PROMPT_TOKENS, DRAWN_TOKENS, fitPrompt, median } from '../../demo/bench/bench.js';
import { chartOf, chartedRuns } from './chart.mjs';
import { klOf } from './loss.mjs';
import { ALL_MODELS, DEFAULT_MODEL, MODEL_NAMES } from './models.mjs';
import { best, figureOf, measured } from './quality.mjs';
import { appendLines, linesOf, parseLines, readRuns, tableOf } from './report.mjs';
import { ROOT, SURFACES } from './surfaces.mjs';
import { BASE, BASE_VNNI, faultOf, summarize } from './summary.mjs';

/** A result with the fields that every surface reports. */
const result = (decode, prefill, more = {}) => ({
  kernel: 'relaxed', threads: 1, decode, prefill, promptTokens: PROMPT_TOKENS, drawn: DRAWN_TOKENS, loadSeconds: 0.5,
  firstTokenSeconds: 0.6, ...more,
});
const series = (id, threads, results, long) => ({ surface: { id, name: `The ${id}` }, threads, results, long });

const WITH_AMX = [
  series(BASE, 1, [result(100, 1000), result(90, 900), result(110, 1100)]),
  series(BASE, 2, [result(50, 2000), result(180, 1800), result(40, 2200)]),
  series(BASE_VNNI, 1, [result(100, 400), result(100, 500), result(100, 500)]),
  series(BASE_VNNI, 2, [result(190, 800), result(190, 800), null]),
  series('chromium', 1, [result(80, 400, { modelBytes: 100e6, peakBytes: 150e6 }), null, result(121, 500, { peakBytes: 170e6 })],
    [result(60, 300), null, result(70, 200)]),
  series('chromium', 2, [result(160, 800), result(171, 900), result(165, 880)]),
  series('firefox', 1, [null, null, null]),
];
const MACHINE = { date: '2026-01-02T03:04Z', commit: 'abcdef0', cpu: 'A "fast", new one', cpus: '2', load_average: '9.00' };

await check('a median is the middle value, or the mean of the two in the middle', () => {
  equal(median([3, 1, 2]), 2);
  equal(median([4, 1, 2, 3]), 2.5);
});

await check('a result of something else than the others is a fault', () => {
  const fault = (surface, threads, r) => faultOf(surface, threads, PROMPT_TOKENS, r);
  equal(fault({ kernel: 'relaxed' }, 1, result(1, 1)), null);
  ensure(/simd128/.test(fault({ kernel: 'relaxed' }, 1, result(1, 1, { kernel: 'simd128' })) ?? ''), 'another kernel passed');
  ensure(/1 threads/.test(fault({}, 2, result(1, 1)) ?? ''), 'too few threads passed');
  ensure(/148/.test(fault({}, 1, result(1, 1, { promptTokens: 148 })) ?? ''), 'another prompt passed');
  ensure(/63/.test(fault({}, 1, result(1, 1, { drawn: 63 })) ?? ''), 'a text that ended early passed');
  ensure(/storage/.test(fault({}, 1, result(1, 1, { fromCache: false })) ?? ''), 'a download passed');
});

await check('a prompt of many tokens is found where each word is one', async () => {
  const words = async (text) => text.split(/\s+/).filter(Boolean).length;
  for (const n of [1, 149, 4096]) equal(await words(await fitPrompt(words, n)), n);
});

const rows = summarize(WITH_AMX);
const row = (id, threads) => rows.find((one) => one.surface === id && one.threads === threads);

await check('figures are medians over the rounds that were measured', () => {
  equal(row('chromium', 1)?.decode, 100.5, 'decode'); // of 80 and 121
  equal(row('chromium', 2)?.prefill, 880, 'prefill'); // of 800, 900, 880
  equal(row('chromium', 1)?.peakBytes, 160e6, 'peak');
  equal(row('firefox', 1), undefined, 'a surface that failed in each round');
});

await check('ratios are within a round, to the best that the base did with no more threads', () => {
  equal(row('chromium', 1)?.decodeRatio, (0.8 + 1.1) / 2, 'decode'); // 80/100, 121/110
  equal(row('chromium', 2)?.decodeRatio, 1.5, 'decode of two'); // 160/100, 171/180, 165/110
  equal(row('chromium', 1)?.prefillRatioVnni, 1, 'prefill without AMX'); // 400/400, 500/500
  equal(row('chromium', 2)?.prefillRatioVnni, 900 / 800, 'prefill of two without AMX'); // 800/800, 900/800, 880/500
});

await check('two threads are held against one of the same surface, the long prompt against the usual one', () => {
  equal(row('chromium', 2)?.prefillGain, (800 / 400 + 880 / 500) / 2, 'gain'); // not the second round
  equal(row('chromium', 1)?.prefillGain, undefined, 'gain of one thread');
  equal(row('chromium', 1)?.longShare, (300 / 400 + 200 / 500) / 2, 'share');
  equal(row('chromium', 1)?.longPrefill, 250, 'long prefill');
});

await check('the loss of int8 activations is told of Nutshell alone, and of the windows that were asked for', () => {
  const ours = { ...series('chromium', 1, [result(1, 1)]), surface: { id: 'chromium', name: 'Nutshell, Chromium' } };
  const told = summarize([ours, series(BASE, 1, [result(1, 1)])], klOf('{"windows":3,"scored":765,"kl":0.00223}'));
  equal(told.map(({ kl }) => kl), [0.00223, undefined], 'rows');
  const table = tableOf({ model: 'made-up.gguf', rounds: 1, load: 0, rows: told });
  ensure(/KL of int8\n/.test(table) && /0\.0022$/m.test(table), table);
  ensure(!/KL/.test(tableOf({ model: 'made-up.gguf', rounds: 1, load: 0, rows: summarize([ours]) })), 'a column without figures');
  for (const wrong of ['{"windows":2,"kl":0.1}', '{"windows":3}', '{"windows":3,"kl":null}']) {
    let refused = false;
    try { klOf(wrong); } catch { refused = true; }
    ensure(refused, `${wrong} passed`);
  }
});

const run = { model: 'made-up.gguf', rounds: 3, load: 0.25, rows };

await check('the table names both bases where there are two, and one otherwise', () => {
  const table = tableOf(run);
  for (const part of ['x llama AMX', 'x llama VNNI', 'prefill 4096 t/s', 'x 1 thread']) {
    ensure(table.includes(part), `no "${part}" in\n${table}`);
  }
  ensure(/The chromium +1 +relaxed +100\.5 +0\.95 +/.test(table), table);
  const fewer = WITH_AMX.filter(({ surface }) => surface.id !== BASE_VNNI).map((one) => ({ ...one, long: [] }));
  const plain = tableOf({ ...run, rows: summarize(fewer) });
  ensure(plain.includes('x llama.cpp') && !plain.includes('AMX') && !plain.includes('4096'), plain);
});

await check('rows of the CSV file are read as they were written', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nutshell-bench-test-'));
  try {
    const file = join(folder, 'results.csv');
    appendLines(file, linesOf(run, MACHINE));
    appendLines(file, linesOf({ ...run, model: 'other.gguf' }, MACHINE));
    const text = readFileSync(file, 'utf8');
    equal(text.trim().split('\n').length, 1 + 2 * rows.length, 'lines');
    equal(parseLines(text)[0].cpu, MACHINE.cpu, 'cpu');
    equal(parseLines(text)[0].load_average, '0.25', 'the load is that before the run:');
    const [first, second] = readRuns(text);
    equal([first.model, second.model, first.rounds, first.rows.length], ['made-up.gguf', 'other.gguf', 3, rows.length]);
    equal(first.rows[4].decodeRatio, 0.95, 'decode ratio');
    equal(first.rows[4].longShare, 0.575, 'share');
    let refused = false;
    try { appendLines(file, [{ date: 'x' }]); } catch { refused = true; }
    ensure(refused, 'rows of other columns were appended');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

await check('the committed results can be read, and go with what the benchmark writes', () => {
  const text = readFileSync(join(import.meta.dirname, 'results.csv'), 'utf8');
  equal(text.split('\n')[0], Object.keys(linesOf(run, MACHINE)[0]).join(), 'columns');
  const known = new Set(SURFACES.map(({ id }) => id));
  for (const { surface } of readRuns(text).flatMap((one) => one.rows)) ensure(known.has(surface), `no surface ${surface}`);
});

/** The table's rows, and the surfaces of their first two figures and of the others, in a browser without AVX-VNNI. */
const README_NAMES = {
  'Nutshell in a tab': ['chromium', 'no-vnni'], 'llama.cpp, native': [BASE, BASE],
  'transformers.js 4.3.2 (q8) in a tab': ['transformers', 'transformers-no-vnni'],
  'wllama 2.2.1 in a tab': ['wllama'], 'wllama 3.8.1 in a tab': ['wllama3'],
};

await check("README's table of speeds is one run of the results", () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const figure = '\\**(\\d+)\\**(?: \\(([\\d.]+) ×\\))?'; // 140 (0.97 ×)
  const pair = `${figure} \\| ${figure} \\|`;
  const lines = [...readme.matchAll(new RegExp(`^\\| \\**(.+?)\\** \\| ${pair}(?: ${pair})?`, 'gm'))]
    .filter(([, name]) => name in README_NAMES);
  ensure(lines.length === Object.keys(README_NAMES).length, 'README has no table of speeds with the names that are known here');
  const said = lines.flatMap(([, name, ...figures]) => README_NAMES[name].map((surface, i) =>
    [surface, ...figures.slice(4 * i, 4 * i + 4).map((one) => one ?? null)]));
  const measured = readRuns(readFileSync(join(import.meta.dirname, 'results.csv'), 'utf8'))
    .filter(({ model, date, rounds }) => DEFAULT_MODEL.endsWith(model) && readme.includes(date.slice(0, 10)) && rounds >= 3)
    .map(({ rows: past }) => said.map(([id, , decodeRatio, , prefillRatio]) => {
      const found = past.find(({ surface, threads }) => surface === id && threads === 1);
      const ratios = (what) => [found?.[`${what}RatioVnni`], found?.[`${what}Ratio`]].map((ratio) => ratio?.toFixed(2));
      const ratioLike = (what, told) => told && (ratios(what).includes(told) ? told : ratios(what).join(' or '));
      return [id, found?.decode?.toFixed(0), ratioLike('decode', decodeRatio), found?.prefill?.toFixed(0),
        ratioLike('prefill', prefillRatio)];
    }));
  ensure(measured.some((run) => JSON.stringify(run) === JSON.stringify(said)),
    `README says ${JSON.stringify(said)}, the runs of its day ${JSON.stringify(measured)}`);
});

await check('"all" and the chart have the same models', () => {
  const files = ALL_MODELS.map((name) => (name.includes(':') ? `random-${name.replace(':', '-')}.gguf` : name.split('/').at(-1)));
  equal(files, Object.keys(MODEL_NAMES));
});

const past = (model, date, more = {}) => ({ ...run, model, date, cpu: 'One', ...more });

await check('the chart has the newest whole run of each model on the last machine', () => {
  const [a, b] = Object.keys(MODEL_NAMES);
  const runs = [
    past(b, '1'), past(a, '2'), past(a, '3', { cpu: 'Other' }), past(b, '4'), past(b, '5', { rounds: 1 }), past('x', '6'),
  ];
  equal(chartedRuns(runs).map(({ model, date }) => [model, date]), [[a, '2'], [b, '4']]);
});

await check('the chart tells every figure once, and bars are as long as their multiples', () => {
  const svg = chartOf([past(Object.keys(MODEL_NAMES)[0], '2026-01-02', { cpu: 'A & B' })]);
  const bars = [...svg.matchAll(/<rect x="(\d+)" [^>]*width="([\d.]+)"[^>]*class="(\w+)"\/><text[^>]*>([^<]*)/g)];
  equal(bars.map(([, , , kind, words]) => `${kind} ${words}`), [
    'ours 101 · 1.00×', 'ours 450 · 1.00×', // 80/100 and 121/100; 400/400 and 500/500
    'base 100', 'base 500',
    'base 100 · 1.00×', 'base 1000 · 2.20×', // with AMX: 1.0, 0.9, 1.1; 2.5, 1.8, 2.2
  ]);
  const reading = bars.filter((_, i) => i % 2).map(([, , width]) => Number(width));
  ensure(Math.abs(reading[2] / reading[1] - 2.2) < 0.01, `bars of ${reading}`);
  ensure(svg.includes('A &amp; B'), 'a name is not escaped');
});

await check('the figure of quality has the files that no smaller one of the tool beats', () => {
  const point = (tool, MB, KL, file = 'Q') => ({ model: 'smollm2', tool, file, MB, KL, ppl: 30, top: 80 });
  const points = [point('llama.cpp', 100, 0.1), point('llama.cpp', 80, 0.5), point('llama.cpp', 110, 0.2),
    point('nutshell', 60, 0.1, '60MB <fast>')];
  equal(best(points.slice(0, 3)).map((p) => p.MB), [80, 100], 'of 80, 100 and 110 MB');
  const svg = figureOf(points), circles = [...svg.matchAll(/<circle class="(\w+)" cx="([\d.]+)" cy="([\d.]+)" r="4">/g)];
  equal(circles.map(([, kind]) => kind), ['base', 'base', 'ours'], 'points');
  ensure(circles[1][3] === circles[2][3] && +circles[0][3] < +circles[1][3], 'equal KL is at one height, larger above');
  ensure(+circles[2][2] < +circles[0][2] && +circles[0][2] < +circles[1][2], 'more bytes are to the right');
  ensure(svg.includes('&lt;fast&gt;') && !svg.includes('NaN'), 'names are escaped');
  ensure(measured().every((p) => p.MB > 0 && p.KL > 0), 'quality.csv');
});

const kernels = (...args) =>
  spawnSync(process.execPath, [join(import.meta.dirname, 'kernels.mjs'), ...args], { encoding: 'utf8' });

await check('the benchmark of the kernels measures a format natively', () => {
  const { status, stdout, stderr } = kernels('--surface', 'native', '--format', 'q4_0', '--set', 'relaxed', '--seconds', '0.001');
  equal(status, 0, `${stderr} status`);
  const speeds = stdout.match(/^Q4_0 +relaxed +1536 x 576 (.*)/m)?.[1].trim().split(/ +/).map(parseFloat) ?? [];
  ensure(speeds.length === 8 && speeds.every((speed) => speed > 0), stdout);
  ensure(/read bandwidth [\d.]+ GB\/s; relaxed dots alone [\d.]+ GMAC\/s/.test(stdout), stdout);
});

await check('the benchmark of the kernels refuses a surface that it does not know', () => {
  const { status, stderr } = kernels('--surface', 'safari');
  equal(status, 1, 'status');
  ensure(stderr.includes('only native, wasmtime, chromium, chromium-no-vnni, firefox'), stderr);
});

finish();
