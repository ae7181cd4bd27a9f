// Sections of library-test.mjs: storage, other origins, policies, threads and kernels; the text is the same everywhere.
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

/** Everything that fetches, starts or stores something, under the strictest policy. @param {Browser} browser
 *  @param {Servers} servers */
export async function checkPolicy(browser, { strict }) {
  const baseUrl = '/variant/watched/'; // its workers tell of what breaks the policy
  strict.violations = [];
  await browser.goto(strict.url + '/');
  await browser.evaluate(() => {
    window.broken = [];
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      const byBrowser = blockedURI.endsWith('/favicon.ico'); // not requested by the page
      if (!byBrowser) window.broken.push(violatedDirective);
    });
  });
  const nothingBroken = async () => {
    await browser.evaluate(() => window.wait(300)); // reports come late
    equal([await browser.evaluate('window.broken'), strict.violations], [[], []]);
  };
  await check(`${browser.name}: strict policy: load, generate and chat, with threads`, async () => {
    const { text, info } = await run(browser, 'model/a.gguf', { threads: 2, baseUrl });
    const isolated = await browser.evaluate(() => Nutshell.capabilities().threads);
    equal([info.threads, info.cache.state], [isolated ? 2 : 1, 'stored']);
    ensure(text.length > 10, 'no text');
    equal(await rendered(browser), 'Hi!');
    await nothingBroken();
  });
  await check(`${browser.name}: strict policy: the cache, a prepared engine, a file`, async () => {
    const { states, left } = await browser.evaluate(async (baseUrl) => {
      const file = new File([await (await fetch('model/a.gguf')).arrayBuffer()], 'a.gguf');
      const states = [];
      for (const source of ['model/a.gguf', { cached: (await Nutshell.cache.list())[0].id }, file]) {
        await Nutshell.prepare({ threads: 1, baseUrl });
        states.push((await window.load(source, { threads: 1, baseUrl })).info.cache.state);
      }
      await Nutshell.cache.clear();
      return { states, left: (await Nutshell.cache.list()).length };
    }, baseUrl);
    equal([states, left], [['hit', 'hit', 'off'], 0]);
    await nothingBroken();
  });
  await check(`${browser.name}: strict policy: it is in force, in the page and in the worker`, async () => {
    await browser.evaluate(() => { fetch('https://page.invalid/').catch(() => {}); });
    await browser.evaluate(() => window.load('model/a.gguf', { threads: 1, baseUrl: '/variant/breach/' }));
    const told = (/** @type {string} */ name) => strict.violations.some((report) => report.includes(name));
    for (const end = Date.now() + 5000; Date.now() < end && !told('worker.invalid');) {
      await browser.evaluate(() => window.wait(100));
    }
    equal(await browser.evaluate('window.broken'), ['connect-src'], 'events');
    equal(told('page.invalid'), true, 'a report from the page');
    if (browser.name === 'webkit' && !told('worker.invalid')) {
      skip('webkit: breaches in workers', 'it tells of none, so only that all works under the policy is known');
    } else equal(told('worker.invalid'), true, 'a report from the worker');
    strict.violations = [];
  });
}

