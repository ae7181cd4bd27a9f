// Sections of dynamic-test.mjs: predictions of speed and memory. NUT_SPEED=1: on a machine where nothing else runs, predicted
// speeds must be near the measured ones.
import { open } from './dynamic-setup.mjs';
import { check, ensure, equal, skip } from './harness.mjs';

/** @typedef {import('./dynamic-setup.mjs').Browser} Browser */
/** @typedef {import('./dynamic-setup.mjs').Servers} Servers */

const NEAR = 0.2; // of the truth
const STEADY = 0.05; // how much two measurements of one model may differ where nothing else uses the machine
const TRIES = 3;

/** Speeds are compared where the caller says that nothing else runs: beside other suites they say nothing. */
const JUDGED = Boolean(process.env.NUT_SPEED), SECONDS = JUDGED ? 2 : 0.1;

/** How fast a model is, in the page: the fastest of runs that are long enough for the browser's clock. */
async function timed(source, load, seconds) {
  const { info } = await window.load(source, { ...load, cache: false });
  let speed = 0;
  for (let sum = 0, n = 3; sum < seconds;) {
    const { stats } = await collect(model.generate('a', { maxTokens: n, ignoreEos: true, temperature: 0, lookup: 0 }));
    if (stats.seconds >= 0.004) speed = Math.max(speed, (stats.tokens - 1) / stats.seconds); // the first takes no step
    else n = Math.min(2 * n, 240);
    sum += stats.seconds;
  }
  return { speed, memory: info.weightBytes + info.sessionBytes };
}

/** What came of a prediction: 'right', 'wrong', or 'busy', where the model itself is not as fast before it as behind it.
 *  @param {Browser} browser @param {string} name @param {any} options */
async function compare(browser, name, options) {
  const source = `model/${name}`, before = await browser.evaluate(timed, source, options.load, SECONDS);
  const [{ error, tokensPerSecond, memoryBytes }] = await browser.evaluate(async (source, options) => (
    await dynamic.recommend([source], options)), source, options);
  const after = await browser.evaluate(timed, source, options.load, SECONDS), truth = Math.max(before.speed, after.speed);
  equal(error, null);
  ensure(Math.abs(memoryBytes / after.memory - 1) < NEAR, `memory: ${memoryBytes}, truth ${after.memory}`);
  const [told, first, second] = [tokensPerSecond, before.speed, after.speed].map((speed) => speed.toFixed(1));
  console.log(`${browser.name}: ${source}: predicted ${told} tokens/s, measured ${first} before and ${second} after; `
    + `${(memoryBytes / 1e6).toFixed(1)} MB predicted, ${(after.memory / 1e6).toFixed(1)} MB taken`);
  ensure(tokensPerSecond > 0 && Number.isFinite(tokensPerSecond), `${tokensPerSecond} tokens/s`);
  if (!JUDGED || Math.abs(tokensPerSecond / truth - 1) < NEAR) return 'right';
  return Math.abs(before.speed / after.speed - 1) > STEADY ? 'busy' : 'wrong';
}

/** @param {Browser} browser @param {Servers} servers */
export async function predicting(browser, servers) {
  const names = ['a.gguf', ...Object.keys(servers.files).filter((name) => /stories|smollm2/.test(name))];
  await open(browser, servers);
  const options = { seconds: SECONDS, load: { threads: 1, contextLength: 256 } };
  for (const name of names) {
    const what = `${browser.name}: ${JUDGED ? 'speed and ' : ''}memory of ${name}, from its header`;
    await check(what, async () => {
      let found = 'busy';
      for (let i = 0; i < TRIES && found === 'busy'; i++) found = await compare(browser, name, options);
      if (found === 'busy') skip(what, 'others use this machine: it is not as fast for a minute');
      else equal(found, 'right', 'the prediction is');
    });
  }
  await check(`${browser.name}: a few bytes of the files are enough, and the fastest comes first`, async () => {
    servers.main.forget();
    const ranked = await browser.evaluate(async (names, options) => (
      await dynamic.recommend(names.map((name) => `model/${name}`), { ...options, seconds: 0.1 })), names, options);
    const sizes = names.map((name) => servers.files[name]?.length ?? 0), speeds = ranked.map((one) => one.tokensPerSecond);
    ensure(servers.main.sent < Math.max(3e6, Math.max(...sizes) / 20), `${servers.main.sent} bytes were fetched`);
    equal([speeds, ranked.map(({ error }) => error)], [[...speeds].sort((a, b) => b - a), names.map(() => null)]);
  });
  await check(`${browser.name}: what does not fit comes last, and what is no model says why`, async () => {
    const ranked = await browser.evaluate(async (options) => {
      const files = ['model/a.gguf', 'model/b.gguf?html', 'model/c.gguf?status=404', new Blob(['GGUF']),
        'model/d.gguf?range=off'];
      const ranked = await dynamic.recommend(files, { ...options, seconds: 0.1 });
      const small = await dynamic.recommend(['model/a.gguf'], { ...options, seconds: 0.1, maxMemory: 1e6 });
      return [...ranked.map(({ source, fits, error }) => [String(source), fits, error?.code ?? null]), small[0].fits];
    }, options);
    const fits = ranked.slice(0, 2).map(([source]) => source).sort(), others = ranked.slice(2, 5);
    equal([fits, ranked[5]], [['model/a.gguf', 'model/d.gguf?range=off'], false]);
    equal(others.map(([, fit, code]) => [fit, code]).sort(), [[false, 'http-404'], [false, 'not-gguf'], [false, 'not-gguf']]);
  });
  await check(`${browser.name}: it can be stopped`, async () => {
    const code = await browser.evaluate(async (options) => {
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 50);
      return codeOf(() => dynamic.recommend(['model/a.gguf', 'model/e.gguf'], { ...options, seconds: 20, signal: stop.signal }));
    }, options);
    equal(code.code, 'AbortError');
  });
}
