// Native llama.cpp, measured: a process of its own, so that its memory can be told. It reads options as JSON from its only
// argument and prints figures as JSON. Times are from the call to the token, as everywhere in this benchmark.
import { pathToFileURL } from 'node:url';

/** @type {{ library: string, model: string, threads: number, contextLength: number, ids: number[], shortIds: number[],
 *   warmUpIds: number[], drawn: number }} */
const { library, model: modelPath, threads, contextLength, ids, shortIds, warmUpIds, drawn } = JSON.parse(process.argv[2]);

const { getLlama, LlamaLogLevel } = await import(pathToFileURL(library).href);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error, maxThreads: threads, progressLogs: false });
const rssBefore = process.memoryUsage().rss;
const since = performance.now();
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: contextLength, threads, batchSize: 512 });
const sequence = context.getSequence();
const loadSeconds = (performance.now() - since) / 1000;

/** Reads the ids, then draws 1 + n tokens; milliseconds until the first and from the first to the last. */
async function generate(prompt, n) {
  await sequence.clearHistory();
  const start = performance.now();
  let first = 0, tokens = 0;
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    first ||= performance.now();
    if (tokens++ === n) break;
  }
  if (tokens !== n + 1) throw new Error(`llama.cpp drew ${tokens} tokens of ${n + 1}`);
  return { untilFirst: first - start, afterFirst: performance.now() - first };
}

/** The widest of the instruction sets that llama.cpp says it uses. */
function kernelName() {
  const uses = (name) => new RegExp(`\\b${name} = 1`).test(llama.systemInfo);
  return ['AMX_INT8', 'AVX512_VNNI', 'AVX512', 'AVX_VNNI', 'AVX2', 'AVX', 'DOTPROD', 'NEON'].find(uses) ?? 'generic';
}

await generate(shortIds, 0);
const firstTokenSeconds = (performance.now() - since) / 1000;
await generate(warmUpIds, 16);
const { untilFirst, afterFirst } = await generate(ids, drawn);
console.log(JSON.stringify({
  kernel: `ggml ${kernelName().toLowerCase().replaceAll('_', '-')}`, threads: context.currentThreads, promptTokens: ids.length, drawn,
  prefill: 1000 * ids.length / untilFirst, decode: 1000 * drawn / afterFirst, loadSeconds, firstTokenSeconds,
  peakBytes: process.resourceUsage().maxRSS * 1024 - rssBefore,
}));
process.exit(0); // the library keeps the process alive
