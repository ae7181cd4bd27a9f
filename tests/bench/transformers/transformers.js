// Measures transformers.js on the processor, in the same browser and with the same clock as demo/bench/bench.js. Its model is an
// ONNX folder that was made of the same GGUF (surfaces.mjs says how). It is called in the way that costs it least: token ids
// in, a streamer that only takes the time, and onnxruntime's build without WebGPU, which is the faster one on the processor
// and which a page has to ask for.
import { AutoModelForCausalLM, Tensor, env } from '../transformers-lib/transformers.min.js';

const RUNTIME = new URL('../onnxruntime-lib/', import.meta.url).href;

Object.assign(env, {
  allowRemoteModels: false, allowLocalModels: true, localModelPath: new URL('../onnx/', import.meta.url).href,
});

/** @param {number[]} ids */
function inputOf(ids) {
  return {
    input_ids: new Tensor('int64', BigInt64Array.from(ids.map(BigInt)), [1, ids.length]),
    attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), [1, ids.length]),
  };
}

/** 1 + n tokens, greedily. A streamer is given the prompt first. @param {any} model @param {number[]} ids @param {number} n */
async function generate(model, ids, n) {
  /** @type {number[]} */
  const times = [];
  const streamer = { put: () => times.push(performance.now()), end() {} };
  const since = performance.now();
  await model.generate({ ...inputOf(ids), max_new_tokens: n + 1, min_new_tokens: n + 1, do_sample: false, streamer });
  const [, first] = times;
  return { untilFirst: first - since, afterFirst: times.at(-1) - first, drawn: times.length - 2 };
}

/**
 * @param {string} _url of the GGUF, which is not read here
 * @param {{ variant: string, dtype: string, threads: number, ids: number[], shortIds: number[], warmUpIds: number[],
 *   drawn: number }} options
 */
export async function measure(_url, { variant, dtype, threads, ids, shortIds, warmUpIds, drawn }) {
  Object.assign(env.backends.onnx.wasm, {
    numThreads: threads,
    wasmPaths: { mjs: `${RUNTIME}ort-wasm-simd-threaded.mjs`, wasm: `${RUNTIME}ort-wasm-simd-threaded.wasm` },
  });
  const since = performance.now();
  const model = await AutoModelForCausalLM.from_pretrained(variant, { dtype, device: 'wasm' });
  const loadSeconds = (performance.now() - since) / 1000;
  await generate(model, shortIds, 0);
  const firstTokenSeconds = (performance.now() - since) / 1000;
  await generate(model, warmUpIds, 16);
  const timed = await generate(model, ids, drawn);
  return {
    kernel: `onnxruntime ${dtype}, ${variant}`, threads: env.backends.onnx.wasm.numThreads,
    prefill: 1000 * ids.length / timed.untilFirst, decode: 1000 * timed.drawn / timed.afterFirst, promptTokens: ids.length,
    drawn: timed.drawn, loadSeconds, firstTokenSeconds,
  };
}
