// Compressing in a page: dist/nutshell-compress.mjs in each browser, with the strictest policy, on the repository's small model.
// All browsers must write the same file, since the module computes the same everywhere.
//
//   node tests/browser/compress-test.mjs [chromium|firefox|webkit]
//
// NUT_ONLY=TEXT runs only the sections whose name contains it.
import { textOf, usingPage } from './compress-page.mjs';
import { starters } from './drivers.mjs';
import { check, ensure, equal, finish, inBrowser } from './harness.mjs';
import { DIST, tiny } from './models.mjs';
import { TestServer } from './server.mjs';

/** @typedef {import('./drivers.mjs').Browser} Browser */

const SIZE = 800_000;
const TEXT = textOf(20);
const OPTIONS = { size: SIZE, calibration: TEXT };
const FAST = { ...OPTIONS, fast: true };
const LONG = { ...OPTIONS, calibration: textOf(200), name: 'again.gguf' }; // takes seconds, of which each is kept

const model = tiny();
if (!model) throw new Error('there is no model to test with');
const server = await TestServer.start({ dist: DIST, model, isolated: true, csp: true });

/** What each browser wrote. @type {Map<string, string>} */
const written = new Map();
/** What each browser found in the evaluation. @type {Map<string, number>} */
const judged = new Map();

/** The functions of the module, and what the checks say with them, in the page. @param {Browser} browser */
async function open(browser) {
  await browser.goto(`${server.url}/`);
  await browser.evaluate(async () => {
    const made = await import('/dist/nutshell-compress.mjs');
    const hash = async (/** @type {Blob} */ blob) => new Uint8Array(
      await crypto.subtle.digest('SHA-256', await blob.arrayBuffer())).join(' ');
    /** Compresses; gives what is known of the result, or the error. `stopAt`: the share at which it is stopped. */
    const make = async (/** @type {any} */ source, /** @type {any} */ options, stopAt = Infinity) => {
      const events = [], stop = new AbortController();
      const onProgress = (/** @type {any} */ progress) => {
        events.push(progress);
        if (progress.phase === 'compress' && progress.done >= stopAt) stop.abort(new Error('enough'));
      };
      try {
        const { file, ...rest } = await made.compress(source, { ...options, onProgress, signal: stop.signal });
        return { ...rest, bytes: file.size, hash: await hash(file), events };
      } catch (error) {
        return { error: error.message, code: error.code ?? null, events };
      }
    };
    const left = async () => (await Nutshell.cache.list()).map(({ name, complete }) => [name, complete]).sort();
    Object.assign(window, { made, make, left });
    for (const { id } of await made.unfinished()) await made.discard(id);
    await Nutshell.cache.clear();
  });
}

const blob = "new Blob([await (await fetch('/model/a.gguf')).arrayBuffer()])";

/** @param {Browser} browser */
async function making(browser) {
  await open(browser);
  await check(`${browser.name}: a URL becomes a smaller model of the cache, which runs`, async () => {
    const { error, bytes, hash, cached, events, sourceBytes } =
      await browser.evaluate((options) => make('/model/tiny.gguf', options), OPTIONS);
    equal([error, sourceBytes], [undefined, model.length]);
    ensure(bytes <= SIZE && bytes > 0.95 * SIZE, `${bytes} bytes`);
    equal([cached.name, cached.size, cached.complete], ['tiny-1MB.gguf', bytes, true]);
    const phases = [...new Set(events.map(({ phase }) => phase))];
    equal(phases, ['download', 'compress', 'check']);
    const steps = events.filter(({ phase }) => phase === 'compress');
    ensure(steps.length > 20 && steps.every(({ done }, i) => !i || done >= steps[i - 1].done), 'progress goes back');
    ensure(steps.at(-1).secondsLeft < steps.find(({ secondsLeft }) => secondsLeft !== null).secondsLeft, 'the time left stays');
    written.set(browser.name, hash);
    const text = await browser.evaluate(async (id) => {
      const model = await Nutshell.load({ cached: id });
      const text = await model.generate('Once upon a time', { temperature: 0, maxTokens: 20 }).text();
      await model.unload();
      return text;
    }, cached.id);
    ensure(text.length > 20, `it says "${text}"`);
    equal(await browser.evaluate(() => left()), [['tiny-1MB.gguf', true], ['tiny.gguf', true]], 'in the cache');
  });
  await check(`${browser.name}: how far it is from the model that it was made of`, async () => {
    const found = await browser.evaluate(async (text) => {
      const [small] = (await Nutshell.cache.list()).filter(({ name }) => name === 'tiny-1MB.gguf');
      return made.evaluate({ cached: small.id }, { reference: '/model/tiny.gguf', text, window: 64 });
    }, TEXT);
    ensure(found.comparison.kl > 0 && found.comparison.kl < 0.1 && found.comparison.sameTop > 0.9, JSON.stringify(found));
    judged.set(browser.name, found.comparison.kl);
  });
  await check(`${browser.name}: the policy was kept`, () => equal(server.violations, []));
}

