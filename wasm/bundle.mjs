// Makes dist/: bundles the JavaScript of web/, and takes the four engine modules that the Makefile linked into build/web/.
// Its output depends on nothing but its inputs and the pinned esbuild, so that CI can compare the files byte for byte.
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const MODULES = ['simd128', 'relaxed', 'simd128-mt', 'relaxed-mt'];
const TARGET = ['chrome91', 'firefox114', 'safari16.4']; // SIMD, and module workers (Firefox 114)
const LIMITS = { wasm: 200_000, js: 30_000 }; // gzipped bytes that a page fetches for one model

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const notice = `/*! Nutshell ${version}, MIT licence; with @huggingface/jinja, idb and Emscripten's runtime: see LICENSES.txt */`;
const common = {
  bundle: true, minify: true, target: TARGET, legalComments: 'none', banner: { js: notice }, charset: 'utf8',
  define: { NUTSHELL_VERSION: JSON.stringify(version) }, logLevel: 'warning',
};

/** @huggingface/jinja from its sources and without its formatter, which pages have no use for. */
const jinja = {
  name: 'jinja',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^@huggingface\/jinja$/ }, () => ({ path: resolve('node_modules/@huggingface/jinja/src/index.ts') }));
    onLoad({ filter: /jinja\/src\/format\.ts$/ }, () => ({ contents: 'export function format() {}', loader: 'ts' }));
  },
};

function writeLicenses() {
  const parts = {
    Nutshell: 'LICENSE',
    '@huggingface/jinja (in nutshell-worker.mjs)': 'node_modules/@huggingface/jinja/LICENSE',
    'idb (in nutshell-worker.mjs)': 'node_modules/idb/LICENSE',
    'Emscripten (in the engine modules)': 'web/licenses/emscripten.txt',
    'musl libc (in the engine modules)': '.toolchain/emscripten/system/lib/libc/musl/COPYRIGHT',
  };
  writeFileSync('dist/LICENSES.txt', Object.entries(parts)
    .map(([title, path]) => `${title}\n${'='.repeat(title.length)}\n\n${readFileSync(path, 'utf8').trim()}\n`).join('\n\n'));
}

/** What a Manifest V3 extension or a strict Content-Security-Policy forbids, and code from elsewhere. */
const FORBIDDEN = /\beval\(|new Function|Function\(["'`]|createObjectURL|blob:|importScripts|https?:\/\/[^\s"'`]*\.(js|mjs|wasm)/;

function checkForbidden(file, text) {
  const found = FORBIDDEN.exec(text);
  if (found) throw new Error(`dist/${file} contains ${found[0]}`);
}

const gzipped = (file) => gzipSync(readFileSync(`dist/${file}`), { level: 9 }).length;

/** Prints what a page fetches for one model, for each way to run; fails over the limits. */
function report() {
  const js = gzipped('nutshell.js') + gzipped('nutshell-worker.mjs');
  for (const name of MODULES) {
    const wasm = gzipped(`nutshell-${name}.wasm`);
    console.log(`${name.padEnd(11)} wasm ${(wasm / 1000).toFixed(1)} kB, JavaScript ${(js / 1000).toFixed(1)} kB gzipped`);
    if (wasm > LIMITS.wasm || js > LIMITS.js) throw new Error(`over the limits: ${JSON.stringify(LIMITS)} bytes`);
  }
}

mkdirSync('dist', { recursive: true });
await Promise.all([
  build({ ...common, entryPoints: ['web/global.js'], format: 'iife', outfile: 'dist/nutshell.js' }),
  build({ ...common, entryPoints: ['web/nutshell.js'], format: 'esm', outfile: 'dist/nutshell.mjs' }),
  build({ ...common, entryPoints: ['web/worker/main.js'], plugins: [jinja], format: 'esm', outfile: 'dist/nutshell-worker.mjs' }),
]);
for (const name of MODULES) copyFileSync(`build/web/nutshell-${name}.wasm`, `dist/nutshell-${name}.wasm`);
copyFileSync('web/nutshell.d.ts', 'dist/nutshell.d.ts');
writeLicenses();
for (const file of readdirSync('dist').filter((name) => /^nutshell.*\.m?js$/.test(name))) {
  checkForbidden(file, readFileSync(`dist/${file}`, 'utf8'));
}
report();
