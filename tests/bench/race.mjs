// Whether the kernels that a race chose are the fastest: for each tensor type a model with random weights is loaded, and what
// the sets reached is printed, for a token alone and for many, with the set that was taken.
//
//   node tests/bench/race.mjs [--surface native,wasmtime,chromium,no-vnni,firefox] [TYPE...]
//
// The exit status is 1 where a taken set is slower than the best by more than a tenth in the median of three loads.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median } from '../../demo/bench/bench.js';
import { startServer } from '../../demo/serve.mjs';
import { startChromium, startFirefox } from '../browser/drivers.mjs';
import { ROOT } from './surfaces.mjs';

const TYPES = ['Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q4_K', 'Q5_K', 'Q6_K'];
const COLUMNS = 1024;
const LOADS = 3;
const WITHIN = 1.1;
const SITE = 'build/bench/race';

/** @typedef {{ layout: string, tokens: string, kernel: string, rates: Record<string, number> }} Race */

/** @param {string[]} command */
const shell = ([program, ...before]) => async (/** @type {string} */ model) => {
  const { status, stdout, stderr } = spawnSync(program, [...before, 'info', model, '--json'], { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout).products;
};

/** @param {typeof startChromium} start @param {string[]} [args] */
const page = (start, args = []) => async (/** @type {string} */ model, /** @type {string} */ site) => {
  const browser = await start({ args });
  try {
    await browser.goto(new URL('demo/bench/', site).href);
    const call = async (/** @type {string} */ url) => {
      const loaded = await globalThis.Nutshell.load(url, { cache: false });
      const { products } = loaded.info.model;
      await loaded.unload();
      return products;
    };
    return await browser.evaluate(call, new URL(model.slice(SITE.length), site).href);
  } finally {
    await browser.close();
  }
};

/** @type {Record<string, (model: string, site: string) => Promise<Race[]>>} */
const SURFACES = {
  native: shell(['build/native/nutshell']),
  wasmtime: shell(['.toolchain/bin/wasmtime', 'run', '--dir', '.', 'dist/nutshell-cli.wasm']),
  chromium: page(startChromium),
  'no-vnni': page(startChromium, ['--js-flags=--no-enable-avx-vnni']),
  firefox: page(startFirefox),
};

/** @param {string} type */
function modelOf(type) {
  const path = `${SITE}/models/${type}.gguf`;
  const args = ['llama', type, path, String(COLUMNS)];
  if (!existsSync(join(ROOT, path))) execFileSync('build/native/make_model', args, { cwd: ROOT });
  return path;
}

/** How much slower than the best the taken set was; 1: it was the best. @param {Race} race */
const behind = ({ kernel, rates }) => Math.max(...Object.values(rates)) / rates[kernel];

/** @param {string} surface @param {string} type @param {string} site */
async function measure(surface, type, site) {
  /** @type {Race[][]} */
  const loads = [];
  for (let i = 0; i < LOADS; i++) loads.push(await SURFACES[surface](modelOf(type), site));
  const [first] = loads;
  if (first.length === 0) return console.log(`${surface.padEnd(9)} ${type.padEnd(5)} no race: one set, or a coarse clock`);
  for (const [i, { layout, tokens }] of first.entries()) {
    const races = loads.map((load) => load[i]);
    const by = median(races.map(behind));
    const rates = Object.keys(races[0].rates).map((set) => `${set} ${median(races.map((race) => race.rates[set])).toFixed(1)}`);
    const taken = races.map(({ kernel }) => kernel).join(', ');
    console.log(`${surface.padEnd(9)} ${type.padEnd(5)} ${layout.padEnd(5)} ${tokens.padEnd(5)} ${rates.join(', ')} -> ${taken}`);
    if (by > WITHIN) process.exitCode = 1;
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true, options: { surface: { type: 'string', default: Object.keys(SURFACES).join() } },
});
execFileSync('make', ['-s', 'build/native/make_model', 'build/native/nutshell'], { cwd: ROOT, stdio: 'inherit' });
mkdirSync(join(ROOT, SITE, 'models'), { recursive: true });
for (const folder of ['demo', 'dist']) {
  rmSync(join(ROOT, SITE, folder), { force: true });
  symlinkSync(join(ROOT, folder), join(ROOT, SITE, folder));
}
const server = await startServer({ port: 0, root: join(ROOT, SITE) });
console.log('10^9 multiply-adds per second, and what was taken in each load');
for (const surface of values.surface.split(',')) {
  for (const type of positionals.length ? positionals : TYPES) await measure(surface, type, server.url);
}
await server.close();
