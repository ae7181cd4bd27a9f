// Sections of library-test.mjs: loading from the network and the cache, and what can go wrong there.
import { starters } from './drivers.mjs';
import { check, ensure, equal, skip } from './harness.mjs';
import { createHash } from 'node:crypto';
import { CHUNK, large, model, parts, rendered, run } from './library-setup.mjs';
import { partName } from './parts.mjs';

/** @typedef {import('./library-setup.mjs').Browser} Browser */
/** @typedef {import('./library-setup.mjs').Servers} Servers */

/** @param {Browser} browser @param {Servers} servers */
export async function checkLoading(browser, { main }) {
  await check(`${browser.name}: a script tag loads, streams and reports progress`, async () => {
    await browser.goto(main.url + '/');
    const { info, events, text, texts, stats } = await run(browser, 'model/a.gguf');
    ensure(text.length > 10 && texts > 5, `only "${text}" in ${texts} texts`);
    equal(stats.finishReason, stats.tokens === 40 ? 'length' : 'eos');
    equal([info.fileBytes, info.fileName, info.cache.state], [model.length, 'a.gguf', 'stored']);
    const deltas = events.map((event, i) => event.loaded - (i ? events[i - 1].loaded : 0));
    ensure(deltas.every((delta) => delta >= 0), 'progress goes backwards');
    equal(deltas.reduce((sum, delta) => sum + delta, 0), model.length, 'sum of progress');
    equal(events.at(-1).phase, 'ready');
    ensure(events.every((event) => !event.fromCache), 'the first load says that it is from the cache');
  });
  await check(`${browser.name}: the second load comes from the cache`, async () => {
    main.forget();
    const { info, events } = await run(browser, 'model/a.gguf');
    equal(info.cache.state, 'hit');
    equal(main.requests.filter((request) => request.path === '/model/a.gguf' && request.method === 'GET').length, 0, 'requests');
    equal(main.requests.filter(({ path }) => path.endsWith('.wasm')), [], 'the page had compiled it');
    const told = events.some((event) => event.fromCache && event.phase === 'cache' && event.loaded === model.length);
    ensure(told, 'no event from the cache');
  });
  await check(`${browser.name}: ES module`, async () => {
    await browser.goto(main.url + '/module');
    const { text } = await run(browser, '/model/a.gguf', { threads: 1 });
    ensure(text.length > 10, `only "${text}"`);
  });
}

/** Two pages of one origin: the server is gone when the second load begins. @param {Browser} browser @param {Servers} servers */
export async function checkOffline(browser, { main }) {
  await check(`${browser.name}: loads and chats from the cache with the server stopped`, async () => {
    await browser.goto(main.url + '/');
    const first = await run(browser, 'model/big.gguf', { threads: 1 });
    equal(first.info.fileBytes, large.length);
    await browser.goto(main.url + '/');
    await browser.evaluate(() => Nutshell.prepare({ threads: 1, chat: true }));
    const { port } = main;
    await main.close();
    try {
      const second = await run(browser, 'model/big.gguf', { threads: 1 });
      equal([second.info.cache.state, second.text], ['hit', first.text]);
      equal(await rendered(browser), 'Hi!');
    } finally {
      await main.listen(port);
    }
  });
  await check(`${browser.name}: loads from the cache with the model's route off`, async () => {
    await browser.goto(main.url + '/');
    main.modelRoute = false;
    try {
      const { info } = await run(browser, 'model/big.gguf');
      equal(info.cache.state, 'hit');
    } finally {
      main.modelRoute = true;
    }
  });
}

