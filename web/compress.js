// dist/nutshell-compress.mjs: makes models smaller, trains them, and tells what that costs. A file of its own, since pages
// that run models need none of it. Each call has a worker of its own, which ends with it. Where a script has
// defined the global Nutshell, its functions are members of that too.
import { NutshellError, badArgument, fromWire } from './shared/errors.js';
import { checkOptions, checkText } from './shared/options.js';
import { needEngine } from './shared/probe.js';
import { folderUrl } from './page/host.js';
import { openSource } from './page/load.js';

/** @typedef {import('./shared/options.js').Rule} Rule */

const UNITS = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 1024, MiB: 1048576, GiB: 1073741824 };

/** @param {unknown} size a number of bytes, or a text such as "60MB"; NaN where it is none */
function bytesOf(size) {
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?([kKMG]?i?B)$/.exec(String(size)) ?? [];
  const bytes = typeof size === 'number' ? size : Number(number) * (UNITS[/** @type {'B'} */ (unit)] ?? NaN);
  return bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER ? Math.floor(bytes) : NaN;
}

/** @type {Record<string, Rule>} */
const SHARED = {
  onProgress: { expects: 'a function', test: (x) => typeof x === 'function' },
  signal: { expects: 'an AbortSignal', test: (x) => x instanceof AbortSignal },
  baseUrl: { expects: 'a URL', test: (x) => typeof x === 'string' || x instanceof URL },
};

/** @param {unknown} [fallback] @returns {Rule} */
const yesOrNo = (fallback) => ({ expects: 'true or false', test: (x) => typeof x === 'boolean', fallback });

/** @type {Record<string, Rule>} */
const COMPRESS = {
  ...SHARED,
  size: { expects: 'bytes, or a text such as "60MB"', test: (x) => bytesOf(x) > 0 },
  bpw: { expects: 'bits a weight, from 0.1 to 32', test: (x) => typeof x === 'number' && x >= 0.1 && x <= 32, fallback: 0 },
  recipe: { expects: 'a list of steps, or its JSON', test: (x) => typeof x === 'string' || Array.isArray(x), fallback: '' },
  fast: yesOrNo(false),
  calibration: { expects: 'a text', test: (x) => typeof x === 'string' },
  name: { expects: 'a text', test: (x) => typeof x === 'string', fallback: '' },
  cache: yesOrNo(true),
  resume: yesOrNo(true),
};

/** @type {Record<string, Rule>} */
const TRAIN = {
  ...SHARED,
  text: { expects: 'a text', test: (x) => typeof x === 'string' },
  options: { expects: 'an object of options of training', test: (x) => typeof x === 'object' && x !== null, fallback: {} },
  name: { expects: 'a text', test: (x) => typeof x === 'string', fallback: '' },
  cache: yesOrNo(true),
  resume: yesOrNo(true),
};

/** @param {unknown} x @param {number} least @param {number} most */
const isWhole = (x, least, most) => Number.isInteger(x) && Number(x) >= least && Number(x) <= most;

/** @type {Record<string, Rule>} */
const EVALUATE = {
  ...SHARED,
  text: { expects: 'a text', test: (x) => typeof x === 'string' },
  reference: { expects: 'a model, as the first argument is', test: (x) => x !== null },
  window: { expects: 'a whole number from 16 to 4096', test: (x) => isWhole(x, 16, 4096), fallback: 512 },
  windows: { expects: 'a whole number, 0 for all', test: (x) => isWhole(x, 0, 2 ** 31 - 1), fallback: 0 },
};

const home = new URL('.', import.meta.url).href;

/** @type {{ createScriptURL: (url: string) => any } | null | undefined} */
let policy;

/** A script's address, also where a page's policy requires Trusted Types. @param {string} url @returns {string} */
function trusted(url) {
  try {
    const types = /** @type {any} */ (self).trustedTypes;
    policy ??= types?.createPolicy('nutshell-compress', { createScriptURL: (/** @type {string} */ same) => same });
  } catch { /* not allowed: the worker then cannot start where one is required */ }
  return policy?.createScriptURL(url) ?? url;
}

/** Asks a worker that is made for it. It is stopped by the signal, and ended once it has answered.
 *  @param {object} request @param {any} [options] @returns {Promise<any>} */
