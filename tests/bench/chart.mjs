// Draws comparison.svg for the README: tokens per second of every surface, in light and in dark.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BASE } from './surfaces.mjs';

/** @typedef {import('./report.mjs').Row} Row */

const FILE = join(import.meta.dirname, 'comparison.svg');
const WIDTH = 760, LABEL = 170, GAP = 36, VALUE = 88, HEAD = 64, ROW = 26, BAR = 14, GROUP = 24;
const PANEL = (WIDTH - LABEL - GAP) / 2;

const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; fill: #2b2119; }
  .title { font-size: 15px; font-weight: 650; } .soft { fill: #6b5c4e; } .value { font-variant-numeric: tabular-nums; }
  .ours { fill: #a4672f; } .base { fill: #6b7f8f; } .peer { fill: #b4bec6; }
  @media (prefers-color-scheme: dark) {
    text { fill: #efe6da; } .soft { fill: #b3a392; } .ours { fill: #dda066; } .base { fill: #8fa3b3; } .peer { fill: #55616b; }
  }`;

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const text = (x, y, words, kind = '') => `<text x="${x}" y="${y}" class="${kind}">${escape(words)}</text>`;

/** @param {Row} row */
const colour = ({ surface, name }) => (surface === BASE ? 'base' : name.startsWith('Nutshell') ? 'ours' : 'peer');

/**
 * One bar with its figure.
 * @param {Row} row @param {'decode' | 'prefill'} what @param {number} x @param {number} y @param {number} scale
 */
function bar(row, what, x, y, scale) {
  const value = row[what] ?? 0, width = Math.max(1, value * scale);
  const ratio = row.surface === BASE ? '' : ` · ${(row[`${what}Ratio`] ?? 0).toFixed(2)}×`;
  return `<rect x="${x}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" class="${colour(row)}"/>`
    + text(+(x + width + 6).toFixed(1), y + BAR - 3, value.toFixed(0) + ratio, 'value');
}

/** The surfaces with one number of threads. @param {Row[]} rows @param {number} y @param {Record<string, number>} scale */
function group(rows, y, scale) {
  const parts = [text(0, y + 12, rows[0].threads === 1 ? 'One thread' : `${rows[0].threads} threads`, 'soft')];
  const xs = { decode: LABEL, prefill: LABEL + PANEL + GAP };
  rows.forEach((row, i) => {
    const at = y + GROUP + i * ROW;
    parts.push(text(0, at + BAR - 3, row.name));
    for (const what of /** @type {const} */ (['decode', 'prefill'])) parts.push(bar(row, what, xs[what], at, scale[what]));
  });
  return parts.join('\n');
}

/** @param {import('./report.mjs').Run} run */
export function drawChart({ model, rows }) {
  const groups = [...new Set(rows.map(({ threads }) => threads))].map((n) => rows.filter(({ threads }) => threads === n));
  const most = (what) => Math.max(...rows.map((row) => row[what] ?? 0));
  const scale = { decode: (PANEL - VALUE) / most('decode'), prefill: (PANEL - VALUE) / most('prefill') };
  let y = HEAD;
  const drawn = groups.map((one) => {
    const part = group(one, y, scale);
    y += GROUP + one.length * ROW + 14;
    return part;
  });
  const size = `viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}"`;
  writeFileSync(FILE, `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">
<title>Tokens per second of ${escape(model)} with Nutshell, llama.cpp and wllama</title>
<style>${STYLE}
</style>
${text(LABEL, 18, 'Writing, tokens per second', 'title')}
${text(LABEL + PANEL + GAP, 18, 'Reading, tokens per second', 'title')}
${text(LABEL, 38, `${model.replace(/\.gguf$/, '')}; × is to native llama.cpp at its best with no more threads`, 'soft')}
${drawn.join('\n')}
</svg>
`);
}
