// Sections of library-test.mjs: memory of a page while a model is loaded, and processor time while the page is idle. These are
// no tests of speed: the limits are far from the measured values and far from those of a defect.
import { check, ensure, equal, skip } from './harness.mjs';
import { PROMPT, model, run } from './library-setup.mjs';
import { DIST, padded } from './models.mjs';
import { cpuSeconds, forgetPeak, memory, renderers } from './processes.mjs';
import { TestServer } from './server.mjs';

/** @typedef {import('./library-setup.mjs').Browser} Browser */
/** @typedef {import('./library-setup.mjs').Servers} Servers */

const SHARE = 0.5; // of the file that may be in memory while it is read. Measured: 0.1 to 0.2; with the browser's buffers 1.2
const IDLE_SECONDS = 2;
const BUSY = 0.2; // of a processor. Measured: 0.00 to 0.02; a spinning thread takes 1.00
const AHEAD = 64; // tokens that may be sampled ahead of the loop that takes them

const pause = (/** @type {number} */ seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** A small model in a large file, so that memory of reading is not hidden by the weights. @param {Browser} browser */
export async function checkMemory(browser) {
  const file = padded(model, 1 << 20);
  const server = await TestServer.start({ dist: DIST, model, large: file, isolated: true });
  const open = async () => {
    await browser.goto(server.url + '/');
    await browser.evaluate(() => Nutshell.prepare({ threads: 1 }));
    await pause(0.5);
  };
  await open();
  await run(browser, 'model/big.gguf', { threads: 1 });
  for (const source of ['the cache', 'a file']) {
    await check(`${browser.name}: memory while ${file.length >> 20} MB are read from ${source}`, async () => {
      await open();
      await browser.evaluate(async (source) => {
        const get = async () => new File([await (await fetch('model/big.gguf')).blob()], 'big.gguf');
        window.source = source === 'a file' ? await get() : 'model/big.gguf';
      }, source);
      const pids = await renderers(browser);
      if (!pids.length) return skip(`${browser.name}: memory`, 'its driver does not tell which process runs the page');
      pids.forEach(forgetPeak);
      const before = pids.map((pid) => memory(pid).now);
      const { info } = await browser.evaluate(() => window.load(window.source, { threads: 1 }));
      const most = Math.max(...pids.map((pid, i) => memory(pid).peak - before[i]));
      equal([info.cache.state, info.fileBytes], [source === 'a file' ? 'off' : 'hit', file.length]);
      const held = most - info.weightBytes - info.sessionBytes;
      ensure(held < SHARE * file.length, `${(held / 1e6).toFixed(1)} MB more than weights and session`);
      if (process.env.NUT_VERBOSE) console.log(`   ${(held / 1e6).toFixed(1)} MB of ${(file.length / 1e6).toFixed(1)}`);
    });
  }
  await server.close();
}

/** Share of a processor that the page's process uses while the page is idle. @param {Browser} browser */
async function idleShare(browser) {
  const pids = await renderers(browser);
  const before = cpuSeconds(pids);
  await pause(IDLE_SECONDS);
  const share = (cpuSeconds(pids) - before) / IDLE_SECONDS;
  if (process.env.NUT_VERBOSE) console.log(`   ${share.toFixed(3)} of a processor`);
  return share;
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkIdle(browser, { main }) {
  await browser.goto(main.url + '/');
  const options = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: 3, maxTokens: 400 };
  const { text, info } = await run(browser, 'model/a.gguf', { threads: 2 }, options);
  const told = (await renderers(browser)).length > 0;
  if (!told) skip(`${browser.name}: work of an idle page`, 'its driver does not tell which process runs the page');
  else {
    await check(`${browser.name}: an idle page does not work, with ${info.threads} threads`, async () => {
      const share = await idleShare(browser);
      ensure(share < BUSY, `it takes ${share.toFixed(2)} of a processor`);
    });
  }
  await check(`${browser.name}: a loop that pauses pauses the engine`, async () => {
    await browser.evaluate(async ([prompt, options]) => {
      window.generation = model.generate(prompt, options);
      window.first = (await window.generation.next()).value;
      await wait(500);
    }, [PROMPT, options]);
    if (told) {
      const share = await idleShare(browser);
      ensure(share < BUSY, `it takes ${share.toFixed(2)} of a processor`);
    }
    const { tokens, rest, reason } = await browser.evaluate(async () => {
      const { tokens } = window.generation.stats;
      return { tokens, rest: await window.generation.text(), reason: window.generation.stats.finishReason };
    });
    ensure(tokens <= AHEAD, `${tokens} tokens were drawn`);
    equal((await browser.evaluate(() => window.first)) + rest, text);
    ensure(reason === 'length' || reason === 'eos', `it ended with ${reason}`);
  });
  await check(`${browser.name}: a paused loop that is left`, async () => {
    const { reason, next } = await browser.evaluate(async ([prompt, options]) => {
      const generation = model.generate(prompt, options);
      await generation.next();
      await wait(300);
      await generation.return();
      return { reason: generation.stats.finishReason, next: (await collect(model.generate(prompt, options))).text };
    }, [PROMPT, options]);
    equal([reason, next], ['aborted', text]);
  });
}
