// Models larger than the memory for their weights in a page (web/worker/stored.js): the same text, whatever is read again from
// the cache or from a file, and what is refused.
//
//   node tests/browser/stored-test.mjs [chromium|firefox|webkit]
//
// NUT_MEASURE names models in models/, whose speed is then told: whole, and with a limit of half of their weights.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomNumbers, vocabulary, writeGguf } from '../growth/gguf.mjs';
import { starters } from './drivers.mjs';
import { check, ensure, equal, finish, inBrowser } from './harness.mjs';
import { DIST, tiny } from './models.mjs';
import { inParts, partName } from './parts.mjs';
import { TestServer } from './server.mjs';

const PROMPT = 'Once upon a time', GREEDY = { temperature: 0, maxTokens: 24, ignoreEos: true };
const found = tiny();
if (!found) throw new Error('there is no model in dist/');
const model = found;

/** A mixture of experts with random weights, of family llama: 8 experts in each of 3 layers, of which a token uses 2. */
function mixture() {
  const EMBD = 64, FF = 96, LAYERS = 3, EXPERTS = 8, F32 = 0;
  const { n, metadata } = vocabulary(), next = randomNumbers(7);
  const tensor = (/** @type {string} */ name, /** @type {number[]} */ ...dims) => {
    const numbers = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => (dims.length > 1 ? next() - 0.5 : 1));
    return { name, dims, type: F32, bytes: Buffer.from(numbers.buffer) };
  };
  const layer = (/** @type {number} */ i) => Object.entries({
    attn_norm: [EMBD], attn_q: [EMBD, EMBD], attn_k: [EMBD, EMBD], attn_v: [EMBD, EMBD], attn_output: [EMBD, EMBD],
    ffn_norm: [EMBD], ffn_gate_inp: [EMBD, EXPERTS], ffn_gate_exps: [EMBD, FF, EXPERTS], ffn_up_exps: [EMBD, FF, EXPERTS],
    ffn_down_exps: [FF, EMBD, EXPERTS],
  }).map(([part, dims]) => tensor(`blk.${i}.${part}.weight`, ...dims));
  return writeGguf([
    ['general.architecture', 'text', 'llama'], ['llama.block_count', 'u32', LAYERS], ['llama.context_length', 'u32', 128],
    ['llama.embedding_length', 'u32', EMBD], ['llama.feed_forward_length', 'u32', FF], ['llama.attention.head_count', 'u32', 4],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5], ['llama.expert_count', 'u32', EXPERTS],
    ['llama.expert_used_count', 'u32', 2], ...metadata,
  ], [tensor('token_embd.weight', EMBD, n), ...Array.from({ length: LAYERS }, (_, i) => layer(i)).flat(),
    tensor('output_norm.weight', EMBD)]);
}

const parts = inParts(model, { maxTensors: 8 });
const measured = (process.env.NUT_MEASURE ?? '').split(',').filter((name) => name && existsSync(join('models', name)));
const files = { 'mixture.gguf': mixture(),
  ...Object.fromEntries(parts.map((part, i) => [partName('split', i, parts.length), part])),
  ...Object.fromEntries(measured.map((name) => [name, readFileSync(join('models', name))])) };
const server = await TestServer.start({ dist: DIST, model, files, isolated: true });

/** @typedef {import('./drivers.mjs').Browser} Browser */

/** Loads and writes, in the page. @param {Browser} browser @param {string | string[]} source @param {object} [options] of load
 *  @param {{ asFiles?: boolean, greedy?: object }} [how] */
const run = (browser, source, options = {}, { asFiles = false, greedy = GREEDY } = {}) =>
  browser.evaluate(async ([source, options, prompt, greedy, asFiles]) => {
    const open = async (url) => new File([await (await fetch(url)).blob()], 'a.gguf');
    const what = asFiles ? await Promise.all([source].flat().map(open)) : source;
    const { info } = await window.load(asFiles && !Array.isArray(source) ? what[0] : what, { threads: 1, ...options });
    return { info, ...(await window.collect(window.model.generate(prompt, greedy))) };
  }, [source, options, PROMPT, greedy, asFiles]);

/** The least limit that a model can be loaded with. @param {Browser} browser @param {string} source */
async function leastOf(browser, source) {
  const { code, message } = await browser.evaluate((source) => codeOf(async () => (
    load(await (await fetch(source)).blob(), { weightsLimit: 1000, threads: 1 }))), source);
  equal(code, 'model-too-large');
  return Number(/give a limit of (\d+) bytes/.exec(message)?.[1]);
}

/** Whether the browser keeps files in its database: WebKit's windows without a profile do not, and say so.
 *  @param {Browser} browser @param {number} least */
