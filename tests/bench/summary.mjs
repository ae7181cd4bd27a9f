// From results to rows: medians over the rounds, ratios within them. It measures nothing.
import { DRAWN_TOKENS, median } from '../../demo/bench/bench.js';

/** @typedef {import('./surfaces.mjs').Surface} Surface */
/** @typedef {import('./surfaces.mjs').Result} Result */

/**
 * @typedef {object} Series  one surface with one number of threads
 * @property {Pick<Surface, 'id' | 'name'>} surface
 * @property {number} threads
 * @property {(Result | null)[]} results   by round; null: it failed there
 * @property {(Result | null)[]} [long]    the same with the long prompt
 *
 * @typedef {object} Row  what a surface did, medians over the rounds; what was not measured is undefined
 * @property {string} surface
 * @property {string} name
 * @property {number} threads
 * @property {string} kernel
 * @property {string} browser
 * @property {number} [decode]       tokens per second, as prefill
 * @property {number} [prefill]
 * @property {number} [decodeRatio]  to llama.cpp at its best with no more threads
 * @property {number} [prefillRatio]
 * @property {number} [decodeRatioVnni]  to llama.cpp without AMX, where it has AMX
 * @property {number} [prefillRatioVnni]
 * @property {number} [decodeGain]   to the same surface with one thread
 * @property {number} [prefillGain]
 * @property {number} [load]         seconds, as first
 * @property {number} [first]
 * @property {number} [peakBytes]
 * @property {number} [heldBytes]
 * @property {number} [wasmBytes]
 * @property {number} [programBytes]
 * @property {number} [modelBytes]   weights, key/value cache and buffers
 * @property {number} [longPrefill]  tokens per second of the long prompt, and of the text after it
 * @property {number} [longDecode]
 * @property {number} [longShare]    longPrefill over prefill
 * @property {number} [kl]           Nutshell: loss of int8 activations, nats a token (loss.mjs)
 *
 * @typedef {{ model: string, rounds: number, load: number, rows: Row[] }} Run
 */

/** What a result is compared with. */
export const BASE = 'llama', BASE_VNNI = 'llama-vnni';

/**
 * Why a result cannot be compared with the others; null: it can.
 * @param {Pick<Surface, 'kernel'>} surface @param {number} threads @param {number} promptTokens @param {Result} r
 */
export function faultOf(surface, threads, promptTokens, r) {
  if (surface.kernel && r.kernel !== surface.kernel) return `it runs the kernels '${r.kernel}', not '${surface.kernel}'`;
  if (r.threads !== threads) return `${r.threads} threads are at work, not ${threads}`;
  if (r.promptTokens !== promptTokens) return `its prompt has ${r.promptTokens} tokens, not ${promptTokens}`;
  if (r.drawn !== DRAWN_TOKENS) return `it drew ${r.drawn} tokens, not ${DRAWN_TOKENS}: the model ended the text`;
  if (r.fromCache === false) return 'its model was fetched instead of coming from the browser\'s storage';
  return null;
}

/** Median over the rounds of the value that `pick` returns; undefined if nothing was measured. */
function over(results, pick) {
  const values = results.map((result) => result && pick(result)).filter((value) => Number.isFinite(value));
  return values.length ? median(values) : undefined;
}

/**
 * Median of the ratios within the rounds, to the best of the bases there.
 * @param {Series} series @param {Series[]} bases @param {'decode' | 'prefill'} what
 */
function ratio(series, bases, what) {
  return over(series.results.map((result, round) => {
    const best = Math.max(0, ...bases.map(({ results }) => results[round]?.[what] ?? 0));
    return result && best > 0 ? result[what] / best : NaN;
  }), (value) => value);
}

/** llama.cpp's threads wait without sleeping, so that two can be slower than one: its best counts. */
const basesOf = (all, id, threads) => all.filter((other) => other.surface.id === id && other.threads <= threads);

/** @param {Series} series @param {Series[]} all @returns {Partial<Row>} */
function ratios(series, all) {
  const { surface: { id }, threads } = series;
  const [bases, vnni] = [BASE, BASE_VNNI].map((base) => basesOf(all, base, threads));
  const alone = threads > 1 ? all.filter((other) => other.surface.id === id && other.threads === 1) : [];
  return {
    decodeRatio: ratio(series, bases, 'decode'), prefillRatio: ratio(series, bases, 'prefill'),
    decodeRatioVnni: ratio(series, vnni, 'decode'), prefillRatioVnni: ratio(series, vnni, 'prefill'),
    decodeGain: ratio(series, alone, 'decode'), prefillGain: ratio(series, alone, 'prefill'),
  };
}

/** @param {Series} series @returns {Partial<Row>} */
function longFigures({ results, long = [] }) {
  const shares = long.map((result, round) => (result && results[round] ? result.prefill / results[round].prefill : NaN));
  return {
    longPrefill: over(long, (r) => r.prefill), longDecode: over(long, (r) => r.decode), longShare: over(shares, (s) => s),
  };
}

/** @param {Series['surface']} surface */
const isNutshell = ({ name }) => name.startsWith('Nutshell');

/**
 * A row for each surface and number of threads that was measured.
 * @param {Series[]} all
 * @param {number} [kl]  of the model on Nutshell's surfaces
 * @returns {Row[]}
 */
export function summarize(all, kl) {
  const modelBytes = all.flatMap(({ results }) => results).find((result) => result?.modelBytes)?.modelBytes;
  return all.filter(({ results }) => results.some(Boolean)).map((series) => {
    const { surface, threads, results } = series;
    return {
      surface: surface.id, name: surface.name, threads, kernel: results.find(Boolean)?.kernel ?? '',
      browser: results.find(Boolean)?.browser ?? '',
      decode: over(results, (r) => r.decode), prefill: over(results, (r) => r.prefill), ...ratios(series, all),
      load: over(results, (r) => r.loadSeconds), first: over(results, (r) => r.firstTokenSeconds),
      peakBytes: over(results, (r) => r.peakBytes), heldBytes: over(results, (r) => r.heldBytes),
      wasmBytes: over(results, (r) => r.wasmBytes), programBytes: over(results, (r) => r.programBytes), modelBytes,
      ...longFigures(series), kl: isNutshell(surface) ? kl : undefined,
    };
  });
}
