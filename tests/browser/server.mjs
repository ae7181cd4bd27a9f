// A web server for the browser suites that can misbehave. It serves dist/, pages that load it, and a model under
// /model/<anything>, whose faults are named in the query:
//
//   status=404        that status                      range=off|lie   ignores Range; or answers a range with status 200
//   cut=N             ends the connection after N bytes of the first response; the next ones are whole
//   html              an HTML page instead             truncate=N      the file ends after N bytes
//   flip=N            one bit of byte N is wrong       etag=E, noetag  the version that it claims
//   slow=MS           milliseconds between writes      nolength        no Content-Length
//   redirects         leads to two other addresses by turns, whose ETags differ
//   etags=A,B         claims these versions by turns
//
// /variant/<name>/ is dist/ with a prelude in front of the worker, which breaks the browser around it (see PRELUDES).
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

/** @type {Record<string, string>} */
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };
/** The strictest policy that the library works with; pages and workers report violations. */
const STRICT_CSP = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
  + "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types nutshell nutshell-compress; "
  + 'report-uri /violation';
/** Lets scripts run, and no WebAssembly. */
const NO_WASM_CSP = "script-src 'self'";
const WRITE_BYTES = 256 * 1024;

/** WebKit sends no reports of its own from workers. */
const WATCH = `self.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
  fetch('/violation', { method: 'POST', body: violatedDirective + ' ' + blockedURI });
});`;

/** Broken surroundings for the worker, by name. @type {Record<string, string>} */
const PRELUDES = {
  'no-storage': 'IDBFactory.prototype.open = () => { throw new DOMException("denied", "SecurityError"); };',
  'no-quota': 'IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); };',
  'small-quota': 'Object.defineProperty(navigator, "storage", { value: { estimate: async () => ({ usage: 0, quota: 1000 }) } });',
  'no-blobs': `const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, ...key) {
      if (value.bytes instanceof Blob) throw new DOMException('no Blobs here', 'DataCloneError');
      return put.call(this, value, ...key);
    };`,
  // One reading of a file that is there to be read at once.
  'a-file-fails': `const { readAsArrayBuffer } = FileReaderSync.prototype;
    let reads = 0;
    FileReaderSync.prototype.readAsArrayBuffer = function (blob) {
      if (++reads === 200) throw new DOMException('planted', 'NotReadableError');
      return readAsArrayBuffer.call(this, blob);
    };`,
  crash: 'setTimeout(() => { throw new Error("planted"); }, 1500);',
  'no-threads': 'self.Worker = class { postMessage() {} terminate() {} addEventListener() {} };',
  'thread-crash': 'WebAssembly.Table.prototype.get = () => () => { throw new WebAssembly.RuntimeError("planted"); };',
  // The engine's relaxed dots give the result of another instruction (f32x4.relaxed_madd), which the page's own probe cannot see.
  'wrong-relaxed': `WebAssembly.compileStreaming = async (answer) => {
      const bytes = new Uint8Array(await (await answer).arrayBuffer());
      for (let i = 2; i < bytes.length; i++)
        if (bytes[i - 2] === 0xfd && bytes[i - 1] === 0x93 && bytes[i] === 2) bytes[i - 1] = 0x85;
      return WebAssembly.compile(bytes);
    };`,
  // Waiting for a server ends at once, both after failures and for a silent connection.
  hasty: `const late = setTimeout;
    self.setTimeout = (f, ms, ...rest) => late(f, ms >= 20000 ? 300 : ms <= 3000 ? ms / 30 : ms, ...rest);`,
  collecting: 'setInterval(() => self.gc(), 3);', // where the browser was started with gc()
  'wrong-mime': '',
  'no-wasm': '', // see NO_WASM_CSP
  watched: WATCH,
  breach: `${WATCH} fetch("https://worker.invalid/").catch(() => {});`,
};

/**
 * The disk is full at the n-th write of the worker, or from then on; or the n-th write's transaction is aborted, with the
 * write or after it.
 * @param {string} variant full-once-3, full-at-3, full-abort-3, full-commit-3
 */
function fullDisk(variant) {
  const [, how, n] = /^full-(once|at|abort|commit)-(\d+)$/.exec(variant) ?? [];
  return !n ? null : `let writes = 0;
    const how = '${how}', full = () => new DOMException('full', 'QuotaExceededError');
    for (const name of ['put', 'add']) {
      const write = IDBObjectStore.prototype[name];
      IDBObjectStore.prototype[name] = function (...values) {
        const fails = ++writes === ${n} || (writes > ${n} && how === 'at');
        if (fails && (how === 'once' || how === 'at')) throw full();
        const request = write.apply(this, values), { transaction } = this;
        if (fails) {
          Object.defineProperty(transaction, 'error', { value: full() });
          if (how === 'abort') queueMicrotask(() => transaction.abort());
          else request.addEventListener('success', () => transaction.abort());
        }
        return request;
      };
    }`;
}

