// The chat page's service worker: keeps the page and the library, so that both open without a network. It owns nothing else:
// models are in the library's own cache (IndexedDB), and whatever is not in FILES goes to the network as if it were not here.
//
// To use it for another page: list that page's files, and register it with a scope that holds the library's folder too, since a
// worker is only kept where its own address lies in the scope. A scope above this file's folder needs the header
// Service-Worker-Allowed. VERSION must change whenever one of the files does; demo/serve.mjs puts a hash of them there.
//
// A version is fetched whole, or not at all, while the page goes on with the one before; it takes over when no page is open
// that the old one serves, or when the only one asks for it (see keepPage in chat.js), and deletes the old one then. Files are
// kept with the headers that they came with, so a page that was cross-origin isolated is that offline too.
'use strict';

const VERSION = ''; // empty: nothing is kept

const LIBRARY = ['nutshell.js', 'nutshell-worker.mjs', 'nutshell-template.mjs', 'nutshell-simd128.wasm', 'nutshell-relaxed.wasm',
  'nutshell-simd128-mt.wasm', 'nutshell-relaxed-mt.wasm'];
const PAGE = ['./', 'chat.css', 'chat.js', 'manifest.webmanifest', 'icon.svg', '../extension/icon128.png'];
const FILES = [...PAGE, ...LIBRARY.map((name) => `../../dist/${name}`)].map((name) => new URL(name, location.href).href);

const PREFIX = 'nutshell-page-';
const NAME = PREFIX + VERSION;

/** Fetches all files anew, whatever the browser still has of them. */
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
  if (VERSION && event.request.method === 'GET' && FILES.includes(url)) event.respondWith(answer(url, event.request));
});

addEventListener('message', (/** @type {any} */ event) => {
  const { clients, skipWaiting } = /** @type {any} */ (globalThis);
  if (event.data !== 'take over') return;
  event.waitUntil(clients.matchAll({ includeUncontrolled: true }).then((pages) => pages.length <= 1 && skipWaiting()));
});
