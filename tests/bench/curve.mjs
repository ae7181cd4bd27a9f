// Draws losses of training over its steps: the cross entropy with the text, of one log (CSV, as "log" of a recipe writes it)
// for each line, for light and dark themes.
//
//   node tests/bench/curve.mjs OUT.svg 'TITLE=LOG.csv'...
import { readFileSync, writeFileSync } from 'node:fs';

const WIDTH = 720, HEIGHT = 300, LEFT = 48, RIGHT = 150, TOP = 30, BOTTOM = 36, MEAN_OF = 3;
const STYLE = `
  text { font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; fill: #2b2119; }
  polyline { fill: none; stroke-width: 2; } .axis { stroke: #b3a392; }
  .c0 { stroke: #a4672f; } .c1 { stroke: #3f7392; } .c2 { stroke: #5d8a4a; } .c3 { stroke: #8a5d8a; }
  @media (prefers-color-scheme: dark) { text { fill: #efe6da; } .c0 { stroke: #dda066; } .c1 { stroke: #7fb3d2; } }`;

/** Cross entropies, each the mean of a few steps up to it. @param {string} file */
function lossesOf(file) {
  const [head, ...rows] = readFileSync(file, 'utf8').trim().split('\n').map((row) => row.split(','));
  const all = rows.map((row) => Number(row[head.indexOf('cross_entropy')]));
  return all.map((_, i) => {
    const some = all.slice(Math.max(0, i + 1 - MEAN_OF), i + 1);
    return some.reduce((sum, x) => sum + x, 0) / some.length;
  });
}

const [out, ...named] = process.argv.slice(2);
if (!out || !named.length) throw new Error("usage: curve.mjs OUT.svg 'TITLE=LOG.csv'...");
const lines = named.map((arg) => {
  const at = arg.lastIndexOf('=');
  return { title: arg.slice(0, at), losses: lossesOf(arg.slice(at + 1)) };
});
const steps = Math.max(...lines.map(({ losses }) => losses.length));
const most = Math.ceil(Math.max(...lines.flatMap(({ losses }) => losses)));
const least = Math.floor(Math.min(...lines.flatMap(({ losses }) => losses)));
const x = (step) => LEFT + (step / steps) * (WIDTH - LEFT - RIGHT);
const y = (loss) => TOP + ((most - loss) / (most - least)) * (HEIGHT - TOP - BOTTOM);
const parts = [`<text x="${LEFT}" y="18">nats a token of the text (mean of ${MEAN_OF} steps)</text>`,
  `<text x="${WIDTH - RIGHT}" y="${HEIGHT - 6}" text-anchor="end">steps</text>`];
for (let loss = least; loss <= most; loss++)
  parts.push(`<line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(loss)}" y2="${y(loss)}" stroke-width="0.5"/>`,
    `<text x="${LEFT - 8}" y="${y(loss) + 4}" text-anchor="end">${loss}</text>`);
for (let step = 0, every = 5 * Math.ceil(steps / 60); step <= steps; step += every)
  parts.push(`<text x="${x(step)}" y="${HEIGHT - 20}" text-anchor="middle">${step}</text>`);
lines.forEach(({ title, losses }, i) => {
  const points = losses.map((loss, k) => `${x(k + 1).toFixed(1)},${y(loss).toFixed(1)}`).join(' ');
  parts.push(`<polyline class="c${i % 4}" points="${points}"/>`,
    `<text x="${x(losses.length) + 6}" y="${(y(losses.at(-1)) + 4).toFixed(1)}">${title}</text>`);
});
writeFileSync(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}"><style>${STYLE}
</style>${parts.join('\n')}</svg>\n`);
