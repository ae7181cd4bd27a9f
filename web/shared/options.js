// Checks what callers pass, before any of it reaches the engine. One row per option: what it must be, in
// words that appear in the error, and the value where none is given. Unknown options are refused, since they
// are misspelt ones.
import { NutshellError, badArgument, shown } from './errors.js';
import { GENERATE_OPTIONS, KV_TYPES, MAX_STOPS, MAX_STOP_BYTES } from './tables.js';

/**
 * @typedef {object} Rule
 * @property {string} expects  completes "… must be"
 * @property {(value: any) => boolean} test
 * @property {unknown} [fallback]
 */

/** @param {unknown} x */
const isWhole = (x) => Number.isSafeInteger(x);

/** @param {number} low @param {number} high @param {unknown} [fallback] @returns {Rule} */
const whole = (low, high, fallback) => ({
  expects: `a whole number from ${low} to ${high}`, test: (x) => isWhole(x) && x >= low && x <= high, fallback,
});

/** @param {number} low @param {number} high @param {unknown} [fallback] @returns {Rule} */
const number = (low, high, fallback) => ({
  expects: `a number from ${low} to ${high}`, test: (x) => typeof x === 'number' && x >= low && x <= high, fallback,
});

/** @param {readonly unknown[]} values @param {unknown} [fallback] @returns {Rule} */
const oneOf = (values, fallback) => ({
  expects: values.map((v) => JSON.stringify(v)).join(' or '), test: (x) => values.includes(x), fallback,
});

/** @param {string} type @param {string} expects @param {unknown} [fallback] @returns {Rule} */
const ofType = (type, expects, fallback) => ({ expects, test: (x) => typeof x === type && x !== null, fallback });

/** @param {unknown} [fallback] */
const yesOrNo = (fallback) => ofType('boolean', 'true or false', fallback);

/** @type {Rule} */
const address = { expects: 'a URL', test: (x) => typeof x === 'string' || x instanceof URL };

/** @param {unknown} x */
const isStopText = (x) => {
  const bytes = typeof x === 'string' ? new TextEncoder().encode(x).length : 0;
  return bytes > 0 && bytes <= MAX_STOP_BYTES && !String(x).includes('\0');
};

/** @type {Rule} */
const stopTexts = {
  expects: `a text of 1 to ${MAX_STOP_BYTES} bytes, or an array of at most ${MAX_STOPS} such`,
  test: (x) => (Array.isArray(x) ? x.length <= MAX_STOPS && x.every(isStopText) : isStopText(x)),
  fallback: [],
};

/** @type {Rule} */
const list = { expects: 'an array', test: Array.isArray };

/** @type {Rule} */
const abortSignal = { expects: 'an AbortSignal', test: (x) => x instanceof AbortSignal };

/** @type {Record<string, Rule>} */
const ENGINE = {
  threads: whole(1, 64),
  baseUrl: address,
  kernel: oneOf(['relaxed', 'pairs', 'simd128', 'ref']),
};

/** @param {any} x  headers that go with requests; which part of the file is asked for is the library's business */
function areHeaders(x) {
  try {
    const headers = new Headers(x);
    return typeof x === 'object' && !headers.has('range') && !headers.has('if-range');
  } catch {
    return false;
  }
}

/** @param {unknown} x */
const isSha256 = (x) => typeof x === 'string' && /^[0-9a-f]{64}$/i.test(x);

/** @type {Record<string, Rule>} */
const LOAD = {
  ...ENGINE,
  onProgress: ofType('function', 'a function'),
  signal: abortSignal,
  contextLength: whole(1, 2 ** 31 - 1, 0),
  kvType: oneOf(KV_TYPES, KV_TYPES[0]),
  preTokenizer: ofType('string', 'a string'),
  cache: oneOf([true, false, 'reload', 'required']),
  sha256: { expects: '64 hexadecimal digits, or an array of such', test: (x) => [x].flat().every(isSha256) },
  mirrors: { expects: 'an array of URLs', test: (x) => Array.isArray(x) && x.every(address.test) },
  headers: { expects: 'HTTP headers, not Range', test: areHeaders },
  evict: yesOrNo(false),
  weightsLimit: whole(1, 2 ** 53),
  draft: { expects: 'a model', test: Boolean },
  adapters: list,
};

