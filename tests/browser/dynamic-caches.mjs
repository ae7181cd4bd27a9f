// Sections of dynamic-test.mjs: how sure a model is, vectors of texts, answers and beginnings of prompts that are remembered.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ENCODER, open } from './dynamic-setup.mjs';
import { check, ensure, equal, skip } from './harness.mjs';

/** @typedef {import('./dynamic-setup.mjs').Browser} Browser */
/** @typedef {import('./dynamic-setup.mjs').Servers} Servers */

const ROOT = join(import.meta.dirname, '../..');
const GREEDY = { temperature: 0, maxTokens: 12 };

/** Log-probability of the likeliest and entropy, of logits. @param {number[]} logits */
function spread(logits) {
  const best = Math.max(...logits), sum = logits.reduce((all, x) => all + Math.exp(x - best), 0);
  return [-Math.log(sum), Math.log(sum) - logits.reduce((all, x) => all + Math.exp(x - best) * (x - best), 0) / sum];
}

/** @param {Browser} browser @param {Servers} servers */
export async function sure(browser, servers) {
  await open(browser, servers);
  await check(`${browser.name}: log-probability and entropy are those of an independent program`, async () => {
    if (!servers.golden) return skip('log-probability', 'shared/data is missing');
    const [stats] = await browser.evaluate(async () => {
      await window.load('model/stories.gguf', { threads: 1, cache: false });
      const { stats } = await collect(model.generate('', { temperature: 0, maxTokens: 1, certainty: true }));
      return [stats];
    });
    const [logProbability, entropy] = spread(servers.golden.first_logits.logits);
    ensure(Math.abs(stats.logProbability - logProbability) < 1e-3 && Math.abs(stats.entropy - entropy) < 1e-3,
      `${stats.logProbability}, ${stats.entropy}; expected ${logProbability}, ${entropy}`);
  });
  await check(`${browser.name}: they are means over the tokens, whether drafted or not, and 0 unless asked for`, async () => {
    const found = await browser.evaluate(async () => {
      await window.load('model/a.gguf', { threads: 1, cache: false });
      const means = async (options) => {
        const { stats } = await collect(model.generate('Once upon a time, once upon', { temperature: 0, ...options }));
        return [stats.logProbability, stats.entropy, stats.tokens];
      };
      return [await means({ maxTokens: 40, certainty: true }), await means({ maxTokens: 40, certainty: true, lookup: 0 }),
        await means({ maxTokens: 39, certainty: true }), await means({ maxTokens: 40 })];
    });
    equal([found[1], found[3].slice(0, 2)], [found[0], [0, 0]]);
    const last = 40 * found[0][0] - 39 * found[2][0]; // the 40th token's own
    ensure(last <= 0 && last > -5 && found[0][0] < 0, `${found[0]}; ${found[2]}`);
  });
  await check(`${browser.name}: the vector of a text is the shell's`, async () => {
    const work = join(ROOT, 'build/dynamic'), out = join(work, 'vector.f32'), text = 'the cat sat';
    mkdirSync(work, { recursive: true });
    const file = join(ROOT, `tests/golden/families/${ENCODER}.gguf`);
    execFileSync(join(ROOT, 'build/native/nutshell'), ['embed', file, text, '-o', out], { stdio: 'ignore' });
    const expected = [...new Float32Array(new Uint8Array(readFileSync(out)).buffer)];
    const { vector, empty, long } = await browser.evaluate(async (text) => {
      await window.load('model/encoder.gguf', { threads: 1, cache: false });
      const session = await model.session();
      const long = await codeOf(() => session.embed('the cat '.repeat(2000)));
      return { vector: [...await session.embed(text)], long: long.code, empty: (await codeOf(() => session.embed(3))).code };
    }, text);
    const most = Math.max(...expected.map((x, i) => Math.abs(x - vector[i])));
    ensure(vector.length === expected.length && most < 0.02, `differs by up to ${most}`);
    equal([empty, long], ['bad-argument', 'context-full']);
  });
}

/** Asks what `code` says in a page that has a cache of questions in `cache`. */
const inCache = (/** @type {string} */ code, options = '{}') =>
  `(async () => { const cache = dynamic.queryCache(${options}); ${code} })()`;

/** @param {Browser} browser @param {Servers} servers */
export async function remembering(browser, servers) {
  await open(browser, servers);
  await questions(browser);
  await similar(browser, servers);
  await prefixes(browser, servers);
}

