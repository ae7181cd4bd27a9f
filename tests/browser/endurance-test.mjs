// Pages that are killed at any moment of a load, a worker that ends during a generation, and long-lived pages: many loads and
// unloads, many generations. In Chromium, whose processes can be told apart. NUT_FULL=1 repeats everything as often as was
// reported; else less often. NUT_VERBOSE=1 prints the memory.
import { starters } from './drivers.mjs';
import { check, ensure, equal, finish } from './harness.mjs';
import { PROMPT, large, model } from './library-setup.mjs';
import { DIST } from './models.mjs';
import { memory, renderers } from './processes.mjs';
import { TestServer } from './server.mjs';

const FULL = Boolean(process.env.NUT_FULL);
const KILLS = FULL ? 50 : 8; // downloads, and as many loads from the cache
const CYCLES = FULL ? 200 : 40, GENERATIONS = FULL ? 2000 : 300;
const POINTS = 10; // of a memory curve
const GROWTH = 6e6; // bytes, from the curve's middle to its end. Measured: 2 MB in 200 cycles, 3 MB in 2000 generations
const DOWNLOAD = 1100, PACKING = 150; // milliseconds that these loads take, or a little more
const LOST = 8 << 20; // bytes in flight when a page is killed: ranges of 1 MiB, and what sockets hold of them

const pause = (/** @type {number} */ ms) => new Promise((done) => setTimeout(done, ms));

/** Random numbers in [0, 1), the same in each run. */
let state = 20261125;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

const server = await TestServer.start({ dist: DIST, model, large, isolated: true });
const browser = await starters.chromium({ args: ['--js-flags=--expose-gc'] });
const context = browser.page.context();

/** A new page. The spare process that Chromium had for it may be one of those that were killed. */
async function openPage() {
  for (let tries = 0; ; tries++) {
    try {
      const page = await context.newPage();
      await page.goto(server.url + '/');
      return page;
    } catch (error) {
      if (tries === 3) throw error;
    }
  }
}

/** Collects garbage in the page and in its worker, which otherwise happens at any time. */
async function collectGarbage(page) {
  for (const place of [page, ...page.workers()]) await place.evaluate(() => /** @type {any} */ (globalThis).gc());
}

/** Loads in a page and generates a few tokens. */
const loadIn = (page, source) => page.evaluate(async ([source, prompt]) => {
  const { info } = await window.load(source, { threads: 1 });
  const { text } = await window.collect(window.model.generate(prompt, { temperature: 0, maxTokens: 8 }));
  return { state: info.cache.state, text };
}, [source, PROMPT]);

/** Kills the processes of all pages at a random moment of a load. @param {string} source @param {number} most milliseconds */
async function killDuring(source, most) {
  const page = await openPage();
  const crashed = new Promise((resolve) => page.once('crash', resolve));
  page.evaluate((source) => { window.load(source, { threads: 1 }).catch(() => {}); }, source).catch(() => {});
  await pause(random() * most);
  for (const pid of await renderers(browser)) process.kill(pid, 'SIGKILL');
  await crashed;
  await page.close();
}

const whole = await openPage();
const { text } = await loadIn(whole, 'model/big.gguf');
await whole.close();

await check(`${KILLS} pages killed while a model is downloaded: the next load goes on, and ends with the same text`, async () => {
  const states = {};
  for (let i = 0; i < KILLS; i++) {
    const source = `model/big.gguf?slow=25&kill=${i}`;
    server.forget();
    await killDuring(source, DOWNLOAD);
    const page = await openPage();
    const next = await loadIn(page, source);
    equal(next.text, text, `text after kill ${i}`);
    states[next.state] = (states[next.state] ?? 0) + 1;
    ensure(server.sent <= large.length + LOST, `${server.sent} bytes were sent for a file of ${large.length}`);
    const [report] = await page.evaluate((source) => Nutshell.cache.verify(source), source);
    equal([report.damaged, report.complete], [[], true], `after kill ${i}`);
    await page.evaluate((source) => Nutshell.cache.delete(source), source);
    await page.close();
  }
  if (process.env.NUT_VERBOSE) console.log(`   the next loads: ${JSON.stringify(states)}`);
});