/** @type {Record<string, Rule>} */
const VERIFY = { onProgress: LOAD.onProgress, signal: abortSignal };

/** @param {typeof GENERATE_OPTIONS[number]} row @returns {Rule} */
function ruleOf(row) {
  if (row.kind === 'flag') return yesOrNo(row.fallback);
  return (row.kind === 'whole' ? whole : number)(row.least, row.most, row.fallback);
}

/** @type {Record<string, Rule>} */
const GENERATE = {
  ...Object.fromEntries(GENERATE_OPTIONS.map((row) => [row.name, ruleOf(row)])),
  stop: stopTexts,
  signal: abortSignal,
  parseSpecial: yesOrNo(),
  adapters: list,
};

/** @type {Record<string, Rule>} */
const TEMPLATE = {
  template: ofType('string', 'the text of a Jinja template'),
  templateVariables: ofType('object', 'an object', {}),
  tools: { expects: 'an array of tools', test: Array.isArray },
  addGenerationPrompt: yesOrNo(true),
};

export const rules = {
  prepare: { ...ENGINE, chat: yesOrNo(false) },
  load: LOAD,
  session: { contextLength: LOAD.contextLength },
  generate: GENERATE,
  render: { ...TEMPLATE, tokens: yesOrNo(false) },
  chat: {
    ...GENERATE, ...TEMPLATE, overflow: oneOf(['error', 'trim', 'shift'], 'error'), answer: ofType('string', 'a string', ''),
  },
  tokenize: { addBos: yesOrNo(false), parseSpecial: yesOrNo(false) },
  detokenize: { special: yesOrNo(false) },
  verify: VERIFY,
  import: { ...VERIFY, url: address, name: ofType('string', 'a string', ''), evict: yesOrNo(false) },
};

/**
 * The options with their fallbacks filled in; throws 'bad-argument'. An option that is undefined counts as
 * not given.
 * @param {Record<string, Rule>} table
 * @param {unknown} options
 * @returns {any}
 */
export function checkOptions(table, options = {}) {
  if (typeof options !== 'object' || options === null) throw badArgument('options', 'an object', options);
  /** @type {Record<string, unknown>} */
  const result = {};
  for (const [name, rule] of Object.entries(table)) result[name] = rule.fallback;
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(table, name)) {
      const known = Object.keys(table).join(', ');
      throw new NutshellError('bad-argument', `there is no option ${shown(name)}; the options here are ${known}`);
    }
    if (!table[name].test(value)) throw badArgument(name, table[name].expects, value);
    result[name] = value;
  }
  return result;
}

/** @param {string} name @param {unknown} value @returns {string} */
export function checkText(name, value) {
  if (typeof value !== 'string') throw badArgument(name, 'a string', value);
  return value;
}

/** @param {unknown} bytes @returns {Uint8Array} */
export function checkBytes(bytes) {
  if (bytes instanceof Uint8Array) return bytes;
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes);
  throw badArgument('bytes', 'a Uint8Array or an ArrayBuffer', bytes);
}

/** @param {unknown} ids @returns {Int32Array} */
export function checkIds(ids) {
  const list = /** @type {ArrayLike<number>} */ (ids);
  if (typeof ids !== 'object' || ids === null || !isWhole(list.length)) throw badArgument('ids', 'an array of token ids', ids);
  for (let i = 0; i < list.length; i++) {
    if (!isWhole(list[i]) || list[i] < 0 || list[i] >= 2 ** 31) throw badArgument(`ids[${i}]`, 'a token id', list[i]);
  }
  return Int32Array.from(list);
}
