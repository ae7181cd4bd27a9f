// wllama, measured in the same browser and by the same clock as demo/bench/bench.js: times are taken in the page, from the
// call to the token. It is given token ids and asked for nothing but the next token, the least that its interface allows
// (its own createCompletion does more per token).
import { Wllama } from '../wllama-esm/index.js';

const PATHS = {
  'single-thread/wllama.wasm': '../wllama-esm/single-thread/wllama.wasm',
  'multi-thread/wllama.wasm': '../wllama-esm/multi-thread/wllama.wasm',
};
const logger = { debug() {}, log() {}, warn() {}, error: console.error };

/** Reads the ids, then draws 1 + n tokens; milliseconds until the first and from the first to the last. */
async function generate(wllama, ids, n) {
  const since = performance.now();
  await wllama.kvClear();
  await wllama.decode(ids, {});
  let { token } = await wllama.samplingSample();
  const first = performance.now();
  for (let i = 0; i < n; i++) {
    await wllama.decode([token], {});
    ({ token } = await wllama.samplingSample());
  }
  return { untilFirst: first - since, afterFirst: performance.now() - first };
}

/**
 * @param {string} url  of the model; what was loaded once comes from the browser's storage
 * @param {{ threads: number, contextLength: number, ids: number[], shortIds: number[], warmUpIds: number[],
 *   drawn: number }} options
 */
export async function measure(url, { threads, contextLength, ids, shortIds, warmUpIds, drawn }) {
  const wllama = new Wllama(PATHS, { suppressNativeLog: true, logger, allowOffline: true });
  const since = performance.now();
  await wllama.loadModelFromUrl(new URL(url, document.baseURI).href, { n_threads: threads, n_ctx: contextLength, n_batch: 512 });
  const loadSeconds = (performance.now() - since) / 1000;
  await wllama.samplingInit({ temp: 0 });
  await generate(wllama, shortIds, 0);
  const firstTokenSeconds = (performance.now() - since) / 1000;
  await generate(wllama, warmUpIds, 16);
  const { untilFirst, afterFirst } = await generate(wllama, ids, drawn);
  const atWork = wllama.getNumThreads();
  await wllama.exit();
  return {
    kernel: 'ggml simd128', threads: atWork, prefill: 1000 * ids.length / untilFirst, decode: 1000 * drawn / afterFirst,
    promptTokens: ids.length, drawn, loadSeconds, firstTokenSeconds,
  };
}