/**
 * The disk is full from the n-th write of the worker on, deletes included, and the browser aborts the transaction after its last
 * write without saying why: what WebKit 2.48 does.
 * @param {string} variant silent-3
 */
function silentDisk(variant) {
  const [, n] = /^silent-(\d+)$/.exec(variant) ?? [];
  return !n ? null : `let writes = 0;
    const newest = new WeakMap();
    for (const name of ['put', 'add', 'delete']) {
      const write = IDBObjectStore.prototype[name];
      IDBObjectStore.prototype[name] = function (...values) {
        if (name !== 'delete') writes++;
        const request = write.apply(this, values), { transaction } = this;
        newest.set(transaction, request);
        if (writes >= ${n}) request.addEventListener('success', () => {
          this.count().onsuccess = () => { if (newest.get(transaction) === request) transaction.abort(); };
        });
        return request;
      };
    }`;
}

/** The browser reports so many free bytes. @param {string} variant free-1000 */
function freeSpace(variant) {
  const [, bytes] = /^free-(\d+)$/.exec(variant) ?? [];
  const told = `{ usage: 500, quota: 500 + ${bytes} }`;
  return !bytes ? null : `Object.defineProperty(navigator, 'storage', { value: { estimate: async () => (${told}) } });`;
}

/** @param {string} variant */
const preludeOf = (variant) => PRELUDES[variant] ?? fullDisk(variant) ?? silentDisk(variant) ?? freeSpace(variant);

const PAGES = {
  '/': '<!doctype html><title>Nutshell</title><script src="/dist/nutshell.js"></script><script src="/helpers.js"></script>',
  '/module': `<!doctype html><title>Nutshell</title><script src="/helpers.js"></script><script type=module>
    import * as Nutshell from '/dist/nutshell.mjs'; window.Nutshell = Nutshell;</script>`,
  // Runs the tasks of its driver, whose port is the fragment of the address: see undriven.mjs.
  '/undriven': `<!doctype html><title>Nutshell</title>
    <script src="/dist/nutshell.js"></script><script src="/helpers.js"></script><script type=module>
    const driver = 'http://127.0.0.1:' + location.hash.slice(1);
    const ask = async (told) => (await fetch(driver, { method: 'POST', body: told })).text();
    const run = async (code) => (0, eval)(code);
    const failed = (error) => JSON.stringify({ error: String(error) });
    for (let code = await ask(''); ;) code = await ask(await run(code).catch(failed));</script>`,
  '/blank': '<!doctype html><title>Nutshell</title><script src="/helpers.js"></script>',
};
PAGES['/no-wasm'] = PAGES['/'];

/** Workers that use the library themselves: they run what they are sent, and answer with what comes of it. */
const RUN = `const run = async (code, answer) => {
  try {
    answer({ value: await (0, eval)(code) });
  } catch (error) {
    answer({ name: error.name, code: error.code, message: error.message });
  }
};`;
const WORKERS = {
  '/workers/module.mjs': `import * as Nutshell from '/dist/nutshell.mjs'; self.Nutshell = Nutshell; ${RUN}
    self.onmessage = ({ data }) => run(data, (answer) => self.postMessage(answer));`,
  '/workers/classic.js': `importScripts('/dist/nutshell.js'); ${RUN}
    self.onmessage = ({ data }) => run(data, (answer) => self.postMessage(answer));`,
  '/workers/shared.mjs': `import * as Nutshell from '/dist/nutshell.mjs'; self.Nutshell = Nutshell; ${RUN}
    self.onconnect = ({ ports: [port] }) => {
      port.onmessage = ({ data }) => run(data, (answer) => port.postMessage(answer));
    };`,
};
const HELPERS = readFileSync(new URL('helpers.js', import.meta.url));

/**
 * @typedef {object} Options
 * @property {string} dist
 * @property {Buffer} model     /model/<name>
 * @property {Buffer} [large]    /model/big.gguf, and any other where the query says big
 * @property {Record<string, Buffer>} [files]  others under /model/, by name
 * @property {boolean} [isolated]  send COOP and COEP, so that memory can be shared
 * @property {boolean} [cors]      other origins may read everything
 * @property {boolean} [csp]       the strictest Content-Security-Policy that the library works with
 */

