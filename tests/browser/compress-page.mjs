// The page that compresses, used as a user would: choosing, progress, the result with its figures, both models side by side;
// without a violation that axe finds, at a phone's width too.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '../../demo/serve.mjs';
import { check, ensure, equal } from './harness.mjs';

/** @typedef {import('./drivers.mjs').Browser} Browser */

/** A text to calibrate with. @param {number} sentences */
export const textOf = (sentences) => Array.from({ length: sentences },
  (_, i) => `Once upon a time there were ${i + 3} cats, and the cat number ${i} had ${i * i} toys. `).join('');

const SHOTS = join(import.meta.dirname, 'screenshots');
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SERVED = 'Nutshell tiny';
mkdirSync(SHOTS, { recursive: true });

const look = (/** @type {Browser} */ browser) => browser.evaluate(() => {
  const text = (/** @type {string} */ selector) => document.querySelector(selector)?.textContent ?? '';
  const shown = (/** @type {string} */ selector) => (document.querySelector(selector)?.getClientRects().length ?? 0) > 0;
  return {
    ready: document.body.dataset.ready, alert: text('#alert p'), running: shown('#progress'), progress: text('#progress-text'),
    result: shown('#result') ? text('#result-title') : '', report: shown('#report') ? text('#report') : '',
    unfinished: [...document.querySelectorAll('#unfinished .name')].map((name) => name.textContent),
    answers: [...document.querySelectorAll('#answers article')].map((one) =>
      [one.querySelector('.text')?.textContent, one.getAttribute('aria-busy')]),
    chosen: text('#chosen'), focus: document.activeElement?.id, overflow: document.documentElement.scrollWidth - innerWidth,
  };
});

/** @typedef {Awaited<ReturnType<typeof look>>} Page */

/** Waits until the page's state fulfils `test`. @param {Browser} browser @param {(page: Page) => unknown} test
 *  @returns {Promise<Page>} */
async function until(browser, test) {
  for (;;) {
    const page = await look(browser);
    if (test(page)) return page;
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** What axe finds. @param {Browser} browser */
const violations = (browser) => browser.evaluate(`(async () => {
  if (!window.axe) { ${AXE} }
  const { violations } = await axe.run(document, { resultTypes: ['violations'] });
  return violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ target }) => target.join(' ')).join(', '));
})()`);

/** @param {Browser} browser */
export async function usingPage(browser) {
  const text = join(tmpdir(), `nutshell-calibration-${process.pid}.txt`);
  writeFileSync(text, textOf(60));
  const server = await startServer({ port: 0 });
  const clickLabel = (/** @type {string} */ text) => browser.click(`[aria-label^="${text}"]`);
  try {
    await browser.goto(`${server.url}/demo/compress/`);
    await check(`${browser.name}: the page offers the server's models, and a size for the one that is chosen`, async () => {
      await until(browser, ({ ready }) => ready);
      await browser.evaluate((name) => {
        const label = [...document.querySelectorAll('#models label')].find((one) => one.textContent?.startsWith(name));
        /** @type {any} */ (label).querySelector('input').click();
      }, SERVED);
      const page = await until(browser, ({ chosen }) => chosen.startsWith(SERVED));
      equal([page.alert, await browser.evaluate(() => Number(document.querySelector('#size').value))], ['', 0.764]);
    });
    await check(`${browser.name}: nothing that axe finds, at a phone's width too`, async () => {
      equal(await violations(browser), []);
      await browser.setViewport(360, 740);
      equal([await violations(browser), (await look(browser)).overflow <= 0], [[], true]);
      await browser.screenshot(join(SHOTS, `compress-1-choose-${browser.name}.png`));
      await browser.setViewport(1000, 800);
    });
    await check(`${browser.name}: without a model, and with a size that is none, it says what to do`, async () => {
      await browser.fill('#size', '0');
      await browser.press('Enter');
      equal([(await look(browser)).alert, (await look(browser)).focus], ['Write a size in MB, such as 60.', 'size']);
      await browser.fill('#url', 'nowhere');
      await browser.press('Enter');
      ensure((await look(browser)).alert.startsWith('Please write the whole address'), (await look(browser)).alert);
      await browser.evaluate(() => { /** @type {any} */ (document.querySelector('#url')).value = ''; });
    });
    await check(`${browser.name}: progress with the time left; Escape stops it, and it can go on`, async () => {
      await browser.fill('#size', '0.8');
      await browser.click('#fast');
      await browser.attach('#calibration', text);
      await browser.click('#start');
      const page = await until(browser, ({ progress, alert }) => alert || /^(?!Down).* left/.test(progress));
      equal([page.alert, page.focus], ['', 'progress-title']);
      ensure(/^.+ · \d+ % · \d+ (s|min) left/.test(page.progress), page.progress);
      await browser.press('Escape');
      const { unfinished } = await until(browser, (now) => !now.running && now.unfinished.length);
      equal(unfinished, ['nutshell-tiny-q8_0-1MB.gguf']);
      equal(await violations(browser), []);
      await clickLabel('Go on with');
      await until(browser, ({ progress }) => /goes on from the last visit/.test(progress));
    });
    await check(`${browser.name}: the result has its size, and can be kept, saved and measured`, async () => {
      const page = await until(browser, ({ result, alert }) => result || alert);
      equal([page.alert, page.result, page.focus, page.unfinished],
        ['', 'nutshell-tiny-q8_0-1MB.gguf is ready', 'result-title', []]);
      await browser.evaluate(() => {
        const create = URL.createObjectURL;
        URL.createObjectURL = (/** @type {any} */ file) => { window.saved = file.size; return create(file); };
      });
      await browser.click('#save');
      const saved = await browser.evaluate('window.saved');
      ensure(saved > 700_000 && saved <= 800_000, `${saved} bytes`);
      await browser.click('#measure');
      const { report, alert } = await until(browser, (now) => now.report || now.alert);
      equal(alert, '');
      ensure(/^At \d+\.\d % of \d+ places both find the same word likeliest/.test(report), report);
      ensure(await browser.evaluate(() => document.querySelectorAll('#report svg rect').length) === 6, 'no charts');
    });
    await check(`${browser.name}: both models answer, side by side`, async () => {
      await browser.fill('#prompt', 'Tell me a story about a cat.');
      await browser.click('#ask');
      const page = await until(browser, ({ answers, running, alert }) => alert || (answers.length === 2 && !running));
      equal([page.alert, page.answers.map(([, busy]) => busy)], ['', ['false', 'false']]);
      ensure(page.answers.every(([text]) => (text ?? '').length > 30), JSON.stringify(page.answers));
      equal(await violations(browser), []);
      await browser.screenshot(join(SHOTS, `compress-2-result-${browser.name}.png`));
    });
    await check(`${browser.name}: without a network it opens again, and what was made is there`, async () => {
      await browser.evaluate(async () => {
        while (!await caches.match(new URL('../../dist/nutshell-compress.wasm', location.href))) {
          await new Promise((done) => setTimeout(done, 100));
        }
      });
      await server.close();
      await browser.goto(`${server.url}/demo/compress/`);
      await until(browser, ({ ready }) => ready);
      const names = await browser.evaluate(() =>
        [...document.querySelectorAll('#models label')].map((label) => label.textContent));
      ensure(names.some((name) => /^nutshell-tiny-q8_0-1MB\.gguf/.test(name ?? '')), JSON.stringify(names));
    });
  } finally {
    rmSync(text);
    await server.close();
  }
}
