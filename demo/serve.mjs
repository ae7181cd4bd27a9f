// Serves the demo on this machine: the pages of demo/, the library of dist/ and the models. It is a static
// server for pages with WebAssembly threads: it sends the two headers that make a page cross-origin isolated,
// the right MIME types, and ranges of a file (so that an interrupted download can continue).
//
//   node demo/serve.mjs [--port N] [--no-open] [--no-models]
//
// The port is 8470, or a free one near it. Browsers store models per origin, so a constant port finds them
// again. --no-models switches the model routes off, to try a stored model without its server. Tests import
// startServer.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(fileURLToPath(import.meta.url), '../..');
const DEFAULT_PORT = 8470;
const PORTS_TRIED = 20;
const START_PAGE = '/demo/chat/';
const PAGES = [START_PAGE, '/demo/compress/', '/demo/bench/'];
const SERVICE_WORKER = '/demo/chat/sw.js';

/** Only these folders are served, and nothing whose name begins with a dot. */
const FOLDERS = ['demo', 'dist', 'models'];

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.ts': 'text/plain; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.wasm': 'application/wasm',
};

const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-cache', // ask again each time, so that a rebuilt dist/ is used at once
};

/** Descriptions of known models; any other GGUF file in the folders is listed by its name. `examples` are
 * first messages
 *  that show what the model can do. */
const NOTES = {
  'SmolLM2-135M-Instruct-Q4_1.gguf': {
    name: 'SmolLM2 135M Instruct', note: 'Chats in English. 135 million parameters, Apache-2.0.',
    examples: ['What is the capital of France?', 'Why is the sky blue?', 'Explain what a seed is to a child.'],
  },
  'SmolLM2-135M-Instruct-60MB.gguf': {
    name: 'SmolLM2 135M Instruct, 60 MB', note: 'The same model, coded: two thirds of the download.',
    examples: ['What is the capital of France?', 'Why is the sky blue?', 'Explain what a seed is to a child.'],
  },
  'nutshell-tiny-q8_0.gguf': {
    name: 'Nutshell tiny', note: 'A toy that fits anywhere: short stories from a small world.',
    examples: ['Tell me a story about a cat.', 'Tell me a story about a teapot.', 'What does the frog do?'],
  },
};

/** Models in models/ and dist/, the large ones first: { name, note, examples, url, bytes }[]. */
export function listModels(root = ROOT) {
  const found = [];
  for (const folder of ['models', 'dist']) {
    if (!existsSync(join(root, folder))) continue;
    for (const file of readdirSync(join(root, folder)).filter((name) => /^[^.].*\.gguf$/.test(name))) {
      const bytes = statSync(join(root, folder, file)).size;
      const about = { name: file.replace(/\.gguf$/, ''), note: '', ...NOTES[file] };
      found.push({ ...about, url: `/${folder}/${encodeURIComponent(file)}`, bytes });
    }
  }
  return found.sort((a, b) => b.bytes - a.bytes);
}

/** The file of a request's path; null where no file may be served for it. */
function fileOf(root, path) {
  let parts;
  try {
    parts = decodeURIComponent(path).split('/').slice(1);
  } catch {
    return null;
  }
  if (parts.at(-1) === '') parts[parts.length - 1] = 'index.html';
  if (!FOLDERS.includes(parts[0]) || parts.some((part) => part.startsWith('.') || /[\\\0]/.test(part))) return null;
  const file = join(root, ...parts);
  const stats = file.startsWith(root + sep) && existsSync(file) ? statSync(file) : null;
  return stats?.isFile() ? { file, stats } : null;
}

/** First and last byte of a "bytes=a-b" header; null: no usable range, the whole file; false: outside of the
 * file. */
function rangeOf(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null;
  const [first, last] = match[1] === '' ? [Math.max(0, size - Number(match[2])), size - 1]
    : [Number(match[1]), match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)];
  if (match[1] !== '' && match[2] !== '' && Number(match[2]) < first) return null;
  return first > last ? false : [first, last];
}

function sendText(reply, status, text, headers = {}) {
  reply.writeHead(status, { ...HEADERS, 'Content-Type': TYPES['.txt'], 'Content-Length': Buffer.byteLength(text), ...headers });
  reply.end(reply.req.method === 'HEAD' ? undefined : text);
}

function sendFile(request, reply, { file, stats }) {
  const size = stats.size;
  const etag = `"${size.toString(36)}-${Math.floor(stats.mtimeMs).toString(36)}"`;
  const headers = {
    ...HEADERS, ETag: etag, 'Last-Modified': stats.mtime.toUTCString(), 'Accept-Ranges': 'bytes',
    'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
  };
  if (request.headers['if-none-match'] === etag) return void reply.writeHead(304, headers).end();
  const condition = request.headers['if-range'];
  const range = condition && condition !== etag ? null : rangeOf(request.headers.range, size);
  if (range === false) {
    return sendText(reply, 416, 'The range lies outside of the file.\n', { 'Content-Range': `bytes */${size}` });
  }
  const [start, end] = range ?? [0, size - 1];
  reply.writeHead(range ? 206 : 200, {
    ...headers, 'Content-Length': end - start + 1, ...(range ? { 'Content-Range': `bytes ${start}-${end}/${size}` } : {}),
  });
  if (request.method === 'HEAD' || size === 0) return void reply.end();
  const stream = createReadStream(file, { start, end });
  stream.on('error', () => reply.destroy());
  reply.on('close', () => stream.destroy());
  stream.pipe(reply);
}

