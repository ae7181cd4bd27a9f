// tests/unit/test_conformance.c in browsers: every model of the conformance set, in floats, on the kernels of the browser
// and as Q8_0. The program is that of the WASI build, which runs in a worker of a page (wasi.mjs).
//
//   node tests/browser/conformance-test.mjs [chromium|firefox|webkit]     none: chromium
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { starters } from './drivers.mjs';
import { check, ensure, finish, inBrowser, skip } from './harness.mjs';
import { DATA } from './models.mjs';
import { TestServer } from './server.mjs';

const PROGRAM = 'build/wasi/test_conformance.wasm';
const LIMIT = 300_000; // milliseconds; it takes about 10,000 where nothing else runs

/** All files of the folders, one after the other, and where each one is, by the path that the program opens. */
function gather() {
  /** @type {Record<string, [number, number]>} */
  const places = {};
  const parts = [];
  let at = 0;
  const add = (folder, as, name) => {
    const bytes = readFileSync(`${folder}/${name}`);
    places[`${as}/${name}`] = [at, bytes.length];
    parts.push(bytes);
    at += bytes.length;
  };
  add('tests/golden', 'tests/golden', 'q8_0.json');
  const set = `${DATA}/conformance`;
  for (const own of ['tests/golden/conformance', 'tests/golden/families'])
    for (const name of readdirSync(own)) add(own, own, name);
  for (const name of existsSync(set) ? readdirSync(set) : []) add(set, '../shared/data/conformance', name);
  return { places, bytes: Buffer.concat(parts), whole: existsSync(set) };
}

const { places, bytes, whole } = gather();
const server = await TestServer.start({ dist: '.', model: bytes, isolated: true });
const what = { program: `/${PROGRAM}`, args: ['test_conformance'], files: '/model/set', places };

/** Starts the program in a worker; window.ended is what came of it. @param {import('./drivers.mjs').Browser} browser */
const start = (browser) => browser.evaluate((what) => {
  const page = /** @type {any} */ (window), worker = new Worker('/tests/browser/wasi.mjs', { type: 'module' });
  page.ended = null;
  worker.onmessage = ({ data }) => { page.ended = data; };
  worker.onerror = (event) => { page.ended = { status: -1, output: event.message }; };
  worker.postMessage(what);
}, what);

/** @param {import('./drivers.mjs').Browser} browser */
async function ended(browser) {
  for (const end = Date.now() + LIMIT; Date.now() < end;) {
    const result = await browser.evaluate(() => /** @type {any} */ (window).ended);
    if (result) return result;
    await new Promise((done) => setTimeout(done, 250));
  }
  throw new Error('it did not end');
}

const wanted = process.argv.slice(2);
for (const [name, starter] of Object.entries(starters)) {
  if (!(wanted.length ? wanted : ['chromium']).includes(name)) continue;
  await inBrowser(starter, [(browser) => check(`${name}: the conformance set`, async () => {
    await browser.goto(`${server.url}/blank`);
    await start(browser);
    const { status, output } = await ended(browser);
    ensure(status === 0 && /^\d{4,} passed, 0 failed/m.test(output), `status ${status}: ${output.slice(-2000)}`);
  })]);
}
if (!whole) skip('the whole conformance set', `${DATA}/conformance is missing`);
await server.close();
finish();
