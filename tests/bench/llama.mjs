// Measures native llama.cpp, in a process of its own, so that its memory can be measured. It reads options as JSON from its only
// argument and prints figures as JSON. Speeds are from llama.cpp's own timers, which exclude the Node binding and the sampling:
// as this is the reference for Nutshell, the binding must not count against it.
import { pathToFileURL } from 'node:url';

/** @type {{ library: string, model: string, threads: number, contextLength: number, ids: number[], shortIds: number[],
 *   warmUpIds: number[], drawn: number }} */
const { library, model: modelPath, threads, contextLength, ids, shortIds, warmUpIds, drawn } = JSON.parse(process.argv[2]);

const { getLlama, LlamaLogLevel } = await import(pathToFileURL(library).href);
let log = '';
const logger = (level, text) => {
  if (LlamaLogLevel.error === level) console.error(text);
  log += `${text}\n`;
};
const llama = await getLlama({
  gpu: false, build: 'never', logLevel: LlamaLogLevel.info, logger, maxThreads: threads, progressLogs: false,
});
const rssBefore = process.memoryUsage().rss;
const since = performance.now();
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: contextLength, threads, batchSize: 512, performanceTracking: true });
const sequence = context.getSequence();
const loadSeconds = (performance.now() - since) / 1000;

/** Reads the ids, then generates 1 + n tokens. */
async function generate(prompt, n) {
  await sequence.clearHistory();
  let tokens = 0;
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) if (tokens++ === n) break;
  if (tokens !== n + 1) throw new Error(`llama.cpp drew ${tokens} tokens of ${n + 1}`);
}

/** llama.cpp's timers since they were last read. @returns {Promise<[number, number][]>} milliseconds and tokens */
async function timings() {
  log = '';
  await context.printTimings();
  return ['prompt eval time', ' eval time'].map((name) => {
    const [, milliseconds, tokens] = new RegExp(`:\\s*${name} =\\s*([\\d.]+) ms /\\s*(\\d+)`).exec(log) ?? [];
    if (tokens === undefined) throw new Error(`llama.cpp printed no "${name}": ${log}`);
    return [Number(milliseconds), Number(tokens)];
  });
}

/** The widest instruction set that llama.cpp reports. */
function kernelName() {
  const uses = (name) => new RegExp(`\\b${name} = 1`).test(llama.systemInfo);
  return ['AMX_INT8', 'AVX512_VNNI', 'AVX512', 'AVX_VNNI', 'AVX2', 'AVX', 'DOTPROD', 'NEON'].find(uses) ?? 'generic';
}

await generate(shortIds, 0);
const firstTokenSeconds = (performance.now() - since) / 1000;
await generate(warmUpIds, 16);
await timings();
await generate(ids, drawn);
const [[prefillTime, promptTokens], [decodeTime, decoded]] = await timings();
console.log(JSON.stringify({
  kernel: `ggml ${kernelName().toLowerCase().replaceAll('_', '-')}`, threads: context.currentThreads,
  promptTokens, drawn: decoded,
  prefill: 1000 * promptTokens / prefillTime, decode: 1000 * decoded / decodeTime, loadSeconds, firstTokenSeconds,
  peakBytes: process.resourceUsage().maxRSS * 1024 - rssBefore,
}));
process.exit(0); // the library keeps the process alive
