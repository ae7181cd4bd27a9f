// The library as pages use it: the shipped files of dist/, in Chromium, Firefox and WebKit, against a server that can
// misbehave. Arguments: browsers to run in; none: all three.
import { check, ensure, equal, finish, skip } from './harness.mjs';
import { starters } from './drivers.mjs';
import { DIST, padded, stories, tiny } from './models.mjs';
import { TestServer } from './server.mjs';

const CHUNK = 4 << 20;
const PROMPT = 'Once upon a time';
const LONG_PROMPT = 'Lily and Tom went to the park. '.repeat(30);

const golden = stories();
const model = tiny() ?? golden?.model;
if (!model) throw new Error('there is no model to test with: neither in dist/ nor in shared/data');
const large = padded(model, 1 << 19); // the same model, larger than two chunks of the cache
ensure(large.length > 2 * CHUNK, 'the padded model is too small for these checks');

/** @typedef {Awaited<ReturnType<typeof starters.chromium>>} Browser */
/** @typedef {{ main: TestServer, plain: TestServer, closed: TestServer, open: TestServer, strict: TestServer }} Servers */

/** Loads, generates greedily or with a seed, unloads. In the page. */
const run = async ({ source, load, prompt, options }) => {
  const { info, events } = await window.load(source, load);
  const result = await window.collect(window.model.generate(prompt, options));
  return { info, events, ...result };
};

const greedy = { temperature: 0, maxTokens: 40 };

/** @param {Browser} browser @param {Servers} servers */
async function checkLoading(browser, { main }) {
  await check(`${browser.name}: a script tag loads, streams and reports progress`, async () => {
    await browser.goto(main.url + '/');
    const { info, events, text, pieces, stats } = await browser.evaluate(run, { source: 'model/a.gguf', load: {}, prompt: PROMPT, options: greedy });
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
    const { info, events } = await browser.evaluate(run, { source: 'model/a.gguf', load: {}, prompt: PROMPT, options: greedy });
    equal(info.cache.state, 'hit');
    equal(main.requests.filter((request) => request.path === '/model/a.gguf' && request.method === 'GET').length, 0, 'requests');
    ensure(events.some((event) => event.fromCache && event.phase === 'cache' && event.loaded === model.length), 'no event from the cache');
  });
  await check(`${browser.name}: ES module`, async () => {
    await browser.goto(main.url + '/module');
    const { text } = await browser.evaluate(run, { source: '/model/a.gguf', load: { threads: 1 }, prompt: PROMPT, options: greedy });
    ensure(text.length > 10, `only "${text}"`);
  });
}

/** Two pages with one origin's storage: the server is gone when the second load begins. @param {Browser} browser @param {Servers} servers */
async function checkOffline(browser, { main }) {
  await check(`${browser.name}: loads from the cache with the server stopped`, async () => {
    await browser.goto(main.url + '/');
    const first = await browser.evaluate(run, { source: 'model/big.gguf', load: { threads: 1 }, prompt: PROMPT, options: greedy });
    equal(first.info.fileBytes, large.length);
    await browser.goto(main.url + '/');
    await browser.evaluate(() => Nutshell.prepare({ threads: 1 }));
    const { port } = main;
    await main.close();
    try {
      const second = await browser.evaluate(run, { source: 'model/big.gguf', load: { threads: 1 }, prompt: PROMPT, options: greedy });
      equal([second.info.cache.state, second.text], ['hit', first.text]);
    } finally {
      await main.listen(port);
    }
  });
  await check(`${browser.name}: loads from the cache with the model's route off`, async () => {
    await browser.goto(main.url + '/');
    main.modelRoute = false;
    try {
      const { info } = await browser.evaluate(run, { source: 'model/big.gguf', load: {}, prompt: PROMPT, options: greedy });
      equal(info.cache.state, 'hit');
    } finally {
      main.modelRoute = true;
    }
  });
}

