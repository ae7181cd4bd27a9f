// The documentation: what tests/lint/docs.mjs checks, and its examples, run as they stand: the C example at the top of
// src/nutshell.h, and the code blocks of README and docs/security.md, in a shell, with a compiler, a bundler and in a page. Only
// what they leave open is chosen here: the model behind "model.gguf" and "model-f32.gguf", hashes, and the other origin.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { startChromium } from './browser/drivers.mjs';
import { check, ensure, equal, finish } from './browser/harness.mjs';
import { checkDocuments } from './lint/docs.mjs';

const WORK = resolve('build/docs');
const TINY = resolve('dist/nutshell-tiny-q8_0.gguf');
rmSync(WORK, { recursive: true, force: true });
mkdirSync(WORK, { recursive: true });

/** Code blocks of a language. */
const blocks = (language, file = 'README.md') =>
  [...readFileSync(file, 'utf8').matchAll(new RegExp('```' + language + '\n([^]*?)```', 'g'))].map((m) => m[1]);
const SECURITY = 'docs/security.md';

await checkDocuments();

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
  const sources = execFileSync('find', ['src', '-name', '*.c', '!', '-path', '*/cli/*'], { encoding: 'utf8' }).trim().split('\n');
  const objects = sources.map((source) => `build/native/${source.replace(/c$/, 'o')}`); // not those of deleted sources
  const flags = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-Isrc'];
  execFileSync('clang-19', [...flags, join(WORK, 'example.c'), ...objects, '-pthread', '-lm', '-o', join(WORK, 'example')]);
  const out = execFileSync(join(WORK, 'example'), [TINY, 'Once upon a time'], { encoding: 'utf8' });
  const shell = execFileSync('build/native/nutshell', ['run', TINY, 'Once upon a time', '--max-tokens', '0'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  ensure(out.length > 100, `it printed "${out}"`);
  equal(out, shell, 'the example prints what the shell prints:');
});

