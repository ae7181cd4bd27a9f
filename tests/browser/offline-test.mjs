// The chat page without a network: its service worker (demo/chat/sw.js) in each browser. The demo's own
// server serves a copy of the demo, which is stopped, changed and broken as the cases need.
//
//   node tests/browser/offline-test.mjs [chromium|firefox|webkit]
import {
  cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '../../demo/serve.mjs';
import { starters } from './drivers.mjs';
import { check, ensure, equal, finish, inBrowser } from './harness.mjs';
import { BrowserStuck } from './watchdog.mjs';

const ROOT = join(import.meta.dirname, '../..');
const TINY = 'nutshell-tiny-q8_0.gguf';
const LIBRARY = ['nutshell-chat.mjs', 'nutshell-chat.wasm', 'nutshell-relaxed-mt.wasm', 'nutshell-relaxed.wasm',
  'nutshell-simd128-mt.wasm', 'nutshell-simd128.wasm', 'nutshell-worker.mjs', 'nutshell.js'];

/** What the service worker keeps: the page's own files, and what it may fetch of the library. */
const SCRIPTS = readdirSync(join(ROOT, 'demo/chat')).filter((name) => /\.m?js$/.test(name) && name !== 'sw.js');
const OWN = ['', 'chat.css', 'icon.svg', 'manifest.webmanifest', ...SCRIPTS].map((name) => `/demo/chat/${name}`);
const KEPT = [...OWN, '/demo/extension/icon128.png', ...LIBRARY.map((name) => `/dist/${name}`)].sort();

const tree = mkdtempSync(join(tmpdir(), 'nutshell-offline-'));
for (const folder of ['demo/chat', 'demo/extension']) cpSync(join(ROOT, folder), join(tree, folder), { recursive: true });
mkdirSync(join(tree, 'dist'));
for (const name of [...LIBRARY, TINY]) cpSync(join(ROOT, 'dist', name), join(tree, 'dist', name));

let server = await startServer({ port: 0, root: tree });
const port = Number(new URL(server.url).port);
const PAGE = `${server.url}/demo/chat/`;
const restart = async () => { server = await startServer({ port, root: tree }); };

/** Another version of the page, which says so. @param {string} name */
function change(name) {
  const file = join(tree, 'demo/chat/index.html');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/<html lang="en"[^>]*>/, `<html lang="en" data-version="${name}">`));
}

/** A file of the library, and where it is while it is missing. */
const FILE = join(tree, 'dist/nutshell-relaxed.wasm'), AWAY = join(tree, 'away');
const restore = () => { if (existsSync(AWAY)) renameSync(AWAY, FILE); };

/** @typedef {import('./drivers.mjs').Browser} Browser */

const look = (/** @type {Browser} */ browser) => browser.evaluate(async () => ({
  version: document.documentElement.dataset.version ?? '', view: document.body.dataset.view, engine: document.body.dataset.engine,
  alert: document.querySelector('#alert p')?.textContent ?? '', isolated: crossOriginIsolated,
  stored: [...document.querySelectorAll('#stored .name')].map((element) => element.textContent),
  answer: document.querySelector('.answer:last-child[aria-busy="false"] .text')?.textContent ?? '',
  caches: (await caches.keys()).filter((name) => name.startsWith('nutshell-page-')),
  controlled: navigator.serviceWorker.controller !== null,
  waiting: Boolean((await navigator.serviceWorker.getRegistration('/'))?.waiting),
  active: Boolean((await navigator.serviceWorker.getRegistration('/'))?.active),
}));

const PATIENCE_MS = 10_000;

/** On a busy machine about one Chromium in three, with its driver attached, lets the old worker run on although
 * it is idle and the version that waits has called skipWaiting(), which waits for the old one's end. That is all
 * that is missing.
 *  @param {Browser} browser */
async function stopIdleWorkers(browser) {
  console.log('again: chromium lets an idle worker run though another version is to take over: it is stopped');
  const devtools = await browser.page.context().newCDPSession(browser.page);
  await devtools.send('ServiceWorker.enable');
  await devtools.send('ServiceWorker.stopAllWorkers');
  await devtools.detach();
}

/** Waits until the page's state fulfils `test`; the state is returned. A page may be on its way to another
 * one meanwhile.
 *  @param {Browser} browser @param {string} what @param {(page: any) => boolean} test */