/** @param {Browser} browser @param {Servers} servers */
async function checkStopping(browser, { main }) {
  await browser.goto(main.url + '/');
  await browser.evaluate(() => window.load('model/a.gguf'));
  await check(`${browser.name}: abort while the prompt is read`, async () => {
    const result = await browser.evaluate(async (prompt) => {
      const control = new AbortController();
      const generation = model.generate(prompt, { signal: control.signal, maxTokens: 5 });
      const failed = codeOf(() => generation.next());
      control.abort();
      const { code } = await failed;
      await generation.return();
      return { code, stats: generation.stats };
    }, LONG_PROMPT);
    equal([result.code, result.stats.finishReason, result.stats.tokens], ['AbortError', 'aborted', 0]);
    ensure(result.stats.promptTokensRead < result.stats.promptTokens || result.stats.promptTokens === 0, 'the whole prompt was read');
  });
  await check(`${browser.name}: abort while drawing, with a reason of one's own`, async () => {
    const result = await browser.evaluate(async (prompt) => {
      const control = new AbortController();
      const generation = model.generate(prompt, { signal: control.signal, temperature: 0 });
      await generation.next();
      control.abort(new RangeError('enough'));
      const failed = await codeOf(() => generation.next());
      const after = await generation.next();
      return { failed, after, stats: generation.stats };
    }, PROMPT);
    equal([result.failed.code, result.failed.message, result.after.done], ['RangeError', 'enough', true]);
    equal(result.stats.finishReason, 'aborted');
  });
  await check(`${browser.name}: leaving the loop stops, and the model goes on`, async () => {
    const { taken, stats, next } = await browser.evaluate(async ([prompt, options]) => {
      const generation = model.generate(prompt, { temperature: 0 });
      let taken = 0;
      for await (const piece of generation) if (piece && ++taken === 3) break;
      return { taken, stats: generation.stats, next: await collect(model.generate(prompt, options)) };
    }, [PROMPT, greedy]);
    equal([taken, stats.finishReason], [3, 'aborted']);
    ensure(next.text.length > 10, 'the next generation gives no text');
  });
  await check(`${browser.name}: a stop before the start, and a load that is aborted`, async () => {
    const codes = await browser.evaluate(async () => {
      const reason = AbortSignal.abort();
      const control = new AbortController();
      const loading = codeOf(() => Nutshell.load('model/slow.gguf?slow=200&big', { signal: control.signal, onProgress: () => control.abort() }));
      return [(await codeOf(() => model.generate('a', { signal: reason }).next())).code, (await loading).code];
    });
    equal(codes, ['AbortError', 'AbortError']);
  });
}

