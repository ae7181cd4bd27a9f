// Drafts by a model and adapters in a page (web/worker/more.js): the same text with drafts, that of a model whose weights have
// the adapter in them already, and what is refused.
//
//   node tests/browser/beside-test.mjs [chromium|firefox|webkit]
import { randomNumbers, vocabulary, writeGguf } from '../growth/gguf.mjs';
import { starters } from './drivers.mjs';
import { check, ensure, equal, finish, inBrowser } from './harness.mjs';
import { DIST, tiny } from './models.mjs';
import { TestServer } from './server.mjs';

const PROMPT = 'Once upon a time', GREEDY = { temperature: 0, maxTokens: 96, ignoreEos: true, lookup: 0 };
const EMBD = 128, FF = 192, LAYERS = 16, RANK = 4, ALPHA = 8, SCALE = 0.75, F32 = 0;
const found = tiny();
if (!found) throw new Error('there is no model in dist/');

/** Numbers as a tensor of a file. @param {string} name @param {number[]} dims @param {Float32Array} numbers */
const tensor = (name, dims, numbers) => ({ name, dims, type: F32, bytes: Buffer.from(numbers.buffer) });

/** @param {() => number} next @param {number} n @param {number} size */
const random = (next, n, size) => Float32Array.from({ length: n }, () => size * (next() - 0.5));

/** The adapter's matrices for the first layer's queries and down: A (rank rows), B (a row for each output). */
function adapterParts() {
  const next = randomNumbers(23);
  return [['attn_q', EMBD, EMBD], ['ffn_down', FF, EMBD]].map(([name, nIn, nOut]) => ({
    name: `blk.0.${name}.weight`, nIn, nOut, a: random(next, RANK * nIn, 1), b: random(next, nOut * RANK, 1),
  }));
}

/** What an adapter adds to a matrix: SCALE ALPHA / RANK B A (Hu et al. 2021, arXiv 2106.09685, section 4.1).
 *  @param {ReturnType<typeof adapterParts>[0]} part @param {Float32Array} weights */
function merge({ nIn, nOut, a, b }, weights) {
  for (let row = 0; row < nOut; row++) {
    for (let col = 0; col < nIn; col++) {
      let sum = 0;
      for (let r = 0; r < RANK; r++) sum += b[row * RANK + r] * a[r * nIn + col];
      weights[row * nIn + col] += SCALE * (ALPHA / RANK) * sum;
    }
  }
}

/** A model of family llama with random weights, whose layers behind the first add nothing: with one layer it says the same.
 *  @param {{ layers?: number, merged?: boolean, tokens?: number }} [how] */
function modelOf({ layers = LAYERS, merged = false, tokens = 0 } = {}) {
  const { n, metadata } = vocabulary(), next = randomNumbers(7), all = n - tokens;
  const cut = metadata.map(([key, type, value]) => [key, type, Array.isArray(value) ? value.slice(0, all) : value]);
  const embedding = tensor('token_embd.weight', [EMBD, all], random(next, EMBD * all, 2));
  const layer = (/** @type {number} */ i) => Object.entries({
    attn_norm: [EMBD], attn_q: [EMBD, EMBD], attn_k: [EMBD, EMBD], attn_v: [EMBD, EMBD], attn_output: [EMBD, EMBD],
    ffn_norm: [EMBD], ffn_gate: [EMBD, FF], ffn_up: [EMBD, FF], ffn_down: [FF, EMBD],
  }).map(([part, dims]) => {
    const name = `blk.${i}.${part}.weight`, size = dims.reduce((x, y) => x * y, 1);
    const silent = i > 0 && /attn_output|ffn_down/.test(part);
    const numbers = dims.length > 1 ? random(next, size, silent ? 0 : 0.5) : new Float32Array(size).fill(1);
    const added = merged && adapterParts().find((one) => one.name === name);
    if (added) merge(added, numbers);
    return tensor(name, dims, numbers);
  });
  return writeGguf([
    ['general.architecture', 'text', 'llama'], ['llama.block_count', 'u32', layers], ['llama.context_length', 'u32', 256],
    ['llama.embedding_length', 'u32', EMBD], ['llama.feed_forward_length', 'u32', FF], ['llama.attention.head_count', 'u32', 4],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5], ...cut,
  ], [embedding, ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
    tensor('output_norm.weight', [EMBD], new Float32Array(EMBD).fill(1))]);
}