/** Flips a bit of a stored chunk. */
async function damage() {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const database = await done(indexedDB.open('nutshell'));
  const [{ id }] = (await done(database.transaction('models').objectStore('models').getAll()))
    .filter(({ name }) => name === 'big.gguf');
  const chunk = await done(database.transaction('chunks').objectStore('chunks').get([id, 1]));
  const bytes = new Uint8Array(await new Blob([chunk.bytes]).arrayBuffer());
  bytes[12345] ^= 16;
  const damaged = { ...chunk, bytes: chunk.bytes instanceof Blob ? new Blob([bytes]) : bytes.buffer };
  await done(database.transaction('chunks', 'readwrite').objectStore('chunks').put(damaged, [id, 1]));
  database.close();
  return { form: chunk.bytes.constructor.name, length: bytes.length };
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkChunks(browser, { main }) {
  await browser.goto(main.url + '/');
  const { text } = await run(browser, 'model/big.gguf', { cache: 'reload' });
  await check(`${browser.name}: the server is asked for its version while the stored one is read`, async () => {
    let answer = () => {};
    main.holdHead = new Promise((resolve) => { answer = () => resolve(undefined); });
    try {
      await browser.evaluate(() => {
        window.read = new Promise((resolve) => {
          window.loading = window.load('model/big.gguf', {
            onProgress: ({ phase, loaded, total }) => { if (phase === 'cache' && loaded === total) resolve(loaded); },
          });
          window.loading.then(() => resolve('loaded before the server had answered'));
        });
      });
      const read = await browser.evaluate(() => Promise.race([window.read, wait(1900).then(() => 'nothing was read')]));
      equal(read, large.length);
    } finally {
      answer();
      main.holdHead = Promise.resolve();
    }
    equal((await browser.evaluate(() => window.loading)).info.cache.state, 'hit');
  });
  await check(`${browser.name}: a damaged chunk is noticed and fetched again`, async () => {
    const { form, length } = await browser.evaluate(damage);
    // WebKit's driver uses a private window, in which WebKit stores no Blobs.
    equal([form, length], [browser.name === 'webkit' ? 'ArrayBuffer' : 'Blob', CHUNK]);
    main.forget();
    const again = await run(browser, 'model/big.gguf');
    equal([again.info.cache.state, again.text], ['resumed', text]);
    equal(main.requests.filter(({ range }) => range).map(({ range }) => range), [`bytes=${CHUNK}-${2 * CHUNK - 1}`], 'asked for');
    equal(main.sent, CHUNK, 'bytes sent');
    equal((await run(browser, 'model/big.gguf')).info.cache.state, 'hit');
  });
  await check(`${browser.name}: a browser that stores no Blobs`, async () => {
    const load = { baseUrl: '/variant/no-blobs' };
    const stored = await run(browser, 'model/big.gguf', { ...load, cache: 'reload' });
    equal([stored.info.cache.state, (await browser.evaluate(damage)).form], ['stored', 'ArrayBuffer']);
    const [resumed, hit] = [await run(browser, 'model/big.gguf', load), await run(browser, 'model/big.gguf', load)];
    equal([resumed.info.cache.state, hit.info.cache.state, hit.text], ['resumed', 'hit', text]);
  });
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkServerFaults(browser, { main, closed, open }) {
  await browser.goto(main.url + '/');
  const cases = [
    ['status=404', 'http-404', /check the address/], ['status=416', 'http-416', /416/], ['status=500', 'http-500', /try again/],
    ['html', 'not-gguf', /HTML page/], ['truncate=100000', 'truncated-model', /./], ['truncate=0', 'not-gguf', /./],
    ['flip=0', 'not-gguf', /./], ['flip=8', null, /./],
  ];
  for (const [query, code, message] of cases) {
    await check(`${browser.name}: server answers ${query}`, async () => {
      const error = await browser.evaluate((query) => codeOf(() => Nutshell.load(`model/faulty.gguf?${query}`)), query);
      if (code) equal(error.code, code, `${error.message}:`);
      ensure(error.isOurs && message.test(error.message), `its message is "${error.message ?? error.none}"`);
      const left = await browser.evaluate(async () => (await Nutshell.cache.list()).filter(({ name }) => name === 'faulty.gguf'));
      equal(left, [], 'in the cache');
    });
  }
  await check(`${browser.name}: another origin that refuses`, async () => {
    const error = await browser.evaluate((url) => codeOf(() => Nutshell.load(url)), closed.url + '/model/a.gguf');
    equal(error.code, 'network');
    ensure(/Access-Control-Allow-Origin/.test(error.message), error.message);
  });
  await check(`${browser.name}: another origin that allows, resumed`, async () => {
    const { info } = await run(browser, `${open.url}/model/big.gguf?cut=${CHUNK + 1e6}`);
    equal([info.fileBytes, info.cache.state], [large.length, 'stored']);
  });
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkResuming(browser, { main }) {
  const interrupted = async (query) => {
    await browser.goto(main.url + '/');
    main.forget();
    return browser.evaluate(async (source) => {
      const control = new AbortController();
      const onProgress = ({ loaded }) => loaded > 9e6 && control.abort();
      const error = await codeOf(() => Nutshell.load(source, { signal: control.signal, onProgress }));
      await wait(300); // the chunk that is being written
      return error;
    }, `model/big.gguf?slow=20&${query}`);
  };
  const again = (query) => run(browser, `model/big.gguf?slow=20&${query}`);
  await check(`${browser.name}: an aborted load goes on where it was`, async () => {
    equal((await interrupted('a')).code, 'AbortError');
    const { stored } = await browser.evaluate(async () => (await Nutshell.cache.list()).find(({ url }) => url.endsWith('&a')));
    ensure(stored >= 8e6 && stored % CHUNK === 0, `${stored} bytes were kept`);
    main.forget();
    const { info, text } = await again('a');
    equal(info.cache.state, 'resumed');
    equal(main.sent, large.length - stored, 'bytes sent');
    ensure(text.length > 10, 'no text');
  });
  await check(`${browser.name}: a server without ranges`, async () => {
    await interrupted('range=off');
    const { info, text } = await again('range=off');
    equal(info.cache.state, 'resumed');
    ensure(text.length > 10, 'no text');
  });
  await check(`${browser.name}: another version on the server`, async () => {
    main.etag = 'first';
    await interrupted('b');
    main.etag = 'second';
    const { info, text } = await again('b');
    equal([info.cache.state, info.fileBytes], ['stored', large.length]);
    ensure(text.length > 10, 'no text');
    main.etag = 'third';
    equal((await again('b')).info.cache.state, 'stored');
    equal((await again('b')).info.cache.state, 'hit');
  });
  await check(`${browser.name}: the connection is cut once`, async () => {
    await browser.goto(main.url + '/');
    main.forget();
    const { info, text } = await run(browser, 'model/big.gguf?cut=10000000');
    equal([info.cache.state, info.fileBytes], ['stored', large.length]);
    ensure(text.length > 10, 'no text');
    ensure(main.requests.some(({ range }) => range), 'the file was fetched anew');
  });
}

/** A model in several files. @param {Browser} browser @param {Servers} servers */
export async function checkParts(browser, { main }) {
  await browser.goto(main.url + '/');
  const { text } = await run(browser, 'model/a.gguf', { cache: false });
  const n = parts.length, names = parts.map((_, i) => `model/${partName('split', i, n)}`);
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  await check(`${browser.name}: ${n} files by the first one's address, then from the cache`, async () => {
    for (const state of ['stored', 'hit']) {
      main.forget();
      const { info, text: same, events } = await run(browser, names[0]);
      equal([info.cache.state, info.fileBytes, same], [state, bytes, text]);
      equal(events.at(-1).loaded, bytes, 'progress');
      equal(main.sent, state === 'hit' ? 0 : bytes, 'bytes sent');
    }
  });
  await check(`${browser.name}: one of the files is not in the cache`, async () => {
    equal(await browser.evaluate((url) => Nutshell.cache.delete(url), names[1]), true);
    main.forget();
    const { info, text: same } = await run(browser, names[0]);
    equal([info.cache.state, same, main.sent], ['resumed', text, parts[1].length]);
  });
  await check(`${browser.name}: an array of Files, of addresses with their sums`, async () => {
    const fromFiles = await browser.evaluate(async (names) => {
      const files = await Promise.all(names.map(async (name) => new File([await (await fetch(name)).blob()], name)));
      await window.load(files);
      return (await collect(model.generate('Once upon a time', { temperature: 0, maxTokens: 40 }))).text;
    }, names);
    equal(fromFiles, text);
    const sha256 = parts.map((part) => createHash('sha256').update(part).digest('hex'));
    equal((await run(browser, /** @type {any} */ (names.map((name) => `${name}?again`)), { sha256 })).text, text);
  });
  const fails = (source, options = {}) =>
    browser.evaluate(([source, options]) => codeOf(() => Nutshell.load(source, options)), [source, options]);
  await check(`${browser.name}: files that are missing, too few, or in disorder`, async () => {
    equal((await fails(names.slice(0, 2))).code, 'bad-argument');
    equal((await fails([names[1], names[0], ...names.slice(2)])).code, 'bad-argument');
    const { code, message } = await fails(`${main.url}/${names[0]}?status=404`);
    equal(code, 'http-404', message);
    const alone = await browser.evaluate((name) => codeOf(async () => Nutshell.load(await (await fetch(name)).blob())), names[0]);
    equal(alone.code, 'bad-argument', alone.message);
  });
}

/** Two pages that load the same model at the same time: frames with workers of their own, as two tabs have them.
 *  @param {Browser} browser @param {Servers} servers */
export async function checkSharing(browser, servers) {
  if (browser.name !== 'webkit') return shareIn(browser, servers);
  // In a new browser: WebKit once stopped answering after frames had been removed while they loaded.
  const own = await starters.webkit();
  return shareIn(own, servers).finally(() => own.close());
}

/** @param {Browser} browser @param {Servers} servers */
async function shareIn(browser, { main }) {
  const open = async () => {
    await browser.goto(main.url + '/');
    await browser.evaluate(async () => {
      await Nutshell.cache.clear();
      window.frame = () => new Promise((resolve) => {
        const frame = document.createElement('iframe');
        frame.src = '/';
        frame.onload = () => resolve(frame);
        document.body.append(frame);
      });
      window.first = await window.frame();
      window.second = await window.frame();
      window.go = async (frame, source) => {
        const { info } = await frame.contentWindow.load(source);
        const { collect, model } = frame.contentWindow;
        const { text } = await collect(model.generate('Once', { temperature: 0, maxTokens: 9 }));
        return { state: info.cache.state, text };
      };
    });
    main.forget();
  };
  await check(`${browser.name}: two pages share one download`, async () => {
    await open();
    const both = await browser.evaluate((source) => Promise.all([
      window.go(window.first, source), wait(150).then(() => window.go(window.second, source)),
    ]), 'model/big.gguf?slow=10');
    equal(both.map(({ state }) => state), ['stored', 'hit']);
    equal(new Set(both.map(({ text }) => text)).size, 1, 'texts');
    equal(main.sent, large.length, 'bytes sent');
    const [{ complete, stored }] = await browser.evaluate(() => Nutshell.cache.list());
    equal([complete, stored], [true, large.length]);
  });
  await check(`${browser.name}: the second page goes on when the first ends`, async () => {
    await open();
    const { state, text } = await browser.evaluate(async (source) => {
      window.first.contentWindow.load(source).catch(() => {});
      await wait(150);
      const second = window.go(window.second, source);
      await wait(500);
      window.first.remove();
      return second;
    }, 'model/big.gguf?slow=20');
    equal(state, 'resumed');
    ensure(text.length > 5, 'no text');
    ensure(main.sent < 1.5 * large.length, `${main.sent} bytes were sent for a file of ${large.length}`);
  });
  await check(`${browser.name}: the second page stops waiting when it is told to`, async () => {
    await open();
    const error = await browser.evaluate(async (source) => {
      const first = window.go(window.first, source);
      await wait(150);
      const error = await codeOf(() => Nutshell.load(source, { signal: AbortSignal.timeout(200) }));
      window.first.remove();
      first.catch(() => {});
      return error;
    }, 'model/big.gguf?slow=20&stop');
    equal(error.code, 'TimeoutError');
  });
}

/** Addresses that lead to several servers. @param {Browser} browser @param {Servers} servers */
export async function checkRedirects(browser, { main }) {
  await browser.goto(main.url + '/');
  const { text } = await run(browser, 'model/big.gguf', { cache: false });
  const asked = (/** @type {string} */ method) => main.requests.filter((request) =>
    request.path.endsWith('/big.gguf') && request.method === method).map(({ path }) => path);
  await check(`${browser.name}: an address that leads to two servers by turns, whose ETags differ`, async () => {
    main.forget();
    const first = await run(browser, 'model/big.gguf?redirects');
    equal([first.info.cache.state, first.text], ['stored', text]);
    const there = asked('GET').filter((path) => path === '/model/big.gguf').length;
    equal([main.sent, there], [large.length, 1], 'bytes sent, requests for the address');
    for (let i = 0; i < 2; i++) { // one of the two is not the server that the stored bytes came from
      main.forget();
      const { info, text: same } = await run(browser, 'model/big.gguf?redirects');
      equal([info.cache.state, same, asked('HEAD').length], ['hit', text, 2]);
      ensure(main.sent <= 256 << 10, `${main.sent} bytes were sent to compare`);
    }
  });
  await check(`${browser.name}: a load from two servers by turns that was stopped midway`, async () => {
    await browser.evaluate(async (source) => {
      const control = new AbortController();
      const onProgress = ({ loaded }) => loaded > 9e6 && control.abort();
      await codeOf(() => Nutshell.load(source, { signal: control.signal, onProgress }));
    }, 'model/big.gguf?redirects&stopped');
    for (const states of [['stored', 'resumed'], ['hit']]) { // what is from the other server is never joined with it
      const { info, text: same } = await run(browser, 'model/big.gguf?redirects&stopped');
      equal([states.includes(info.cache.state), same], [true, text], info.cache.state);
    }
  });
  await check(`${browser.name}: one address whose ETag is another by turns: the file is taken from one answer`, async () => {
    main.forget();
    const { info, text: same } = await run(browser, 'model/big.gguf?etags=one,two');
    equal([info.cache.state, same], ['stored', text]);
    const last = main.requests.findLast(({ path, method }) => path === '/model/big.gguf' && method === 'GET');
    equal(last?.range ?? 'whole', 'whole');
  });
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkPlaces(browser, { main }) {
  await browser.goto(main.url + '/');
  const { text } = await run(browser, 'model/big.gguf', { cache: false });
  const sha256 = createHash('sha256').update(large).digest('hex');
  const requests = () => main.requests.filter(({ path, method }) => path.startsWith('/model/') && method === 'GET');
  await check(`${browser.name}: a mirror, where the file is not at its address`, async () => {
    const mirrors = ['model/none.gguf?status=403', 'model/big.gguf'];
    const { info, text: same } = await run(browser, 'model/gone.gguf?status=404', { mirrors });
    equal([info.cache.state, same], ['stored', text]);
    const again = await run(browser, 'model/gone.gguf?status=404');
    equal([again.info.cache.state, again.text], ['hit', text], 'by its own address');
  });
  for (const [how, options, twice] of [['goes on', { sha256 }, false], ['begins again', {}, true]]) {
    await check(`${browser.name}: a mirror ${how} where the first server fails midway`, async () => {
      main.forget();
      main.intercept = ({ request, reply, start }) => {
        if (!request.url?.includes('first') || start < 9e6) return false;
        reply.writeHead(404).end();
        return true;
      };
      try {
        const source = `model/big.gguf?etag=first&${how}`;
        const { info, text: same } = await run(browser, source, { ...options, mirrors: ['model/big.gguf?etag=second'] });
        equal([info.cache.state, same], ['stored', text]);
        equal(main.sent > 1.25 * large.length, twice, `${main.sent} bytes were sent for ${large.length}: begun again`);
      } finally {
        main.intercept = null;
      }
    });
  }
  await check(`${browser.name}: headers go with each request and are not stored`, async () => {
    main.forget();
    let without = 0;
    main.intercept = ({ request, reply }) => {
      if (request.headers.authorization === 'Bearer s3cret') return false;
      without++;
      reply.writeHead(401).end();
      return true;
    };
    try {
      const refused = await browser.evaluate(() => codeOf(() => Nutshell.load('model/big.gguf?gated')));
      equal([refused.code, without], ['http-401', 1]);
      const { info } = await run(browser, 'model/big.gguf?gated', { headers: { Authorization: 'Bearer s3cret' } });
      equal([info.cache.state, without, requests().length > 2], ['stored', 1, true]);
    } finally {
      main.intercept = null;
    }
    const models = await browser.evaluate(() => new Promise((resolve) => {
      indexedDB.open('nutshell').onsuccess = ({ target }) => {
        target.result.transaction('models').objectStore('models').getAll().onsuccess = (event) => {
          target.result.close();
          resolve(JSON.stringify(event.target.result));
        };
      };
    }));
    ensure(models.includes('gated') && !models.includes('s3cret'), 'the token is in the database');
    equal((await browser.evaluate(() => codeOf(() => Nutshell.load('model/a.gguf', { headers: { Range: 'bytes=0-' } })))).code,
      'bad-argument');
  });
  await check(`${browser.name}: several ranges of a file are fetched at a time`, async () => {
    main.forget();
    // Not stored: chunks do not arrive early where a slow disk holds the downloads back.
    await run(browser, 'model/big.gguf?slow=3&ranges', { sha256, cache: false });
    // Four, and those whose end the page has read while the server still waits to hear of it.
    ensure(main.most > 1 && main.most <= 8, `at most ${main.most} at a time`);
    equal(main.sent, large.length, 'bytes sent');
  });
  await check(`${browser.name}: a server that sends a range as if it were the whole`, async () => {
    const { info, text: same } = await run(browser, 'model/big.gguf?range=lie', { sha256 });
    equal([info.cache.state, info.fileBytes, same], ['stored', large.length, text]);
  });
  await check(`${browser.name}: a FileSystemFileHandle`, async () => {
    const result = await browser.evaluate(async () => {
      const root = await navigator.storage?.getDirectory?.().catch(() => null);
      const handle = await root?.getFileHandle('picked.gguf', { create: true });
      if (!handle?.createWritable) return null;
      const writable = await handle.createWritable();
      await writable.write(await (await fetch('model/a.gguf')).blob());
      await writable.close();
      const { info } = await window.load(handle);
      await root.removeEntry('picked.gguf');
      return { name: info.fileName, gone: await codeOf(() => Nutshell.load(handle)) };
    });
    if (!result) return skip(`${browser.name}: a FileSystemFileHandle`, 'this browser lets pages write none here');
    equal([result.name, result.gone.code], ['picked.gguf', 'io']);
    return undefined;
  });
}