/**
 * @typedef {object} Ask
 * @property {import('node:http').IncomingMessage} request
 * @property {import('node:http').ServerResponse} reply
 * @property {Buffer} body   the file
 * @property {number} start  the part that is asked for
 * @property {number} end
 * @property {(bytes: Buffer, pause?: number) => Promise<void>} send  writes bytes, counted, and waits until they are taken
 */

export class TestServer {
  /** Requests since the last `forget`. @type {{ path: string, method: string, range?: string, sent: number }[]} */
  requests = [];
  /** Switches the model's route off. */
  modelRoute = true;
  /** Violations of the policy, as browsers report them. @type {string[]} */
  violations = [];
  /** Files of dist/ that are answered with 404. @type {string[]} */
  missing = [];
  /** Responses to HEAD wait for this. @type {Promise<unknown>} */
  holdHead = Promise.resolve();
  /** Answers a request for a model's bytes itself, or returns false. @type {((ask: Ask) => boolean) | null} */
  intercept = null;
  /** The largest number of responses with a model's bytes at a time. */
  most = 0;
  #sending = 0;
  #turn = 0; // counts what is done by turns
  #server;
  #options;
  #cuts = new Set();

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#server = createServer((request, reply) => {
      this.#answer(request, reply).catch((error) => reply.destroy(error));
    });
  }

  /** @param {Options} options */
  static async start(options) {
    const server = new TestServer(options);
    await server.listen(0);
    return server;
  }

  /** @param {number} port 0: any */
  async listen(port) {
    await new Promise((resolve) => this.#server.listen(port, '127.0.0.1', () => resolve(undefined)));
    this.port = /** @type {import('node:net').AddressInfo} */ (this.#server.address()).port;
    this.url = `http://127.0.0.1:${this.port}`;
  }

  forget() {
    this.requests = [];
    this.most = 0;
    this.#cuts.clear();
  }

  /** Bytes of the model that were sent. */
  get sent() {
    return this.requests.reduce((sum, { path, sent }) => sum + (path.startsWith('/model/') ? sent : 0), 0);
  }

  async close() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} reply */
  async #answer(request, reply) {
    const url = new URL(request.url ?? '/', this.url);
    const entry = { path: url.pathname, method: request.method ?? '', range: request.headers.range, sent: 0 };
    this.requests.push(entry);
    const { isolated, cors, csp } = this.#options;
    if (isolated) {
      reply.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
      reply.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    }
    if (cors) reply.setHeader('Access-Control-Allow-Origin', '*');
    reply.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    if (csp) reply.setHeader('Content-Security-Policy', STRICT_CSP);
    if (/^\/(variant\/)?no-wasm\b/.test(url.pathname)) reply.setHeader('Content-Security-Policy', NO_WASM_CSP);
    if (url.pathname === '/violation') {
      let report = '';
      for await (const text of request.setEncoding('utf8')) report += text;
      if (!report.includes('/favicon.ico')) this.violations.push(report); // requested by the browser, not by the page
      return reply.writeHead(204).end();
    }
    if (url.pathname.startsWith('/model/')) return this.#sendModel(url, request, reply, entry);
    this.#sendFile(url.pathname, reply);
  }

  /** @param {string} path @param {import('node:http').ServerResponse} reply */
  #sendFile(path, reply) {
    if (path === '/helpers.js') return reply.setHeader('Content-Type', 'text/javascript').end(HELPERS);
    const page = PAGES[/** @type {keyof PAGES} */ (path)];
    if (page) return reply.setHeader('Content-Type', 'text/html').end(page);
    const worker = WORKERS[/** @type {keyof WORKERS} */ (path)];
    if (worker) return reply.setHeader('Content-Type', 'text/javascript').end(worker);
    const [, variant, file] = /^\/variant\/([^/]+)\/(.+)$/.exec(path) ?? [null, null, path.replace(/^\/dist\//, '')];
    try {
      if (this.missing.includes(file)) throw new Error('as the test wants it');
      let body = readFileSync(join(this.#options.dist, normalize(`/${file}`)));
      const prelude = variant && file.endsWith('-worker.mjs') ? preludeOf(variant) : '';
      body = Buffer.concat([Buffer.from(prelude), body]);
      const type = variant === 'wrong-mime' && file.endsWith('.wasm') ? 'text/plain' : TYPES[extname(file)];
      reply.setHeader('Content-Type', type ?? 'application/octet-stream').setHeader('Cache-Control', 'no-cache').end(body);
    } catch {
      reply.writeHead(404, { 'Content-Type': 'text/html' }).end('<h1>Not found</h1>');
    }
  }

  /**
   * @param {URL} url
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} reply
   * @param {{ sent: number }} entry
   */
  async #sendModel(url, request, reply, entry) {
    const fault = url.searchParams;
    if (!this.modelRoute) return reply.writeHead(503).end();
    if (fault.has('status')) return reply.writeHead(Number(fault.get('status'))).end('no');
    if (fault.has('html')) return reply.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><h1>Sign in</h1>');
    if (fault.has('redirects')) {
      const server = this.#turn++ % 2 ? 'b' : 'a';
      const Location = url.pathname.replace('/model/', `/model/${server}/`) + `?etag=${server}&signature=${this.#turn}`;
      return reply.writeHead(302, { Location, 'Cache-Control': 'no-store' }).end();
    }
    const { model, large, files } = this.#options;
    const isLarge = large && (fault.has('big') || url.pathname.endsWith('/big.gguf'));
    const body = spoil(files?.[url.pathname.slice('/model/'.length)] ?? (isLarge ? large : model), fault);
    const tags = fault.get('etags')?.split(',');
    const tag = tags ? tags[this.#turn++ % tags.length] : fault.get('etag') ?? this.etag ?? 'one';
    if (!fault.has('noetag')) reply.setHeader('ETag', `"${tag}"`);
    reply.setHeader('Content-Type', 'application/octet-stream');
    if (this.intercept && request.method === 'GET' && this.#isIntercepted(body, request, reply, entry)) return undefined;
    const part = this.#partOf(body, request, reply, fault);
    if (!part) return reply.writeHead(416, { 'Content-Range': `bytes */${body.length}` }).end();
    if (!fault.has('nolength')) reply.setHeader('Content-Length', part.length);
    if (request.method === 'HEAD') return this.holdHead.then(() => reply.end());
    await this.#sendBody(part, reply, entry, this.#cutAfter(url), Number(fault.get('slow') ?? 0));
  }

  /** The bytes to send, with the headers for them; null: outside of the file. */
  #partOf(body, request, reply, fault) {
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const condition = request.headers['if-range'];
    if (fault.get('range') === 'off' || !range || (condition && condition !== reply.getHeader('ETag'))) return body;
    const start = Number(range[1]), end = Math.min(range[2] ? Number(range[2]) + 1 : Infinity, body.length);
    if (start >= end) return null;
    if (fault.get('range') === 'lie') return body.subarray(start, end);
    reply.statusCode = 206;
    reply.setHeader('Content-Range', `bytes ${start}-${end - 1}/${body.length}`);
    return body.subarray(start, end);
  }

  #isIntercepted(body, request, reply, entry) {
    const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const send = (bytes, pause = 0) => this.#write(bytes, reply, entry, Infinity, pause);
    const end = Math.min(to ? Number(to) + 1 : Infinity, body.length);
    return this.intercept?.({ request, reply, body, start: Number(from), end, send });
  }

  /** After how many bytes to end this response; the connection of a URL is cut once. @param {URL} url */
  #cutAfter(url) {
    if (!url.searchParams.has('cut') || this.#cuts.has(url.href)) return Infinity;
    this.#cuts.add(url.href);
    return Number(url.searchParams.get('cut'));
  }

  async #sendBody(body, reply, entry, cutAfter, pause) {
    await this.#write(body, reply, entry, cutAfter, pause);
    if (!reply.destroyed) reply.end();
  }

  async #write(body, reply, entry, cutAfter, pause) {
    this.most = Math.max(this.most, ++this.#sending);
    await this.#writeAll(body, reply, entry, cutAfter, pause).finally(() => { this.#sending--; });
  }

  async #writeAll(body, reply, entry, cutAfter, pause) {
    for (let at = 0; at < body.length; at += WRITE_BYTES) {
      if (at >= cutAfter) {
        await new Promise((resolve) => setTimeout(resolve, 50)); // send what was written first
        reply.destroy();
      }
      if (reply.destroyed) return;
      const bytes = body.subarray(at, at + WRITE_BYTES);
      entry.sent += bytes.length;
      if (!reply.write(bytes)) await drained(reply);
      if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

/** Resolves when the connection takes more bytes again, or is closed. @param {import('node:http').ServerResponse} reply */
function drained(reply) {
  return new Promise((resolve) => {
    const done = () => {
      reply.off('drain', done);
      reply.off('close', done);
      resolve(undefined);
    };
    reply.on('drain', done);
    reply.on('close', done);
  });
}

/** The file with the faults that the query asks for. @param {Buffer} model @param {URLSearchParams} fault */
function spoil(model, fault) {
  if (fault.has('truncate')) return model.subarray(0, Number(fault.get('truncate')));
  if (!fault.has('flip')) return model;
  const copy = Buffer.from(model);
  copy[Number(fault.get('flip'))] ^= 1;
  return copy;
}
