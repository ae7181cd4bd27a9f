// The chat page's service worker. It stores the page and the library, so that both open without a network.
// Models are in the library's own cache (IndexedDB). Requests for files that are not in FILES go to the
// network.
//
// To use it for another page, list that page's files, and register it with a scope that contains the
// library's folder too: the library's worker is only served from here if its address is in the scope. A scope
// above this file's folder needs the header Service-Worker-Allowed. VERSION must change whenever one of the
// files does; demo/serve.mjs puts a hash of them there.
//
// A version is fetched whole or not at all, while the page uses the last one. It takes over when no open page
// uses the old version, or when the only open page asks for it (see keepPage in main.js); then it deletes the
// old one. Files are stored with their headers, so a page that was cross-origin isolated is so offline too.
'use strict';

const VERSION = ''; // empty: nothing is stored

const LIBRARY = ['nutshell.js', 'nutshell-worker.mjs', 'nutshell-simd128.wasm', 'nutshell-relaxed.wasm',
  'nutshell-simd128-mt.wasm', 'nutshell-relaxed-mt.wasm', 'nutshell-chat.mjs', 'nutshell-chat.wasm'];
const SCRIPTS = ['theme', 'main', 'page', 'settings', 'models', 'messages', 'answer', 'markdown', 'attached', 'chats',
  'conversation', 'store'].map((name) => `${name}.js`);
const PAGE = ['./', 'chat.css', ...SCRIPTS, 'vendor.mjs', 'manifest.webmanifest', 'icon.svg', '../extension/icon128.png'];
const FILES = [...PAGE, ...LIBRARY.map((name) => `../../dist/${name}`)].map((name) => new URL(name, location.href).href);

/** Of the page that compresses, which is stored when it asks for it: few need it. */
const COMPRESS = ['../compress/', '../compress/compress.css', '../compress/compress.js', '../compress/sample.txt',
  ...['compress.mjs', 'compress-worker.mjs', 'compress.wasm', 'cache.mjs'].map((name) => `../../dist/nutshell-${name}`)]
  .map((name) => new URL(name, location.href).href);

const PREFIX = 'nutshell-page-';
const NAME = PREFIX + VERSION;

/** Fetches all files from the server, past the browser's HTTP cache. */
async function keep() {
  const cache = await caches.open(NAME);
  try {
    await cache.addAll(FILES.map((url) => new Request(url, { cache: 'reload' })));
  } catch (error) {
    await caches.delete(NAME);
    throw error;
  }
}

async function deleteOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== NAME).map((name) => caches.delete(name)));
}

async function answer(/** @type {string} */ url, /** @type {Request} */ request) {
  return await (await caches.open(NAME)).match(url) ?? fetch(request);
}

addEventListener('install', (/** @type {any} */ event) => event.waitUntil(VERSION && keep()));

addEventListener('activate', (/** @type {any} */ event) => event.waitUntil(deleteOthers()));

addEventListener('fetch', (/** @type {any} */ event) => {
  const url = event.request.url.replace(/[?#].*/, '').replace(/\/index\.html$/, '/');
  const isKept = VERSION && event.request.method === 'GET' && [...FILES, ...COMPRESS].includes(url);
  if (isKept) event.respondWith(answer(url, event.request));
});

addEventListener('message', (/** @type {any} */ event) => {
  const { clients, skipWaiting } = /** @type {any} */ (globalThis);
  if (event.data === 'keep compress' && VERSION) {
    event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(COMPRESS)).catch(() => {})); // the next visit, then
  }
  if (event.data !== 'take over') return;
  event.waitUntil(clients.matchAll({ includeUncontrolled: true }).then((pages) => pages.length <= 1 && skipWaiting()));
});