/** @param {Browser} browser */
async function questions(browser) {
  await check(`${browser.name}: a question is answered at once when it comes again, in the next page too`, async () => {
    const first = await browser.evaluate(async (options) => {
      const cache = dynamic.queryCache(), cascade = dynamic.cascade([model], { cache });
      const answer = cascade.chat([{ role: 'user', content: 'Tell me a story.' }], options);
      return { text: await answer.text(), found: answer.found, usage: await cache.usage() };
    }, { ...GREEDY, maxTokens: undefined, stop: ['.'] });
    equal([first.found, first.usage.entries, first.usage.stored], [null, 1, true]);
    await browser.goto(await browser.evaluate('location.href'));
    const { texts, found, times, other } = await browser.evaluate(async (options) => {
      window.dynamic = await import('/dist/nutshell-dynamic.mjs');
      await window.load('model/a.gguf', { threads: 1, contextLength: 256, cache: false });
      const cache = dynamic.queryCache(), cascade = dynamic.cascade([model], { cache }), texts = [], times = [];
      let found;
      for (const content of ['Tell me a story.', ' Tell me  a\nstory. ', ...Array(9).fill('Tell me a story.')]) {
        const since = performance.now(), answer = cascade.chat([{ role: 'user', content }], options);
        texts.push(await answer.text());
        times.push(performance.now() - since);
        found = answer.found;
      }
      const different = [['Tell me a tale.', {}], ['Tell me a story.', { seed: 1, temperature: 1 }]];
      const other = [];
      for (const [content, more] of different) {
        const answer = cascade.chat([{ role: 'user', content }], { ...options, ...more });
        await answer.text();
        other.push(answer.found);
      }
      return { texts, found, times, other };
    }, { ...GREEDY, maxTokens: undefined, stop: ['.'] });
    equal([new Set(texts).size, texts[0], found.kind, other], [1, first.text, 'exact', [null, null]]);
    const [median] = times.slice(1).sort((a, b) => a - b).slice(5);
    console.log(`${browser.name}: a repeated question: ${median.toFixed(2)} ms (median), `
      + `${times[0].toFixed(1)} ms where the database opens`);
    ensure(median < 5, `${times} ms`);
  });
  await check(`${browser.name}: old answers make room, and none is given after its time`, async () => {
    const [kept, sizes, late] = await browser.evaluate(inCache(`
      await cache.clear();
      for (let i = 0; i < 5; i++) {
        await cache.put({ prompt: 'q' + i }, 'a' + i);
        await cache.get({ prompt: 'q0' });
      }
      const kept = [];
      for (let i = 0; i < 5; i++) kept.push((await cache.get({ prompt: 'q' + i }))?.text ?? null);
      const small = dynamic.queryCache({ name: 'small', maxBytes: 1000 });
      for (let i = 0; i < 5; i++) await small.put({ prompt: 'q' + i }, 'x'.repeat(150));
      const large = await small.put({ prompt: 'large' }, 'x'.repeat(1000));
      const { bytes, entries } = await small.usage();
      const brief = dynamic.queryCache({ maxEntries: 3, maxAge: 0.05 });
      await wait(100);
      return [kept, [bytes <= 1000, entries, large], await brief.get({ prompt: 'q0' })];`, '{ maxEntries: 3 }'));
    equal([kept, sizes, late], [['a0', null, null, 'a3', 'a4'], [true, 2, false], null]);
  });
  for (const [what, prelude, stored] of [
    ['storage that is denied', `IDBFactory.prototype.open = () => { throw new DOMException('denied', 'SecurityError'); };`,
      'SecurityError'],
    ['a disk that is full', `IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); };`,
      'QuotaExceededError'],
  ]) {
    await check(`${browser.name}: ${what}: answers are remembered as long as the page is open`, async () => {
      await browser.goto(await browser.evaluate('location.href'));
      const result = await browser.evaluate(`(async () => {
        ${prelude}
        const { queryCache } = await import('/dist/nutshell-dynamic.mjs'), cache = queryCache({ name: 'denied' });
        const stored = await cache.put({ prompt: 'q' }, 'a');
        return [stored, (await cache.get({ prompt: 'q' }))?.text, await cache.get({ prompt: 'r' }), cache.error?.name,
          (await cache.usage()).stored];
      })()`);
      equal(result, [false, 'a', null, stored, false]);
    });
  }
  await check(`${browser.name}: where the browser grants less than the limit, the oldest go`, async () => {
    await browser.goto(await browser.evaluate('location.href'));
    const [texts, stored] = await browser.evaluate(`(async () => {
      const { queryCache } = await import('/dist/nutshell-dynamic.mjs'), cache = queryCache({ name: 'less', maxBytes: 400 });
      for (let i = 0; i < 3; i++) await cache.put({ prompt: 'q' + i }, 'x'.repeat(30));
      const { put } = IDBObjectStore.prototype;
      let full = 1;
      IDBObjectStore.prototype.put = function (...all) {
        if (full-- > 0) throw new DOMException('full', 'QuotaExceededError');
        return put.apply(this, all);
      };
      const stored = await cache.put({ prompt: 'q3' }, 'new');
      const texts = [];
      for (let i = 0; i < 4; i++) texts.push((await cache.get({ prompt: 'q' + i }))?.text ?? null);
      return [texts, stored];
    })()`);
    equal([texts[0], texts[3], stored], [null, 'new', true]);
  });
}