async function keepsFiles(browser, least) {
  const { code, message } = await browser.evaluate((least) => codeOf(() => load('model/a.gguf', { weightsLimit: least })), least);
  if (!code) return true;
  ensure(browser.name === 'webkit' && code === 'storage' && /weightsLimit/.test(message), `${code}: ${message}`);
  return false;
}

/** @param {Browser} browser */
async function sameText(browser) {
  const { name } = browser, url = 'model/a.gguf';
  const { text, info: { weightBytes } } = await run(browser, url, { cache: false });
  const least = await leastOf(browser, url);
  ensure(least > 1e4 && least < weightBytes, `${least} of ${weightBytes} bytes`);
  const keeps = await keepsFiles(browser, least), asFiles = !keeps;
  await browser.evaluate(() => Nutshell.cache.clear());

  await check(`${name}: layers come from the cache, and the text is the same`, async () => {
    const states = [['stored', true], ['hit', true], ['stored', 'reload'], ['hit', 'required']];
    for (const [state, cache] of keeps ? states : []) {
      const stored = await run(browser, url, { weightsLimit: least, cache });
      const { storage } = stored.stats;
      equal([stored.text, stored.info.cache.state], [text, state]);
      ensure(stored.info.weightBytes <= least, `${stored.info.weightBytes} of ${least} bytes are taken`);
      equal([storage.layersKept, storage.layerHits, storage.experts], [0, 0, 0]);
      ensure(storage.layers > 1 && storage.layerMisses >= 24 && storage.bytesRead > weightBytes && storage.seconds > 0,
        JSON.stringify(storage));
    }
  });
  await check(`${name}: with room for all of them nothing is read again, and with some for half some are hit`, async () => {
    const all = await run(browser, url, { weightsLimit: 2 ** 53 - 1 }, { asFiles });
    equal([all.text, all.stats.storage.layerMisses, all.stats.storage.bytesRead], [text, 0, 0]);
    const half = await run(browser, url, { weightsLimit: (least + weightBytes) >> 1 }, { asFiles });
    equal(half.text, text);
    const { layers, layersKept, layerHits, layerMisses } = half.stats.storage;
    ensure(layersKept > 0 && layersKept < layers && layerHits > 0 && layerMisses > 0, JSON.stringify(half.stats.storage));
  });
  await check(`${name}: threads, another session and a chat`, async () => {
    equal((await run(browser, url, { weightsLimit: least, threads: 2 }, { asFiles })).text, text);
    const texts = await browser.evaluate(async ([prompt, greedy]) => {
      const session = await model.session();
      const both = await Promise.all([session, model].map((one) => collect(one.generate(prompt, greedy))));
      const said = await collect(model.chat([{ role: 'user', content: 'Hi' }], { ...greedy, maxTokens: 4 }));
      return [...both.map(({ text }) => text), said.stats.storage.layerMisses > 0, model.stats.tokens];
    }, [PROMPT, GREEDY]);
    equal(texts, [text, text, true, 4]);
  });
  await check(`${name}: a model by its id, of a File, and of several files`, async () => {
    if (keeps) {
      const id = await browser.evaluate(async () => (await Nutshell.cache.list())[0].id);
      equal((await run(browser, /** @type {any} */ ({ cached: id }), { weightsLimit: least })).text, text);
    }
    const own = await run(browser, url, { weightsLimit: least }, { asFiles: true });
    equal([own.text, own.info.cache.state], [text, 'off']);
    const names = parts.map((_, i) => `model/${partName('split', i, parts.length)}`);
    for (const [source, asFiles] of [[names, true], [names[0], false], [names, false]].slice(0, keeps ? 3 : 1)) {
      const split = await run(browser, source, { weightsLimit: least }, { asFiles });
      equal([split.text, split.stats.storage.layersKept], [text, 0]);
    }
    const few = await browser.evaluate(([names, weightsLimit]) => codeOf(async () => (
      load(await Promise.all(names.map(async (name) => (await fetch(name)).blob())), { weightsLimit }))),
    [names.slice(0, 2), least]);
    ensure(few.code === 'bad-argument' && /3 files|\d files/.test(few.message), JSON.stringify(few));
  });
}

/** @param {Browser} browser */
async function experts(browser) {
  await check(`${browser.name}: of a mixture the experts that are needed are read`, async () => {
    const url = 'model/mixture.gguf', { text, info: { weightBytes } } = await run(browser, url, { cache: false });
    const least = await leastOf(browser, url), some = Math.round(least + (weightBytes - least) / 2);
    const { text: same, stats: { storage } } = await run(browser, url, { weightsLimit: some }, { asFiles: true });
    equal([same, storage.experts], [text, 24]);
    ensure(storage.expertsKept < 24 && storage.expertHits > 0 && storage.expertMisses > 0, JSON.stringify(storage));
  });
}