/** @param {Browser} browser @param {Servers} servers */
async function checkMisuse(browser, { main }) {
  await browser.goto(main.url + '/');
  await browser.evaluate(() => window.load('model/a.gguf', { contextLength: 128 }));
  const fails = (name, code, message, work, ...args) => check(`${browser.name}: ${name}`, async () => {
    const error = await browser.evaluate(work, ...args);
    equal(error.code ?? error, code);
    ensure(error.isOurs && message.test(error.message), `its message is "${error.message}"`);
  });
  const busy = () => codeOf(async () => {
    const generation = model.generate('a', { temperature: 0 });
    await generation.next();
    try {
      await model.generate('b').next();
    } finally {
      await generation.return();
    }
  });
  await fails('generate while generating', 'busy', /wait|stop/, busy);
  await fails('a prompt longer than the context', 'context-full', /context/, (p) => codeOf(() => model.generate(p).next()), LONG_PROMPT);
  await fails('an option of the wrong type', 'bad-argument', /^temperature must be a number from 0 to 100, not "hot"$/,
    () => codeOf(() => model.generate('a', { temperature: 'hot' }).next()));
  await fails('an option that does not exist', 'bad-argument', /there is no option "max_tokens"/, () => codeOf(() => model.generate('a', { max_tokens: 3 }).next()));
  await fails('a prompt that is no text', 'bad-argument', /^prompt must be a string, not 7$/, () => codeOf(() => model.generate(7).next()));
  await fails('options that are no object', 'bad-argument', /options must be an object/, () => codeOf(() => model.generate('a', 5).next()));
  await fails('messages that are none', 'bad-argument', /messages\[0\]/, () => codeOf(() => model.chat([{ role: 'user' }]).next()));
  await fails('too many stop texts', 'bad-argument', /stop must be/, () => codeOf(() => model.generate('a', { stop: Array(17).fill('x') }).next()));
  await fails('token ids that are none', 'bad-argument', /ids\[1\]/, () => codeOf(() => model.detokenize([1, 'x'])));
  await fails('a token id outside of the vocabulary', 'bad-argument', /token/, () => codeOf(() => model.detokenize([2 ** 30])));
  await fails('a source that is none', 'bad-argument', /^source must be/, () => codeOf(() => Nutshell.load(5)));
  await fails('an address of another kind', 'bad-argument', /http/, () => codeOf(() => Nutshell.load('ftp://example.org/a.gguf')));
  await fails('a template that cannot be read', 'chat-template', /template/,
    () => codeOf(() => model.chat([{ role: 'user', content: 'a' }], { template: '{% if %}' }).next()));
  await fails('too many threads', 'bad-argument', /threads must be/, () => codeOf(() => Nutshell.load('model/a.gguf', { threads: 1000 })));
  await fails('a model that is not in the cache', 'not-cached', /cache/, () => codeOf(() => Nutshell.load({ cached: 'nothing' })));
  await check(`${browser.name}: the model still works after all that`, async () => {
    const { text } = await browser.evaluate(([prompt, options]) => collect(model.generate(prompt, options)), [PROMPT, greedy]);
    ensure(text.length > 10, `only "${text}"`);
  });
  await fails('use after unload', 'unloaded', /load it again/, () => codeOf(async () => {
    const pending = model.generate('a', { temperature: 0 });
    await pending.next();
    await model.unload();
    await model.unload();
    await model.tokenize('a');
  }));
  await check(`${browser.name}: no SIMD`, async () => {
    const error = await browser.evaluate(() => {
      WebAssembly.validate = () => false;
      return codeOf(() => Nutshell.load('model/a.gguf'));
    });
    equal(error.code, 'no-simd');
    ensure(/Firefox 89/.test(error.message), error.message);
  });
}

/** @param {Browser} browser @param {Servers} servers */
async function checkServerFaults(browser, { main, closed, open }) {
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
    const { info } = await browser.evaluate(run, { source: `${open.url}/model/big.gguf?cut=${CHUNK + 1e6}`, load: {}, prompt: PROMPT, options: greedy });
    equal([info.fileBytes, info.cache.state], [large.length, 'stored']);
  });
}

/** @param {Browser} browser @param {Servers} servers */
async function checkResuming(browser, { main }) {
  const interrupted = async (query) => {
    await browser.goto(main.url + '/');
    main.forget();
    return browser.evaluate(async (source) => {
      const control = new AbortController();
      const error = await codeOf(() => Nutshell.load(source, { signal: control.signal, onProgress: ({ loaded }) => { if (loaded > 9e6) control.abort(); } }));
      await wait(300); // the chunk that is being written
      return error;
    }, `model/big.gguf?slow=20&${query}`);
  };
  const again = (query) => browser.evaluate(run, { source: `model/big.gguf?slow=20&${query}`, load: {}, prompt: PROMPT, options: greedy });
  await check(`${browser.name}: an aborted load goes on where it was`, async () => {
    equal((await interrupted('a')).code, 'AbortError');
    main.forget();
    const { info, text } = await again('a');
    equal(info.cache.state, 'resumed');
    const [first] = main.requests.filter(({ path, method }) => path === '/model/big.gguf' && method === 'GET');
    equal(first.range, `bytes=${2 * CHUNK}-`, 'asked for');
    equal(main.sent, large.length - 2 * CHUNK, 'bytes sent');
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
    const { info, text } = await browser.evaluate(run, { source: 'model/big.gguf?cut=10000000', load: {}, prompt: PROMPT, options: greedy });
    equal([info.cache.state, info.fileBytes], ['stored', large.length]);
    ensure(text.length > 10, 'no text');
    ensure(main.requests.some(({ range }) => range), 'the file was fetched anew');
  });
}