/** As llama.cpp's convert_lora_to_gguf.py writes them. @param {string} family */
const adapterOf = (family) => writeGguf([['general.type', 'text', 'adapter'], ['general.architecture', 'text', family],
  ['adapter.type', 'text', 'lora'], ['adapter.lora.alpha', 'f32', ALPHA]],
adapterParts().flatMap(({ name, nIn, nOut, a, b }) => [tensor(`${name}.lora_a`, [nIn, RANK], a),
  tensor(`${name}.lora_b`, [RANK, nOut], b)]));

const files = { 'large.gguf': modelOf(), 'small.gguf': modelOf({ layers: 1 }), 'merged.gguf': modelOf({ merged: true }),
  'other.gguf': modelOf({ layers: 1, tokens: 3 }), 'adapter.gguf': adapterOf('llama'), 'wrong.gguf': adapterOf('qwen2') };
const server = await TestServer.start({ dist: DIST, model: found, files, isolated: true });
const LARGE = 'model/large.gguf', SMALL = 'model/small.gguf', ADAPTER = 'model/adapter.gguf';

/** @typedef {import('./drivers.mjs').Browser} Browser */

/** Loads and writes, in the page. @param {Browser} browser @param {string} source @param {object} [options] of load
 *  @param {object} [greedy] */
const run = (browser, source, options = {}, greedy = GREEDY) => browser.evaluate(async ([source, options, prompt, greedy]) => {
  const { info } = await window.load(source, { threads: 1, ...options });
  return { info, ...(await window.collect(window.model.generate(prompt, greedy))) };
}, [source, options, PROMPT, greedy]);

/** @param {Browser} browser */
async function drafts(browser) {
  const { name } = browser, plain = await run(browser, LARGE);
  equal([plain.info.draftError, plain.stats.drafted], [undefined, 0]);

  await check(`${name}: a smaller model drafts, and the text is the same`, async () => {
    for (const threads of [1, 2]) {
      const { text, stats, info } = await run(browser, LARGE, { draft: SMALL, threads });
      equal([text, info.draftError], [plain.text, null]);
      const { drafted, accepted, draftedByModel, acceptedByModel } = stats;
      // Prompt lookup is off, and the layers that the draft lacks add nothing: it is always right, but for what was drafted last.
      equal([draftedByModel, acceptedByModel], [drafted, accepted]);
      ensure(drafted > 0 && accepted > 0.8 * drafted, JSON.stringify(stats));
    }
  });
  await check(`${name}: what is looked up is told apart, and other conversations have no draft`, async () => {
    const { text, stats } = await run(browser, LARGE, { draft: SMALL }, { ...GREEDY, lookup: 7 });
    equal(text, plain.text);
    ensure(stats.drafted >= stats.draftedByModel && stats.accepted >= stats.acceptedByModel, JSON.stringify(stats));
    const other = await browser.evaluate(async ([prompt, greedy]) => {
      const session = await model.session();
      return collect(session.generate(prompt, greedy));
    }, [PROMPT, GREEDY]);
    equal([other.text, other.stats.drafted], [plain.text, 0]);
  });
  await check(`${name}: a draft comes from the cache and from a Blob`, async () => {
    const { ids, texts } = await browser.evaluate(async ([source, draft, prompt, greedy]) => {
      const ids = (await Nutshell.cache.list()).map(({ url, id }) => [url.split('/').pop(), id]);
      const cached = Object.fromEntries(ids)['small.gguf'], blob = await (await fetch(draft)).blob(), texts = [];
      for (const one of [{ cached }, blob]) {
        const { info } = await load(source, { draft: one, threads: 1 });
        texts.push(info.draftError ?? (await collect(model.generate(prompt, greedy))).text);
      }
      return { ids, texts };
    }, [LARGE, SMALL, PROMPT, GREEDY]);
    ensure(ids.some(([file]) => file === 'small.gguf'), JSON.stringify(ids));
    equal(texts, [plain.text, plain.text]);
  });
  await check(`${name}: without a draft that does not fit or is not there the model goes on, and says why`, async () => {
    const why = { 'model/other.gguf': /another vocabulary/, 'model/missing.txt?status=404': /404/, [ADAPTER]: /./ };
    for (const [draft, words] of Object.entries(why)) {
      const { text, info, stats } = await run(browser, LARGE, { draft });
      equal([text, stats.drafted], [plain.text, 0]);
      ensure(words.test(info.draftError ?? ''), `${draft}: ${info.draftError}`);
    }
    const { info } = await run(browser, SMALL, { draft: LARGE });
    ensure(/larger than the model/.test(info.draftError ?? ''), `${info.draftError}`);
  });
}

