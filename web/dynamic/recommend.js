// Which of several models runs how fast on this machine, and in how much memory, before any of them is downloaded: of each the
// header is read, and a model with the same shapes, types and vocabulary, fewer layers and no weights is timed by the engine
// itself (HAT: Wang et al. 2020, arXiv 2005.14187: the shape that is best depends on the hardware).
import { badArgument } from '../shared/errors.js';
import { checkOptions } from '../shared/options.js';
import { bytesOf, modelOf } from './gguf.js';
import { headerOf } from './header.js';

/** @typedef {import('../nutshell-dynamic.d.ts').Recommendation} Recommendation */
/** @typedef {import('./gguf.js').Header} Header */

const ENOUGH = 64e6; // bytes of weights that do not fit into a processor's caches, so that memory decides as it will
const FIRST_TOKENS = 3, COUNTED = 0.004; // tokens of the first run; seconds of one that counts
const MARGIN = 8; // positions that the prompt of a measurement may take

/** @type {Record<string, import('../shared/options.js').Rule>} */
const RECOMMEND = {
  seconds: { expects: 'seconds, from 0.1 to 60', test: (x) => x >= 0.1 && x <= 60, fallback: 1 },
  maxMemory: { expects: 'bytes', test: (x) => typeof x === 'number' && x > 0, fallback: 4e9 },
  load: { expects: 'an object of options for load', test: (x) => typeof x === 'object' && x !== null, fallback: {} },
  signal: { expects: 'an AbortSignal', test: (x) => x instanceof AbortSignal },
};

/** The library's own function: of the script that the page has, else of the module beside this one.
 *  @returns {Promise<typeof import('../nutshell.d.ts').load>} */
async function findLoad() {
  const beside = new URL('nutshell.mjs', import.meta.url).href;
  return (/** @type {any} */ (globalThis).Nutshell ?? await import(beside)).load;
}

/** The numbers of layers to time: a small model is timed whole, a large one with two numbers, whose difference is a layer.
 *  @param {Header} header */
function sizesOf(header) {
  const { layers } = header, fixed = bytesOf(header, 0);
  if (bytesOf(header, layers) <= 1.5 * ENOUGH) return [layers];
  let many = 2;
  while (many < layers && bytesOf(header, many) - fixed < ENOUGH) many++;
  return [Math.ceil(many / 3), many];
}

/** Seconds for a token: of the fastest of several runs, which others on this machine disturb least. Runs get longer until the
 *  browser's clock can tell them; the first ones run code that it has not optimized yet.
 *  @param {import('../nutshell.d.ts').Model} model @param {number} enough @param {AbortSignal} [signal] */
async function timeTokens(model, enough, signal) {
  const most = model.info.contextLength - MARGIN;
  let best = Infinity;
  for (let n = Math.min(FIRST_TOKENS, most), sum = 0; sum < enough;) {
    const generation = model.generate('a', { maxTokens: n, ignoreEos: true, temperature: 0, lookup: 0, signal });
    await generation.text();
    const { tokens, seconds } = /** @type {import('../nutshell.d.ts').GenerationStats} */ (generation.stats);
    sum += seconds;
    // The first token is drawn from what reading the prompt has left: it takes no step.
    if (seconds >= COUNTED || n === most) best = Math.min(best, seconds / (tokens - 1));
    else n = Math.min(2 * n, most);
  }
  return best;
}

/** @param {Header} header @param {number} layers @param {any} options */
async function measure(header, layers, { seconds, load: more, signal }) {
  const load = await findLoad();
  const model = await load(modelOf(header, layers), { ...more, cache: false, signal });
  try {
    const { weightBytes, sessionBytes } = model.info;
    const token = await timeTokens(model, seconds, signal);
    return { layers, bytes: bytesOf(header, layers), weightBytes, sessionBytes, seconds: token };
  } finally {
    await model.unload();
  }
}

/** What a line through two measurements says of the whole; one measurement is of the whole.
 *  @param {Awaited<ReturnType<typeof measure>>[]} measured @param {number} layers @param {number} bytes */
function extrapolate([one, two = one], layers, bytes) {
  const along = (/** @type {'seconds' | 'weightBytes' | 'sessionBytes'} */ what, /** @type {'bytes' | 'layers'} */ by,
    /** @type {number} */ at) => (one === two ? one[what]
    : Math.max(two[what] + (two[what] - one[what]) * (at - two[by]) / (two[by] - one[by]), two[what]));
  const memory = along('weightBytes', 'bytes', bytes) + along('sessionBytes', 'layers', layers);
  return { seconds: along('seconds', 'bytes', bytes), memory };
}

/** @param {any} source @param {any} options @returns {Promise<Recommendation>} */
async function assess(source, options) {
  const { header, size } = await headerOf(source, options.signal);
  const measured = [];
  for (const layers of sizesOf(header)) measured.push(await measure(header, layers, options));
  const { seconds, memory } = extrapolate(measured, header.layers, bytesOf(header, header.layers));
  return { source, name: header.name, fileBytes: size, tokensPerSecond: 1 / seconds, memoryBytes: Math.round(memory),
    fits: memory <= options.maxMemory, error: null };
}

/** Those that fit go first, the fastest of them first. @param {Recommendation} a @param {Recommendation} b */
const byRank = (a, b) => Number(b.fits) - Number(a.fits) || b.tokensPerSecond - a.tokensPerSecond;

/** @type {typeof import('../nutshell-dynamic.d.ts').recommend} */
export async function recommend(sources, options) {
  const checked = checkOptions(RECOMMEND, options);
  if (!Array.isArray(sources) || !sources.every((one) => typeof one === 'string' || one instanceof URL || one instanceof Blob)) {
    throw badArgument('sources', 'an array of URLs or files', sources);
  }
  const found = [];
  for (const source of sources) { // one after the other: two at a time would slow each other down
    found.push(await assess(source, checked).catch((error) => {
      checked.signal?.throwIfAborted();
      return { source, name: '', fileBytes: 0, tokensPerSecond: 0, memoryBytes: 0, fits: false, error };
    }));
  }
  return found.sort(byRank);
}
