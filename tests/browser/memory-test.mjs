// Memory of a page while a real model is loaded: at most 1.1 times its weights plus a constant, whether the bytes are fetched and
// stored, only fetched, or read from the cache. Measured in browsers without a driver, as the resident memory of the page's
// process above that with the library prepared. Arguments: browsers; none: all three. NUT_MODEL: another file; NUT_VERBOSE=1
// prints the figures.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, ensure, equal, finish, skip } from './harness.mjs';
import { DIST } from './models.mjs';
import { forgetPeak, memory, renderersOf } from './processes.mjs';
import { TestServer } from './server.mjs';
import { startUndriven } from './undriven.mjs';

const MODEL = process.env.NUT_MODEL ?? join(import.meta.dirname, '../../models/SmolLM2-135M-Instruct-Q4_1.gguf');
const MOST = 1.1; // of the weights

/**
 * The constant in bytes: ranges of the file in flight, engine and vocabulary, and the browser's own (11 MB of program in
 * Chromium). Measured above weights of 97 MB: stored, not stored, from the cache; and stored, above weights of 695 MB:
 *   Chromium 42, 33, 25; 73. Firefox 57, 20, 14; 80. WebKit 67, 47, 28; 100.
 * It would be 98 in Chromium if downloads did not wait for the disk, 128 in Firefox if Blobs were left to the garbage collector,
 * and 148 (above 695 MB: 720) in WebKit if the buffers of its streams were.
 */
const FIXED = { chromium: 50e6, firefox: 65e6, webkit: 75e6 };
const ROUNDS = 3; // of which the median counts

/** Loads the model in a browser of its own. @param {string} url @param {string} profile @param {object} options */
async function load(name, url, profile, options) {
  const browser = await startUndriven(name, url + '/undriven', { profile });
  try {
    await browser.evaluate(async () => {
      await Nutshell.prepare({ threads: 1 });
      await window.wait(500);
    });
    const pids = renderersOf(browser);
    pids.forEach(forgetPeak);
    const before = pids.map((pid) => memory(pid).now);
    const { info } = await browser.evaluate((options) => window.load('model/big.gguf', { threads: 1, ...options }), options);
    return { ...info, peak: Math.max(...pids.map((pid, i) => memory(pid).peak - before[i])) };
  } finally {
    await browser.close();
  }
}

/** @param {number[]} values */
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

async function measure(name, url) {
  const kinds = { stored: [], hit: [], off: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const profile = mkdtempSync(join(tmpdir(), 'nutshell-memory-'));
    for (const [state, options] of Object.entries({ stored: {}, hit: {}, off: { cache: false } })) {
      const result = await load(name, url, profile, options);
      equal(result.cache.state, state);
      kinds[state].push(result);
    }
    rmSync(profile, { recursive: true, force: true });
  }
  return kinds;
}

async function checkMemory(name, url, fileBytes) {
  for (const [state, results] of Object.entries(await measure(name, url))) {
    await check(`${name}: memory while ${fileBytes >> 20} MB are loaded, cache "${state}"`, () => {
      const [{ weightBytes, sessionBytes }] = results, peak = median(results.map((result) => result.peak));
      const held = `${(peak / 1e6).toFixed(0)} MB for weights of ${(weightBytes / 1e6).toFixed(0)}`;
      if (process.env.NUT_VERBOSE) {
        const shares = [peak / weightBytes, peak / (weightBytes + sessionBytes)].map((share) => share.toFixed(2));
        console.log(`   ${name}, ${state}: ${held}, ${shares[0]} of them, ${shares[1]} of weights and session`);
      }
      ensure(peak < MOST * weightBytes + FIXED[name], held);
    });
  }
}

if (!existsSync(MODEL)) {
  skip('memory of a load', `there is no ${MODEL}: wasm/toolchain.sh model fetches it`);
} else {
  const file = readFileSync(MODEL), wanted = process.argv.slice(2);
  const server = await TestServer.start({ dist: DIST, model: file, large: file, isolated: true });
  for (const name of wanted.length ? wanted : Object.keys(FIXED)) await checkMemory(name, server.url, file.length);
  await server.close();
}
finish();
