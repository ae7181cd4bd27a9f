// A part of unit-test.mjs: files on servers that are not always the same, sources that cannot be read, and the library in
// Node.js.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { hasChanged } from '../../web/worker/http.js';
import { Changed, UrlSource } from '../../web/worker/source.js';
import { compareVersions, modifiedAt } from '../../web/worker/version.js';
import { check, ensure, equal, failure } from './harness.mjs';
import { DIST } from './models.mjs';

// ---- versions of files on servers --------------------------------------------------------------------------------------

await check('versions: what tells that two answers are of the same file', () => {
  const known = { size: 9, etag: '"a"', modified: 'Mon', from: 'https://a/f' };
  const cases = [
    [{}, 'same'], [{ size: 8 }, 'other'], [{ size: 0 }, 'same'],
    [{ etag: '"b"' }, 'other'], // the same server, which says that the file is another one
    [{ etag: null }, 'same'], [{ etag: null, modified: 'Tue' }, 'other'],
    [{ from: 'https://b/f' }, 'same'], [{ from: 'https://b/f', size: 8 }, 'other'],
    [{ from: 'https://b/f', etag: '"b"' }, 'same'], // two servers: their ETags say nothing, the date does
    [{ from: 'https://b/f', etag: '"b"', modified: 'Tue' }, 'other'],
    [{ from: 'https://b/f', etag: '"b"', modified: null }, 'unknown'],
    [{ from: 'https://b/f', etag: null, modified: null }, 'same'],
  ];
  for (const [answer, expected] of cases) {
    equal(compareVersions(known, { ...known, ...answer }), expected, JSON.stringify(answer));
  }
  // Of a model that an earlier release stored, only size and ETag are known.
  equal([compareVersions({ size: 9, etag: '"a"' }, { ...known, etag: '"b"' }), compareVersions({ size: 9, etag: '"a"' }, known)],
    ['other', 'same']);
  const now = Date.now(), header = (/** @type {number} */ age) => new Date(now - age).toUTCString();
  equal([modifiedAt(header(3600_000)), modifiedAt(header(5000)), modifiedAt(null), modifiedAt('x')],
    [header(3600_000), null, null, null]);
});

const FILE = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

/**
 * Runs work with servers in place of the network.
 * @param {(url: string, request: { method: string, headers: Record<string, string> }, number: number) => object} answer
 *   what comes of a request: status, url (after redirects), headers, bytes
 * @param {() => unknown} work
 */