/** @param {Browser} browser */
async function refused(browser) {
  const { name } = browser, url = 'model/a.gguf', least = await leastOf(browser, url);
  await check(`${name}: what cannot be read again is refused in words`, async () => {
    const codes = await browser.evaluate(async ([url, least]) => {
      const weightsLimit = least, bytes = await (await fetch(url)).arrayBuffer();
      const tries = [() => load(url, { weightsLimit, cache: false }), () => load(bytes, { weightsLimit }),
        () => load(new Blob([bytes]).stream(), { weightsLimit }), () => load(url, { weightsLimit: 0 }),
        () => load('model/b.gguf?html', { weightsLimit }), () => load(new Blob(['not a model']), { weightsLimit }),
        () => load(new Blob([bytes.slice(0, 1e5)]), { weightsLimit }),
        () => load('model/c.gguf?truncate=100000', { weightsLimit })];
      const codes = [];
      for (const one of tries) codes.push((await codeOf(one)).code);
      return codes;
    }, [url, least]);
    equal(codes.slice(0, 6), ['bad-argument', 'bad-argument', 'bad-argument', 'bad-argument', 'not-gguf', 'not-gguf']);
    equal(codes[6], 'truncated-model');
    ensure(codes[7] === 'truncated-model' || (name === 'webkit' && codes[7] === 'storage'), codes[7]);
  });
  await check(`${name}: where the browser keeps no files, a File still is read`, async () => {
    const { failed, text } = await browser.evaluate(async ([url, weightsLimit, prompt, greedy]) => {
      await Nutshell.cache.clear();
      const broken = await variant('no-blobs');
      const failed = await broken.load(url, { weightsLimit }).catch(({ code, message }) => ({ code, message }));
      const one = await broken.load(await (await fetch(url)).blob(), { weightsLimit });
      const text = await one.generate(prompt, greedy).text();
      await one.unload();
      await Nutshell.cache.clear();
      return { failed, text };
    }, [url, least, PROMPT, GREEDY]);
    ensure(failed.code === 'storage' && /weightsLimit/.test(failed.message), JSON.stringify(failed));
    equal(text, (await run(browser, url, { cache: false })).text);
  });
  await check(`${name}: a file that fails in the middle of an answer ends it, and the next one is whole`, async () => {
    const { first, second } = await browser.evaluate(async ([url, weightsLimit, prompt, greedy]) => {
      const broken = await variant('a-file-fails'), one = await broken.load(await (await fetch(url)).blob(), { weightsLimit });
      let first;
      for (let i = 0; i < 50 && !first?.code; i++) {
        first = await one.generate(prompt, greedy).text().catch(({ code, message }) => ({ code, message }));
      }
      const second = await one.generate(prompt, greedy).text();
      await one.unload();
      return { first, second };
    }, [url, least, PROMPT, GREEDY]);
    ensure(first.code === 'io' && /could not be read/.test(first.message), JSON.stringify(first));
    equal(second, (await run(browser, url, { cache: false })).text);
  });
}

/** @param {Browser} browser */
async function measure(browser) {
  for (const name of measured) {
    const url = `model/${name}`, greedy = { ...GREEDY, maxTokens: 32, lookup: 0 };
    const whole = await run(browser, url, {}, { greedy });
    for (const share of [0.75, 0.5]) {
      const limit = Math.round(share * whole.info.weightBytes);
      const { stats } = await run(browser, url, { weightsLimit: limit }, { greedy });
      const { storage } = stats;
      const [speed, before] = [stats, whole.stats].map(({ tokensPerSecond }) => tokensPerSecond.toFixed(2));
      console.log(`${browser.name}: ${name}, limit ${(limit / 1e6).toFixed(0)} MB: ${speed} tokens/s, whole ${before}; read `
        + `${(storage.bytesRead / 1e6).toFixed(0)} MB in ${storage.seconds.toFixed(1)} s; `
        + `${storage.layersKept} of ${storage.layers} layers kept, hits ${storage.layerHits}, misses ${storage.layerMisses}`);
    }
  }
}

const wanted = process.argv.slice(2);
for (const [name, start] of Object.entries(starters)) {
  if (wanted.length && !wanted.includes(name)) continue;
  const sections = [sameText, experts, refused, measure].map((section) => async (/** @type {Browser} */ browser) => {
    await browser.goto(`${server.url}/`);
    await section(browser);
  });
  await inBrowser(start, sections);
}
await server.close();
finish();
