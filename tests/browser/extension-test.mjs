// The extension: packed as a user packs it, checked for what a store or a strict policy would refuse, run in Chromium with
// the network off, and in Firefox as far as its driver allows.
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pack } from '../../demo/extension/pack.mjs';
import { startChromium, startFirefox } from './drivers.mjs';
import { check, equal, finish } from './harness.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const SHOTS = join(ROOT, 'tests/browser/screenshots');

function matches(text, pattern) {
  if (!pattern.test(text)) throw new Error(`nothing like ${pattern} in ${JSON.stringify(text)}`);
}

const folder = pack(mkdtempSync(join(tmpdir(), 'nutshell-extension-')));
const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
mkdirSync(SHOTS, { recursive: true });

await check('the manifest asks for nothing and names only files that are there', async () => {
  equal([manifest.manifest_version, manifest.permissions, manifest.host_permissions ?? null, manifest.content_scripts ?? null],
    [3, ['sidePanel'], null, null]);
  equal(manifest.content_security_policy.extension_pages, "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'");
  const named = [manifest.background.service_worker, ...manifest.background.scripts, manifest.side_panel.default_path,
    manifest.sidebar_action.default_panel, ...Object.values(manifest.icons)];
  equal(named.filter((name) => !existsSync(join(folder, name))), []);
  equal(manifest.version, JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version);
});

const state = () => ({
  status: document.querySelector('#status').textContent, alert: document.querySelector('#alert').textContent,
  output: document.querySelector('#output').textContent, ready: !(/** @type {any} */ (document.querySelector('#go'))).disabled,
  busy: document.querySelector('#output').getAttribute('aria-busy') === 'true',
});
async function until(browser, what, test, seconds = 60) {
  let seen;
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    seen = await browser.evaluate(state);
    if (test(seen)) return seen;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${what}: not within ${seconds} s; the page is ${JSON.stringify(seen)}`);
}

const browser = await startChromium({ extension: folder });
const requests = [];
browser.page.context().on('request', (request) => requests.push(request.url()));
try {
  await browser.setOffline(true);
  await check('the panel loads the packaged model with the network off', async () => {
    await browser.setViewport(380, 640);
    await browser.goto(`chrome-extension://${browser.extensionId}/panel.html`);
    const page = await until(browser, 'the model', ({ ready, alert }) => ready || alert !== '');
    equal([page.alert, page.ready], ['', true]);
    matches(page.status, /nutshell-tiny-q8_0\.gguf · \d+ threads? · (relaxed|simd128)/);
  });
  await check('the page is cross-origin isolated, so threads can run', async () => {
    equal(await browser.evaluate('[self.crossOriginIsolated, Nutshell.capabilities().threads]'), [true, true]);
  });
  await check('text streams in', async () => {
    await browser.evaluate(() => {
      window.lengths = new Set();
      new MutationObserver(() => window.lengths.add(document.querySelector('#output').textContent.length))
        .observe(document.querySelector('#output'), { childList: true, characterData: true, subtree: true });
    });
    await browser.fill('#prompt', 'Tell me a story about a dog.');
    await browser.press('Enter');
    const page = await until(browser, 'the text', ({ busy, output }) => !busy && output.length > 0);
    matches(page.output, /^[A-Z][^]*dog/);
    matches(page.status, /^\d+ tokens · \d+\.\d tokens\/s$/);
    const steps = await browser.evaluate('window.lengths.size');
    if (steps < 10) throw new Error(`the text came in ${steps} steps`);
    await browser.screenshot(join(SHOTS, 'extension-chromium.png'));
  });
  await check('Stop stops, and the panel can be used on', async () => {
    await browser.evaluate(() => {
      const observer = new MutationObserver(() => {
        if (!document.querySelector('#output').textContent) return;
        observer.disconnect();
        /** @type {HTMLElement} */ (document.querySelector('#stop')).click();
      });
      document.querySelector('#output').replaceChildren();
      observer.observe(document.querySelector('#output'), { childList: true, characterData: true, subtree: true });
      /** @type {any} */ (document.querySelector('#form')).requestSubmit();
    });
    equal((await until(browser, 'the stop', ({ status, busy }) => status === 'Stopped' && !busy)).alert, '');
    await browser.click('#go');
    await until(browser, 'the text', ({ busy, status }) => !busy && /tokens\/s/.test(status));
  });
  await check('a file that is no model is refused in words, and nothing was loaded from outside', async () => {
    await browser.attach('#file', join(folder, 'panel.html'));
    matches((await until(browser, 'the error', ({ alert }) => alert !== '')).alert, /GGUF/);
    const own = `chrome-extension://${browser.extensionId}/`;
    equal(requests.length > 0, true);
    equal(requests.filter((url) => !url.startsWith(own)), []);
    equal(browser.log, []);
  });
  await check('the extension\'s button opens the side panel', async () => {
    const worker = browser.page.context().serviceWorkers()[0] ?? await browser.page.context().waitForEvent('serviceworker');
    equal(await worker.evaluate(() => /** @type {any} */ (globalThis).chrome.sidePanel.getPanelBehavior()),
      { openPanelOnActionClick: true });
    equal((await worker.evaluate(() => /** @type {any} */ (globalThis).chrome.sidePanel.getOptions({}))).path, 'panel.html');
  });
} finally {
  await browser.close();
}

// --- Firefox ----------------------------------------------------------------------------------------------------------

/** What is added to the extension's copy for Firefox, whose driver may not look into extension pages: it opens the panel
 *  as a page, lets it write, and tells the test what it shows. */
const reporting = (address) => ({
  'background.js': 'browser.tabs.create({ url: "panel.html" });',
  'panel.js': `setInterval(() => {
    if (model && !running && !$('output').textContent) run();
    const text = JSON.stringify({ alert: $('alert').textContent, output: $('output').textContent, busy: running !== null });
    fetch('${address}', { method: 'POST', mode: 'no-cors', body: text });
  }, 200);`,
});

await check('Firefox takes the same folder, and text is written', async () => {
  let seen = { alert: '', output: '', busy: true };
  const server = createServer((request, reply) => {
    request.setEncoding('utf8').once('data', (text) => { seen = JSON.parse(text); });
    reply.end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', () => done(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  for (const [name, code] of Object.entries(reporting(`http://127.0.0.1:${port}/`))) appendFileSync(join(folder, name), code);
  const firefox = await startFirefox();
  try {
    await firefox.page.browser().installExtension(folder);
    for (const end = Date.now() + 60000; Date.now() < end && (seen.busy || !seen.output) && !seen.alert;) {
      await new Promise((done) => setTimeout(done, 100));
    }
    equal(seen.alert, '');
    matches(seen.output, /^[A-Z][^]*cat/);
  } finally {
    await firefox.close();
    server.close();
    server.closeAllConnections();
  }
});

rmSync(folder, { recursive: true });
finish();
