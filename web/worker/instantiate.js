// Fetches and starts one of the four engine modules: {simd128, relaxed} x {one thread, threads}.
import { NutshellError } from '../shared/errors.js';

/**
 * @typedef {object} Started
 * @property {(name: string, args: number[]) => any} call  calls a function of wasm/exports.txt
 * @property {WebAssembly.Memory} memory
 */

/** @param {URL} url @param {unknown} cause */
function missing(url, cause) {
  const why = cause instanceof Error ? cause.message : cause;
  return new NutshellError('engine-missing', `the engine's file ${url.href} could not be loaded (${why}); put the files of `
    + 'dist/ into one folder, and let a Content-Security-Policy allow script-src and connect-src for it and '
    + "'wasm-unsafe-eval'", { cause });
}

/** @param {URL} url @returns {Promise<Response>} */
async function request(url) {
  const response = await fetch(url, { credentials: 'same-origin' }).catch((cause) => { throw missing(url, cause); });
  if (!response.ok) throw missing(url, `HTTP status ${response.status}`);
  return response;
}

/** Compiles while it downloads, and where the server sends a wrong MIME type, after that. @param {URL} url */
async function compile(url) {
  const response = await request(url);
  const streamable = /^application\/wasm\b/i.test(response.headers.get('Content-Type') ?? '');
  try {
    return await (streamable ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer()));
  } catch (cause) {
    throw missing(url, cause);
  }
}

/** The system calls of a module without threads: the clock. Another one would be a mistake, and says its name. */
function systemCalls(/** @type {WebAssembly.Module} */ compiled, /** @type {() => ArrayBuffer} */ memory) {
  /** @type {Record<string, Function>} */
  const known = {
    clock_time_get(/** @type {number} */ _id, /** @type {bigint} */ _precision, /** @type {number} */ out) {
      new DataView(memory()).setBigUint64(out, BigInt(Math.round(performance.now() * 1e6)), true);
      return 0;
    },
    emscripten_notify_memory_growth() {},
  };
  /** @type {any} */
  const imports = {};
  for (const { module, name } of WebAssembly.Module.imports(compiled)) {
    (imports[module] ??= {})[name] = known[name] ?? (() => { throw new Error(`unexpected system call ${name}`); });
  }
  return imports;
}

/** @param {WebAssembly.Module} compiled @returns {Promise<Started>} */
async function startSingle(compiled) {
  /** @type {any} */
  let exports;
  ({ exports } = await WebAssembly.instantiate(compiled, systemCalls(compiled, () => exports.memory.buffer)));
  exports._initialize();
  return { call: (name, args) => exports[name](...args), memory: exports.memory };
}

/**
 * @param {WebAssembly.Module} compiled
 * @param {any} create  Emscripten's start-up code
 * @param {number} threads
 * @returns {Promise<Started>}
 */
async function startThreads(compiled, create, threads) {
  const module = await new Promise((resolve, reject) => {
    create({
      pthreadPoolSize: threads - 1,
      instantiateWasm(/** @type {WebAssembly.Imports} */ imports, /** @type {Function} */ received) {
        WebAssembly.instantiate(compiled, imports).then((instance) => received(instance, compiled), reject);
        return {};
      },
    }).then(resolve, reject);
  });
  return { call: (name, args) => module[`_${name}`](...args), memory: module.wasmMemory };
}

/**
 * @param {string} name      which module: 'relaxed', 'relaxed-mt', 'simd128', 'simd128-mt'
 * @param {number} threads   threads in all, this one included
 * @param {() => void} fetched  called once nothing but the start itself is left to do
 * @returns {Promise<Started>}
 */
export async function startModule(name, threads, fetched) {
  const glue = new URL(`nutshell-${name}.mjs`, import.meta.url);
  const [create, compiled] = await Promise.all([
    threads > 1 ? import(glue.href).then((m) => m.default, (cause) => { throw missing(glue, cause); }) : null,
    compile(new URL(`nutshell-${name}.wasm`, import.meta.url)),
  ]);
  fetched();
  return threads > 1 ? startThreads(compiled, create, threads) : startSingle(compiled);
}