/** @param {Browser} browser */
async function adapters(browser) {
  const { name } = browser, [plain, merged] = [await run(browser, LARGE), await run(browser, 'model/merged.gguf')];
  ensure(plain.text !== merged.text, 'the adapter changes nothing');
  const given = { adapters: [{ source: ADAPTER, scale: SCALE }] };

  await check(`${name}: an adapter makes the text of the model that it was merged into`, async () => {
    equal((await run(browser, LARGE, given)).text, merged.text);
    const texts = await browser.evaluate(async ([prompt, greedy, scale]) => {
      const texts = [];
      for (const adapters of [[0], [scale], undefined]) {
        texts.push((await collect(model.generate(prompt, { ...greedy, adapters }))).text);
      }
      const session = await model.session();
      texts.push((await collect(session.generate(prompt, greedy))).text);
      return texts;
    }, [PROMPT, GREEDY, SCALE]);
    equal(texts, [plain.text, merged.text, merged.text, merged.text]);
  });
  await check(`${name}: with a draft, and several of them`, async () => {
    const { text, info } = await run(browser, LARGE, { ...given, draft: SMALL });
    equal([text, info.draftError], [merged.text, null]);
    const half = { source: ADAPTER, scale: SCALE / 2 };
    equal((await run(browser, LARGE, { adapters: [half, half] })).text.slice(0, 8), merged.text.slice(0, 8));
  });
  await check(`${name}: what does not fit is refused in words`, async () => {
    const refused = await browser.evaluate(async ([source, adapter, draft, greedy]) => {
      const bytes = await (await fetch(adapter)).arrayBuffer();
      const tries = [() => load(source, { adapters: ['model/wrong.gguf'] }), () => load(source, { adapters: [source] }),
        () => load(source, { adapters: Array(9).fill(adapter) }), () => load(source, { adapters: [bytes] }),
        () => load(source, { draft: bytes }), () => load(source, { adapters: 'a' }),
        async () => load(await (await fetch(source)).blob(), { adapters: [adapter], weightsLimit: 1e9 }),
        async () => (await load(source, {}), collect(model.generate('a', { ...greedy, adapters: [1] }))),
        async () => (await load(source, { adapters: [adapter] }), collect(model.generate('a', { ...greedy, adapters: [1, 1] })))];
      const said = [];
      for (const one of tries) said.push(await codeOf(one));
      return said;
    }, [LARGE, ADAPTER, SMALL, GREEDY]);
    const words = [/family qwen2/, /no LoRA adapter/, /8 adapters/, /URL, a File/, /URL, a File/, /an array/,
      /merge the adapter/, /without adapters/, /1 adapters, and 2/];
    refused.forEach(({ code, message }, i) => ensure(code && words[i].test(message), `${i}: ${code}: ${message}`));
  });
}

const wanted = process.argv.slice(2);
for (const [name, start] of Object.entries(starters)) {
  if (wanted.length && !wanted.includes(name)) continue;
  const sections = [drafts, adapters].map((section) => async (/** @type {Browser} */ browser) => {
    await browser.goto(`${server.url}/`);
    await section(browser);
  });
  await inBrowser(start, sections);
}
await server.close();
finish();