/** @param {Browser} browser */
async function goingOn(browser) {
  await open(browser);
  const known = await browser.evaluate((options) => make('/model/tiny.gguf', { ...options, cache: false }), OPTIONS);
  await check(`${browser.name}: without the cache the file is the same, and nothing is stored`, async () => {
    equal([known.error, known.cached, known.hash], [undefined, null, written.get(browser.name) ?? known.hash]);
    equal(await browser.evaluate(() => left()), [['tiny.gguf', true]], 'in the cache');
  });
  await check(`${browser.name}: a job that was stopped goes on, and makes the same file`, async () => {
    const first = await browser.evaluate((options) => make('/model/tiny.gguf', options, 0.3), OPTIONS);
    equal(first.error, 'enough');
    const [job, ...others] = await browser.evaluate(() => made.unfinished());
    equal([others.length, job.name, job.options.size, job.source.urls?.length], [0, 'tiny-1MB.gguf', SIZE, 1]);
    ensure(job.done >= 0.3 && job.seconds > 0 && job.bytes > 1e6, JSON.stringify(job));
    const { error, hash, events } = await browser.evaluate((options) => make('/model/tiny.gguf', options), OPTIONS);
    const begun = events.find(({ phase }) => phase === 'compress');
    equal([error, hash, begun.resumed], [undefined, known.hash, true]);
    ensure(begun.done >= 0.3, `it went on at ${begun.done}`);
    equal(await browser.evaluate(() => made.unfinished()), []);
  });
  await check(`${browser.name}: a job whose page was closed goes on`, async () => {
    const done = await browser.evaluate(async (options) => {
      let over = null;
      make('/model/tiny.gguf', options).then((result) => { over = result; });
      for (;;) {
        const [job] = await made.unfinished();
        if (job) return job.done;
        if (over) throw new Error(`it was over before it was kept, after ${over.seconds} s: ${over.error}`);
      }
    }, LONG);
    await browser.goto(`${server.url}/blank`);
    await browser.goto(`${server.url}/`);
    const begun = await browser.evaluate(async (options) => {
      const { compress, discard, unfinished } = await import('/dist/nutshell-compress.mjs'), stop = new AbortController();
      let begun = null;
      const onProgress = (/** @type {any} */ event) => {
        if (event.phase === 'compress') stop.abort(begun ??= event);
      };
      while (!begun) { // the closed page's worker may still hold the job
        await compress('/model/tiny.gguf', { ...options, onProgress, signal: stop.signal }).catch((error) => {
          if (error !== begun && error.code !== 'busy') throw error;
        });
      }
      for (const { id } of await unfinished()) await discard(id);
      return begun;
    }, LONG);
    ensure(begun.resumed && begun.done >= done, `${JSON.stringify(begun)}, kept at ${done}`);
  });
  await open(browser);
  await check(`${browser.name}: a job that is given up leaves nothing but the source`, async () => {
    const stopped = await browser.evaluate((options) => make('/model/tiny.gguf', options, 0.2), OPTIONS);
    equal(stopped.error, 'enough');
    equal(await browser.evaluate(async () => {
      const [{ id }] = await made.unfinished();
      const gone = [await made.discard(id), await made.discard(id)];
      return [gone, await made.unfinished(), await left()];
    }), [[true, false], [], [['tiny.gguf', true]]]);
    const unkept = await browser.evaluate((options) => make('/model/tiny.gguf', { ...options, resume: false }, 0.1), FAST);
    equal([unkept.error, await browser.evaluate(() => made.unfinished())], ['enough', []]);
  });
}

/** @param {Browser} browser */
async function training(browser) {
  await open(browser);
  await check(`${browser.name}: an adapter is trained on a text, added to the model, and the model runs`, async () => {
    const found = await browser.evaluate(async (text) => {
      const phases = new Set(), options = { rank: 4, steps: 8, batch: 2, window: 32, warmup: 2, rate: 0.003 };
      const { cached, adapter, file } = await made.train('/model/tiny.gguf', {
        text, options, onProgress: (/** @type {any} */ { phase }) => phases.add(phase),
      });
      const [before, after] = [await made.evaluate('/model/tiny.gguf', { text, window: 64 }),
        await made.evaluate({ cached: cached.id }, { text, window: 64 })];
      const model = await Nutshell.load({ cached: cached.id });
      const said = await model.generate('Once upon a time', { temperature: 0, maxTokens: 20 }).text();
      await model.unload();
      return { name: cached.name, bytes: [adapter.size, file.size], before: before.perplexity, after: after.perplexity, said,
        phases: [...phases], left: await made.unfinished() };
    }, TEXT);
    equal([found.name, found.phases, found.left], ['tiny-trained.gguf', ['download', 'train', 'check'], []]);
    ensure(found.after < 0.97 * found.before && found.said.length > 20, JSON.stringify(found));
    ensure(found.bytes[0] > 10_000 && found.bytes[0] < found.bytes[1] / 4, JSON.stringify(found.bytes));
  });
  await check(`${browser.name}: options of training that are none are refused`, async () => {
    const said = await browser.evaluate((text) => made.train('/model/tiny.gguf', { text, options: { stepps: 3 } }).then(() => '',
      (/** @type {Error} */ error) => error.message), TEXT);
    ensure(said.includes('there is no option "stepps"'), said);
  });
}