/** @param {Browser} browser @param {Servers} servers */
async function similar(browser, servers) {
  await open(browser, servers);
  await check(`${browser.name}: a question with nearly the same vector, unless numbers or contexts differ`, async () => {
    const found = await browser.evaluate(async () => {
      const up = [1, 0], new_ = [0.98, 0.199], who = [0, 1];
      const vectors = { 'what is up': up, 'what is new': new_, 'who is it': who, 'room 4': up, 'room 5': up };
      const embed = async (text) => {
        if (!vectors[text]) throw new Error('too long');
        return new Float32Array(vectors[text]);
      };
      const embedder = { embed };
      const cache = dynamic.queryCache({ name: 'similar', embedder, threshold: 0.95 }), messages = (content, system = 's') =>
        [{ role: 'system', content: system }, { role: 'user', content }];
      await cache.put({ messages: messages('what is up') }, 'nothing');
      await cache.put({ messages: messages('room 4') }, 'left');
      const kinds = [];
      const asked = [['what is up'], ['what is new'], ['who is it'], ['what is up', 'other'], ['room 5'], ['unknown']];
      for (const [content, system] of asked) {
        const found = await cache.get({ messages: messages(content, system) });
        kinds.push(found && [found.kind, found.text, Math.round(100 * found.similarity)]);
      }
      return [kinds, String(cache.embedError)];
    });
    equal(found, [[['exact', 'nothing', 100], ['similar', 'nothing', 98], null, null, null, null], 'Error: too long']);
  });
  if (!servers.hasMiniLm) skip(`${browser.name}: 200 pairs of questions`, 'NUT_MINILM names no folder');
  else await check(`${browser.name}: 200 pairs of questions by all-MiniLM-L6`, () => pairs(browser));
}

/** How near pairs are; -1 where numbers differ. @param {Browser} browser @param {[string, string][]} pairs
 *  @returns {Promise<number[]>} */
async function similarities(browser, pairs) {
  const all = [];
  for (let i = 0; i < pairs.length; i += 25) { // a driver waits for so long and no longer
    all.push(...await browser.evaluate(async (some) => {
      const found = [];
      for (const [i, [one, other]] of some.entries()) {
        const cache = dynamic.queryCache({ name: `pair ${i}`, embedder, threshold: 0 });
        await cache.put({ prompt: one }, 'answer');
        found.push((await cache.get({ prompt: other }))?.similarity ?? -1);
        await cache.clear();
      }
      return found;
    }, pairs.slice(i, i + 25)));
  }
  return all;
}

/** How many of the pairs of questions.json are found, and how many wrongly. @param {Browser} browser */
async function pairs(browser) {
  const { same, different } = JSON.parse(readFileSync(new URL('questions.json', import.meta.url), 'utf8'));
  equal([same.length, different.length], [100, 100]);
  await browser.evaluate(async () => {
    await window.load('model/minilm.gguf', { threads: 1, cache: false });
    window.embedder = await model.session();
  });
  const [right, wrong] = [await similarities(browser, same), await similarities(browser, different)];
  const hits = (/** @type {number[]} */ list, /** @type {number} */ threshold) => list.filter((near) => near >= threshold).length;
  for (const threshold of [0.95, 0.9, 0.85, 0.8, 0.7]) {
    console.log(`threshold ${threshold}: ${hits(right, threshold)} of 100 are found, ${hits(wrong, threshold)} of 100 wrongly`);
  }
  const numbers = (/** @type {string} */ text) => String(text.match(/\d+/g));
  const differ = different.filter(([a, b]) => numbers(a) !== numbers(b));
  equal(wrong.filter((near) => near === -1).length, differ.length, 'questions with other numbers that are not found:');
  ensure(hits(right, 0.9) >= 20 && hits(wrong, 0.95) <= 5, `${right}; ${wrong}`);
}

