// What the sections of library-test.mjs share: models, servers, and a run from load to text.
import { ensure } from './harness.mjs';
import { DIST, padded, stories, tiny } from './models.mjs';
import { inParts, partName } from './parts.mjs';
import { TestServer } from './server.mjs';

/** @typedef {Awaited<ReturnType<typeof import('./drivers.mjs').startChromium>>} Browser */
/** @typedef {Awaited<ReturnType<typeof startServers>>} Servers */

export const PROMPT = 'Once upon a time';
export const LONG_PROMPT = 'Lily and Tom went to the park. '.repeat(30);
export const greedy = { temperature: 0, maxTokens: 40 };

export const golden = stories();
const found = tiny() ?? golden?.model;
if (!found) throw new Error('there is no model to test with: neither in dist/ nor in shared/data');
export const model = found;
/** The same model, larger than two chunks of the cache. */
export const large = padded(model, 1 << 19);
/** Bytes of a chunk of it in the cache: a 64th of the file, rounded up to a power of two. */
export const CHUNK = 2 ** Math.ceil(Math.log2(large.length / 64));
ensure(large.length > 2 * CHUNK, 'the padded model is too small for these checks');

/** The same with zeros appended, so that it has five chunks. */
export const five = Buffer.concat([model, Buffer.alloc(5 * (256 << 10) - 100 - model.length)]);
/** The model in several files, as llama.cpp's gguf-split writes them. */
export const parts = inParts(model, { maxTensors: 8 });
const files = Object.fromEntries(parts.map((part, i) => [partName('split', i, parts.length), part]));
files['five.gguf'] = five;

export async function startServers() {
  return {
    main: await TestServer.start({ dist: DIST, model, large, files, isolated: true }),
    plain: await TestServer.start({ dist: DIST, model, large }),
    closed: await TestServer.start({ dist: DIST, model, large }),
    open: await TestServer.start({ dist: DIST, model, large, cors: true }),
    strict: await TestServer.start({ dist: DIST, model, large, isolated: true, csp: true }),
  };
}

/** "Hi" through a template that adds a mark. @param {Browser} browser */
export const rendered = (browser) =>
  browser.evaluate(() => model.renderChat([{ role: 'user', content: 'Hi' }], { template: '{{ messages[0].content }}!' }));

/**
 * Loads and generates, in the page.
 * @param {Browser} browser
 * @param {string} source
 * @param {object} [load]     options of load
 * @param {object} [options]  of generate
 */
export function run(browser, source, load = {}, options = greedy) {
  return browser.evaluate(async ([source, load, prompt, options]) => {
    const { info, events } = await window.load(source, load);
    return { info, events, ...(await window.collect(window.model.generate(prompt, options))) };
  }, [source, load, PROMPT, options]);
}