/** @param {Browser} browser @param {Servers} servers */
async function checkStore(browser, { main }) {
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
      return { texts: [...new Set(texts)].length, states, length: bytes.byteLength, list: (await Nutshell.cache.list()).map(({ name }) => name) };
    }, greedy);
    equal(result.texts, 1, 'different texts');
    equal(result.states, ['off', 'stored', 'stored', 'off', 'off', 'off']);
    equal(result.length, model.length, 'the bytes of the caller');
    equal(result.list, ['dropped.gguf'], 'in the cache');
  });
  for (const [variant, state, code] of [['no-storage', 'failed', 'storage'], ['no-quota', 'failed', 'quota'], ['small-quota', 'failed', 'quota']]) {
    await check(`${browser.name}: ${variant}`, async () => {
      const { cache, text, required } = await browser.evaluate(async ([baseUrl, options]) => {
        await Nutshell.cache.clear();
        const { info } = await window.load('model/a.gguf', { baseUrl });
        const { text } = await collect(model.generate('Once', options));
        const required = await codeOf(() => Nutshell.load('model/a.gguf', { baseUrl, cache: 'required' }));
        return { cache: { state: info.cache.state, code: info.cache.error.code, message: info.cache.error.message }, text, required };
      }, [`/variant/${variant}/`, greedy]);
      equal([cache.state, cache.code, required.code], [state, code, code]);
      if (variant === 'small-quota') ensure(/MB are missing/.test(cache.message), cache.message);
      ensure(text.length > 5, 'no text');
    });
  }
}

