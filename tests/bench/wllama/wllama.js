// Measures wllama in the same browser and with the same clock as demo/bench/bench.js: times are taken in the page, from the
// call to the token. Each version is called in the way that costs it least, with greedy sampling. It runs on the processor
// alone, as Nutshell does.

const CONFIG = {
  suppressNativeLog: true, allowOffline: true, logger: { debug() {}, log() {}, warn() {}, error: console.error },
};

/** @typedef {{ text: string, ids: number[] }} Prompt */
/** @typedef {{ untilFirst: number, afterFirst: number, drawn: number, promptTokens: number }} Timed  milliseconds */

/**
 * 2.2.1 takes token ids and returns one token per call; its own createCompletion does more work per token.
 * @param {any} wllama @param {Prompt} prompt @param {number} n @returns {Promise<Timed>} for 1 + n tokens
 */
async function stepByStep(wllama, { ids }, n) {
  const since = performance.now();
  await wllama.kvClear();
  await wllama.decode(ids, {});
  let { token } = await wllama.samplingSample();
  const first = performance.now();
  for (let i = 0; i < n; i++) {
    await wllama.decode([token], {});
    ({ token } = await wllama.samplingSample());
  }
  return { untilFirst: first - since, afterFirst: performance.now() - first, drawn: n, promptTokens: ids.length };
}

/**
 * 3.8.1 takes text and streams an answer, by the interface of llama.cpp's server; it stops with an error when it is given
 * token ids. A piece may have more than one token where one alone is no character: tokens are counted by what it says.
 * @param {any} wllama @param {Prompt} prompt @param {number} n @returns {Promise<Timed>} for 1 + n tokens
 */
async function streamed(wllama, { text }, n) {
  const since = performance.now();
  const answer = await wllama.createCompletion({
    prompt: text, max_tokens: n + 1, temperature: 0, samplers: ['temperature'], ignore_eos: true, cache_prompt: false,
    stream: true, timings_per_token: true,
  });
  let first = 0, before = 0, last = 0, timings = null;
  for await (const piece of answer) {
    const tokens = piece.timings?.predicted_n ?? 0;
    if (tokens === (timings?.predicted_n ?? 0)) continue; // the end, which brings no token
    timings = piece.timings;
    last = performance.now();
    if (first) continue;
    first = last;
    before = tokens;
  }
  if (!timings) throw new Error('wllama streamed no token');
  return {
    untilFirst: first - since, afterFirst: last - first, drawn: timings.predicted_n - before, promptTokens: timings.prompt_n,
  };
}

/** What differs between the versions. */
const VERSIONS = {
  '2.2.1': {
    library: '../wllama-2.2.1/index.js', kernel: 'ggml simd128', load: {},
    paths: {
      'single-thread/wllama.wasm': '../wllama-2.2.1/single-thread/wllama.wasm',
      'multi-thread/wllama.wasm': '../wllama-2.2.1/multi-thread/wllama.wasm',
    },
    ready: (wllama) => wllama.samplingInit({ temp: 0 }),
    generate: stepByStep,
  },
  '3.8.1': {
    library: '../wllama-3.8.1/index.js', kernel: 'ggml', load: { n_gpu_layers: 0, n_parallel: 1 },
    paths: { default: '../wllama-3.8.1/wasm/wllama.wasm' },
    ready: async () => {},
    generate: streamed,
  },
};

/**
 * @param {string} url  of the model; what was loaded once comes from the browser's storage
 * @param {{ version: '2.2.1' | '3.8.1', threads: number, contextLength: number, prompt: Prompt, short: Prompt,
 *   warmUp: Prompt, drawn: number }} options
 */
export async function measure(url, { version, threads, contextLength, prompt, short, warmUp, drawn }) {
  const { library, kernel, load, paths, ready, generate } = VERSIONS[version];
  const { Wllama } = await import(library);
  const wllama = new Wllama(paths, CONFIG);
  const since = performance.now();
  await wllama.loadModelFromUrl(new URL(url, document.baseURI).href,
    { n_threads: threads, n_ctx: contextLength, n_batch: 512, ...load });
  const loadSeconds = (performance.now() - since) / 1000;
  await ready(wllama);
  await generate(wllama, short, 0);
  const firstTokenSeconds = (performance.now() - since) / 1000;
  await generate(wllama, warmUp, 16);
  const timed = await generate(wllama, prompt, drawn);
  const atWork = wllama.getNumThreads();
  await wllama.exit();
  return {
    kernel, threads: atWork, prefill: 1000 * timed.promptTokens / timed.untilFirst,
    decode: 1000 * timed.drawn / timed.afterFirst, promptTokens: timed.promptTokens, drawn: timed.drawn, loadSeconds,
    firstTokenSeconds,
  };
}
