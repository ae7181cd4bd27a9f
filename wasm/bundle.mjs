// Makes dist/: bundles the JavaScript of web/, and takes the modules that the Makefile linked into
// build/web/. Its output depends on nothing but its inputs and the pinned esbuild and terser, so that CI can
// compare the files byte for byte. terser makes what esbuild has made 3 % smaller, once compressed.
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minify } from 'terser';

const MODULES = ['simd128', 'relaxed', 'simd128-mt', 'relaxed-mt']; // run models: a page fetches one of them
/** Fetched in their place for a model larger than memory, drafts by a model and adapters, with nutshell-more.mjs. */
const MORE_MODULES = ['simd128-more', 'relaxed-more', 'simd128-more-mt', 'relaxed-more-mt'];
/** Fetched by pages that chat, and by those that make models; with their scripts. */
const OTHER_MODULES = {
  ...Object.fromEntries(MORE_MODULES.map((name) => [name, ['nutshell-more.mjs']])),
  chat: ['nutshell-chat.mjs'],
  compress: ['nutshell-compress.mjs', 'nutshell-compress-worker.mjs'],
};
const TYPES = ['nutshell.d.ts', 'nutshell-compress.d.ts', 'nutshell-dynamic.d.ts'];
const TARGET = ['chrome91', 'firefox114', 'safari16.4']; // SIMD, and module workers (Firefox 114)

/** Scripts and what they are made of. */
const SCRIPTS = {
  'nutshell.js': { from: 'web/global.js', format: 'iife' },
  'nutshell.mjs': { from: 'web/nutshell.js', format: 'esm' },
  'nutshell-worker.mjs': { from: 'web/worker/main.js', format: 'esm' },
  'nutshell-chat.mjs': { from: 'web/worker/chat.js', format: 'esm' },
  'nutshell-more.mjs': { from: 'web/worker/more.js', format: 'esm' },
  'nutshell-cache.mjs': { from: 'web/worker/upkeep.js', format: 'esm' },
  'nutshell-compress.mjs': { from: 'web/compress.js', format: 'esm' },
  'nutshell-dynamic.mjs': { from: 'web/dynamic.js', format: 'esm' },
  'nutshell-compress-worker.mjs': { from: 'web/compress/worker.js', format: 'esm' },
};

/** Packages that the chat page uses, in one file of its own. */
const CHAT_PAGE = 'demo/chat/vendor.mjs';

/** What a page fetches for one model, and what the rarer uses of the cache fetch besides: gzipped bytes. */
const FETCHED = ['nutshell.js', 'nutshell-worker.mjs'];
const FETCHED_TO_KEEP = ['nutshell-cache.mjs'];
const LIMITS = { wasm: 180_000, js: 25_000, keep: 5_000 };

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

/** @param {string} name of SCRIPTS */
async function writeScript(name) {
  const { from, format } = SCRIPTS[name];
  const bundled = await build({
    entryPoints: [from], format, bundle: true, minify: true, target: TARGET, charset: 'utf8',
    define: { NUTSHELL_VERSION: JSON.stringify(version) }, legalComments: 'none', logLevel: 'warning', write: false,
  });
  const preamble = `/*! Nutshell ${version}: see LICENSES.txt */`; // which names the parts of each file
  const { code } = await minify(bundled.outputFiles[0].text, {
    ecma: 2020, module: format === 'esm', format: { ecma: 2020, comments: false, preamble },
    compress: {
      passes: 3, pure_getters: true, unsafe_arrows: true, keep_fargs: false, lhs_constants: false,
      hoist_funs: format === 'iife',
    },
  });
  checkForbidden(name, code);
  writeFileSync(`dist/${name}`, code + '\n');
}

async function writeChatPageParts() {
  const contents = "export { lexer } from 'marked';\nexport { openDB } from 'idb';\n";
  await build({
    stdin: { contents, resolveDir: '.' }, bundle: true, format: 'esm', minify: true, target: TARGET, charset: 'utf8',
    legalComments: 'inline', logLevel: 'warning', outfile: CHAT_PAGE,
  });
}

function writeLicenses() {
  const parts = {
    Nutshell: 'LICENSE',
    '@noble/hashes (in nutshell-cache.mjs)': 'node_modules/@noble/hashes/LICENSE',
    'idb (in the workers, nutshell-dynamic.mjs and the chat page)': 'node_modules/idb/LICENSE',
    'marked (in the chat page)': 'node_modules/marked/LICENSE',
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

/** Hashes of all that a page fetches, for Subresource Integrity: dist/integrity.json. Prints those of what a
 * page names. */
function writeIntegrity() {
  const files = [...Object.keys(SCRIPTS), ...[...MODULES, ...Object.keys(OTHER_MODULES)].map((name) => `nutshell-${name}.wasm`)];
  const hash = (file) => `sha384-${createHash('sha384').update(readFileSync(`dist/${file}`)).digest('base64')}`;
  const hashes = Object.fromEntries(files.map((file) => [file, hash(file)]));
  writeFileSync('dist/integrity.json', JSON.stringify(hashes, null, 2) + '\n');
  for (const file of ['nutshell.js', 'nutshell.mjs']) console.log(`${file.padEnd(12)} integrity="${hashes[file]}"`);
}

/** @param {string[]} files of dist/ */
const gzipped = (files) => files.reduce((sum, file) => sum + gzipSync(readFileSync(`dist/${file}`), { level: 9 }).length, 0);

/** Prints what a page fetches for one model, for each way to run; fails over the limits. */
function report() {
  const sizes = { js: gzipped(FETCHED), keep: gzipped(FETCHED_TO_KEEP) };
  for (const name of MODULES) {
    const all = { wasm: gzipped([`nutshell-${name}.wasm`]), ...sizes };
    const [wasm, js, keep] = Object.keys(LIMITS).map((part) => (all[part] / 1000).toFixed(1));
    console.log(`${name.padEnd(11)} wasm ${wasm} kB, JavaScript ${js} kB, to verify, export or import models `
      + ` ${keep} kB more, gzipped`);
    const over = Object.keys(LIMITS).filter((part) => all[part] > LIMITS[part]);
    if (over.length) throw new Error(`over the limits (${over}): ${JSON.stringify(LIMITS)} bytes`);
  }
  console.log(`dynamic     JavaScript ${(gzipped(['nutshell-dynamic.mjs']) / 1000).toFixed(1)} kB, gzipped`);
  for (const [name, scripts] of Object.entries(OTHER_MODULES)) {
    const [wasm, js] = [[`nutshell-${name}.wasm`], scripts].map((files) => (gzipped(files) / 1000).toFixed(1));
    console.log(`${name.padEnd(17)} wasm ${wasm} kB, JavaScript ${js} kB, gzipped`);
  }
}

mkdirSync('dist', { recursive: true });
await Promise.all([...Object.keys(SCRIPTS).map(writeScript), writeChatPageParts()]);
for (const name of [...MODULES, ...Object.keys(OTHER_MODULES)].map((name) => `nutshell-${name}.wasm`)) {
  copyFileSync(`build/web/${name}`, `dist/${name}`);
}
for (const name of TYPES) copyFileSync(`web/${name}`, `dist/${name}`);
writeLicenses();
writeIntegrity();
report();