async function withServers(answer, work) {
  const usual = globalThis.fetch;
  let number = 0;
  globalThis.self = { location: { origin: 'https://page.invalid' } };
  globalThis.fetch = async (url, { method = 'GET', headers = {} } = {}) => {
    const { status = 200, url: last = url, headers: sent = {}, bytes = FILE } = answer(url, { method, headers }, number++);
    const range = /^bytes=(\d+)-(\d*)$/.exec(headers.Range ?? '');
    const isRange = status === 200 && range && method === 'GET';
    const [start, end] = isRange ? [Number(range[1]), range[2] ? Number(range[2]) + 1 : bytes.length] : [0, bytes.length];
    const rangeHeader = isRange && { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` };
    const all = { 'Content-Length': String(end - start), ...rangeHeader, ...sent };
    return { ok: status < 300, status: isRange ? 206 : status, url: last, redirected: last !== url, headers: new Headers(all),
      body: new Blob([bytes.subarray(start, end)]).stream() };
  };
  try {
    return await work();
  } finally {
    globalThis.fetch = usual;
    delete globalThis.self;
  }
}

/** The bytes from start to end. @param {UrlSource} source */
async function bytesFrom(source, start, end) {
  const body = await source.open(start, end), all = [];
  for (let bytes; (bytes = await body.read());) all.push(...bytes);
  equal(body.offset, start);
  equal(all, [...FILE.subarray(start, end)]);
}

const MODEL = 'https://a.invalid/m.gguf';
const newSource = (how = {}) => new UrlSource(MODEL, how, new AbortController().signal);
/** Leads each request to another server, whose ETag is another. @param {object} [headers] of both */
const byTurns = (headers = {}) => (url, _, number) => {
  const server = url === MODEL ? 'bc'[number % 2] : new URL(url).host[0];
  return { url: url === MODEL ? `https://${server}.invalid/f?s=${number}` : url, headers: { ETag: `"${server}"`, ...headers } };
};

await check('an address that leads to two servers by turns is asked once, the server that it led to from then on', async () => {
  const asked = [];
  const turns = byTurns();
  await withServers((url, request, number) => {
    asked.push(url);
    return turns(url, request, number);
  }, async () => {
    const source = newSource();
    for (let i = 0; i < 3; i++) await bytesFrom(source, 100 * i, 100 * i + 100);
    equal(source.version, { etag: '"b"', modified: null, from: 'https://b.invalid/f' });
  });
  equal(asked, [MODEL, 'https://b.invalid/f?s=0', 'https://b.invalid/f?s=0']);
});

const OLD = new Date(0).toUTCString();
for (const [name, headers, goesOn] of [['without dates it begins again', {}, false],
  ['with the same date it goes on', { 'Last-Modified': OLD }, true]]) {
  await check(`the server that an address led to fails: ${name}`, async () => {
    let gone = false;
    const answer = (url) => {
      const server = url === MODEL ? (gone ? 'c' : 'b') : new URL(url).host[0];
      if (server === 'b' && gone) return { status: 403 };
      return { url: `https://${server}.invalid/f`, headers: { ETag: `"${server}"`, ...headers } };
    };
    await withServers(answer, async () => {
      const source = newSource();
      await bytesFrom(source, 0, 100);
      gone = true;
      const next = () => bytesFrom(source, 100, 200);
      if (goesOn) await next();
      else equal(await failure(next) instanceof Changed, true);
    });
  });
}

await check('a server that an address led to, and that fails midway, is left once for the address', async () => {
  await withServers(byTurns(), async () => {
    const source = newSource();
    await bytesFrom(source, 0, 100);
    equal([source.place, source.leave(0), source.place, source.leave(0), source.leave(1)], [0, true, 1, true, false]);
  });
});

await check('logins are not sent to another origin that an address leads to', async () => {
  const sent = [];
  const turns = byTurns();
  await withServers((url, request, number) => {
    sent.push(`${new URL(url).host} ${request.headers.authorization ?? '-'} ${request.headers['x-mine']}`);
    return turns(url, request, number);
  }, async () => {
    const source = newSource({ headers: { authorization: 's3cret', 'x-mine': '1' } });
    for (let i = 0; i < 2; i++) await bytesFrom(source, 100 * i, 100 * i + 100);
  });
  equal(sent, ['a.invalid s3cret 1', 'b.invalid - 1']);
});

await check('a source that takes the whole file asks without a range', async () => {
  const ranges = [];
  await withServers((url, { headers }) => {
    ranges.push(headers.Range ?? 'whole');
    return { headers: { ETag: `"${ranges.length}"` } };
  }, async () => {
    const source = newSource();
    await bytesFrom(source, 0, 100);
    equal(await failure(() => source.open(100, 200)) instanceof Changed, true, 'another ETag');
    source.takeWhole();
    source.expect(null);
    await bytesFrom(source, 0, Infinity);
    equal(source.ranges, false);
  });
  equal(ranges, ['bytes=0-99', 'bytes=100-199', 'whole']);
});

await check('stored models: a server that names the file otherwise is asked for some bytes', async () => {
  const stored = { url: MODEL, size: 1000, etag: '"b"', modified: null, from: 'https://b.invalid/f' };
  const sample = async () => ({ start: 500, bytes: FILE.slice(500, 600) });
  const other = Uint8Array.from(FILE, (byte, i) => (i === 555 ? byte + 1 : byte));
  const there = { url: 'https://c.invalid/f', headers: { ETag: '"c"' } };
  const cases = [
    ['the same bytes', there, false], ['other bytes', { ...there, bytes: other }, true],
    ['another size', { ...there, bytes: FILE.slice(1) }, true],
    ['the same server, another ETag', { url: 'https://b.invalid/f', headers: { ETag: '"c"' } }, true],
    ['the same ETag', { ...there, headers: { ETag: '"b"' } }, false], ['no answer', { status: 404 }, false],
  ];
  for (const [name, answer, expected] of cases) {
    const asked = [];
    const changed = await withServers((url, { method }) => {
      asked.push(`${method} ${url}`);
      return answer;
    }, () => hasChanged(stored, {}, sample, new AbortController().signal));
    equal(changed, expected, name);
    if (name === 'the same bytes') equal(asked, [`HEAD ${MODEL}`, 'GET https://c.invalid/f']);
  }
});

// ---- Node.js -----------------------------------------------------------------------------------------------------------

await check('in Node.js the library tells what it can do, and that no engine can run there', async () => {
  const script = `
    for (const name of ['navigator', 'Worker']) Object.defineProperty(globalThis, name, { value: undefined });
    const { capabilities, load, prepare, cache } = await import(${JSON.stringify(join(DIST, 'nutshell.mjs'))});
    const code = (promise) => promise.then(() => 'none', (error) => error.name + ' ' + error.code);
    const calls = [load('https://a.invalid/m.gguf'), load(new Uint8Array(9)), prepare(), cache.list(), cache.delete('a'),
      cache.import(new Blob()), load('relative.gguf')];
    console.log(JSON.stringify([capabilities(), await Promise.all(calls.map(code))]));`;
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  const [{ simd, relaxedSimd, threads, defaultThreads }, codes] = JSON.parse(out);
  equal([simd, typeof relaxedSimd, threads, defaultThreads], [true, 'boolean', false, 1]);
  equal(codes, [...Array(6).fill('NutshellError no-worker'), 'NutshellError bad-argument']);
});

await check('sources that cannot be read any more are refused by name', async () => {
  const { load } = await import(join(DIST, 'nutshell.mjs'));
  const bytes = new ArrayBuffer(8);
  structuredClone(bytes, { transfer: [bytes] });
  const stream = new Blob(['x']).stream();
  stream.getReader();
  const handle = { kind: 'file', name: 'f', getFile() { throw new TypeError('no'); } };
  for (const [source, code, words] of [[bytes, 'bad-argument', /transferred/], [stream, 'bad-argument', /locked/],
    [handle, 'io', /f cannot be read/]]) {
    const error = await failure(() => load(source));
    equal([error.name, error.code], ['NutshellError', code], error.message);
    ensure(words.test(error.message), error.message);
  }
  const error = await failure(() => load('https://a.invalid/m.gguf', { baseUrl: 'mailto:a@b' }));
  equal([error.name, error.code], ['NutshellError', 'bad-argument'], error.message);
});
