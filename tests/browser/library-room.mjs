// Sections of library-test.mjs: eviction where storage is short, requests for persistent storage, and failed imports.
import { createHash } from 'node:crypto';
import { check, ensure, equal } from './harness.mjs';
import { five, large, model, run } from './library-setup.mjs';
import { DIST } from './models.mjs';
import { TestServer } from './server.mjs';

/** @typedef {import('./library-setup.mjs').Browser} Browser */
/** @typedef {import('./library-setup.mjs').Servers} Servers */

/** @param {Browser} browser @param {Servers} servers */
async function open(browser, { main }) {
  await browser.goto(main.url + '/');
  await browser.evaluate(() => Nutshell.cache.clear());
}

/** Names of what is stored, the longest unused first. @param {Browser} browser */
async function stored(browser) {
  const list = await browser.evaluate(() => Nutshell.cache.list());
  return list.sort((a, b) => a.used - b.used).map(({ name, complete }) => (complete ? name : `${name}, in part`));
}

/** Loads where the browser says that so much is free; the state, and what the error says. @param {Browser} browser */
function loadInto(browser, free, source, load) {
  return browser.evaluate(async ([baseUrl, source, load]) => {
    const { info } = await window.load(source, { baseUrl, ...load });
    return { state: info.cache.state, code: info.cache.error?.code, message: info.cache.error?.message };
  }, [`/variant/free-${free}/`, source, load]);
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkEviction(browser, servers) {
  const load = (name) => run(browser, `model/${name}.gguf`);
  await check(`${browser.name}: where room is short and nothing may go, the error says what could`, async () => {
    await open(browser, servers);
    for (const name of ['a', 'b']) await load(name);
    await load('a'); // used last
    const { state, code, message } = await loadInto(browser, 300_000, 'model/five.gguf', {});
    equal([state, code], ['failed', 'quota']);
    ensure(message.includes('takes 1.3 MB and the browser grants 0.3 MB: 1.0 MB are missing'), message);
    ensure(message.includes('evict), such as b.gguf (1.3 MB), a.gguf (1.3 MB)'), message);
    equal(await stored(browser), ['b.gguf', 'a.gguf']);
  });
  await check(`${browser.name}: as many as are needed go, those first that were not used for the longest time`, async () => {
    await open(browser, servers);
    for (const name of ['a', 'b', 'c', 'a']) await load(name);
    equal(await stored(browser), ['b.gguf', 'c.gguf', 'a.gguf']);
    equal((await loadInto(browser, model.length - 1000, 'model/d.gguf', { evict: true })).state, 'stored');
    equal(await stored(browser), ['c.gguf', 'a.gguf', 'd.gguf'], 'one had to go');
    equal((await loadInto(browser, 0, 'model/five.gguf', { evict: true })).state, 'stored'); // larger than one of them
    equal(await stored(browser), ['d.gguf', 'five.gguf'], 'two had to go');
    equal((await loadInto(browser, five.length, 'model/e.gguf', { evict: true })).state, 'stored');
    equal(await stored(browser), ['d.gguf', 'five.gguf', 'e.gguf'], 'none had to go');
  });
  await check(`${browser.name}: nothing goes where all would not do`, async () => {
    await open(browser, servers);
    for (const name of ['a', 'b']) await load(name);
    const { state, code } = await loadInto(browser, 0, 'model/big.gguf', { evict: true });
    equal([state, code, await stored(browser)], ['failed', 'quota', ['a.gguf', 'b.gguf']]);
    const required = await browser.evaluate(() => codeOf(() =>
      Nutshell.load('model/big.gguf', { baseUrl: '/variant/free-0/', evict: true, cache: 'required' })));
    equal([required.code, await stored(browser)], ['quota', ['a.gguf', 'b.gguf']]);
  });
  await check(`${browser.name}: a download that broke off goes after a day, one that may be going on stays`, async () => {
    await open(browser, servers);
    await browser.evaluate(async () => {
      for (const name of ['left', 'begun']) {
        const control = new AbortController();
        const onProgress = ({ loaded }) => loaded > 9e6 && control.abort();
        await codeOf(() => Nutshell.load(`model/${name}.gguf?big&slow=5`, { signal: control.signal, onProgress }));
        await wait(300); // what is being written
      }
      await changeManifest('left.gguf', { used: Date.now() - 25 * 3600 * 1000 });
      await changeManifest('begun.gguf', { used: Date.now() - 23 * 3600 * 1000 });
    });
    equal(await stored(browser), ['left.gguf, in part', 'begun.gguf, in part']);
    equal((await loadInto(browser, 0, 'model/a.gguf', { evict: true })).state, 'stored');
    equal(await stored(browser), ['begun.gguf, in part', 'a.gguf']);
    equal((await loadInto(browser, 0, 'model/five.gguf', { evict: true })).state, 'failed'); // larger than a.gguf alone
    equal(await stored(browser), ['begun.gguf, in part', 'a.gguf']);
  });
}

/** There is no room for a transaction, which its writes cannot tell. @param {Browser} browser @param {Servers} servers */
export async function checkLateQuota(browser, servers) {
  await open(browser, servers);
  const { text } = await run(browser, 'model/five.gguf', { cache: false });
  const [chunk, last] = browser.name === 'webkit' ? [3, 8] : [2, 7];
  for (const write of ['abort-1', `abort-${chunk}`, `commit-${chunk}`, `commit-${last}`]) {
    for (const evict of [false, true]) {
      await check(`${browser.name}: no room, told as ${write}, other models ${evict ? 'may' : 'must not'} go`, async () => {
        await open(browser, servers);
        await run(browser, 'model/old.gguf');
        const { info, text: same } = await run(browser, 'model/five.gguf', { baseUrl: `/variant/full-${write}/`, evict });
        equal([info.cache.state, same], [evict ? 'stored' : 'failed', text]);
        const left = await stored(browser);
        equal(left.includes('old.gguf'), !evict, `in the cache, ${left}: old.gguf`);
        equal(left.includes('five.gguf'), evict, `in the cache, ${left}: five.gguf whole`);
        equal((await run(browser, 'model/five.gguf')).text, text, 'the next load');
        equal((await run(browser, 'model/five.gguf')).info.cache.state, 'hit', 'the one after it');
      });
    }
  }
}

/** @param {Browser} browser */
export async function checkRealLimit(browser) {
  if (browser.name !== 'chromium') return; // only its driver can set one
  const server = await TestServer.start({ dist: DIST, model, large, isolated: true }); // an origin that has used nothing so far
  await check(`${browser.name}: a limit of the browser's own`, async () => {
    await browser.goto(server.url + '/');
    const devtools = await browser.page.context().newCDPSession(browser.page);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize: Math.floor(1.4 * large.length) });
    const { text } = await run(browser, 'model/big.gguf?first');
    const failed = await run(browser, 'model/big.gguf?second');
    equal([failed.info.cache.state, failed.text], ['failed', text]);
    equal((await stored(browser)).length, 1, 'models');
    equal((await run(browser, 'model/big.gguf?first')).info.cache.state, 'hit');
    const made = await run(browser, 'model/big.gguf?second', { evict: true });
    equal([made.info.cache.state, made.text, (await stored(browser)).length], ['stored', text, 1]);
    equal((await run(browser, 'model/big.gguf?second')).info.cache.state, 'hit');
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: server.url });
    await devtools.detach();
  });
  await browser.goto('about:blank');
  await server.close();
}

