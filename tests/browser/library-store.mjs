// Sections of library-test.mjs: the cache after an update of its schema, with a full disk, with damaged bytes, and while another
// page deletes what this one stores; verifying, exporting and importing models.
import { createHash } from 'node:crypto';
import { check, ensure, equal } from './harness.mjs';
import { CHUNK, PROMPT, five, greedy, large, model, run } from './library-setup.mjs';
import { DIST, raced } from './models.mjs';
import { TestServer } from './server.mjs';

/** @typedef {import('./library-setup.mjs').Browser} Browser */
/** @typedef {import('./library-setup.mjs').Servers} Servers */

const OLD_CHUNK = 4 << 20; // bytes of a chunk in version 1 of the database
const DAMAGED = 20; // chunks of a model in which a bit is flipped
// Writes of a load of five.gguf: its manifest, five chunks, and the mark that it is complete. WebKit's private windows first
// refuse a Blob.
const WRITES = { chromium: 7, firefox: 7, webkit: 8 };

const digest = (/** @type {Buffer} */ bytes) => createHash('sha256').update(bytes).digest('hex');

/** Opens the page with nothing in the cache. @param {Browser} browser @param {string} url */
async function open(browser, url) {
  await browser.goto(url + '/');
  await browser.evaluate(() => Nutshell.cache.clear());
}

/** What a load was told and told of races, and what is noted then. @param {Browser} browser @param {object} [options] */
const loadRaced = (browser, options = {}) => browser.evaluate(async (options) => {
  const { products, races } = (await load('model/raced.gguf', options)).info.model;
  return { products, races, noted: await raceNote() };
}, options);

/** @param {Browser} browser */
export async function checkRaces(browser) {
  const server = await TestServer.start({ dist: DIST, model, large, files: { 'raced.gguf': raced() }, isolated: true });
  await check(`${browser.name}: what races of kernels chose is noted, and foreign notes are passed over`, async () => {
    await open(browser, server.url);
    await browser.evaluate(() => raceNote(null));
    const first = await loadRaced(browser);
    equal(first.products.map(({ kept }) => kept), first.products.map(() => false), 'nothing was noted');
    equal(first.noted ?? '', first.races, 'the note');
    if (first.products.length === 0) return; // one set, or a coarse clock
    equal(first.races, first.products.map(({ layout, tokens, kernel }) => `${layout} ${tokens} ${kernel};`).join(''), 'rows');
    const noted = (/** @type {any} */ row) => first.races.includes(`${row.layout} ${row.tokens} ${row.kernel};`);
    for (let i = 0; i < 3; i++) { // a race that a noisy machine decides otherwise says so
      await browser.evaluate((note) => raceNote(note), first.races);
      const { products, races, noted: now } = await loadRaced(browser);
      equal(products.map(({ kept }) => kept), products.map(noted), 'kept as noted');
      equal(now, races || first.races, 'noted where there is something new');
    }
    for (const note of [{ races: 1 }, 'U4 few', 'U4 few turbo;\0', 7]) {
      await browser.evaluate((note) => raceNote(note), note);
      const { products, races, noted: now } = await loadRaced(browser);
      ensure(products.every(({ kept }) => !kept) && races && now === races, `kept ${JSON.stringify(note)}`);
    }
    await browser.evaluate((note) => raceNote(note), first.races);
    const apart = await loadRaced(browser, { cache: false });
    ensure(apart.products.every(({ kept }) => !kept) && apart.noted === first.races, 'the cache is off: no notes');
    equal((await loadRaced(browser, { kernel: 'relaxed' })).products, [], 'kernels that were asked for race');
  });
  await server.close();
}

