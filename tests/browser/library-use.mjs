// Sections of library-test.mjs: use and misuse of a loaded model.
import { check, ensure, equal } from './harness.mjs';
import { HOSTILE } from './hostile-templates.mjs';
import { LONG_PROMPT, PROMPT, greedy, large, model, rendered, run } from './library-setup.mjs';
import { DIST } from './models.mjs';
import { TestServer } from './server.mjs';

/** @typedef {import('./library-setup.mjs').Browser} Browser */
/** @typedef {import('./library-setup.mjs').Servers} Servers */

/** @param {Browser} browser @param {Servers} servers */
export async function checkStopping(browser, { main }) {
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
    const { promptTokensRead, promptTokens } = result.stats;
    ensure(promptTokensRead < promptTokens || promptTokens === 0, 'the whole prompt was read');
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
      const options = { signal: control.signal, onProgress: () => control.abort() };
      const loading = codeOf(() => Nutshell.load('model/slow.gguf?slow=200&big', options));
      return [(await codeOf(() => model.generate('a', { signal: reason }).next())).code, (await loading).code];
    });
    equal(codes, ['AbortError', 'AbortError']);
  });
}

/**
 * The mistake, the expected code and message, and an expression for the page that makes it.
 * @type {[string, string, RegExp, string][]}
 */
const MISUSES = [
  ['generate while generating', 'busy', /wait|stop/, `(async () => {
    const running = model.generate('a', { temperature: 0 });
    await running.next();
    return model.generate('b').next().finally(() => running.return());
  })()`],
  ['a prompt longer than the context', 'context-full', /context/, `model.generate(${JSON.stringify(LONG_PROMPT)}).next()`],
  ['an option of the wrong type', 'bad-argument', /^temperature must be a number from 0 to 100, not "hot"$/,
    `model.generate('a', { temperature: 'hot' }).next()`],
  ['an option that does not exist', 'bad-argument', /no option "max_tokens"/, `model.generate('a', { max_tokens: 3 }).next()`],
  ['a prompt that is no text', 'bad-argument', /^prompt must be a string, not 7$/, `model.generate(7).next()`],
  ['options that are no object', 'bad-argument', /options must be an object/, `model.generate('a', 5).next()`],
  ['messages that are none', 'bad-argument', /messages\[0\]/, `model.chat([{ content: 'a' }]).next()`],
  ['too many stop texts', 'bad-argument', /stop must be/, `model.generate('a', { stop: Array(17).fill('x') }).next()`],
  ['token ids that are none', 'bad-argument', /ids\[1\]/, `model.detokenize([1, 'x'])`],
  ['a token id outside of the vocabulary', 'bad-argument', /token/, `model.detokenize([2 ** 30])`],
  ['a source that is none', 'bad-argument', /^source must be/, `Nutshell.load(5)`],
  ['an address of another kind', 'bad-argument', /http/, `Nutshell.load('ftp://example.org/a.gguf')`],
  ['a template that cannot be read', 'chat-template', /template/,
    `model.chat([{ role: 'user', content: 'a' }], { template: '{% if %}' }).next()`],
  ['a template variable that cannot be sent', 'bad-argument', /function/,
    `model.renderChat([{ role: 'user', content: 'a' }], { templateVariables: { f() {} } })`],
  ['too many threads', 'bad-argument', /threads must be/, `Nutshell.load('model/a.gguf', { threads: 1000 })`],
  ['a model that is not in the cache', 'not-cached', /cache/, `Nutshell.load({ cached: 'nothing' })`],
];

/** @param {Browser} browser @param {string} name @param {string} code @param {RegExp} message @param {string} work */
function checkFails(browser, name, code, message, work) {
  return check(`${browser.name}: ${name}`, async () => {
    const error = await browser.evaluate(`codeOf(() => ${work})`);
    equal(error.code ?? error, code);
    ensure(error.isOurs && message.test(error.message), `its message is "${error.message}"`);
  });
}

