// The extension: packed as a user packs it, checked for what a store or a strict policy would refuse, and run in Chromium and
// unpatched Firefox with the network off.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pack } from '../../demo/extension/pack.mjs';
import { startChromium, startFirefox } from './drivers.mjs';
import { check, equal, finish, inBrowser } from './harness.mjs';

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
  const policy = manifest.content_security_policy.extension_pages.split('; ');
  equal(policy.slice(0, 4),
    ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'", "connect-src 'self'"]);
  equal(policy.filter((/** @type {string} */ rule) => /\*|http|unsafe-inline|'unsafe-eval'/.test(rule)), []);
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

/** @param {import('./drivers.mjs').Browser} browser @param {string} origin of the extension */
async function inPanel(browser, origin) {
  const { name } = browser;
  await browser.setOffline?.(true);
  await check(`${name}: the panel loads the packaged model with the network off`, async () => {
    await browser.setViewport(380, 640);
    await browser.goto(`${origin}panel.html`);
    const page = await until(browser, 'the model', ({ ready, alert }) => ready || alert !== '');
    equal([page.alert, page.ready], ['', true]);
    matches(page.status, /nutshell-tiny-q8_0\.gguf · \d+ threads? · (relaxed|simd128)/);
  });
  await check(`${name}: text streams in`, async () => {
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
    await browser.screenshot(join(SHOTS, `extension-${name}.png`));
  });
  await check(`${name}: Stop stops, and the panel can be used on`, async () => {
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
  await check(`${name}: a file that is no model is refused in words`, async () => {
    await browser.attach('#file', join(folder, 'panel.html'));
    matches((await until(browser, 'the error', ({ alert }) => alert !== '')).alert, /GGUF/);
  });
  await browser.setOffline?.(false);
  await check(`${name}: the policy lets nothing out, also with a network`, async () => {
    let asked = 0;
    const server = createServer((_, reply) => {
      asked++;
      reply.writeHead(200, { 'Access-Control-Allow-Origin': '*', 'Content-Type': 'image/svg+xml' }).end('<svg/>');
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', () => done(undefined)));
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    const broken = await browser.evaluate(async (address) => {
      const broken = [];
      document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => broken.push(effectiveDirective));
      await fetch(address).catch(() => {});
      await new Promise((done) => Object.assign(new Image(), { onload: done, onerror: done, src: `${address}a.svg` }));
      return broken.sort();
    }, `http://127.0.0.1:${port}/`);
    equal([broken, asked], [['connect-src', 'img-src'], 0]);
    server.close();
  });
}

// --- Chromium ---------------------------------------------------------------------------------------------------------

const browser = await startChromium({ extension: folder });
const own = `chrome-extension://${browser.extensionId}/`;
const requests = [];
browser.page.context().on('request', (request) => requests.push(request.url()));
try {
  await inPanel(browser, own);
  await check('chromium: the page is cross-origin isolated, so threads can run', async () => {
    equal(await browser.evaluate('[self.crossOriginIsolated, Nutshell.capabilities().threads]'), [true, true]);
  });
  await check('chromium: nothing was loaded from outside', async () => {
    equal(requests.length > 0, true);
    equal(requests.filter((url) => !url.startsWith(own) && !url.startsWith('http://127.0.0.1')), []);
    equal(browser.log.filter((line) => !/Content Security Policy/.test(line)), []);
  });
  await check('chromium: the extension\'s button opens the side panel', async () => {
    const worker = browser.page.context().serviceWorkers()[0] ?? await browser.page.context().waitForEvent('serviceworker');
    equal(await worker.evaluate(() => /** @type {any} */ (globalThis).chrome.sidePanel.getPanelBehavior()),
      { openPanelOnActionClick: true });
    equal((await worker.evaluate(() => /** @type {any} */ (globalThis).chrome.sidePanel.getOptions({}))).path, 'panel.html');
  });
} finally {
  await browser.close();
}

// --- Firefox ----------------------------------------------------------------------------------------------------------

/** Presses the extension's button by its keyboard shortcut; returns which panel the sidebar then shows. */
async function pressInWindow(id) {
  const { ExtensionParent, WebExtensionPolicy, SidebarController, ChromeUtils } = /** @type {any} */ (globalThis);
  const parent = ExtensionParent ?? ChromeUtils.importESModule('resource://gre/modules/ExtensionParent.sys.mjs').ExtensionParent;
  parent.apiManager.global.browserActionFor(WebExtensionPolicy.getByID(id).extension).triggerAction(globalThis);
  for (const end = Date.now() + 20000; Date.now() < end;) {
    const panel = document.querySelector('#sidebar')?.contentDocument?.querySelector('#webext-panels-browser');
    if (SidebarController.isOpen && /^moz-/.test(panel?.currentURI?.spec)) return panel.currentURI.spec;
    await new Promise((done) => setTimeout(done, 50));
  }
  return 'no panel';
}

await inBrowser(() => startFirefox({ extension: folder }), [async (firefox) => {
  const origin = `moz-extension://${firefox.extensionId}/`;
  await inPanel(firefox, origin);
  await check('firefox: the extension\'s button opens the sidebar', async () => {
    equal(await firefox.evaluateInChrome?.(pressInWindow, manifest.browser_specific_settings.gecko.id), `${origin}panel.html`);
  });
}]);

rmSync(folder, { recursive: true });
finish();
