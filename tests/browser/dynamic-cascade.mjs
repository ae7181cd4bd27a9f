// Sections of dynamic-test.mjs: cascades.
import { check, ensure, equal } from './harness.mjs';
import { open } from './dynamic-setup.mjs';

/** @typedef {import('./dynamic-setup.mjs').Browser} Browser */
/** @typedef {import('./dynamic-setup.mjs').Servers} Servers */

const KEY = 'a-key-of-the-test';
const MESSAGES = [{ role: 'user', content: 'Tell me a story.' }];
const GREEDY = { temperature: 0, maxTokens: 12 };

/**
 * Asks [the model, the endpoint] and tells all that came of it, in the page.
 * @param {Browser} browser
 * @param {Servers} servers
 * @param {{ options?: object, remote?: object, call?: object, prompt?: string, stopAfter?: number, only?: boolean }} how
 */
function ask(browser, { openai }, { options = {}, remote = {}, call = {}, prompt, stopAfter = Infinity, only = false }) {
  return browser.evaluate(async (how) => {
    const far = dynamic.remote({ url: how.url, model: 'far', apiKey: how.key, ...how.remote });
    const models = how.only ? [far] : [model, far];
    const stop = new AbortController(), all = { ...how.greedy, ...how.call, signal: stop.signal };
    const parts = [];
    let answer, error = null;
    try {
      const cascade = dynamic.cascade(models, how.options);
      answer = how.prompt === undefined ? cascade.chat(how.messages, all) : cascade.generate(how.prompt, all);
      for await (const part of answer.parts()) {
        parts.push(part);
        if (parts.length === how.stopAfter) stop.abort(new Error('enough'));
      }
    } catch (caught) {
      error = { code: caught.code ?? null, message: caught.message };
    }
    const { text } = answer?.answer ?? {};
    const tried = (answer?.tried ?? []).map((one) => ({ ...one, error: one.error?.code ?? null }));
    return { parts, text: text ?? null, error, tried, by: answer?.answer?.model ?? null };
  }, { url: openai.url, key: KEY, greedy: GREEDY, messages: MESSAGES, options, remote, call, prompt, only,
    stopAfter: Number.isFinite(stopAfter) ? stopAfter : -1 });
}