await check(`${KILLS} pages killed while a stored model is packed: it stays as it was`, async () => {
  for (let i = 0; i < KILLS; i++) {
    await killDuring('model/big.gguf', PACKING);
    const page = await openPage();
    equal(await loadIn(page, 'model/big.gguf'), { state: 'hit', text }, `after kill ${i}`);
    await page.close();
  }
});

await check('garbage that is collected all the time: loads from the cache still end', async () => {
  const page = await openPage();
  const ended = await page.evaluate(async () => {
    for (let i = 0; i < 6; i++) {
      const load = window.load('model/big.gguf', { threads: 1, baseUrl: '/variant/collecting/' });
      const { info } = await Promise.race([load, wait(20000).then(() => ({ info: null }))]);
      if (info?.cache.state !== 'hit') return `load ${i}: ${info ? info.cache.state : 'no end'}`;
    }
    return 'all';
  });
  equal(ended, 'all');
  await page.close();
});

await check('a worker that ends while it writes: the page is told, and loads again', async () => {
  const page = await openPage();
  const result = await page.evaluate(async () => {
    const workers = [];
    const Own = window.Worker;
    window.Worker = class extends Own {
      constructor(...args) { super(...args); workers.push(this); }
    };
    await window.load('model/a.gguf', { threads: 1 });
    const error = await codeOf(async () => {
      for await (const _ of window.model.generate('Once', { maxTokens: 200, temperature: 1 })) {
        // A page cannot see the end of a worker, but it sees an error in it.
        workers.at(-1).dispatchEvent(new ErrorEvent('error', { message: 'gone' }));
      }
    });
    const after = await codeOf(() => window.model.tokenize('x'));
    await window.load('model/a.gguf', { threads: 1 });
    const { text } = await window.collect(window.model.generate('Once', { maxTokens: 5 }));
    return { error, after, text };
  });
  equal([result.error.code, result.after.code], ['engine-crashed', 'engine-crashed']);
  ensure(result.text.length > 0, 'no text after it');
  await page.close();
});

/**
 * Repeats something and compares the memory of the page's process in the middle with that at the end.
 * @param {string} name @param {number} times @param {(page: any, n: number) => Promise<unknown>} work does it n times
 */
async function holdsFlat(name, times, work) {
  await check(`${times} ${name}: memory stays flat`, async () => {
    const page = await openPage();
    await page.evaluate(() => window.load('model/a.gguf', { threads: 1 }));
    const curve = [];
    for (let i = 0; i < POINTS; i++) {
      await work(page, Math.ceil(times / POINTS));
      await collectGarbage(page);
      await pause(200);
      curve.push(Math.max(...(await renderers(browser)).map((pid) => memory(pid).now)));
    }
    if (process.env.NUT_VERBOSE) console.log(`   MB: ${curve.map((bytes) => (bytes / 1e6).toFixed(0)).join(' ')}`);
    const grown = Math.min(...curve.slice(-3)) - Math.min(...curve.slice(3, 7));
    ensure(grown < GROWTH, `${(grown / 1e6).toFixed(1)} MB more at the end than in the middle`);
    await page.close();
  });
}

await holdsFlat('loads and unloads', CYCLES, (page, n) => page.evaluate(async (n) => {
  for (let i = 0; i < n; i++) await window.load('model/a.gguf', { threads: 1 });
}, n));
await holdsFlat('generations', GENERATIONS, (page, n) => page.evaluate(async (n) => {
  for (let i = 0; i < n; i++) await window.model.generate(`Number ${i}`, { maxTokens: 6 }).text();
}, n));

await browser.close();
await server.close();
finish();
