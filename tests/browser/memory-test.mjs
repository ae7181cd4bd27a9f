// What a page holds while a real model is loaded: at most a tenth more than its weights, and what does not grow with a model,
// whether the bytes are fetched and stored, fetched alone, or come from the cache. Measured in Chromium without a driver, as the
// resident memory of the page's process over what it was with the library prepared. NUT_MODEL: another file; NUT_VERBOSE=1 prints
// what was held. Of a model of 695 MB that is 1.07 to 1.10 times the weights in all.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startUndriven } from './drivers.mjs';
import { check, ensure, equal, finish, skip } from './harness.mjs';
import { DIST } from './models.mjs';
import { forgetPeak, memory, renderersOf } from './processes.mjs';
import { TestServer } from './server.mjs';

const MODEL = process.env.NUT_MODEL ?? join(import.meta.dirname, '../../models/SmolLM2-135M-Instruct-Q4_1.gguf');
const MOST = 1.1; // of the weights
const FIXED = 40e6; // bytes: parts on their way, the browser's own program, of which 11 MB are read meanwhile. Measured in all,
// over the weights of 97 MB: 42 stored, 33 not stored, 25 from the cache; 98 where downloads do not wait for the disk
const ROUNDS = 3; // of which the median counts

/** Loads the model in a browser of its own. @param {string} url @param {string} profile @param {object} options */
async function load(url, profile, options) {
  const browser = await startUndriven(url + '/undriven', { profile });
  try {
    await browser.evaluate(async () => {
      await Nutshell.prepare({ threads: 1 });
      await window.wait(500);
    });
    const pids = renderersOf(browser.pid);
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

async function measure(url) {
  const kinds = { stored: [], hit: [], off: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const profile = mkdtempSync(join(tmpdir(), 'nutshell-memory-'));
    for (const [state, options] of Object.entries({ stored: {}, hit: {}, off: { cache: false } })) {
      const result = await load(url, profile, options);
      equal(result.cache.state, state);
      kinds[state].push(result);
    }
    rmSync(profile, { recursive: true, force: true });
  }
  return kinds;
}

if (!existsSync(MODEL)) {
  skip('memory of a load', `there is no ${MODEL}: wasm/toolchain.sh model fetches it`);
} else {
  const file = readFileSync(MODEL);
  const server = await TestServer.start({ dist: DIST, model: file, large: file, isolated: true });
  const kinds = await measure(server.url);
  for (const [state, results] of Object.entries(kinds)) {
    await check(`memory while ${file.length >> 20} MB are loaded, cache "${state}"`, () => {
      const [{ weightBytes, sessionBytes }] = results, peak = median(results.map((result) => result.peak));
      const held = `${(peak / 1e6).toFixed(0)} MB for weights of ${(weightBytes / 1e6).toFixed(0)}`;
      if (process.env.NUT_VERBOSE) {
        const shares = [peak / weightBytes, peak / (weightBytes + sessionBytes)].map((share) => share.toFixed(2));
        console.log(`   ${state}: ${held}, ${shares[0]} of them, ${shares[1]} of weights and session`);
      }
      ensure(peak < MOST * weightBytes + FIXED, held);
    });
  }
  await server.close();
}
finish();