async function ask(request, { onProgress, signal, baseUrl } = {}) {
  signal?.throwIfAborted();
  const url = new URL('nutshell-compress-worker.mjs', baseUrl === undefined ? home : folderUrl(baseUrl)).href;
  /** @type {Worker | undefined} */
  let worker;
  const stop = () => worker?.postMessage({ id: 1, op: 'stop' });
  let leave = () => {};
  try {
    return await new Promise((resolve, reject) => {
      // WebKit keeps pages that were left, and their workers with the locks that they hold.
      leave = () => {
        worker?.terminate();
        reject(new NutshellError('engine-crashed', 'the page was left: call again; compressing goes on where it was'));
      };
      addEventListener('pagehide', leave);
      worker = new Worker(trusted(url), { type: 'module', name: 'nutshell compress' });
      worker.onerror = (event) => {
        event.preventDefault?.();
        const why = event.message || 'no reason given';
        reject(new NutshellError('engine-missing', `the worker ${url} did not start, or ended (${why}): the files of dist/ `
          + 'belong together in one folder, and a Content-Security-Policy must allow worker-src and script-src for it, and the '
          + 'name nutshell-compress where it lists trusted-types'));
      };
      worker.onmessage = ({ data: { value, error, event } }) => {
        if (event) return signal?.aborted ? undefined : onProgress?.(event.progress);
        return error ? reject(error.code === 'aborted' ? signal?.reason : fromWire(error)) : resolve(value);
      };
      signal?.addEventListener('abort', stop);
      worker.postMessage({ id: 1, ...request });
    });
  } finally {
    signal?.removeEventListener('abort', stop);
    removeEventListener('pagehide', leave);
    worker?.terminate();
  }
}

/** What the worker is told of a source. @param {any} source @param {string} name of the argument */
async function sourceOf(source, name) {
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) {
    return { files: [new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (source)])] };
  }
  const opened = await openSource(source);
  if (!opened.next) return /** @type {any} */ (opened.source);
  opened.close?.();
  throw badArgument(name, 'a URL, a file, bytes or { cached: id }: a stream can be read once, and this takes several times; put '
    + 'it into the cache first', source);
}

/** @param {any} source what unfinished() tells of where a model comes from */
const told = ({ cached, urls, files }) =>
  (cached ? { cached } : urls ? { urls } : { files: files.map((/** @type {any} */ file) => file.name ?? '') });

/** @type {typeof import('./nutshell-compress.d.ts').compress} */
export async function compress(source, options) {
  const { size, bpw, recipe, fast, calibration = '', name, cache, resume, ...rest } = checkOptions(COMPRESS, options);
  if (size === undefined && !bpw && !recipe) {
    throw new NutshellError('bad-argument', 'say how large the file may be, such as { size: "60MB" } or { bpw: 3.5 }');
  }
  needEngine();
  const opened = await sourceOf(source, 'source');
  const steps = typeof recipe === 'string' ? recipe.replace(/^auto$/, '') : JSON.stringify(recipe);
  const job = { size: size === undefined ? 0 : bytesOf(size), bpw, recipe: steps, fast, text: calibration };
  const given = { size: job.size || undefined, bpw: bpw || undefined, recipe: steps || undefined, fast };
  const about = { source: told(opened), options: { ...given, ...(calibration ? { calibration } : {}) } };
  return ask({ op: 'compress', source: opened, options: job, name, cache, resume, about }, rest);
}

/** @type {typeof import('./nutshell-compress.d.ts').train} */
export async function train(source, given) {
  const { text, options, name, cache, resume, ...rest } = checkOptions(TRAIN, given);
  checkText('text', text);
  needEngine();
  const opened = await sourceOf(source, 'source');
  const training = JSON.stringify({ held_out: 0, ...options, model: 'the source', text: 'the text', output: 'the file' });
  const job = { training, text, adapts: (options.rank ?? 0) > 0 };
  const about = { source: told(opened), options: { training: options } };
  return ask({ op: 'compress', source: opened, options: job, name, cache, resume, about }, rest);
}

/** @type {typeof import('./nutshell-compress.d.ts').evaluate} */
export async function evaluate(source, options) {
  const { text, reference, window, windows, ...rest } = checkOptions(EVALUATE, options);
  checkText('text', text);
  needEngine();
  const opened = await sourceOf(source, 'source'), beside = reference && await sourceOf(reference, 'reference');
  const { compared, ...figures } = await ask({ op: 'evaluate', source: opened, reference: beside, text, window, windows }, rest);
  const { tokens, bytes, perplexity, perplexityError, bitsPerByte, windows: count, ...comparison } = figures;
  return { windows: count, tokens, bytes, perplexity, perplexityError, bitsPerByte, comparison: compared ? comparison : null };
}

/** @type {typeof import('./nutshell-compress.d.ts').unfinished} */
export const unfinished = () => ask({ op: 'unfinished' });

/** @type {typeof import('./nutshell-compress.d.ts').discard} */
export const discard = async (id) => ask({ op: 'discard', job: checkText('id', id) });

const global = /** @type {any} */ (globalThis).Nutshell;
if (global) Object.assign(global, { compress, train, evaluate, unfinished, discard });
