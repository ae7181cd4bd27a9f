// Sections of library-test.mjs: from the network and the cache, with all that can go wrong on the way.
import { check, ensure, equal } from './harness.mjs';
import { CHUNK, large, model, rendered, run } from './library-setup.mjs';

/** @typedef {import('./library-setup.mjs').Browser} Browser */
/** @typedef {import('./library-setup.mjs').Servers} Servers */

/** @param {Browser} browser @param {Servers} servers */
export async function checkLoading(browser, { main }) {
  await check(`${browser.name}: a script tag loads, streams and reports progress`, async () => {
    await browser.goto(main.url + '/');
    const { info, events, text, pieces, stats } = await run(browser, 'model/a.gguf');
    ensure(text.length > 10 && pieces > 5, `only "${text}" in ${pieces} pieces`);
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
    await browser.evaluate(() => Nutshell.prepare({ threads: 1 }));
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
    // WebKit's driver opens a private window, where WebKit stores no Blobs.
    equal([form, length], [browser.name === 'webkit' ? 'ArrayBuffer' : 'Blob', CHUNK]);
    main.forget();
    const again = await run(browser, 'model/big.gguf');
    equal([again.info.cache.state, again.text], ['resumed', text]);
    equal(main.requests.filter(({ range }) => range).map(({ range }) => range), [`bytes=${CHUNK}-`]);
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
    main.forget();
    const { info, text } = await again('a');
    equal(info.cache.state, 'resumed');
    const [first] = main.requests.filter(({ path, method }) => path === '/model/big.gguf' && method === 'GET');
    const from = Number(/^bytes=(\d+)-$/.exec(first.range)?.[1]);
    ensure(from % CHUNK === 0 && from >= 9e6 - 2 * CHUNK, `it asked for ${first.range}`);
    equal(main.sent, large.length - from, 'bytes sent');
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