/** @param {Browser} browser @param {Servers} servers */
export async function checkMisuse(browser, { main }) {
  await browser.goto(main.url + '/');
  await browser.evaluate(() => window.load('model/a.gguf', { contextLength: 128 }));
  for (const [name, code, message, work] of MISUSES) await checkFails(browser, name, code, message, work);
  await check(`${browser.name}: the model still works after all that`, async () => {
    const { text } = await browser.evaluate(([prompt, options]) => collect(model.generate(prompt, options)), [PROMPT, greedy]);
    ensure(text.length > 10, `only "${text}"`);
  });
  await checkFails(browser, 'use after unload', 'unloaded', /load it again/, `(async () => {
    const running = model.generate('a', { temperature: 0 });
    await running.next();
    await model.unload();
    await model.unload();
    await model.tokenize('a');
  })()`);
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
export async function checkChat(browser, { main }) {
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

/** @param {Browser} browser */
export async function checkAnswers(browser) {
  const main = await TestServer.start({ dist: DIST, model, large }); // of which no browser has anything yet
  await browser.goto(main.url + '/');
  const messages = [{ role: 'system', content: 'Be brief.' }, ...Array.from({ length: 40 }, (_, i) => (
    { role: i % 2 ? 'assistant' : 'user', content: `This is message number ${i} of them.` })), { role: 'user', content: 'Hi' }];
  const template = '{% for m in messages %}{{ m.content }}\n{% endfor %}';
  await check(`${browser.name}: the files that only chats need are fetched for the first one, once`, async () => {
    const names = () => main.requests.map(({ path }) => path.split('/').pop() ?? '');
    const asked = () => names().filter((name) => name.startsWith('nutshell-chat'));
    await browser.evaluate(async ([prompt, options]) => {
      await window.load('model/a.gguf', { contextLength: 256 });
      await collect(model.generate(prompt, options));
    }, [PROMPT, greedy]);
    equal(asked(), [], 'for a text that is continued:');
    await browser.evaluate(async ([messages, options]) => {
      for (let i = 0; i < 2; i++) await collect(model.chat(messages.slice(-1), options));
    }, [messages, { ...greedy, template }]);
    equal(asked().sort(), ['nutshell-chat.mjs', 'nutshell-chat.wasm']);
  });
  await check(`${browser.name}: reasoning is apart from the content, in the message and among the parts`, async () => {
    const { all, answer, message, parts, kinds } = await browser.evaluate(async ([messages, options]) => {
      const template = options.template.replace('<think>', '');
      const { text: all } = await collect(model.chat(messages, { ...options, template }));
      const generation = model.chat(messages, options), { text: answer } = await collect(generation);
      const parts = [];
      for await (const part of model.chat(messages, options).parts()) parts.push(part);
      return { all, answer, message: generation.message, kinds: [...new Set(parts.map(({ kind }) => kind))],
        parts: parts.map(({ text }) => text).join('') };
    }, [messages.slice(-1), { ...greedy, template: `${template}<think>` }]);
    ensure(all.length > 5, `only "${all}"`);
    equal([answer, kinds], ['', ['reasoning']]);
    equal([message.content, message.reasoning_content], ['', parts]);
  });
  await check(`${browser.name}: messages that do not fit, what was left out of them, and what the cache holds`, async () => {
    const result = await browser.evaluate(async ([messages, options]) => {
      const { code } = await codeOf(() => model.chat(messages, options).next());
      const trimmed = model.chat(messages, { ...options, overflow: 'trim' });
      await trimmed.text();
      const [{ dropped, promptTokens }] = [trimmed.stats];
      const rest = messages.filter((_, i) => !dropped.includes(i));
      const count = await model.countTokens(rest, { template: options.template });
      const { ids } = await model.renderChat(rest, { template: options.template, tokens: true });
      const shifted = model.chat(messages, { ...options, overflow: 'shift' });
      await shifted.text();
      return { code, dropped, promptTokens, count, ids: ids.length, shifted: shifted.stats };
    }, [messages, { ...greedy, template }]);
    equal(result.code, 'context-full');
    equal([result.count, result.ids], [result.promptTokens, result.promptTokens]);
    equal(result.dropped, Array.from(result.dropped, (_, i) => i + 1), 'the oldest, without the system text:');
    ensure(result.dropped.length > 10 && result.promptTokens < 256 - greedy.maxTokens, JSON.stringify(result));
    equal([result.shifted.dropped, result.shifted.promptTokens > 256, result.shifted.tokens > 5], [[], true, true],
      JSON.stringify(result.shifted));
  });
  await main.close();
}

/** Hostile templates for browsers: those that take most memory, and all nested ones, because stacks differ. */
const TRIED = Object.entries(HOSTILE).filter(([name, [limit]]) => /nesting/.test(String(limit)) || ['loops inside of loops',
  'a text that doubles', 'a text split into millions', 'a needle nearly found at every place', 'long texts sorted',
  'texts joined, looked into and kept', 'JSON of lists in lists', 'megabytes of parentheses'].includes(name));

/** @param {Browser} browser @param {Servers} servers */
export async function checkHostileTemplates(browser, { main }) {
  await browser.goto(main.url + '/');
  await browser.evaluate(() => window.load('model/a.gguf'));
  await check(`${browser.name}: ${TRIED.length} hostile templates are stopped, and the page goes on meanwhile`, async () => {
    const { errors, gap } = await browser.evaluate(async (templates) => {
      let last = performance.now(), gap = 0;
      const timer = setInterval(() => {
        gap = Math.max(gap, performance.now() - last);
        last = performance.now();
      }, 50);
      const errors = [];
      for (const template of templates) {
        errors.push(await codeOf(() => model.renderChat([{ role: 'user', content: 'Hi' }], { template })));
      }
      clearInterval(timer);
      return { errors, gap };
    }, TRIED.map(([, [, template]]) => template));
    for (const [i, [name, [limit]]] of TRIED.entries()) {
      equal([errors[i].code, errors[i].isOurs], ['chat-template', true], name);
      ensure(limit?.test(errors[i].message), `${name}: ${errors[i].message}`);
    }
    ensure(gap < 3000, `the page stood still for ${gap} ms`);
  });
  await check(`${browser.name}: the longest text that a template can make does not fit into the context`, async () => {
    const template = '{% set d = namespace(s="ab ") %}{% for i in range(21) %}{% set d.s = d.s ~ d.s %}{% endfor %}{{ d.s }}';
    const { code } = await browser.evaluate((template) =>
      codeOf(() => model.chat([{ role: 'user', content: 'Hi' }], { template }).next()), template);
    equal(code, 'context-full');
  });
  await check(`${browser.name}: the model goes on after hostile templates`, async () => {
    equal(await rendered(browser), 'Hi!');
    const { text } = await browser.evaluate(([prompt, options]) => collect(model.generate(prompt, options)), [PROMPT, greedy]);
    ensure(text.length > 10, `only "${text}"`);
  });
}