await check("README's C program builds without any flag and prints what is in a model", () => {
  writeFileSync(join(WORK, 'model_info.c'), blocks('c')[0]);
  symlinkSync(resolve('src'), join(WORK, 'src'));
  const [command] = blocks('sh').filter((block) => block.startsWith('cc '));
  execFileSync('bash', ['-c', command.replace('cc -O2', 'clang-19 -O1')], { cwd: WORK });
  const { architecture, kernel } = JSON.parse(execFileSync(join(WORK, 'model_info'), [TINY], { encoding: 'utf8' }));
  equal([architecture, kernel], ['llama', 'ref']);
  equal(spawnSync(join(WORK, 'model_info'), ['README.md']).status, 1);
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
copyFileSync('tests/golden/families/bert-reranker.gguf', join(WORK, 'reranker.gguf'));
writeFileSync(join(WORK, 'documents.txt'), 'Birds have wings.\nA cat sleeps all day.\n');

const commands = blocks('sh').join('').split('\n').filter((line) => /^(nutshell|wasmtime) /.test(line));
ensure(commands.length >= 7, 'README lost its shell examples');
await check("README's excerpt of an extension's manifest is what the extension has", () => {
  const manifest = JSON.parse(readFileSync('demo/extension/manifest.json', 'utf8')), excerpt = JSON.parse(blocks('json')[0]);
  const policy = (/** @type {any} */ of) => of.content_security_policy.extension_pages.split('; ');
  equal(policy(excerpt).filter((rule) => !policy(manifest).includes(rule)), []);
  for (const key of ['cross_origin_embedder_policy', 'cross_origin_opener_policy']) equal(excerpt[key], manifest[key], key);
});
const outputs = new Map();
for (const command of commands) {
  await check(`README: ${command}`, () => {
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
    const r = spawnSync('bash', ['-c', command], { cwd: WORK, encoding: 'utf8', env });
    equal(r.status, 0, `${r.stderr} status`);
    const quiet = /^nutshell (quantize|compress)/.test(command) || command.includes(' -o ');
    ensure(quiet || r.stdout.trim().length > 0, 'it printed nothing');
    outputs.set(command, r.stdout);
  });
}
await check('wasmtime prints what the native binary prints', () => {
  const [native] = commands.filter((c) => c.startsWith('nutshell run'));
  const [wasm] = commands.filter((c) => c.startsWith('wasmtime'));
  equal(outputs.get(wasm), outputs.get(native), 'wasmtime');
});

await check('security: the list of hashes is compared with the files', () => {
  const [command] = blocks('sh', SECURITY);
  const compare = (cwd) => spawnSync('bash', ['-c', command], { cwd, encoding: 'utf8' });
  equal(compare('dist').status, 0);
  const copy = join(WORK, 'copy');
  cpSync('dist', copy, { recursive: true });
  writeFileSync(join(copy, 'nutshell-worker.mjs'), '// another one');
  const { status, stderr } = compare(copy);
  ensure(status !== 0 && stderr.includes('Error: nutshell-worker.mjs'), stderr);
});

// ---- pages ------------------------------------------------------------
const TYPES = { js: 'text/javascript', mjs: 'text/javascript', wasm: 'application/wasm' };
const [tagSnippet] = blocks('html');
const [moduleSnippet, bundlerSnippet, chatSnippet, offlineSnippet, compressSnippet, dynamicSnippet] = blocks('js');
const [integritySnippet] = blocks('html', SECURITY), [knownSnippet] = blocks('js', SECURITY);
const headerLines = blocks('http', SECURITY)[0].trim().split('\n');
const HEADERS = Object.fromEntries(headerLines.map((line) => line.split(/: (.*)/).slice(0, 2)));
const HASHES = JSON.parse(readFileSync('dist/integrity.json', 'utf8'));
const SHA256 = createHash('sha256').update(readFileSync(TINY)).digest('hex');

const asModule = (snippet, before = '') => `<!doctype html><meta charset=utf-8><script type=module>
window.said = []; console.log = (...x) => window.said.push(x); ${before}
window.onunhandledrejection = (event) => { window.failed = String(event.reason); };
window.onerror = (message) => { window.failed = message; };
${snippet}
window.done = true;</script>`;
/** A page with the tag of docs/security.md. @param {string} hash */
const withHash = (hash) => () => `<!doctype html><meta charset=utf-8>${
  integritySnippet.replace('https://cdn.example', other).replace('sha384-…', hash)}`;
/** The bundler's example, as esbuild makes it with this repository as the package. */
async function bundle() {
  const said = `const said = window.said = []; console.log = (text) => said.push(text);\n`;
  const stdin = { contents: `${said}${bundlerSnippet}\nwindow.done = true;`, resolveDir: resolve('tests') };
  const { outputFiles } = await build({ stdin, bundle: true, format: 'esm', write: false });
  return outputFiles[0].text;
}
const bundled = await bundle();
const pages = {
  '/bundled': () => `<!doctype html><meta charset=utf-8><script type=module>${bundled}</script>`,
  '/chat': () => asModule(chatSnippet),
  '/offline': () => asModule(offlineSnippet),
  '/compress': () => asModule(compressSnippet),
  '/dynamic': () => asModule(dynamicSnippet),
  '/tag': () => `<!doctype html><meta charset=utf-8>${tagSnippet}`,
  '/module': () => asModule(moduleSnippet),
  '/hash': withHash(HASHES['nutshell.js']),
  '/wrong-hash': withHash(HASHES['nutshell.mjs']),
  '/known': () => asModule(knownSnippet, `const SHA256 = '${SHA256}';`),
  '/unknown': () => asModule(knownSnippet, `const SHA256 = '${SHA256.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))}';`),
};
/** What the page that compresses reads. */
const text = 'Once upon a time, there was a little cat. The cat was happy and had a red hat. '.repeat(60);
const strictPage = '<!doctype html><meta charset=utf-8><script src="violations.js"></script><script src="nutshell.js"></script>';
const violations = 'window.violations = []; document.onsecuritypolicyviolation = (e) => violations.push(e.violatedDirective);';

/** Serves the pages, and dist/ at the root and as /nutshell/, as the snippets expect it. @param {object} headers */
async function serve(headers = {}) {
  const server = createServer((request, reply) => {
    const { pathname } = new URL(request.url, 'http://x');
    for (const [name, value] of Object.entries(headers)) reply.setHeader(name, value);
    const page = pathname === '/strict' ? strictPage : pages[pathname]?.();
    if (page) return reply.writeHead(200, { 'Content-Type': 'text/html' }).end(page);
    if (/^\/(mine|other)\.txt$/.test(pathname)) return reply.writeHead(200, { 'Content-Type': 'text/plain' }).end(text);
    if (pathname === '/violations.js') return reply.writeHead(200, { 'Content-Type': TYPES.js }).end(violations);
    const name = pathname === '/model.gguf' ? TINY : join('dist', pathname.replace('/nutshell/', '/').replaceAll('..', ''));
    try {
      const bytes = readFileSync(name);
      reply.writeHead(200, { 'Content-Type': TYPES[name.split('.').pop()] ?? 'application/octet-stream' }).end(bytes);
    } catch {
      reply.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', () => done(undefined)));
  return { server, origin: `http://127.0.0.1:${/** @type {any} */ (server.address()).port}` };
}
const { server, origin } = await serve();
const { server: otherServer, origin: other } = await serve({ 'Access-Control-Allow-Origin': '*' });
const { server: strictServer, origin: strict } = await serve(HEADERS);
const browser = await startChromium({});

/** Waits until the expression is true in the page. */
async function until(expression) {
  for (let i = 0; i < 1200; i++) {
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
  await check("README's chat with tools gives the parts of an answer", async () => {
    await browser.goto(`${origin}/chat`);
    await until('window.done === true');
    const said = await browser.evaluate('window.said'), [dropped, count] = said.pop();
    ensure(said.every(([kind]) => kind === 'content'), JSON.stringify(said));
    ensure(said.map((x) => x[1]).join('').length > 40 && count > 20, JSON.stringify([said, count]));
    equal(dropped, []);
  });
  await check("README's bundled module generates a text", async () => {
    await browser.goto(`${origin}/bundled`);
    await until('window.done === true');
    ensure((await browser.evaluate('window.said'))[0].length > 20, 'it wrote nothing');
  });
  await check("README's offline page stores the model, then has it from the cache", async () => {
    await browser.evaluate(`import('/nutshell.mjs').then(({ cache }) => cache.clear())`);
    for (const state of ['stored', 'hit']) {
      await browser.goto(`${origin}/offline`);
      await until('window.done === true');
      equal(await browser.evaluate('window.said'), [[state, readFileSync(TINY).length]]);
    }
  });
  await check("README's smaller model is made, judged and used", async () => {
    await browser.goto(`${origin}/compress`);
    await until('window.done === true || window.failed');
    equal(await browser.evaluate('window.failed'), undefined);
    const [kl, text] = (await browser.evaluate('window.said')).at(-1);
    ensure(kl > 0 && kl < 0.5 && text.length > 20, `${kl} ${text}`);
  });
  await check("README's cascade answers with the model of the page, and the next time from the cache", async () => {
    const answers = [];
    for (let i = 0; i < 2; i++) {
      await browser.goto(`${origin}/dynamic`);
      await until('window.done === true || window.failed');
      equal(await browser.evaluate('window.failed'), undefined);
      const said = await browser.evaluate('window.said'), [model] = said.pop();
      answers.push([model, said.map(([text]) => text).join('')]);
    }
    ensure(answers[0][1].length > 40, JSON.stringify(answers));
    equal(answers[0][0], 0);
  });
  await check('a page writes what the shell writes for the same seed', async () => {
    const [command] = commands.filter((c) => c.startsWith('nutshell run'));
    await browser.goto(`${origin}/tag`);
    const text = await browser.evaluate(async () => {
      const model = await Nutshell.load('model.gguf');
      return await model.generate('Once upon a time', { maxTokens: 60, seed: 1 }).text();
    });
    equal(text, outputs.get(command).replace(/\n$/, ''));
  });
  await check('security: a script of another origin, with its hash and with a wrong one', async () => {
    await browser.goto(`${origin}/hash`);
    await until("document.querySelector('#out').textContent.length > 20");
    await browser.goto(`${origin}/wrong-hash`);
    equal(await browser.evaluate('typeof Nutshell'), 'undefined');
  });
  await check('security: a model that is known is loaded and kept, another one is not', async () => {
    await browser.evaluate(`import('/nutshell.mjs').then(({ cache }) => cache.clear())`);
    await browser.goto(`${origin}/known`);
    await until('window.done === true');
    const names = () => browser.evaluate(
      `import('/nutshell.mjs').then(({ cache }) => cache.list()).then((list) => list.map(({ name }) => name))`);
    equal(await names(), ['model.gguf']);
    await browser.evaluate(`import('/nutshell.mjs').then(({ cache }) => cache.clear())`);
    await browser.goto(`${origin}/unknown`);
    await until('window.failed');
    ensure(/SHA-256 is/.test(await browser.evaluate('window.failed')), 'it was loaded');
    equal(await names(), []);
  });
  await check('security: the headers are enough, for threads too, and nothing breaks the policy', async () => {
    equal(Object.keys(HEADERS).length, 5);
    await browser.goto(`${strict}/strict`);
    const { threads, text, violated } = await browser.evaluate(async () => {
      const model = await Nutshell.load('model.gguf', { threads: 2 });
      const text = await model.chat([{ role: 'user', content: 'Tell me a story.' }], { maxTokens: 20 }).text();
      return { threads: model.info.threads, text, violated: window.violations };
    });
    equal([threads, violated], [2, []]);
    ensure(text.length > 20, `it wrote "${text}"`);
    equal(await browser.evaluate(async () => { // violations would have been noticed
      document.head.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = true' }));
      await new Promise((done) => setTimeout(done, 200));
      return [window.ran === true, window.violations.length];
    }), [false, 1]);
  });
} finally {
  await browser.close();
  for (const one of [server, otherServer, strictServer]) one.close();
}
finish();