/** The pages' service worker; its version is a hash of the files that it stores. */
function sendServiceWorker(root, reply, file) {
  const hash = createHash('sha256');
  for (const folder of ['demo/chat', 'demo/compress', 'demo/extension', 'dist']) {
    for (const name of existsSync(join(root, folder)) ? readdirSync(join(root, folder)).sort() : []) {
      if (!/^[^.].*\.(html|css|js|mjs|wasm|webmanifest|svg|png)$/.test(name)) continue;
      hash.update(`${folder}/${name}\n`).update(readFileSync(join(root, folder, name)));
    }
  }
  const text = readFileSync(file, 'utf8').replace("VERSION = ''", `VERSION = '${hash.digest('hex').slice(0, 16)}'`);
  sendText(reply, 200, text, { 'Content-Type': TYPES['.js'], 'Service-Worker-Allowed': '/' });
}

/** Answers one request. Where `server.models` is false, models are refused. */
function answer(server, request, reply) {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return sendText(reply, 405, 'Only GET and HEAD.\n', { Allow: 'GET, HEAD' });
  }
  const path = request.url.split(/[?#]/)[0];
  if (path === '/') return sendText(reply, 302, '', { Location: START_PAGE });
  if (PAGES.includes(`${path}/`)) return sendText(reply, 301, '', { Location: `${path}/` });
  const aboutModels = path === '/models.json' || path.endsWith('.gguf');
  if (aboutModels && !server.models) return sendText(reply, 503, 'The model routes are switched off.\n');
  if (path === '/models.json') {
    return sendText(reply, 200, JSON.stringify(listModels(server.root)), { 'Content-Type': TYPES['.json'] });
  }
  const found = fileOf(server.root, path);
  if (!found) return sendText(reply, 404, `There is no ${path} here.\n`);
  if (path === SERVICE_WORKER) return sendServiceWorker(server.root, reply, found.file);
  sendFile(request, reply, found);
}

function listen(http, port, host) {
  return new Promise((done, fail) => {
    http.once('error', fail);
    http.listen(port, host, () => { http.off('error', fail); done(undefined); });
  });
}

/**
 * Starts a server.
 * @param {{ port?: number, root?: string, models?: boolean }} [options] port: the first to try; 0: any free one
 * @returns {Promise<{ url: string, root: string, models: boolean, close: () => Promise<void> }>} `models` may be
 *   set while the server runs: false switches the model routes off
 */
export async function startServer({ port = DEFAULT_PORT, root = ROOT, models = true } = {}) {
  const server = { url: '', root: resolve(root), models, close: async () => {} };
  const http = createServer((request, reply) => answer(server, request, reply));
  const ports = port === 0 ? [0] : [...Array.from({ length: PORTS_TRIED }, (_, i) => port + i), 0];
  for (const candidate of ports) {
    try {
      await listen(http, candidate, '127.0.0.1');
      break;
    } catch (error) {
      if (!['EADDRINUSE', 'EACCES'].includes(error.code) || candidate === ports.at(-1)) throw error;
    }
  }
  server.url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (http.address()).port}`;
  server.close = () => new Promise((done) => { http.close(() => done()); http.closeAllConnections(); });
  return server;
}

// --- the command line
// -------------------------------------------------------------------------------------------------

/** Opens the address in the desktop's browser, if there is a desktop. */
function openBrowser(url) {
  const opener = process.platform === 'darwin' ? 'open'
    : process.env.DISPLAY || process.env.WAYLAND_DISPLAY ? 'xdg-open' : null;
  if (!opener) return;
  const child = spawn(opener, [url], { detached: true, stdio: 'ignore' });
  child.on('error', () => {}); // no such program; the address is printed anyway
  child.unref();
}

async function main(words) {
  const number = words.includes('--port') ? Number(words[words.indexOf('--port') + 1]) : DEFAULT_PORT;
  const known = words.every((word, i) => ['--port', '--no-open', '--no-models'].includes(word) || words[i - 1] === '--port');
  if (!known || !Number.isInteger(number) || number < 0 || number > 65515) {
    console.error('usage: node demo/serve.mjs [--port N] [--no-open] [--no-models]');
    return 2;
  }
  if (!existsSync(join(ROOT, 'dist/nutshell.js'))) {
    console.error('dist/nutshell.js is missing. `make dist` builds it.');
    return 1;
  }
  const ended = new Promise((done) => ['SIGINT', 'SIGTERM', 'SIGHUP'].forEach((signal) => process.once(signal, done)));
  const server = await startServer({ port: number, models: !words.includes('--no-models') });
  const models = listModels();
  for (const { name, bytes } of models) console.log(`model: ${name} (${(bytes / 1e6).toFixed(1)} MB)`);
  if (models.length === 0) console.log('No model found; the page can load one from an address or a file.');
  console.log(`\nNutshell is at  ${server.url}${START_PAGE}\nCtrl-C ends it.`);
  if (!words.includes('--no-open')) openBrowser(server.url + START_PAGE);
  await ended;
  await server.close();
  return 0;
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