/** @param {Browser} browser */
export async function checkMigration(browser) {
  const server = await TestServer.start({ dist: DIST, model, large, isolated: true }); // an origin without a database
  await check(`${browser.name}: a database of version 1 is taken over, with all that is in it`, async () => {
    await browser.goto(server.url + '/');
    // Data of version 1 of the schema, as its code wrote it: one complete model, and one with two chunks.
    await browser.evaluate(async ([chunkBytes, sumsOf, blobs]) => {
      const request = indexedDB.open('nutshell', 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore('models', { keyPath: 'id' }).createIndex('key', 'key', { unique: true });
        request.result.createObjectStore('chunks');
      };
      const database = await resultOf(request);
      for (const [id, count] of [['old', sumsOf.length], ['begun', 2]]) {
        const url = new URL(`model/big.gguf?version1-${id}`, document.baseURI).href;
        const bytes = await (await fetch(url)).arrayBuffer();
        const complete = count === sumsOf.length;
        const transaction = database.transaction(['models', 'chunks'], 'readwrite');
        transaction.objectStore('models').put({ id, key: url, url, name: 'big.gguf', size: bytes.byteLength, etag: '"one"',
          chunkBytes, complete, sums: complete ? sumsOf : [], created: 1, used: 2 });
        sumsOf.slice(0, count).forEach((sum, i) => {
          const part = bytes.slice(i * chunkBytes, (i + 1) * chunkBytes);
          transaction.objectStore('chunks').put({ bytes: blobs ? new Blob([part]) : part, sum }, [id, i]);
        });
        await new Promise((resolve) => { transaction.oncomplete = resolve; });
      }
      database.close();
    }, [OLD_CHUNK, await sums(large, OLD_CHUNK), browser.name !== 'webkit']);
    server.forget();
    const { info, text } = await run(browser, 'model/big.gguf?version1-old');
    equal([info.cache.state, info.cache.id, server.sent], ['hit', 'old', 0]);
    ensure(text.length > 5, 'no text');
    equal(await browser.evaluate(() => withDatabase(({ version }) => version)), 2, 'version');
    const begun = await run(browser, 'model/big.gguf?version1-begun');
    equal([begun.info.cache.state, begun.info.cache.id, begun.text], ['resumed', 'begun', text]);
    equal(server.sent, large.length - 2 * OLD_CHUNK, 'bytes sent');
    const sound = await browser.evaluate(() => Nutshell.cache.verify());
    equal(sound.map(({ damaged, complete }) => [damaged, complete]), [[[], true], [[], true]]);
  });
  await browser.goto('about:blank');
  await server.close();
}