/** @param {Browser} browser @param {Servers} servers */
export async function cascading(browser, servers) {
  const { openai } = servers;
  await open(browser, servers);
  const plain = await browser.evaluate(async ([messages, greedy]) => (
    await model.chat(messages, greedy).text()), [MESSAGES, GREEDY]);
  await check(`${browser.name}: an answer that is good enough stays, and nothing is sent anywhere`, async () => {
    openai.play({ texts: ['never'] });
    const { text, tried, by, parts } = await ask(browser, servers, { options: { accept: -20 } });
    equal([text, by, tried.length, openai.requests.length], [plain, 0, 1, 0]);
    ensure(parts.length > 3 && tried[0].logProbability < 0 && tried[0].logProbability > -20 && tried[0].entropy > 0,
      JSON.stringify(tried));
  });
  await check(`${browser.name}: where it is not, the endpoint is asked, and streams`, async () => {
    openai.play({ texts: ['Far', ' away', ' ü'] });
    const { text, tried, by, parts } = await ask(browser, servers, { options: { accept: 0 }, call: { topP: 0.5, stop: ['x'] } });
    const at = parts.findIndex(({ kind }) => kind === 'replace');
    equal([text, by, parts.slice(at)], ['Far away ü', 1, [{ kind: 'replace', model: 1, text: '' },
      ...['Far', ' away', ' ü'].map((some) => ({ kind: 'text', model: 1, text: some }))]]);
    equal([tried[0].text, tried[0].accepted, tried[1].accepted, tried[1].finishReason], [plain, false, true, 'eos']);
    const [{ path, headers, body }, ...others] = openai.requests;
    equal([others.length, path, headers.authorization], [0, '/v1/chat/completions', `Bearer ${KEY}`]);
    equal(body, { model: 'far', messages: MESSAGES, stream: true, max_tokens: 12, temperature: 0, top_p: 0.5, stop: ['x'] });
  });
  await check(`${browser.name}: a function decides, and sees the answer`, async () => {
    openai.play({ texts: ['Far'] });
    const result = await browser.evaluate(async ([url, messages, greedy]) => {
      const seen = [], far = dynamic.remote({ url, model: 'far' });
      const cascade = dynamic.cascade([model, far], { accept: async ({ text, tokens }, input) => {
        seen.push([text, tokens, input.messages.length]);
        return false;
      } });
      return { seen, text: await cascade.chat(messages, greedy).text() };
    }, [openai.url, MESSAGES, GREEDY]);
    equal(result, { seen: [[plain, 12, 1]], text: 'Far' });
    equal(openai.requests[0].headers.authorization, undefined, 'a key that was not given:');
  });
  await check(`${browser.name}: the plain loop gives the answer that counts alone; entropy decides`, async () => {
    openai.play({ texts: ['Far', ' away'] });
    const texts = await browser.evaluate(async ([url, messages, greedy]) => {
      const far = dynamic.remote({ url, model: 'far' }), all = [];
      for (const entropy of [0, 50]) {
        const texts = [];
        for await (const text of dynamic.cascade([model, far], { accept: { entropy } }).chat(messages, greedy)) texts.push(text);
        all.push(texts);
      }
      return all;
    }, [openai.url, MESSAGES, GREEDY]);
    equal(texts, [['Far', ' away'], [plain]]);
  });
  await check(`${browser.name}: a quantile of the tokens' log-probabilities decides`, async () => {
    for (const [accept, by] of [[{ quantile: 0, logProbability: -30 }, 0], [{ quantile: 1, logProbability: 0.5 }, 1],
      [{ quantile: 0.5, logProbability: -1 }, 1]]) {
      openai.play({ texts: ['Far'], logprobs: [-0.1] });
      const { by: found, tried } = await ask(browser, servers, { options: { accept } });
      const { logProbabilities, logProbability, tokens } = tried[0], sorted = [...logProbabilities].sort((a, b) => a - b);
      const mean = logProbabilities.reduce((sum, one) => sum + one, 0) / tokens;
      equal([logProbabilities.length, Math.abs(mean - logProbability) < 1e-6], [tokens, true]);
      const middle = (sorted[(tokens - 1) >> 1] + sorted[tokens >> 1]) / 2;
      equal(found, accept.quantile === 0.5 ? +(middle < -1) : by);
    }
    for (const accept of [{ quantile: 0.1 }, { quantile: 2, logProbability: -1 }]) {
      equal((await ask(browser, servers, { options: { accept } })).error?.code, 'bad-argument');
    }
  });
  await check(`${browser.name}: a prompt is continued by the next model, early`, async () => {
    openai.play({ texts: [' and', ' far'] });
    const { text, tried } = await ask(browser, servers, { prompt: 'Once upon a time',
      options: { accept: 0, early: 3, onReject: 'continue' } });
    const [{ body, path }] = openai.requests;
    equal([path, body.prompt, text], ['/v1/completions', `Once upon a time${tried[0].text}`, `${tried[0].text} and far`]);
    ensure(tried[0].tokens >= 3 && tried[0].tokens < 8, `it was stopped after ${tried[0].tokens} tokens`);
  });
  await check(`${browser.name}: a chat is continued by the next model, and an endpoint answers it anew`, async () => {
    const rules = { accept: 0, early: 3, onReject: 'continue' };
    const { text, first, rest } = await browser.evaluate(async ([messages, greedy, rules]) => {
      const other = await model.session(), answer = dynamic.cascade([model, other], rules).chat(messages, greedy);
      const text = await answer.text(), [{ text: first }] = answer.tried;
      // The same by hand: the template's text and the beginning of the answer, continued.
      const prompt = await model.renderChat(messages) + first;
      const rest = await model.generate(prompt, { ...greedy, parseSpecial: true }).text();
      await other.free();
      return { text, first, rest };
    }, [MESSAGES, GREEDY, rules]);
    ensure(first.length > 0 && rest.length > 0, JSON.stringify([first, rest]));
    equal(text, first + rest);
    openai.play({ texts: ['Far'] });
    const far = await ask(browser, servers, { options: rules });
    equal([far.text, openai.requests[0].body.messages.length], ['Far', MESSAGES.length]);
  });
  await check(`${browser.name}: an endpoint that is not the last is judged by its log-probabilities`, async () => {
    for (const [logprobs, by] of [[[-0.1, -0.3], 0], [[-3, -0.1], 1], [undefined, 1]]) {
      openai.play({ texts: ['A', 'B'], logprobs });
      const result = await browser.evaluate(async ([url, messages, greedy]) => {
        const answer = dynamic.cascade([dynamic.remote({ url, model: 'far' }), model], { accept: -1 }).chat(messages, greedy);
        await answer.text();
        return { by: answer.answer.model, logProbability: answer.tried[0].logProbability };
      }, [openai.url, MESSAGES, GREEDY]);
      equal([result.by, openai.requests[0].body.logprobs], [by, true]);
      if (logprobs) ensure(Math.abs(result.logProbability - (logprobs[0] + logprobs[1]) / 2) < 1e-9, `${result.logProbability}`);
    }
  });
  await failing(browser, servers, plain);
}

