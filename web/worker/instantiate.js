// Fetches and starts a module: one of the engine's four, {simd128, relaxed} x {one thread, threads}, or that
// for chats. Emscripten's own start-up script is not used: the modules need a clock, more memory, and a
// function or none of the library's (see wasm/surface.txt).
import { NutshellError } from '../shared/errors.js';
import { blockedError, isWasmAllowed } from '../shared/probe.js';

const PAGE_BYTES = 65536;
const FIRST_PAGES = 64, MAX_PAGES = 65536; // as the modules were linked: 4 MiB, 4 GiB

/**
 * @typedef {object} Started
 * @property {any} exports  the functions of wasm/surface.txt
 * @property {WebAssembly.Memory} memory
 */

/** @param {URL} url of a file of dist/ @param {unknown} cause */
export function missingFile(url, cause) {
  const why = cause instanceof Error ? cause.message : cause;
  return new NutshellError('engine-missing', `the engine's file ${url.href} could not be loaded (${why}); put the files of `
    + 'dist/ into one folder, and allow it in script-src and connect-src', { cause });
}

/**
 * Fetches a file in the older way. While Firefox is offline, fetch refuses everything in workers, even the
 * files of an extension's own package; XMLHttpRequest does not.
 * @param {URL} url
 * @returns {Promise<Response>}
 */
function requestFile(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('GET', url);
    request.responseType = 'arraybuffer';
    request.onload = () => resolve(new Response(request.response));
    request.onerror = () => reject(new Error('no answer'));
    request.send();
  });
}

/**
 * Compiles a module while it downloads, or after that where the server sends a wrong MIME type. Browsers may
 * store the compiled code with the file.
 * @param {string} name of the module
 */
export async function compileModule(name) {
  const url = new URL(`nutshell-${name}.wasm`, import.meta.url);
  try {
    const response = await fetch(url, { credentials: 'same-origin' }).catch((cause) => {
      if (/^http/.test(url.protocol)) throw cause;
      return requestFile(url);
    });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    const streamable = /^application\/wasm\b/i.test(response.headers.get('Content-Type') ?? '');
    return await (streamable ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer()));
  } catch (cause) {
    throw isWasmAllowed() ? missingFile(url, cause) : blockedError(cause);
  }
}

/** Memory that threads share. */
export const sharedMemory = () => new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: MAX_PAGES, shared: true });

/**
 * @param {WebAssembly.Module} compiled
 * @param {WebAssembly.Memory | null} shared  null: the module has its own
 * @param {Record<string, Function>} imports  what else the module needs
 * @returns {Promise<Started>}
 */
export async function instantiate(compiled, shared, imports) {
  /** @type {WebAssembly.Memory} */
  let memory;
  const env = {
    memory: shared,
    emscripten_get_now: () => performance.now(),
    _emscripten_get_now_is_monotonic: () => 1,
    nut_thread_start: () => 0, // in threads, where neither is called
    nut_stored_read: () => 0,
    emscripten_resize_heap(/** @type {number} */ bytes) {
      try {
        memory.grow(Math.ceil(((bytes >>> 0) - memory.buffer.byteLength) / PAGE_BYTES));
        return 1;
      } catch {
        return 0; // the engine sees an allocation that fails
      }
    },
    ...imports,
  };
  const { exports } = await WebAssembly.instantiate(compiled, /** @type {any} */ ({ env })).catch((cause) => {
    throw isWasmAllowed() ? cause : blockedError(cause);
  });
  memory = shared ?? /** @type {WebAssembly.Memory} */ (exports.memory);
  return { exports, memory };
}