/** xxHash32 of the chunks, by the library's own code, which unit-test.mjs compares with another implementation. */
async function sums(/** @type {Buffer} */ file, /** @type {number} */ size) {
  const { xxh32 } = await import('../../web/shared/checksum.js');
  const starts = Array.from({ length: Math.ceil(file.length / size) }, (_, i) => i * size);
  return starts.map((start) => xxh32(Uint8Array.from(file.subarray(start, start + size))));
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkFullDisk(browser, { main }) {
  await open(browser, main.url);
  const { text } = await run(browser, 'model/five.gguf', { cache: false });
  const writes = WRITES[browser.name];
  for (let n = 1; n <= writes + 1; n++) {
    await check(`${browser.name}: no room from write ${n} on`, async () => {
      const baseUrl = `/variant/full-at-${n}/`;
      const { info, text: same } = await run(browser, 'model/five.gguf', { baseUrl });
      const [state, code] = n > writes ? ['stored', null] : ['failed', 'quota'];
      equal([info.cache.state, info.cache.error?.code ?? null, same], [state, code, text]);
      await browser.evaluate(() => Nutshell.cache.clear());
      const required = await browser.evaluate((options) => codeOf(() => Nutshell.load('model/five.gguf', options)),
        { baseUrl, cache: 'required' });
      equal(required.code, n > writes ? undefined : 'quota', 'where storing is required');
      const left = await browser.evaluate(() => Nutshell.cache.list());
      equal(left.filter(({ complete }) => complete).length, n > writes ? 1 : 0, 'models that are taken for whole');
      const next = await run(browser, 'model/five.gguf');
      ensure(['stored', 'resumed', 'hit'].includes(next.info.cache.state), `then ${next.info.cache.state}`);
      equal(next.text, text, 'then');
      await browser.evaluate(() => Nutshell.cache.clear());
    });
    await check(`${browser.name}: no room at write ${n}, other models may go`, async () => {
      for (const name of ['old', 'older']) await run(browser, `model/${name}.gguf`);
      await run(browser, 'model/old.gguf'); // used last
      const { info, text: same } = await run(browser, 'model/five.gguf', { baseUrl: `/variant/full-once-${n}/`, evict: true });
      equal([info.cache.state, same], ['stored', text]);
      const names = (await browser.evaluate(() => Nutshell.cache.list())).map(({ name }) => name).sort();
      equal(names, n > writes ? ['five.gguf', 'old.gguf', 'older.gguf'] : ['five.gguf', 'old.gguf'], 'in the cache');
      equal((await run(browser, 'model/five.gguf')).info.cache.state, 'hit');
      await browser.evaluate(() => Nutshell.cache.clear());
    });
  }
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkRelease(browser, { main }) {
  await open(browser, main.url);
  await check(`${browser.name}: nobody keeps the database open once it was used, with a model loaded or not`, async () => {
    for (const loads of [false, false, false, true, true]) {
      if (loads) await run(browser, 'model/five.gguf');
      const outcome = await browser.evaluate(async () => {
        await Nutshell.cache.list();
        const request = indexedDB.deleteDatabase('nutshell');
        const blocked = new Promise((resolve) => { request.onblocked = () => resolve('blocked'); });
        return Promise.race([blocked, resultOf(request).then(() => 'deleted')]);
      });
      equal(outcome, 'deleted');
    }
  });
  await browser.evaluate(() => window.model?.unload());
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkSilentDisk(browser, { main }) {
  await open(browser, main.url);
  const { text } = await run(browser, 'model/five.gguf', { cache: false });
  const writes = WRITES[browser.name];
  for (const n of [1, writes - 3, writes]) {
    await check(`${browser.name}: a full disk from write ${n} on, of which the browser says nothing`, async () => {
      const { info, text: same } = await run(browser, 'model/five.gguf', { baseUrl: `/variant/silent-${n}/` });
      equal([info.cache.state, info.cache.error?.code, same], ['failed', 'quota', text]);
      const next = await run(browser, 'model/five.gguf');
      equal(next.text, text, 'then');
      equal((await run(browser, 'model/five.gguf')).info.cache.state, 'hit', 'then');
    });
    await check(`${browser.name}: a full disk keeps nobody from reading, checking and clearing (${n})`, async () => {
      const { info, text: same } = await run(browser, 'model/five.gguf', { baseUrl: '/variant/silent-1/' });
      equal([info.cache.state, same], ['hit', text]);
      const { reports, code, message, left } = await browser.evaluate(async () => {
        const { cache } = await window.variant('silent-0');
        await withDatabase(async (database) => {
          const chunks = database.transaction('chunks', 'readwrite').objectStore('chunks');
          const [key] = await resultOf(chunks.getAllKeys());
          await resultOf(chunks.put({ bytes: new ArrayBuffer(7), sum: 1 }, key));
        });
        const reports = await cache.verify();
        const { code, message } = await cache.delete('model/five.gguf').catch((error) => error);
        await cache.clear();
        return { reports, code, message, left: await Nutshell.cache.list() };
      });
      equal(reports.map(({ damaged }) => damaged), [[0]]);
      equal([code, left], ['quota', []]);
      ensure(/Nutshell\.cache\.clear/.test(message), message);
    });
  }
}

/** Some different whole numbers below n, the same each time. @param {number} count @param {number} n */
function someOf(count, n) {
  const found = new Set();
  for (let x = 12345; found.size < count;) found.add((x = (x * 1103515245 + 12345) % 2 ** 31) % n);
  return [...found].sort((a, b) => a - b);
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkRot(browser, { main }) {
  await check(`${browser.name}: ${DAMAGED} chunks with a flipped bit are found, and fetched again alone`, async () => {
    await open(browser, main.url);
    const { text } = await run(browser, 'model/big.gguf');
    const chosen = someOf(DAMAGED, Math.ceil(large.length / CHUNK));
    await browser.evaluate((chosen) => withDatabase(async (database) => {
      const [id] = await resultOf(database.transaction('models').objectStore('models').getAllKeys());
      for (const i of chosen) {
        const { bytes: stored, sum } = await resultOf(database.transaction('chunks').objectStore('chunks').get([id, i]));
        const bytes = new Uint8Array(await new Blob([stored]).arrayBuffer());
        bytes[(i * 7919) % bytes.length] ^= 1 << (i % 8);
        const damaged = stored instanceof Blob ? new Blob([bytes]) : bytes.buffer;
        const chunks = database.transaction('chunks', 'readwrite').objectStore('chunks');
        await resultOf(chunks.put({ bytes: damaged, sum }, [id, i]));
      }
    }), chosen);
    const [report] = await browser.evaluate(() => Nutshell.cache.verify('model/big.gguf'));
    equal([report.damaged, report.complete], [chosen, false]);
    main.forget();
    const again = await run(browser, 'model/big.gguf');
    equal([again.info.cache.state, again.text], ['resumed', text]);
    const due = chosen.reduce((sum, i) => sum + Math.min(CHUNK, large.length - i * CHUNK), 0);
    equal(main.sent, due, 'bytes sent');
    const [sound] = await browser.evaluate(() => Nutshell.cache.verify());
    equal([sound.damaged, sound.complete], [[], true]);
  });
  await check(`${browser.name}: a model whose only chunk, of version 1, is damaged is stored anew in one load`, async () => {
    await browser.evaluate(() => Nutshell.cache.clear());
    await browser.evaluate(([chunkBytes, size]) => withDatabase(async (database) => {
      const url = new URL('model/five.gguf', document.baseURI).href;
      const transaction = database.transaction(['models', 'chunks'], 'readwrite');
      transaction.objectStore('models').put({ id: 'one', key: url, url, name: 'five.gguf', size, etag: '"one"', chunkBytes,
        complete: true, sums: [1], created: 1, used: 2 });
      transaction.objectStore('chunks').put({ bytes: new ArrayBuffer(size), sum: 1 }, ['one', 0]);
      await new Promise((resolve) => { transaction.oncomplete = resolve; });
    }), [OLD_CHUNK, five.length]);
    const states = [];
    for (let i = 0; i < 2; i++) states.push((await run(browser, 'model/five.gguf')).info.cache.state);
    equal(states, ['stored', 'hit']);
    await run(browser, 'model/big.gguf');
  });
  await check(`${browser.name}: what has no manifest is swept away`, async () => {
    await browser.evaluate(() => withDatabase(async (database) => {
      const put = (id, i) => resultOf(database.transaction('chunks', 'readwrite').objectStore('chunks')
        .put({ bytes: new ArrayBuffer(9), sum: 0 }, [id, i]));
      for (const id of ['a', 'zzz']) for (const i of [0, 1, 7]) await put(id, i);
    }));
    await browser.evaluate(() => Nutshell.cache.list());
    const ids = await browser.evaluate(() => withDatabase(async (database) => [...new Set((await resultOf(
      database.transaction('chunks').objectStore('chunks').getAllKeys())).map(([id]) => id))]));
    const known = (await browser.evaluate(() => Nutshell.cache.list())).map(({ id }) => id);
    equal(ids, known, 'models with chunks');
  });
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkDeleteMeanwhile(browser, { main }) {
  await check(`${browser.name}: a model that is deleted while it is stored is used, and leaves nothing behind`, async () => {
    await open(browser, main.url);
    const { state, code, left, chunks } = await browser.evaluate(async (source) => {
      const frame = document.createElement('iframe'); // another page
      frame.src = '/';
      await new Promise((loaded) => {
        frame.onload = loaded;
        document.body.append(frame);
      });
      const { cache } = frame.contentWindow.Nutshell;
      let deleted = null;
      const onProgress = ({ loaded }) => { if (loaded > 6e6) deleted ??= cache.delete(source); };
      const { info } = await window.load(source, { onProgress });
      await deleted;
      const chunks = await countChunks();
      return { state: info.cache.state, code: info.cache.error?.code, left: await Nutshell.cache.list(), chunks };
    }, 'model/big.gguf?slow=5&deleted');
    equal([state, code, left, chunks], ['failed', 'storage', [], 0]);
    equal((await run(browser, 'model/big.gguf?deleted')).info.cache.state, 'stored', 'the next load');
  });
  await check(`${browser.name}: a model that is deleted while it is repaired`, async () => {
    await open(browser, main.url);
    const source = 'model/big.gguf?slow=30&repaired';
    const { text } = await run(browser, source);
    const { state, code, left, chunks, again } = await browser.evaluate(async ([source, prompt, options]) => {
      await withDatabase(async (database) => {
        const [{ id }] = await resultOf(database.transaction('models').objectStore('models').getAll());
        const transaction = database.transaction('chunks', 'readwrite');
        for (const i of [4, 5, 6, 7, 30, 50]) transaction.objectStore('chunks').delete([id, i]);
        await new Promise((resolve) => { transaction.oncomplete = resolve; });
      });
      await Nutshell.cache.verify();
      let deleted = null;
      const onProgress = ({ phase }) => { if (phase === 'download') deleted ??= Nutshell.cache.delete(source); };
      const { info } = await window.load(source, { onProgress });
      const again = (await collect(model.generate(prompt, options))).text;
      await deleted;
      const { state, error } = info.cache;
      return { state, code: error?.code, left: await Nutshell.cache.list(), chunks: await countChunks(), again };
    }, [source, PROMPT, greedy]);
    equal([state, code, left, chunks, again], ['failed', 'storage', [], 0, text]);
  });
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkImport(browser, { main }) {
  await check(`${browser.name}: export gives the file, import brings it back under an address that is gone`, async () => {
    await open(browser, main.url);
    const { text } = await run(browser, 'model/big.gguf');
    const { sum, size, entry } = await browser.evaluate(async () => {
      const blob = await Nutshell.cache.export('model/big.gguf');
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));
      const file = new File([await blob.arrayBuffer()], 'copy.gguf');
      await Nutshell.cache.clear();
      const entry = await Nutshell.cache.import(file.stream(), { url: 'model/elsewhere.gguf?status=404' });
      return { sum: Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join(''), size: blob.size, entry };
    });
    equal([sum, size], [digest(large), large.length]);
    equal([entry.complete, entry.size, entry.name, entry.url], [true, large.length, 'elsewhere.gguf',
      `${main.url}/model/elsewhere.gguf?status=404`]);
    main.forget();
    const back = await run(browser, 'model/elsewhere.gguf?status=404');
    equal([back.info.cache.state, back.text, main.sent], ['hit', text, 0]);
  });
  await check(`${browser.name}: import refuses other files, and leaves nothing of one that breaks off`, async () => {
    await open(browser, main.url);
    const codes = await browser.evaluate(async () => {
      const bytes = new Uint8Array(await (await fetch('model/five.gguf')).arrayBuffer());
      const broken = new ReadableStream({
        pull(control) {
          if (!this.given) control.enqueue(bytes.slice(0, 700_000));
          else control.error(new Error('cable pulled'));
          this.given = true;
        },
      });
      const work = [() => Nutshell.cache.import(new Blob(['no model'])), () => Nutshell.cache.import(new Blob([])),
        () => Nutshell.cache.import(broken), () => Nutshell.cache.import('model/five.gguf'),
        () => Nutshell.cache.import(new Blob([bytes]), { signal: AbortSignal.abort() }),
        () => Nutshell.cache.export('model/none.gguf'), () => Nutshell.cache.verify('model/none.gguf')];
      const codes = [];
      for (const one of work) codes.push((await codeOf(one)).code);
      return codes;
    });
    equal(codes, ['not-gguf', 'not-gguf', 'io', 'bad-argument', 'AbortError', 'not-cached', 'not-cached']);
    equal(await browser.evaluate(() => countChunks()), 0, 'chunks');
    equal(await browser.evaluate(() => Nutshell.cache.list()), [], 'in the cache');
  });
  await check(`${browser.name}: the sum of the whole file is kept, and another one is told`, async () => {
    await open(browser, main.url);
    await run(browser, 'model/five.gguf', { sha256: digest(five) });
    const [report] = await browser.evaluate(() => Nutshell.cache.verify());
    equal([report.sha256, report.damaged], [true, []]);
    const error = await browser.evaluate((sha256) => codeOf(() => Nutshell.load('model/five.gguf', { sha256 })), digest(model));
    equal(error.code, 'wrong-checksum', error.message);
    equal(await browser.evaluate(() => Nutshell.cache.list()), [], 'in the cache');
  });
}
