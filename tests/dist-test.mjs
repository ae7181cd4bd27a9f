// dist/ is what the sources build: it is built again with the pinned tools and compared byte for byte with the committed files.
// Sizes have limits: 180 kB of wasm and 25 kB of JavaScript; what chats need besides, 80 kB; what
// nutshell-dynamic.mjs has, 13 kB; gzipped.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { check, ensure, equal, finish } from './browser/harness.mjs';

/** Made by training, not by building; demo/model says how. */
const MODEL = 'nutshell-tiny-q8_0.gguf';

/** Built with dist/, but only of use to the chat page. */
const CHAT_PAGE = 'demo/chat/vendor.mjs';

const read = () => new Map(readdirSync('dist').sort().map((name) => [name, readFileSync(join('dist', name))]));
const before = read(), partsBefore = readFileSync(CHAT_PAGE);
execFileSync('make', ['-s', 'dist'], { stdio: ['ignore', 'ignore', 'inherit'] });
const after = read();

await check('the same files', () => equal([...after.keys()], [...before.keys()]));
for (const [name, bytes] of before) {
  await check(`${name} is what the sources build`, () =>
    ensure(after.get(name)?.equals(bytes), 'it differs: run make dist and commit the result'));
}

await check(`${CHAT_PAGE} is what the packages build`, () =>
  ensure(readFileSync(CHAT_PAGE).equals(partsBefore), 'it differs: run make dist and commit the result'));

const gzipped = (...names) => names.reduce((sum, name) => sum + gzipSync(before.get(name), { level: 9 }).length, 0);
for (const module of ['simd128', 'relaxed', 'simd128-mt', 'relaxed-mt']) {
  await check(`what a page fetches for ${module}`, () => {
    const wasm = gzipped(`nutshell-${module}.wasm`);
    const script = gzipped('nutshell.js', 'nutshell-worker.mjs');
    console.log(`${module}: ${wasm} bytes of wasm, ${script} of JavaScript; gzipped`);
    ensure(wasm <= 180_000 && script <= 25_000, `${wasm} + ${script} bytes`);
  });
}
await check('what the first chat fetches besides', () => {
  const bytes = gzipped('nutshell-chat.wasm', 'nutshell-chat.mjs');
  console.log(`chat: ${bytes} bytes of wasm and JavaScript; gzipped`);
  ensure(bytes <= 80_000, `${bytes} bytes`);
});
await check('what cascades and caches of questions fetch besides', () => {
  const bytes = gzipped('nutshell-dynamic.mjs');
  console.log(`dynamic: ${bytes} bytes of JavaScript; gzipped`);
  ensure(bytes <= 13_000, `${bytes} bytes`);
});
await check('what models larger than memory, drafts and adapters fetch in place and besides', () => {
  const script = gzipped('nutshell-more.mjs');
  for (const module of ['simd128-more', 'relaxed-more', 'simd128-more-mt', 'relaxed-more-mt']) {
    const wasm = gzipped(`nutshell-${module}.wasm`);
    console.log(`${module}: ${wasm} bytes of wasm, ${script} of JavaScript besides; gzipped`);
    ensure(wasm <= 190_000 && script <= 3_000, `${wasm} + ${script} bytes`);
  }
});
await check('integrity.json has the hash of each file that a page fetches', () => {
  const hashes = JSON.parse(before.get('integrity.json')?.toString() ?? '{}');
  const fetched = [...before.keys()].filter((name) => /^nutshell.*\.(m?js|wasm)$/.test(name) && name !== 'nutshell-cli.wasm');
  equal(Object.keys(hashes).sort(), fetched);
  for (const [name, hash] of Object.entries(hashes)) {
    equal(hash, `sha384-${createHash('sha384').update(before.get(name)).digest('base64')}`, name);
  }
});
await check('the small model', () => ensure((before.get(MODEL)?.length ?? Infinity) <= 1_500_000, 'it is larger than 1.5 MB'));
finish();