/** @param {Browser} browser @param {Servers} servers */
async function checkSurroundings(browser, { main, open, strict, plain }) {
  await check(`${browser.name}: strict Content-Security-Policy`, async () => {
    await browser.goto(strict.url + '/');
    const { text } = await browser.evaluate(run, { source: 'model/a.gguf', load: {}, prompt: PROMPT, options: greedy });
    ensure(text.length > 10, 'no text');
  });
  await check(`${browser.name}: a script from another origin`, async () => {
    await browser.goto(plain.url + '/blank');
    const result = await browser.evaluate(async (other) => {
      const script = document.createElement('script');
      script.src = other + '/dist/nutshell.js';
      await new Promise((done, fail) => { script.onload = done; script.onerror = fail; document.head.append(script); });
      const error = await codeOf(() => Nutshell.load('/model/a.gguf'));
      const { info } = await window.load('/model/a.gguf', { baseUrl: '/dist' });
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
    const { text } = await browser.evaluate(run, { source: 'model/a.gguf', load: { baseUrl: '/variant/wrong-mime' }, prompt: PROMPT, options: greedy });
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
async function checkSameText(browser, { main, plain }, texts) {
  const options = { temperature: 0.9, topK: 0, topP: 1, minP: 0, seed: 7, maxTokens: 60 };
  const runs = [['one thread', main, { threads: 1 }], ['two threads', main, { threads: 2 }], ['not isolated', plain, { threads: 2 }],
    ['SIMD128', main, { threads: 1, kernel: 'simd128' }]];
  for (const [name, server, load] of runs) {
    await check(`${browser.name}: same text with ${name}`, async () => {
      await browser.goto(server.url + '/');
      const { text, info } = await browser.evaluate(run, { source: 'model/a.gguf', load, prompt: PROMPT, options });
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
  await check(`${browser.name}: threads that do not start`, async () => {
    await browser.goto(main.url + '/');
    const { info } = await browser.evaluate(run, { source: 'model/a.gguf', load: { threads: 2, baseUrl: '/variant/no-threads' }, prompt: PROMPT, options });
    equal(info.threads, 1);
  });
}

/** Against karpathy's stories260K and what an independent program says of it. @param {Browser} browser */
async function checkGolden(browser) {
  if (!golden) return skip(`${browser.name}: golden texts`, 'shared/data is not here');
  const server = await TestServer.start({ dist: DIST, model: golden.model, isolated: true });
  await check(`${browser.name}: golden tokens and greedy text`, async () => {
    await browser.goto(server.url + '/');
    await browser.evaluate(() => window.load('model/stories.gguf', { cache: false }));
    for (const { text, ids } of golden.golden.tokenize) {
      equal(await browser.evaluate((text) => model.tokenize(text, { addBos: true }), text), ids, text);
    }
    for (const { prompt, ids, text } of golden.golden.greedy) {
      const result = await browser.evaluate(([prompt, maxTokens]) => collect(model.generate(prompt, { temperature: 0, maxTokens })), [prompt, ids.length]);
      equal(result.text, text);
    }
  });
  await server.close();
}

/** @param {Browser} browser @param {Servers} servers */
async function checkChat(browser, { main }) {
  await browser.goto(main.url + '/');
  const template = '{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}'
    + '{% if add_generation_prompt %}[assistant]{{ suffix }}{% endif %}';
  const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }];
  await check(`${browser.name}: chat templates`, async () => {
    const { rendered, without, text, code, info } = await browser.evaluate(async ([messages, template, options]) => {
      const { info } = await window.load('model/a.gguf');
      const rendered = await model.renderChat(messages, { template, templateVariables: { suffix: '!' } });
      const without = await model.renderChat(messages, { template, addGenerationPrompt: false });
      const { text } = await collect(model.chat(messages, { template, ...options }));
      return { rendered, without, text, info, code: info.chat ? null : (await codeOf(() => model.chat(messages).next())).code };
    }, [messages, template, greedy]);
    equal(rendered, `${info.model.bos ?? ''}[system] Be brief.\n[user] Hi\n[assistant]!`);
    equal(without, `${info.model.bos ?? ''}[system] Be brief.\n[user] Hi\n`);
    ensure(text.length > 5, `only "${text}"`);
    if (!info.chat) equal(code, 'no-chat-template');
  });
  await check(`${browser.name}: stop texts, tokens and back`, async () => {
    const result = await browser.evaluate(async ([prompt, options]) => {
      const { text } = await collect(model.generate(prompt, options));
      const stop = text.slice(8, 12);
      const stopped = await collect(model.generate(prompt, { ...options, stop }));
      const ids = await model.tokenize('Héllo 🙂 world');
      return { text, stop, stopped, back: await model.detokenize(ids), count: ids.length };
    }, [PROMPT, greedy]);
    equal(result.stopped.text, result.text.slice(0, result.text.indexOf(result.stop)));
    equal([result.stopped.stats.finishReason, result.back], ['stop', 'Héllo 🙂 world']);
  });
}

const servers = {
  main: await TestServer.start({ dist: DIST, model, large, isolated: true }),
  plain: await TestServer.start({ dist: DIST, model, large }),
  closed: await TestServer.start({ dist: DIST, model, large }),
  open: await TestServer.start({ dist: DIST, model, large, cors: true }),
  strict: await TestServer.start({ dist: DIST, model, large, isolated: true, csp: true }),
};
const sections = { checkLoading, checkOffline, checkStopping, checkMisuse, checkServerFaults, checkResuming, checkStore,
  checkSurroundings, checkSameText, checkGolden, checkChat };
const texts = new Map();
const wanted = process.argv.slice(2);
const only = process.env.NUT_ONLY;
for (const [name, start] of Object.entries(starters)) {
  if (wanted.length && !wanted.includes(name)) continue;
  const browser = await start();
  try {
    for (const [title, section] of Object.entries(sections)) {
      if (!only || title.includes(only)) await section(browser, servers, texts).catch((error) => check(`${name}: ${title}`, () => { throw error; }));
    }
  } finally {
    await browser.close();
  }
}
for (const server of Object.values(servers)) await server.close();
finish();
