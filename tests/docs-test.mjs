// The documentation's examples, run as they stand: the C example at the top of src/nutshell.h, and README's code blocks
// in a shell and in a page. Only the model behind the names "model.gguf" and "model-f32.gguf" is chosen here.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { startChromium } from './browser/drivers.mjs';
import { check, ensure, equal, finish } from './browser/harness.mjs';

const WORK = resolve('build/docs');
const TINY = resolve('dist/nutshell-tiny-q8_0.gguf');
rmSync(WORK, { recursive: true, force: true });
mkdirSync(WORK, { recursive: true });

const readme = readFileSync('README.md', 'utf8');
/** Code blocks of a language. */
const blocks = (language) => [...readme.matchAll(new RegExp('```' + language + '\n([^]*?)```', 'g'))].map((m) => m[1]);

// ---- C ------------------------------------------------------------
await check('the example of nutshell.h compiles and runs', () => {
  const header = readFileSync('src/nutshell.h', 'utf8');
  const example = header.match(/^ \* Example[^]*?\n \*\n([^]*?) \*\//m)[1].replace(/^ \* {0,5}/gm, '    ');
  writeFileSync(join(WORK, 'example.c'), `#include "nutshell.h"
#include <stdio.h>
#include <string.h>
static int fail(const nut_error *err) { fprintf(stderr, "%s\\n", err->message); return 1; }
static char buf[65536];
static FILE *file;
static size_t read_some(char *to) { return fread(to, 1, sizeof buf, file); }
int main(int argc, char **argv) {
    const char *text = argv[argc - 1];
    enum { cap = 100 };
    int32_t ids[cap];
    size_t n, n_ids;
    file = fopen(argv[1], "rb");
    fseek(file, 0, SEEK_END);
    uint64_t file_size = (uint64_t)ftell(file);
    rewind(file);
${example}
    nut_session_free(session);
    nut_model_free(model);
    return 0;
}
`);
  const find = 'find build/native/src -name "*.o" ! -path "*/cli/*"';
  const objects = execFileSync('bash', ['-c', find], { encoding: 'utf8' }).trim().split('\n');
  const flags = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-Isrc'];
  execFileSync('clang-19', [...flags, join(WORK, 'example.c'), ...objects, '-pthread', '-lm', '-o', join(WORK, 'example')]);
  const out = execFileSync(join(WORK, 'example'), [TINY, 'Once upon a time'], { encoding: 'utf8' });
  const shell = execFileSync('build/native/nutshell', ['run', TINY, 'Once upon a time', '--max-tokens', '0'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  ensure(out.length > 100, `it printed "${out}"`);
  equal(out, shell, 'the example prints what the shell prints:');
});

// ---- shell ------------------------------------------------------------
const bin = join(WORK, 'bin');
mkdirSync(bin);
symlinkSync(resolve('build/native/nutshell'), join(bin, 'nutshell'));
symlinkSync(resolve('.toolchain/bin/wasmtime'), join(bin, 'wasmtime'));
copyFileSync('dist/nutshell-cli.wasm', join(WORK, 'nutshell-cli.wasm'));
copyFileSync(TINY, join(WORK, 'model.gguf'));
copyFileSync(TINY, join(WORK, 'model-f32.gguf'));
writeFileSync(join(WORK, 'messages.txt'), 'Tell me a story about a cat.\n');
writeFileSync(join(WORK, 'text.txt'), 'Once upon a time, there was a little cat. The cat was happy. '.repeat(40));

const commands = blocks('sh').join('').split('\n').filter((line) => /^(nutshell|wasmtime) /.test(line));
ensure(commands.length >= 7, 'README lost its shell examples');
const outputs = new Map();
for (const command of commands) {
  await check(`README: ${command}`, () => {
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
    const r = spawnSync('bash', ['-c', command], { cwd: WORK, encoding: 'utf8', env });
    equal(r.status, 0, `${r.stderr} status`);
    const quiet = command.startsWith('nutshell quantize');
    ensure(quiet || r.stdout.trim().length > 0, 'it printed nothing');
    outputs.set(command, r.stdout);
  });
}
await check('wasmtime prints what the native binary prints', () => {
  const [native] = commands.filter((c) => c.startsWith('nutshell run'));
  const [wasm] = commands.filter((c) => c.startsWith('wasmtime'));
  equal(outputs.get(wasm), outputs.get(native), 'wasmtime');
});

// ---- pages ------------------------------------------------------------
const TYPES = { js: 'text/javascript', mjs: 'text/javascript', wasm: 'application/wasm' };
const [tagSnippet] = blocks('html'), [moduleSnippet] = blocks('js');
const pages = {
  '/tag': `<!doctype html><meta charset=utf-8>${tagSnippet}`,
  '/module': `<!doctype html><meta charset=utf-8><script type=module>
window.said = []; console.log = (...x) => window.said.push(x);
${moduleSnippet}
window.done = true;</script>`,
};
const server = createServer((request, reply) => {
  const { pathname } = new URL(request.url, 'http://x');
  if (pages[pathname]) return reply.writeHead(200, { 'Content-Type': 'text/html' }).end(pages[pathname]);
  const name = pathname === '/model.gguf' ? TINY : join('dist', pathname.replaceAll('..', ''));
  try {
    const bytes = readFileSync(name);
    reply.writeHead(200, { 'Content-Type': TYPES[name.split('.').pop()] ?? 'application/octet-stream' }).end(bytes);
  } catch {
    reply.writeHead(404).end();
  }
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await startChromium({});

/** Waits until the expression is true in the page. */
async function until(expression) {
  for (let i = 0; i < 300; i++) {
    if (await browser.evaluate(`(${expression})`)) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`never true: ${expression}; the page says: ${JSON.stringify(browser.log)}`);
}

try {
  await check("README's script tag streams text into the page", async () => {
    await browser.goto(`${origin}/tag`);
    await until("document.querySelector('#out').textContent.length > 40");
  });
  await check("README's module answers a chat", async () => {
    await browser.goto(`${origin}/module`);
    await until('window.done === true');
    const said = await browser.evaluate('window.said');
    equal(said.at(-1)[0], 'relaxed', 'kernel');
    ensure(said.at(-1)[1] > 0, 'no tokens per second');
    ensure(said.slice(0, -1).map((x) => x[0]).join('').length > 40, JSON.stringify(said));
  });
} finally {
  await browser.close();
  server.close();
}
finish();
