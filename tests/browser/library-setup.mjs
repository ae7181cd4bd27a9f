// What the sections of library-test.mjs share: the model, the servers, and a run from load to text.
import { ensure } from './harness.mjs';
import { DIST, padded, stories, tiny } from './models.mjs';
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
/** The same model in a larger file, and the bytes of a chunk of it in the cache: a 64th, up to a power of two. */
export const large = padded(model, 1 << 19);
export const CHUNK = 512 << 10;
ensure(large.length > 32 * CHUNK && large.length <= 64 * CHUNK, 'the padded model is too small or too large for these checks');

export async function startServers() {
  return {
    main: await TestServer.start({ dist: DIST, model, large, isolated: true }),
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
