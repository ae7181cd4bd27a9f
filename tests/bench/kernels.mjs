// make bench-kernels: the kernels alone, natively, under wasmtime and in browsers, with the read bandwidth and the highest rate
// of integer dots that the same program measures there (see bench_kernels.c).
//
//   node tests/bench/kernels.mjs [--surface ID,ID...] [--csv] [--set NAME] [--format NAME] [--only products|ops|pack]
//                                [--seconds S] [--resident yes]
//
// Surfaces: native, wasmtime, chromium, chromium-no-vnni, firefox; default: all. chromium-no-vnni is Chromium as it computes on
// x86 without AVX-VNNI (before Alder Lake and Zen 5), where the relaxed dot is five instructions. The programs are built first
// if sources changed. --csv appends a row per figure to kernels.csv.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startChromium, startFirefox } from '../browser/drivers.mjs';
import { startServer } from '../../demo/serve.mjs';
import { aboutMachine, appendLines } from './report.mjs';
import { ROOT } from './surfaces.mjs';

const CSV = join(import.meta.dirname, 'kernels.csv');
const SITE = join(ROOT, 'build/bench/kernels-site');
const TOOLS = join(ROOT, '.toolchain/bin');
/** The browser modules, as pages have them, and the sets in each. @type {Record<string, string[]>} */
const MODULES = { relaxed: ['relaxed', 'pairs'], simd128: ['simd128'] };
const NO_VNNI = '--js-flags=--no-enable-avx-vnni';
const LOOK_EVERY = 200; // ms

/** @typedef {(text: string) => void} Listener */
/** @typedef {{ target: string, run: (args: string[], out: Listener, err: Listener) => Promise<string> }} Program */
/** @typedef {{ programs: (set: string | undefined) => Program[] }} Surface  a program answers which browser ran it */

const make = (target) => execFileSync('make', ['-s', target], { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] });

/** @param {string} command @param {string[]} before  arguments before the program's own */
function shell(command, before = []) {
  return (args, out, err) => new Promise((resolve, reject) => {
    const child = spawn(command, [...before, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (data) => out(String(data)));
    child.stderr.on('data', (data) => err(String(data)));
    child.on('error', reject);
    child.on('close', (status) => (status === 0 ? resolve('') : reject(new Error(`${command} ended with status ${status}`))));
  });
}

/** A folder for demo/serve.mjs, which makes the page cross-origin isolated, so that its clock is precise. */
function layOutSite() {
  rmSync(SITE, { recursive: true, force: true });
  mkdirSync(join(SITE, 'demo'), { recursive: true });
  symlinkSync(join(import.meta.dirname, 'kernels'), join(SITE, 'demo/kernels'));
  symlinkSync(join(ROOT, 'build/web'), join(SITE, 'dist'));
  return SITE;
}

/** @param {typeof startChromium} start @param {string} module @param {string[]} flags  of the browser */
function page(start, module, flags) {
  return async (args, out, err) => {
    const server = await startServer({ port: 0, root: layOutSite() });
    const browser = await start({ args: flags });
    try {
      await browser.goto(`${server.url}/demo/kernels/`);
      await browser.evaluate(`start('/dist/bench_kernels-${module}.wasm', ${JSON.stringify(['bench_kernels', ...args])})`);
      for (;;) {
        const taken = await browser.evaluate('take()');
        out(taken.out);
        err(taken.err);
        if (taken.error) throw new Error(`in ${browser.version}: ${taken.error}`);
        if (taken.status === 0) return browser.version;
        if (taken.status !== null) throw new Error(`in ${browser.version}: status ${taken.status}`);
        await new Promise((done) => setTimeout(done, LOOK_EVERY));
      }
    } finally {
      await browser.close();
      await server.close();
    }
  };
}

/** @param {typeof startChromium} start @param {string[]} flags @returns {Surface} */
const browserSurface = (start, ...flags) => ({
  programs: (only) => Object.keys(MODULES).filter((module) => !only || MODULES[module].includes(only)).map((module) => ({
    target: `build/web/bench_kernels-${module}.wasm`, run: page(start, module, flags),
  })),
});

/** @type {Record<string, Surface>} */
const SURFACES = {
  native: { programs: () => [{ target: 'build/native/bench_kernels', run: shell(join(ROOT, 'build/native/bench_kernels')) }] },
  wasmtime: {
    programs: () => [{
      target: 'build/wasi/bench_kernels.wasm', run: shell(join(TOOLS, 'wasmtime'), ['run', 'build/wasi/bench_kernels.wasm']),
    }],
  },
  chromium: browserSurface(startChromium),
  'chromium-no-vnni': browserSurface(startChromium, NO_VNNI),
  firefox: browserSurface(startFirefox),
};

/** @param {string} surface @param {Program} program @param {string[]} args */
async function measure(surface, { target, run }, args) {
  let rows = '';
  make(target);
  process.stdout.write(`\n${surface}: `);
  const browser = await run([...args, '--rows', 'yes'], (text) => process.stdout.write(text), (text) => { rows += text; });
  const about = aboutMachine();
  return rows.split('\n').filter(Boolean).map((line) => {
    const fields = line.split(',');
    if (fields.length !== 5) throw new Error(`${surface} says: ${line}`);
    const [what, set, size, value, unit] = fields;
    return { ...about, surface, browser, what, set, size, value, unit };
  });
}

async function main() {
  const passed = ['set', 'format', 'only', 'seconds', 'resident'];
  const { values } = parseArgs({
    options: {
      surface: { type: 'string', default: Object.keys(SURFACES).join() }, csv: { type: 'boolean', default: false },
      ...Object.fromEntries(passed.map((name) => [name, { type: /** @type {const} */ ('string') }])),
    },
  });
  process.env.PATH = `${TOOLS}:${process.env.PATH}`;
  const args = passed.flatMap((name) => (values[name] ? [`--${name}`, values[name]] : []));
  for (const surface of values.surface.split(',')) {
    if (!SURFACES[surface]) throw new Error(`there is no surface ${surface}, only ${Object.keys(SURFACES).join(', ')}`);
    for (const program of SURFACES[surface].programs(values.set)) {
      const rows = await measure(surface, program, args);
      if (values.csv) appendLines(CSV, rows);
    }
  }
}

try {
  await main();
} catch (error) {
  console.error(`bench-kernels: ${error.message}`);
  process.exitCode = 1;
}