/** @param {Browser} browser @param {Servers} servers @param {string} plain */
async function failing(browser, servers, plain) {
  const { openai } = servers, rejected = { options: { accept: 0 } };
  const half = 'data: {"choices":[{"delta":{"content":"Half"}}]}\n\n';
  /** @type {[string, import('./openai-server.mjs').Script, string, RegExp, object?][]} */
  const faults = [
    ['refuses the key', { status: 401 }, 'http-401', /check apiKey.*as the test wants it/],
    ['is asked too often', { status: 429, headers: { 'Retry-After': '7' } }, 'http-429', /after 7 s/],
    ['is broken', { status: 503 }, 'http-503', /ask again later/],
    ['sends no JSON', { raw: [half, 'data: {"choices":[{"del\n\n'] }, 'network', /no JSON/],
    ['sends an HTML page', { raw: ['<!doctype html><h1>Sign in</h1>'] }, 'network', /ends before its last event/],
    ['sends other JSON', { raw: ['data: {"hello":1}\n\n'] }, 'network', /no choices/],
    ['reports an error in the stream', { raw: [half, 'data: {"error":{"message":"overloaded"}}\n\n'] }, 'network', /overloaded/],
    ['ends too early', { raw: [half] }, 'network', /ends before its last event/],
    // WebKit ends the stream as if it were whole.
    ['is cut off', { raw: [half], cut: true }, 'network', /its end is missing|ends before its last event/],
    ['falls silent', { raw: [half], silent: true }, 'network', /nothing came/, { stallSeconds: 1 }],
    ['redirects the key elsewhere', { redirect: 'http://127.0.0.1:9/v1' }, 'network', /no answer/],
  ];
  for (const [what, script, code, message, remote = {}] of faults) {
    await check(`${browser.name}: an endpoint that ${what}: alone an error in words, else the model's answer`, async () => {
      openai.play(script);
      const alone = await ask(browser, servers, { only: true, remote });
      equal([alone.error?.code, alone.text], [code, null]);
      ensure(message.test(alone.error?.message ?? ''), `${alone.error?.message}`);
      const { text, by, tried, error, parts } = await ask(browser, servers, { ...rejected, remote });
      equal([text, by, error, tried[1].error], [plain, 0, null, code]);
      equal(parts.slice(-2).map(({ kind }) => kind), ['replace', 'text']);
      ensure(!openai.requests.some(({ headers }) => !headers.authorization), 'the key was not sent');
    });
  }
  await check(`${browser.name}: no server at all`, async () => {
    const { text, tried } = await ask(browser, servers, { ...rejected, remote: { url: 'http://127.0.0.1:9/v1' } });
    equal([text, tried[1].error], [plain, 'network']);
  });
  await check(`${browser.name}: the plain loop fails where texts were given that cannot be taken back`, async () => {
    openai.play({ raw: [half], silent: true });
    const result = await browser.evaluate(async ([url, messages, greedy]) => {
      const texts = [], cascade = dynamic.cascade([model, dynamic.remote({ url, model: 'far' })], { accept: 0 });
      await codeOf(async () => {
        for await (const text of cascade.chat(messages, greedy)) {
          texts.push(text);
          await fetch(`${url}/cut`);
        }
      });
      return { texts };
    }, [openai.url, MESSAGES, GREEDY]);
    equal(result.texts, ['Half']);
  });
  await check(`${browser.name}: an abort in mid-stream, of the model and of the endpoint`, async () => {
    openai.play({ raw: [half], silent: true });
    const first = await ask(browser, servers, { ...rejected, stopAfter: 2 });
    equal([first.error?.message, first.text, openai.requests.length], ['enough', null, 0]);
    const second = await ask(browser, servers, { only: true, stopAfter: 1 });
    equal([second.error?.message, second.text, openai.requests.length], ['enough', null, 1]);
    for (let i = 0; i < 50 && !openai.left; i++) await new Promise((done) => setTimeout(done, 20));
    equal(openai.left, 1, 'connections closed:');
    ensure((await browser.evaluate(() => model.generate('A', { maxTokens: 3 }).text())).length > 0, 'the model is stuck');
  });
  await check(`${browser.name}: a model that fails makes room for the next`, async () => {
    openai.play({ texts: ['Far'] });
    const { text, tried } = await ask(browser, servers, { prompt: 'a b '.repeat(400), options: { accept: -50 } });
    equal([text, tried[0].error], ['Far', 'context-full']);
  });
  await check(`${browser.name}: what callers do wrong is said in words`, async () => {
    const said = await browser.evaluate(async (url) => {
      const far = dynamic.remote({ url, model: 'far' });
      const calls = [() => dynamic.cascade([]), () => dynamic.cascade([{}]),
        () => dynamic.cascade([model, far], { accept: [1, 2] }),
        () => dynamic.cascade([model, far], { accept: 'no' }), () => dynamic.cascade([model, far], { acept: 1 }),
        () => dynamic.remote({ url: 'ftp://x', model: 'a' }),
        () => dynamic.remote({ url }), () => dynamic.cascade([model, far]).chat([], {}).text(),
        () => dynamic.cascade([model, far]).generate('a', { topQ: 1 }).text()];
      const all = [];
      for (const call of calls) {
        try {
          await call();
          all.push('nothing');
        } catch (error) {
          all.push(error.code);
        }
      }
      return all;
    }, openai.url);
    equal(said, Array(9).fill('bad-argument'));
  });
}
