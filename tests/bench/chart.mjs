// Draws comparison.svg: the speed of generating and of reading a prompt with one thread, in a tab and natively, relative to
// native llama.cpp, for light and dark themes. It shows the newest run of each model on the machine of the last run.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODEL_NAMES } from './models.mjs';
import { BASE, BASE_VNNI } from './summary.mjs';

/** @typedef {import('./summary.mjs').Row} Row */
/** @typedef {import('./report.mjs').PastRun} PastRun */

const FILE = join(import.meta.dirname, 'comparison.svg');
const ROUNDS = 3; // of a run that may be drawn
const WIDTH = 760, LABEL = 148, GAP = 28, VALUE = 94, HEAD = 64, ROW = 18, BAR = 12, TITLE = 20, SPACE = 14;
const PANEL = (WIDTH - LABEL - GAP) / 2;
const WHATS = /** @type {const} */ (['decode', 'prefill']);
const LEFT = { decode: LABEL, prefill: LABEL + PANEL + GAP };

const STYLE = `
  text { font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; fill: #2b2119; }
  .title { font-size: 15px; font-weight: 650; } .model { font-weight: 650; } .soft { fill: #6b5c4e; }
  .value { font-variant-numeric: tabular-nums; }
  .ours { fill: #a4672f; } .base { fill: #6b7f8f; } .peer { fill: #b4bec6; }
  @media (prefers-color-scheme: dark) {
    text { fill: #efe6da; } .soft { fill: #b3a392; }
    .ours { fill: #dda066; } .base { fill: #8fa3b3; } .peer { fill: #55616b; }
  }`;

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const text = (x, y, words, kind = '') => `<text x="${x}" y="${y}" class="${kind}">${escape(words)}</text>`;

/** The bars of a run, in this order; the base is llama.cpp with instructions that other machines have too. */
function barsOf(rows) {
  const has = (id) => rows.some(({ surface }) => surface === id);
  const base = has(BASE_VNNI) ? BASE_VNNI : BASE;
  const kinds = [
    ['chromium', 'Nutshell in a tab', 'ours'], [base, 'llama.cpp, native', 'base'],
    ...(base === BASE ? [] : [[BASE, '… with its AMX unit', 'base']]),
    ['wllama', 'wllama 2.2.1 in a tab', 'peer'], ['wllama3', 'wllama 3.8.1 in a tab', 'peer'],
  ];
  const of = (id) => rows.find(({ surface, threads }) => surface === id && threads === 1);
  const bars = kinds.map(([id, name, kind]) => ({ row: of(id), name, kind, isBase: id === base })).filter(({ row }) => row);
  return { base: of(base), bars };
}

/**
 * A row's speed relative to the base: the median of the ratios of the rounds, where they were stored.
 * @param {Row} row @param {Row} base @param {'decode' | 'prefill'} what
 */
function multiple(row, base, what) {
  const kept = base.surface === BASE_VNNI ? row[`${what}RatioVnni`] : row[`${what}Ratio`];
  return kept ?? (row[what] ?? 0) / (base[what] || 1);
}

/** The newest run of each model that may be drawn, in the order of MODEL_NAMES. @param {PastRun[]} runs */
export function chartedRuns(runs) {
  const whole = runs.filter(({ model, rounds, rows }) =>
    model in MODEL_NAMES && rounds >= ROUNDS && barsOf(rows).base && rows.some(({ surface }) => surface === 'chromium'));
  const cpu = whole.at(-1)?.cpu;
  return Object.keys(MODEL_NAMES)
    .map((name) => whole.findLast((run) => run.model === name && run.cpu === cpu))
    .filter((run) => run !== undefined);
}

/** One surface: its name, and a bar with its figures in both panels. */
function line({ row, name, kind, isBase }, base, y, scale) {
  const parts = [text(0, y + BAR - 2, name)];
  for (const what of WHATS) {
    const times = multiple(row, base, what), width = Math.max(1, times * scale[what]);
    const speed = row[what] ?? 0, figure = speed.toFixed(speed < 20 ? 1 : 0) + (isBase ? '' : ` · ${times.toFixed(2)}×`);
    parts.push(`<rect x="${LEFT[what]}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" class="${kind}"/>`,
      text(+(LEFT[what] + width + 6).toFixed(1), y + BAR - 2, figure, 'value'));
  }
  return parts.join('');
}

/** @param {PastRun[]} runs as chartedRuns chose them @returns {string} */
export function chartOf(runs) {
  const groups = runs.map(({ model, rows }) => ({ name: MODEL_NAMES[model], .../** @type {any} */ (barsOf(rows)) }));
  const most = (what) => Math.max(1, ...groups.flatMap(({ bars, base }) => bars.map(({ row }) => multiple(row, base, what))));
  const scale = { decode: (PANEL - VALUE) / most('decode'), prefill: (PANEL - VALUE) / most('prefill') };
  let y = HEAD;
  const drawn = groups.flatMap(({ name, bars, base }) => {
    const lines = [text(0, y + 12, name, 'model'), ...bars.map((bar, i) => line(bar, base, y + TITLE + i * ROW, scale))];
    y += TITLE + bars.length * ROW + SPACE;
    return lines;
  });
  const days = runs.map(({ date }) => date.slice(0, 10)).sort();
  const period = days[0] === days.at(-1) ? days[0] : `${days[0]} to ${days.at(-1)}`;
  const without = groups.some(({ base }) => base.surface === BASE_VNNI) ? ' without the matrix unit (AMX)' : '';
  const about = `One thread, ${runs[0].cpu}, ${period}; × is to native llama.cpp${without}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img">
<title>Speed of Nutshell, llama.cpp and wllama on ${groups.length} models</title>
<style>${STYLE}
</style>
${text(LEFT.decode, 18, 'Writing, tokens per second', 'title')}
${text(LEFT.prefill, 18, 'Reading, tokens per second', 'title')}
${text(0, 44, about, 'soft')}
${drawn.join('\n')}
</svg>
`;
}

/** @param {PastRun[]} runs  all that are known */
export function drawChart(runs) {
  const charted = chartedRuns(runs);
  if (charted.length) writeFileSync(FILE, chartOf(charted));
}