/** @param {Browser} browser */
export async function checkPersisting(browser) {
  const server = await TestServer.start({ dist: DIST, model, isolated: true }); // an origin that was never asked
  const openPage = async () => {
    await browser.goto(server.url + '/');
    return browser.evaluate(() => {
      window.asked = 0;
      if (!navigator.storage?.persist) return false;
      Object.defineProperty(navigator.storage, 'persist', { value: () => { window.asked++; return new Promise(() => {}); } });
      return true;
    });
  };
  const asked = () => browser.evaluate(() => wait(300).then(() => window.asked));
  await check(`${browser.name}: the browser is asked to keep the storage, once, after a model was stored`, async () => {
    const can = await openPage();
    await run(browser, 'model/a.gguf', { cache: false });
    equal(await asked(), 0, 'after a load that stores nothing');
    await browser.evaluate(async () => Nutshell.cache.import(new Blob([await (await fetch('model/a.gguf')).arrayBuffer()])));
    equal(await asked(), can ? 1 : 0, 'after an import');
    await run(browser, 'model/b.gguf');
    await openPage();
    await run(browser, 'model/c.gguf');
    equal(await asked(), 0, 'in the next page');
    const [told, own] = await browser.evaluate(async () =>
      [(await Nutshell.cache.usage()).persisted, await navigator.storage?.persisted?.() ?? null]);
    equal(told, own);
  });
  await browser.goto('about:blank');
  await server.close();
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkVerifying(browser, servers) {
  const verify = (/** @type {string} */ url) => browser.evaluate((url) => Nutshell.cache.verify(url), url);
  await check(`${browser.name}: verify tells how far it is, and can be stopped`, async () => {
    await open(browser, servers);
    for (const name of ['a', 'five']) await run(browser, `model/${name}.gguf`);
    const { events, reports, error } = await browser.evaluate(async () => {
      const events = [];
      const reports = await Nutshell.cache.verify(undefined, { onProgress: (event) => events.push(event) });
      const control = new AbortController();
      const onProgress = () => control.abort(new RangeError('enough'));
      const error = await codeOf(() => Nutshell.cache.verify(undefined, { signal: control.signal, onProgress }));
      return { events, reports, error };
    });
    const total = model.length + five.length;
    equal(events.at(-1), { loaded: total, total });
    equal(events.length, reports.reduce((sum, { chunks }) => sum + chunks, 0), 'events');
    equal(reports.map(({ chunks, damaged, complete, sha256 }) => [chunks, damaged, complete, sha256]),
      [[5, [], true, null], [5, [], true, null]]);
    equal(error.code, 'RangeError');
    equal((await stored(browser)).sort(), ['a.gguf', 'five.gguf']);
  });
  await check(`${browser.name}: verify finds a chunk that is missing`, async () => {
    const url = 'model/five.gguf';
    await browser.evaluate(() => withDatabase(async (database) => {
      const [{ id }] = (await resultOf(database.transaction('models').objectStore('models').getAll()))
        .filter(({ name }) => name === 'five.gguf');
      await resultOf(database.transaction('chunks', 'readwrite').objectStore('chunks').delete([id, 3]));
    }));
    const [report] = await verify(url);
    equal([report.damaged, report.complete], [[3], false]);
    equal((await browser.evaluate(() => codeOf(() => Nutshell.cache.export('model/five.gguf')))).code, 'not-cached', 'exported');
    equal((await run(browser, url)).info.cache.state, 'resumed');
    equal((await verify(url))[0].complete, true, 'then');
  });
  await check(`${browser.name}: of a file with another sum as a whole nothing is kept`, async () => {
    const url = 'model/five.gguf';
    const sum = createHash('sha256').update(five).digest('hex');
    await browser.evaluate((sha256) => changeManifest('five.gguf', { sha256 }), sum);
    equal((await verify(url))[0].sha256, true);
    await browser.evaluate((sha256) => changeManifest('five.gguf', { sha256 }), sum.replace(/./, (x) => (x === '0' ? '1' : '0')));
    const [{ sha256, damaged, complete }] = await verify(url);
    equal([sha256, damaged, complete], [false, [0, 1, 2, 3, 4], false]);
    equal((await run(browser, url)).info.cache.state, 'stored');
    equal((await verify(url))[0].damaged, [], 'then');
  });
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkFailedImport(browser, servers) {
  const url = 'model/five.gguf';
  await check(`${browser.name}: an import for which there is no room leaves nothing, and what was there before`, async () => {
    await open(browser, servers);
    await run(browser, url);
    const before = await browser.evaluate(() => countChunks());
    const codes = await browser.evaluate(async (url) => {
      const blob = await (await fetch(url)).blob();
      const codes = [];
      for (let n = 1; codes.at(-1) !== 'imported' && n < 20; n++) {
        const { cache } = await variant(`full-at-${n}`);
        codes.push(await cache.import(blob, { url }).then(() => 'imported', ({ code }) => code));
        if (codes.at(-1) !== 'imported') codes.push(await countChunks(), (await cache.list()).length);
      }
      const { cache } = await variant('free-1000');
      return [...codes, await cache.import(blob).then(() => 'imported', ({ code }) => code)];
    }, url);
    const writes = browser.name === 'webkit' ? 8 : 7;
    equal(codes, [...Array(writes).fill(['quota', before, 1]).flat(), 'imported', 'quota']);
    servers.main.forget();
    equal((await run(browser, url)).info.cache.state, 'hit'); // though the server tells a version, and the import had none
    equal([servers.main.sent, await stored(browser)], [0, ['five.gguf']]);
  });
  await check(`${browser.name}: other models go for an import that may have them go`, async () => {
    await browser.evaluate(async (url) => {
      const { cache } = await variant('free-1000');
      await cache.import(await (await fetch('model/other.gguf')).blob(), { name: 'mine', evict: true });
    }, url);
    equal(await stored(browser), ['mine']);
  });
  await check(`${browser.name}: an import is replaced by what the server has if that is another file`, async () => {
    await open(browser, servers);
    await browser.evaluate(async (url) => Nutshell.cache.import(await (await fetch('model/a.gguf')).blob(), { url }), url);
    equal((await run(browser, url)).info.cache.state, 'stored');
    equal((await browser.evaluate(() => Nutshell.cache.list())).map(({ size }) => size), [five.length]);
  });
  await check(`${browser.name}: a running import is let be, an abandoned one swept away`, async () => {
    await open(browser, servers);
    const { during, entry, after, chunks } = await browser.evaluate(async () => {
      const bytes = new Uint8Array(await (await fetch('model/big.gguf')).arrayBuffer());
      let goOn;
      const held = new Promise((resolve) => { goOn = resolve; });
      const stream = new ReadableStream({
        async start(control) {
          control.enqueue(bytes.subarray(0, 9e6));
          await held;
          control.enqueue(bytes.subarray(9e6));
          control.close();
        },
      });
      const importing = Nutshell.cache.import(stream, { url: 'model/mine.gguf' });
      const part = async () => (await Nutshell.cache.list()).filter(({ stored }) => stored > 0);
      let during = await part();
      for (let i = 0; i < 50 && !during.length; i++, during = await part()) await wait(50);
      goOn();
      const entry = await importing;
      await withDatabase(async (database) => {
        const transaction = database.transaction(['models', 'chunks'], 'readwrite');
        transaction.objectStore('models').put({ ...entry, id: 'x', key: 'incoming:x', url: null, complete: false,
          size: 0, chunkBytes: 4 << 20, sums: [], etag: null });
        transaction.objectStore('chunks').put({ bytes: new ArrayBuffer(4 << 20), sum: 0 }, ['x', 0]);
        await new Promise((resolve) => { transaction.oncomplete = resolve; });
      });
      return { during, entry, after: await Nutshell.cache.list(), chunks: await countChunks() };
    });
    equal(during.map(({ complete, url }) => [complete, url]), [[false, null]], 'meanwhile');
    equal([entry.complete, entry.size, entry.url], [true, large.length, `${servers.main.url}/model/mine.gguf`]);
    equal(after, [entry], 'after that');
    equal(chunks, Math.ceil(large.length / (4 << 20)), 'chunks');
  });
}
