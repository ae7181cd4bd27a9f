// Sections of library-test.mjs: several conversations on one model.
import { check, ensure, equal } from './harness.mjs';
import { LONG_PROMPT, PROMPT, greedy } from './library-setup.mjs';

/** @typedef {import('./library-setup.mjs').Browser} Browser */
/** @typedef {import('./library-setup.mjs').Servers} Servers */

const LONGER = `${PROMPT} there was a little girl who had a red ball`;
const SAMPLED = { maxTokens: 40, temperature: 1.2, ignoreEos: true };

/** @param {Browser} browser @param {Servers} servers */
export async function checkSessions(browser, { main }) {
  for (const threads of [1, 2]) {
    await browser.goto(main.url + '/');
    await browser.evaluate((threads) => window.load('model/a.gguf', { threads, contextLength: 256 }), threads);
    await check(`${browser.name}: three conversations at the same time, ${threads} threads`, async () => {
      const { together, alone, order, shared } = await browser.evaluate(async ([prompts, options]) => {
        const alone = [];
        for (const [i, prompt] of prompts.entries()) {
          const session = await model.session();
          alone.push((await collect(session.generate(prompt, { ...options, seed: i }))).text);
          await session.free();
        }
        const sessions = [model, await model.session(), await model.session({ contextLength: 128 })];
        const order = [];
        const together = await Promise.all(sessions.map(async (session, i) => {
          let text = '';
          for await (const piece of session.generate(prompts[i], { ...options, seed: i })) {
            text += piece;
            order.push(i);
          }
          return text;
        }));
        const shared = sessions.map((session) => session.stats.tokens);
        return { together, alone, order, shared };
      }, [[PROMPT, LONGER, 'The sun'], SAMPLED]);
      equal([together, shared], [alone, [40, 40, 40]]);
      for (const i of [0, 1, 2]) {
        const first = order.indexOf(i), others = order.slice(0, order.lastIndexOf(i)).filter((one) => one !== i).length;
        ensure(first < 20 && others > 20, `pieces came in this order: ${order}`);
      }
    });
  }
  await check(`${browser.name}: a conversation in a session, forked, saved and restored in another instance`, async () => {
    const result = await browser.evaluate(async ([long, options, template]) => {
      const ask = (session, content) => {
        const messages = [{ role: 'user', content: long }, { role: 'assistant', content: 'Yes.' }, { role: 'user', content }];
        return collect(session.chat(messages, { ...options, template }));
      };
      const chat = await model.session();
      const first = await ask(chat, 'a');
      const fork = await chat.fork();
      const forked = await ask(fork, 'b');
      const saved = await chat.save();
      const other = await Nutshell.load('model/a.gguf', { threads: 1, contextLength: 200 });
      const restored = await other.session();
      await restored.restore(saved);
      const again = await ask(restored, 'b');
      const fresh = await ask(other, 'b');
      const bad = await codeOf(() => restored.restore(saved.slice(1)));
      const goesOn = await ask(restored, 'a');
      const small = await other.session({ contextLength: 8 });
      const tooShort = await codeOf(() => small.restore(saved));
      await other.unload();
      return { first, forked, again, fresh, goesOn, bad, tooShort, bytes: saved.length, held: chat.bytes,
        lengths: [chat, fork, restored].map(({ contextLength }) => contextLength) };
    }, ['Once upon a time there was a dog. '.repeat(3), greedy, "{% for m in messages %}{{ m.content }} {% endfor %}"]);
    equal([result.forked.text, result.again.text, result.goesOn.text], [result.fresh.text, result.fresh.text, result.first.text]);
    equal([result.bad.code, result.tooShort.code, result.lengths], ['corrupt-session', 'context-full', [256, 256, 200]]);
    ensure(result.bytes > 1000 && result.bytes < result.held, `${result.bytes} bytes of ${result.held}`);
  });
  await check(`${browser.name}: a session that is stopped, left or freed, while others go on`, async () => {
    const result = await browser.evaluate(async ([prompt, long, options]) => {
      const expected = (await collect(model.generate(prompt, options))).text;
      const [aborted, left, freed] = [await model.session(), await model.session(), await model.session()];
      const idle = (await model.session()).generate(prompt, options); // whose pieces nobody takes after the first
      await idle.next();
      const going = collect(model.generate(prompt, options));
      const control = new AbortController();
      const failed = codeOf(() => collect(aborted.generate(long, { signal: control.signal })));
      const gone = codeOf(() => collect(freed.generate(prompt, { ignoreEos: true })));
      for await (const piece of left.generate(prompt, { ignoreEos: true })) if (piece) break;
      const busy = await codeOf(() => freed.generate(prompt).next());
      control.abort();
      await freed.free();
      const after = await codeOf(() => freed.generate(prompt).next());
      const codes = [(await failed).code, (await gone).code, busy.code, after.code];
      const { text } = await going;
      const again = [await collect(aborted.generate(prompt, options)), await collect(left.generate(prompt, options))];
      return { expected, text, codes, again: again.map((one) => one.text), rest: await idle.text() };
    }, [PROMPT, LONG_PROMPT.slice(0, 300), greedy]);
    equal(result.codes, ['AbortError', 'freed', 'busy', 'freed']);
    equal([result.text, ...result.again], Array(3).fill(result.expected));
    ensure(result.rest.length > 10 && result.expected.endsWith(result.rest), `the idle one ends with "${result.rest}"`);
  });
  await check(`${browser.name}: many sessions, opened and freed`, async () => {
    const { sizes, expected, texts } = await browser.evaluate(async ([prompt, options]) => {
      const expected = (await collect(model.generate(prompt, options))).text, texts = [], sizes = [];
      for (let round = 0; round < 5; round++) {
        const sessions = await Promise.all(Array.from({ length: 8 }, () => model.session()));
        const results = await Promise.all(sessions.map((session) => collect(session.generate(prompt, options))));
        texts.push(...results.map(({ text }) => text));
        sizes.push(...sessions.map(({ bytes }) => bytes));
        await Promise.all(sessions.map((session) => session.free()));
      }
      return { sizes, expected, texts };
    }, [PROMPT, { ...greedy, maxTokens: 8 }]);
    equal(texts, Array(40).fill(expected));
    equal([new Set(sizes).size, sizes[0] > 1000], [1, true]);
  });
  await check(`${browser.name}: a model that is unloaded while sessions generate`, async () => {
    const codes = await browser.evaluate(async (prompt) => {
      const sessions = [model, await model.session(), await model.session()];
      const running = sessions.map((session) => session.generate(prompt, { ignoreEos: true }));
      for (const text of running) await text.next();
      await model.unload();
      await sessions[1].free();
      const texts = running.map((text) => codeOf(() => collect(text)));
      const later = [() => sessions[2].generate(prompt).next(), () => sessions[2].save(), () => model.session()].map(codeOf);
      return (await Promise.all([...texts, ...later])).map(({ code }) => code);
    }, PROMPT);
    equal(codes, Array(6).fill('unloaded'));
  });
}
