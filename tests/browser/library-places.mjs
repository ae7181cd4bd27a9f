// Sections of library-test.mjs: storage, other origins, policies, threads and kernels: the same text everywhere.
import { check, ensure, equal, skip } from './harness.mjs';
import { golden, greedy, model, rendered, run } from './library-setup.mjs';
import { DIST } from './models.mjs';
import { TestServer } from './server.mjs';

/** @typedef {import('./library-setup.mjs').Browser} Browser */
/** @typedef {import('./library-setup.mjs').Servers} Servers */

/** @param {Browser} browser @param {Servers} servers */
export async function checkStore(browser, { main }) {
  await browser.goto(main.url + '/');
  await check(`${browser.name}: cache.list, usage, load from it, delete`, async () => {
    const result = await browser.evaluate(async () => {
      await Nutshell.cache.clear();
      await window.load('model/a.gguf');
      const [entry] = await Nutshell.cache.list();
      const { info } = await window.load({ cached: entry.id });
      const usage = await Nutshell.cache.usage();
      const gone = [await Nutshell.cache.delete('model/a.gguf'), await Nutshell.cache.delete('model/a.gguf')];
      return { entry, state: info.cache.state, usage, gone, left: (await Nutshell.cache.list()).length };
    });
    const { name, size, stored, complete, url } = result.entry;
    equal([name, size, stored, complete, url], ['a.gguf', model.length, model.length, true, `${main.url}/model/a.gguf`]);
    equal([result.state, result.usage.models, result.gone, result.left], ['hit', model.length, [true, false], 0]);
  });
  await check(`${browser.name}: a file, bytes, a stream`, async () => {
    const result = await browser.evaluate(async (options) => {
      const bytes = await (await fetch('model/a.gguf')).arrayBuffer();
      const file = new File([bytes], 'dropped.gguf', { lastModified: 1 });
      const texts = [];
      const states = [];
      for (const [source, load] of [[file, {}], [file, { cache: true }], [new Blob([bytes]), { cache: true }], [bytes, {}],
        [new Uint8Array(bytes), {}], [new Blob([bytes]).stream(), {}]]) {
        const { info } = await window.load(source, load);
        texts.push((await collect(model.generate('Once', options))).text);
        states.push(info.cache.state);
      }
      const list = (await Nutshell.cache.list()).map(({ name }) => name);
      return { texts: [...new Set(texts)].length, states, length: bytes.byteLength, list };
    }, greedy);
    equal(result.texts, 1, 'different texts');
    equal(result.states, ['off', 'stored', 'stored', 'off', 'off', 'off']);
    equal(result.length, model.length, 'the bytes of the caller');
    equal(result.list, ['dropped.gguf'], 'in the cache');
  });
  for (const [variant, code] of [['no-storage', 'storage'], ['no-quota', 'quota'], ['small-quota', 'quota']]) {
    await check(`${browser.name}: ${variant}`, async () => {
      const { cache, text, required } = await browser.evaluate(async ([baseUrl, options]) => {
        await Nutshell.cache.clear();
        const { info } = await window.load('model/a.gguf', { baseUrl });
        const { text } = await collect(model.generate('Once', options));
        const required = await codeOf(() => Nutshell.load('model/a.gguf', { baseUrl, cache: 'required' }));
        const { state, error } = info.cache;
        return { cache: { state, code: error.code, message: error.message }, text, required };
      }, [`/variant/${variant}/`, greedy]);
      equal([cache.state, cache.code, required.code], ['failed', code, code]);
      if (variant === 'small-quota') ensure(/MB are missing/.test(cache.message), cache.message);
      ensure(text.length > 5, 'no text');
    });
  }
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkSurroundings(browser, { main, open, strict, plain }) {
  await check(`${browser.name}: strict Content-Security-Policy`, async () => {
    await browser.goto(strict.url + '/');
    const { text } = await run(browser, 'model/a.gguf');
    ensure(text.length > 10, 'no text');
    equal(await rendered(browser), 'Hi!');
  });
  await check(`${browser.name}: a script from another origin`, async () => {
    await browser.goto(plain.url + '/blank');
    const result = await browser.evaluate(async (other) => {
      const script = document.createElement('script');
      script.src = other + '/dist/nutshell.js';
      await new Promise((done, fail) => { script.onload = done; script.onerror = fail; document.head.append(script); });
      const error = await codeOf(() => Nutshell.load('/model/a.gguf'));
      const { info } = await window.load('/model/own.gguf', { baseUrl: '/dist' });
      return { error, state: info.cache.state };
    }, open.url);
    equal([result.error.code, result.state], ['cross-origin-worker', 'stored']);
    ensure(/baseUrl/.test(result.error.message), result.error.message);
  });
  await browser.goto(main.url + '/');
  await check(`${browser.name}: the engine's files are missing`, async () => {
    const error = await browser.evaluate(() => codeOf(() => Nutshell.load('model/a.gguf', { baseUrl: '/elsewhere/' })));
    equal(error.code, 'engine-missing');
    ensure(/404/.test(error.message), error.message);
  });
  await check(`${browser.name}: a wrong MIME type for the wasm`, async () => {
    const { text } = await run(browser, 'model/a.gguf', { baseUrl: '/variant/wrong-mime' });
    ensure(text.length > 10, 'no text');
  });
  await check(`${browser.name}: the worker crashes`, async () => {
    const error = await browser.evaluate(async () => {
      await window.load('model/a.gguf', { baseUrl: '/variant/crash', threads: 1 });
      await wait(2500);
      return codeOf(() => model.tokenize('a'));
    });
    equal(error.code, 'engine-crashed');
  });
}

/** @param {Browser} browser @param {Servers} servers @param {Map<string, string>} texts */
export async function checkSameText(browser, { main, plain }, texts) {
  const options = { temperature: 0.9, topK: 0, topP: 1, minP: 0, seed: 7, maxTokens: 60 };
  const runs = [
    ['one thread', main, { threads: 1 }], ['two threads', main, { threads: 2 }], ['not isolated', plain, { threads: 2 }],
    ['SIMD128', main, { threads: 1, kernel: 'simd128' }],
  ];
  for (const [name, server, load] of runs) {
    await check(`${browser.name}: same text with ${name}`, async () => {
      await browser.goto(server.url + '/');
      const { text, info } = await run(browser, 'model/a.gguf', load, options);
      const isolated = await browser.evaluate(() => Nutshell.capabilities().threads);
      equal(info.threads, load.threads === 2 && isolated ? 2 : 1, 'threads');
      const relaxed = await browser.evaluate(() => Nutshell.capabilities().relaxedSimd);
      equal(info.kernel, relaxed && !load.kernel ? 'relaxed' : 'simd128', 'kernel');
      texts.set(`${browser.name}, ${name}`, text);
      equal(text, texts.values().next().value, 'text');
      ensure(text.length > 20, 'too little text');
    });
  }
  if (!(await browser.evaluate(() => Nutshell.capabilities().threads))) return;
  await check(`${browser.name}: a thread crashes`, async () => {
    await browser.goto(main.url + '/');
    const error = await browser.evaluate(() => codeOf(async () => {
      await window.load('model/a.gguf', { threads: 2, baseUrl: '/variant/thread-crash' });
      await model.generate('Once').text();
    }));
    equal(error.code, 'engine-crashed');
  });
  await check(`${browser.name}: threads that do not start`, async () => {
    await browser.goto(main.url + '/');
    const { info } = await run(browser, 'model/a.gguf', { threads: 2, baseUrl: '/variant/no-threads' }, options);
    equal(info.threads, 1);
  });
}

/** Against karpathy's stories260K and what an independent program says of it. @param {Browser} browser */
export async function checkGolden(browser) {
  if (!golden) return skip(`${browser.name}: golden texts`, 'shared/data is not here');
  const server = await TestServer.start({ dist: DIST, model: golden.model, isolated: true });
  await check(`${browser.name}: golden tokens and greedy text`, async () => {
    await browser.goto(server.url + '/');
    await browser.evaluate(() => window.load('model/stories.gguf', { cache: false }));
    for (const { text, ids } of golden.golden.tokenize) {
      equal(await browser.evaluate((text) => model.tokenize(text, { addBos: true }), text), ids, text);
    }
    for (const { prompt, ids, text } of golden.golden.greedy) {
      const options = { temperature: 0, maxTokens: ids.length };
      const result = await browser.evaluate(([prompt, options]) => collect(model.generate(prompt, options)), [prompt, options]);
      equal(result.text, text);
    }
  });
  await server.close();
}