/** @param {Browser} browser @param {Servers} servers */
async function prefixes(browser, servers) {
  const system = `You tell stories. ${'The cat and the dog are friends, and they live in a red house. '.repeat(8)}`;
  const chat = [{ role: 'system', content: system }, { role: 'user', content: 'Tell me a story.' }];
  const template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
  /** Opens a session with the system text and asks. @param {string} more */
  const use = (more = '') => browser.evaluate(async ([chat, template, options, more]) => {
    const prefixes = dynamic.prefixCache();
    await (0, eval)(more);
    const opened = await prefixes.session(model, { messages: chat.slice(0, 1), template });
    const { text, stats } = await collect(opened.session.chat(chat, { ...options, template }));
    await opened.session.free();
    return { state: opened.state, tokens: opened.tokens, text, read: stats.promptSeconds, prompt: stats.promptTokens,
      usage: await prefixes.usage() };
  }, [chat, template, GREEDY, more]);
  const again = async () => {
    await browser.goto(await browser.evaluate('location.href'));
    await browser.evaluate(async () => {
      window.dynamic = await import('/dist/nutshell-dynamic.mjs');
      await window.load('model/a.gguf', { threads: 1, contextLength: 512, cache: false });
    });
  };
  await open(browser, servers);
  await again();
  const { plain, whole } = await browser.evaluate(async ([chat, template, options]) => {
    const { text, stats } = await collect(model.chat(chat, { ...options, template }));
    return { plain: text, whole: stats.promptSeconds };
  }, [chat, template, GREEDY]);
  await check(`${browser.name}: a long beginning is read once, and restored in the next page`, async () => {
    const first = await use();
    await again();
    const second = await use();
    equal([first.state, second.state, first.text, second.text, second.usage.entries], ['stored', 'restored', plain, plain, 1]);
    equal(second.tokens, first.tokens);
    ensure(second.tokens > 100 && second.prompt - second.tokens < 30, `${second.tokens} of ${second.prompt} tokens`);
    console.log(`${browser.name}: the prompt's ${second.prompt} tokens take ${(1000 * whole).toFixed(1)} ms, `
      + `with ${second.tokens} restored ${(1000 * second.read).toFixed(1)} ms`);
  });
  await check(`${browser.name}: a damaged one is read anew, and replaced`, async () => {
    await again();
    await browser.evaluate(async () => {
      const database = await resultOf(indexedDB.open('nutshell-dynamic'));
      const values = database.transaction('values', 'readwrite').objectStore('values');
      const [key] = (await resultOf(values.getAllKeys())).filter(([kind]) => kind.startsWith('prefixes'));
      const bytes = await resultOf(values.get(key));
      bytes[bytes.length >> 1] ^= 1;
      await resultOf(values.put(bytes, key));
      database.close();
    });
    const [damaged, mended] = [await use(), await use()];
    equal([damaged.state, mended.state, damaged.text, mended.text], ['stored', 'restored', plain, plain]);
  });
  await check(`${browser.name}: another model, or another kind of cache, has its own`, async () => {
    await again();
    const states = await browser.evaluate(async ([chat, template]) => {
      const states = [], prefix = { messages: chat.slice(0, 1), template };
      for (const options of [{}, { kvType: 'q8_0' }]) {
        const other = await Nutshell.load('model/a.gguf', { threads: 1, contextLength: 512, cache: false, ...options });
        states.push((await dynamic.prefixCache().session(other, prefix)).state);
        await other.unload();
      }
      // the same header, one weight is another: only its numbers tell them apart
      const bytes = new Uint8Array(await (await fetch('model/a.gguf')).arrayBuffer());
      for (let i = bytes.length - 4000; i < bytes.length; i++) bytes[i] ^= 4;
      const other = await Nutshell.load(bytes, { threads: 1, contextLength: 512 });
      states.push((await dynamic.prefixCache().session(other, prefix)).state);
      await other.unload();
      return states;
    }, [chat, template]);
    equal(states, ['restored', 'stored', 'stored']);
  });
  await check(`${browser.name}: a prompt's beginning, a context that is too short, storage that is denied`, async () => {
    await again();
    const result = await browser.evaluate(async (options) => {
      const prompt = 'Once upon a time, there was a little cat. ', cache = dynamic.prefixCache({ name: 'prompts' });
      const one = await cache.session(model, { prompt }), two = await cache.session(model, { prompt });
      const text = await two.session.generate(prompt + 'The cat', options).text();
      const failure = (work) => work.then(() => null, (error) => error); // the module has an error class of its own
      const short = await failure(cache.session(model, { prompt: prompt.repeat(9) }, { contextLength: 16 }));
      const wrong = await failure(cache.session(model, {}));
      IDBFactory.prototype.open = () => { throw new DOMException('denied', 'SecurityError'); };
      const denied = dynamic.prefixCache({ name: 'denied' });
      const states = [(await denied.session(model, { prompt })).state, (await denied.session(model, { prompt })).state];
      return { states: [one.state, two.state, ...states], text, plain: await model.generate(prompt + 'The cat', options).text(),
        codes: [short.code, wrong.code], why: denied.error?.name };
    }, GREEDY);
    equal(result.states, ['stored', 'restored', 'read', 'restored']);
    equal([result.codes, result.why], [['context-full', 'bad-argument'], 'SecurityError']);
    equal(result.text, result.plain);
  });
}