/** The library used inside workers of the page's own. @param {Browser} browser @param {Servers} servers */
export async function checkWorkers(browser, { main }) {
  const open = async () => {
    await browser.goto(main.url + '/');
    await browser.evaluate(defineInWorker);
  };
  /** What comes of code in a worker. */
  const defineInWorker = async () => {
    await Nutshell.cache.clear();
    window.inWorker = (address, code, type) => new Promise((resolve) => {
      const worker = type === 'shared' ? new SharedWorker(address, { type: 'module' }).port : new Worker(address, { type });
      worker.onmessage = ({ data }) => {
        worker.terminate?.();
        resolve(data);
      };
      worker.onerror = (error) => resolve({ message: error.message });
      worker.postMessage(code);
    });
  };
  const once = (/** @type {string} */ address, /** @type {string} */ code, /** @type {string} */ type) => browser.evaluate(
    ([address, code, type]) => window.inWorker(address, `(async () => { ${code} })()`, type), [address, code, type]);
  /** On a busy machine Firefox now and then hangs in a worker that starts one of its own: then once more, in a new page. */
  const inWorker = (/** @type {string} */ address, /** @type {string} */ code, type = 'module') =>
    once(address, code, type).catch(async (error) => {
      if (browser.name !== 'firefox' || !/timed out/.test(error.message)) throw error;
      console.log(`note: firefox hung in ${address}, and was asked once more`);
      await open();
      return once(address, code, type);
    });
  await open();
  await check(`${browser.name}: in a worker, with addresses relative to its script`, async () => {
    // Not unloaded: Firefox now and then hangs in a worker that ends a worker of its own.
    const answer = await inWorker('/workers/module.mjs', `
      const m = await Nutshell.load('../model/a.gguf', { baseUrl: '../dist' });
      const text = await m.generate('Once', { temperature: 0, maxTokens: 9 }).text();
      const { cache } = Nutshell;
      const verified = (await cache.verify('../model/a.gguf')).length, { size } = await cache.export('../model/a.gguf');
      const { url } = await cache.import(new Blob([await cache.export('../model/a.gguf')]), { url: '../model/b.gguf' });
      const usage = await cache.usage();
      const gone = [await cache.delete('../model/a.gguf'), await cache.delete('../model/a.gguf'), await cache.delete(url)];
      return { state: m.info.cache.state, text: text.length, verified, size, url, models: usage.models, gone };`);
    equal(answer.message, undefined);
    ensure(answer.value.text > 5, 'no text');
    equal({ ...answer.value, text: 0 }, { state: 'stored', text: 0, verified: 1, size: model.length,
      url: `${main.url}/model/b.gguf`, models: 2 * model.length, gone: [true, false, true] });
  });
  await check(`${browser.name}: in a worker that is no module`, async () => {
    const code = `await Nutshell.load('/model/a.gguf', { baseUrl: '/dist/', cache: false });
      return 'loaded';`;
    equal(await inWorker('/workers/classic.js', code, 'classic'), { value: 'loaded' });
  });
  await check(`${browser.name}: in a shared worker it loads, or says that no worker can be started there`, async () => {
    const code = `
      const fails = (work) => work().then(() => 'works', (error) => error.name + ' ' + error.code);
      const { load, cache, capabilities } = Nutshell;
      return [typeof Worker, await fails(() => load('/model/a.gguf', { cache: false })), await fails(cache.list),
        typeof capabilities().threads];`;
    const { value, message } = await browser.evaluate((code) => (typeof SharedWorker === 'function'
      ? window.inWorker('/workers/shared.mjs', code, 'shared') : { value: null }), `(async () => { ${code} })()`);
    if (value === null) return skip(`${browser.name}: shared workers`, 'it has none');
    const due = value?.[0] === 'function' ? 'works' : 'NutshellError no-worker';
    return equal(value?.slice(1), [due, due, 'boolean'], message);
  });
}

/** Policies without 'wasm-unsafe-eval', of the page and of the worker. @param {Browser} browser @param {Servers} servers */
export async function checkBlocked(browser, { main }) {
  for (const [whose, page, baseUrl] of [['page', '/no-wasm', '/dist/'], ['worker', '/', '/variant/no-wasm/']]) {
    await check(`${browser.name}: a policy of the ${whose} that forbids WebAssembly`, async () => {
      await browser.goto(main.url + page);
      const { errors, simd } = await browser.evaluate(async (baseUrl) => ({
        simd: Nutshell.capabilities().simd,
        errors: [await codeOf(() => Nutshell.load('/model/a.gguf', { baseUrl })),
          await codeOf(() => Nutshell.prepare({ baseUrl }))],
      }), baseUrl);
      for (const { code, message, isOurs } of errors) {
        equal([code, isOurs, /wasm-unsafe-eval/.test(message)], ['wasm-blocked', true, true], message);
      }
      equal(simd, whose === 'worker', 'capabilities');
    });
  }
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkSurroundings(browser, { main, open, plain }) {
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
    main.missing = ['nutshell-worker.mjs'];
    try {
      const errors = await browser.evaluate(async () => [await codeOf(() => Nutshell.cache.list()),
        await codeOf(() => Nutshell.load('model/a.gguf', { baseUrl: '/elsewhere/' }))]);
      for (const { code, message } of errors) equal([code, /404/.test(message)], ['engine-missing', true], message);
    } finally {
      main.missing = [];
    }
  });
  await check(`${browser.name}: a wrong MIME type for the wasm`, async () => {
    const { text } = await run(browser, 'model/a.gguf', { baseUrl: '/variant/wrong-mime' });
    ensure(text.length > 10, 'no text');
  });
  await check(`${browser.name}: relaxed kernels that compute wrongly`, async () => {
    for (const threads of [1, 2]) {
      const { info, text } = await run(browser, 'model/a.gguf', { baseUrl: '/variant/wrong-relaxed', threads });
      equal(info.kernel, 'simd128', 'kernel');
      ensure(text.length > 10, 'no text');
    }
    const error = await browser.evaluate(() =>
      codeOf(() => Nutshell.load('model/a.gguf', { baseUrl: '/variant/wrong-relaxed', kernel: 'relaxed' })));
    equal(error.code, 'bad-argument');
    await browser.goto(main.url + '/');
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