async function until(browser, what, test, seconds = 60) {
  let page, stopAt = Date.now() + PATIENCE_MS;
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    page = await look(browser).catch((error) => {
      if (browser.silent) throw error;
      return { error: String(error) };
    });
    if (!page.error && test(page)) return page;
    if (page.waiting && browser.name === 'chromium' && Date.now() > stopAt) {
      await stopIdleWorkers(browser);
      stopAt += seconds * 1000; // once
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  if (page.waiting && browser.name === 'chromium') throw new BrowserStuck('chromium does not activate a waiting worker');
  throw new Error(`${what}: not within ${seconds} s; the page is ${JSON.stringify(page)}`);
}

/** Waits until a worker keeps the page. Not by navigator.serviceWorker.ready, which never comes where an
 * installation failed. */
const kept = (/** @type {Browser} */ browser) =>
  until(browser, 'a kept page', (page) => page.active && page.caches.length === 1);

/** @param {Browser} browser @param {string} button of the model to load */
async function chat(browser, button) {
  await browser.click(button);
  await until(browser, 'the chat', ({ view, alert }) => view === 'chat' || alert !== '');
  await browser.fill('#prompt', 'Tell me a story about a cat.');
  await browser.press('Enter');
  return (await until(browser, 'an answer', ({ answer, alert }) => answer !== '' || alert !== '')).answer;
}
const SERVED = '#served button[aria-label="Load Nutshell tiny"]', STORED = '#stored button[aria-label^="Load"]';

/** @param {Browser} browser */
async function keeping(browser) {
  await check(`${browser.name}: the first visit keeps the page and the library whole, and nothing else`, async () => {
    await browser.goto(PAGE);
    await kept(browser);
    const { urls, headers } = await browser.evaluate(async () => {
      const cache = await caches.open((await caches.keys())[0]);
      const urls = (await cache.keys()).map(({ url }) => new URL(url).pathname).sort();
      return { urls, headers: [...(await cache.match('./'))?.headers ?? []] };
    });
    equal(urls, KEPT);
    equal(Object.fromEntries(headers)['cross-origin-embedder-policy'], 'require-corp');
  });
  if (browser.name === 'chromium') {
    await check('chromium: the page can be installed', async () => {
      const devtools = await browser.page.context().newCDPSession(browser.page);
      const { manifest, errors } = await devtools.send('Page.getAppManifest');
      const { installabilityErrors } = await devtools.send('Page.getInstallabilityErrors');
      equal([errors, installabilityErrors, manifest.name, manifest.startUrl], [[], [], 'Nutshell', PAGE]);
    });
  }
}

/** @param {Browser} browser */
async function offline(browser) {
  let written = '';
  await check(`${browser.name}: a visit with a network, to compare with`, async () => {
    await browser.evaluate(() => localStorage.setItem('nutshell-settings', JSON.stringify({ seed: 11, maxTokens: 30 })));
    await browser.goto(PAGE);
    written = await chat(browser, SERVED);
    ensure(written.length > 20, `it wrote "${written}"`);
  });
  await server.close();
  await browser.setOffline?.(true);
  const ready = (/** @type {any} */ page) => page.engine === 'ready' && page.stored.length === 1;
  const without = browser.setOffline ? 'a server and a network' : 'a server';
  await check(`${browser.name}: without ${without} the page opens, isolated, and chats`, async () => {
    await browser.goto(PAGE);
    const page = await until(browser, 'the engine and the stored model', ready);
    equal([page.alert, page.isolated, page.controlled], ['', true, true]);
    equal(await chat(browser, STORED), written);
  });
  await check(`${browser.name}: and again, by the whole name of its file`, async () => {
    await browser.goto(`${PAGE}index.html?again#main`);
    await until(browser, 'the engine and the stored model', ready);
  });
  await browser.setOffline?.(false);
  await restart();
}

/** @param {Browser} browser */
async function apart(browser) {
  await check(`${browser.name}: other origins, models and other files go to the network, and are not kept`, async () => {
    let asked = 0;
    const other = createServer((_, reply) => {
      asked++;
      reply.writeHead(200, { 'Access-Control-Allow-Origin': '*', 'Cross-Origin-Resource-Policy': 'cross-origin' }).end('a');
    });
    await new Promise((done) => other.listen(0, '127.0.0.1', () => done(undefined)));
    const { port } = /** @type {import('node:net').AddressInfo} */ (other.address());
    await browser.goto(PAGE);
    await kept(browser);
    const [counts, types] = await browser.evaluate(async ([there, model]) => {
      for (let i = 0; i < 2; i++) await fetch(`${there}/nutshell.js`);
      const types = [];
      for (const [url, options] of [[model, {}], ['/models.json', {}], ['chat.css', { method: 'HEAD' }]]) {
        types.push((await fetch(url, options)).headers.get('content-type'));
      }
      const counts = [];
      for (const name of await caches.keys()) counts.push((await (await caches.open(name)).keys()).length);
      return [counts, types];
    }, [`http://127.0.0.1:${port}`, `/dist/${TINY}`]);
    equal([asked, counts], [2, [KEPT.length]]);
    equal(types, ['application/octet-stream', 'application/json; charset=utf-8', 'text/css; charset=utf-8']);
    other.close();
  });
}

/** @param {Browser} browser */
async function updating(browser) {
  await check(`${browser.name}: a new version takes over in a page that is not in use yet`, async () => {
    change('second');
    await browser.goto(PAGE);
    const page = await until(browser, 'the new version', ({ version, caches }) => version === 'second' && caches.length === 1);
    equal(page.controlled, true);
  });
  await check(`${browser.name}: where the page is in use, a new version waits for the next visit`, async () => {
    await browser.goto(PAGE);
    await browser.click(SERVED);
    await until(browser, 'the chat', ({ view }) => view === 'chat');
    change('third');
    await browser.evaluate(() => navigator.serviceWorker.getRegistration('/').then((registration) => registration?.update()));
    const page = await until(browser, 'a version that waits', ({ waiting }) => waiting);
    equal([page.version, page.view, page.caches.length], ['second', 'chat', 2]);
    await browser.goto(PAGE);
    await until(browser, 'the new version', ({ version, caches }) => version === 'third' && caches.length === 1);
  });
  await check(`${browser.name}: of a version that cannot be fetched whole nothing is kept`, async () => {
    const [name] = (await look(browser)).caches;
    change('fourth');
    renameSync(FILE, AWAY);
    await browser.goto(PAGE);
    const refused = await browser.evaluate(() => navigator.serviceWorker.getRegistration('/')
      .then((registration) => registration?.update()).then(() => '', (error) => error.name));
    if (!refused) await new Promise((done) => setTimeout(done, 1000)); // Firefox and WebKit do not wait for the installation
    const page = await until(browser, 'the old version', ({ caches }) => caches.length === 1);
    equal([page.version, page.caches, page.waiting], ['third', [name], false]);
    restore();
    await browser.goto(PAGE);
    await until(browser, 'the new version', ({ version, caches }) => version === 'fourth' && caches.length === 1);
  });
}

/** A server that gives files as they lie there, as most do. @param {Browser} browser */
async function plainly(browser) {
  await check(`${browser.name}: without a version nothing is kept`, async () => {
    const types = { html: 'text/html', js: 'text/javascript', mjs: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
    const plain = createServer((request, reply) => {
      const path = (request.url ?? '').split('?')[0].replace(/\/$/, '/index.html');
      try {
        const body = readFileSync(join(tree, path.replaceAll('..', '')));
        reply.writeHead(200, { 'Content-Type': types[path.split('.').pop()] ?? 'application/octet-stream',
          'Service-Worker-Allowed': '/' }).end(body);
      } catch {
        reply.writeHead(404).end();
      }
    });
    await new Promise((done) => plain.listen(0, '127.0.0.1', () => done(undefined)));
    const { port } = /** @type {import('node:net').AddressInfo} */ (plain.address());
    try {
      await browser.goto(`http://127.0.0.1:${port}/demo/chat/`);
      await until(browser, 'a worker', ({ active }) => active);
      await browser.goto(`http://127.0.0.1:${port}/demo/chat/`);
      const page = await until(browser, 'the engine', ({ engine }) => engine === 'ready');
      equal([page.controlled, page.caches], [true, []]);
    } finally {
      plain.close();
      plain.closeAllConnections();
    }
  });
}

/** A whole visit, from the tree and the server as they were in the beginning. @param {Browser} browser */
async function visit(browser) {
  change('first');
  await server.close();
  await restart();
  restore();
  for (const part of [keeping, offline, apart, updating, plainly]) await part(browser);
}

const only = process.argv[2];
for (const [name, start] of Object.entries(starters)) {
  if (!only || only === name) await check(`${name}: offline`, () => inBrowser(start, [visit]));
}
await server.close();
rmSync(tree, { recursive: true });
finish();