/** @param {Browser} browser */
async function failing(browser) {
  await open(browser);
  const fails = async (/** @type {string} */ what, /** @type {string} */ source, /** @type {object} */ options,
    /** @type {string} */ code, /** @type {RegExp} */ words, /** @type {unknown[]} */ left = []) => {
    await check(`${browser.name}: ${what}`, async () => {
      const found = await browser.evaluate(`(async () => make(${source}, ${JSON.stringify({ ...FAST, ...options })}))()`);
      equal([found.code, words.test(found.error ?? '')], [code, true], `"${found.error}"`);
      equal(await browser.evaluate(() => left()), left, 'in the cache');
      equal(await browser.evaluate(() => made.unfinished()), [], 'kept');
    });
  };
  await fails('a size that cannot be reached', blob, { size: 50_000 }, 'bad-argument', /takes at least 0\.0\d MB/);
  await fails('a size that is none', blob, { size: '60 apples' }, 'bad-argument', /size must be bytes, or a text/);
  await fails('bits that are too many', blob, { size: undefined, bpw: 50 }, 'bad-argument', /bpw must be bits a weight/);
  await fails('no size', blob, { size: undefined }, 'bad-argument', /say how large/);
  const magic = { size: undefined, fast: undefined, recipe: [{ step: 'magic' }] };
  await fails('a recipe with an unknown step', blob, magic, 'bad-argument', /magic/);
  await fails('an option that is none', blob, { sise: 1 }, 'bad-argument', /no option "sise"/);
  await fails('a page in place of a model', "'/model/a.gguf?html'", {}, 'not-gguf', /HTML page/);
  await fails('a file that is none', "new Blob(['This is no model at all.'.repeat(100)])", {}, 'not-gguf', /GGUF/);
  await fails('a file that is cut off', `(${blob}).slice(0, 600000)`, {}, 'truncated-model', /cut off/);
  await fails('no such file', "'/model/a.gguf?status=404'", {}, 'http-404', /404/);
  await fails('a model that is not in the cache', "{ cached: 'none' }", {}, 'not-cached', /cache/);
  await fails('a stream', "new Blob(['GGUF']).stream()", {}, 'bad-argument', /stream can be read once/);
  await fails('too little space', blob, { baseUrl: '/variant/free-1000' }, 'quota', /grants/);
  await fails('a disk that gets full', blob, { baseUrl: '/variant/full-at-2' }, 'quota', /stor|space/);
  await fails('storage that is denied', blob, { baseUrl: '/variant/no-storage' }, 'storage', /cannot be used/);
  await check(`${browser.name}: bits a weight, and a recipe`, async () => {
    const made = (/** @type {object} */ options) =>
      browser.evaluate(`(async () => make(${blob}, ${JSON.stringify({ cache: false, ...options })}))()`);
    const plain = await made({ recipe: [{ step: 'round', type: 'q4_0' }] });
    const coded = await made({ ...FAST, size: undefined, bpw: 5.5 });
    equal([plain.error, coded.error], [undefined, undefined]);
    ensure(plain.bytes < 0.65 * model.length, `${plain.bytes} bytes in Q4_0`);
    ensure(coded.bytes > 0.55 * model.length && coded.bytes < 0.72 * model.length, `${coded.bytes} bytes at 5.5 bits`);
  });
  await check(`${browser.name}: where storage is denied, a file is made all the same`, async () => {
    const options = { ...FAST, baseUrl: '/variant/no-storage', cache: false };
    const { error, bytes } = await browser.evaluate(`(async () => make(${blob}, ${JSON.stringify(options)}))()`);
    equal([error, bytes <= SIZE], [undefined, true]);
  });
}

const wanted = process.argv.slice(2);
const sections = [making, goingOn, training, failing, usingPage].filter(({ name }) => name.includes(process.env.NUT_ONLY ?? ''));
for (const [name, start] of Object.entries(starters)) {
  if (!wanted.length || wanted.includes(name)) await inBrowser(start, sections);
}
if (sections.includes(making)) await check('all browsers write the same file, and find the same of it', () => {
  equal(new Set(written.values()).size, 1, JSON.stringify([...written]));
  equal(new Set(judged.values()).size, 1, JSON.stringify([...judged]));
});
await server.close();
finish();
