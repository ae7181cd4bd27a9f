// Nutshell.load: opens the source, starts the engine, and passes events on.
import { NutshellError, badArgument, fromWire } from '../shared/errors.js';
import { checkOptions, rules } from '../shared/options.js';
import { resolveUrl } from './address.js';
import { Host, folderUrl } from './host.js';
import { Model } from './model.js';
import { askToPersist } from './persist.js';

const CHUNK_BYTES = 4 << 20;

/**
 * @typedef {import('../nutshell.d.ts').ModelSource} ModelSource
 * @typedef {object} Opened
 * @property {object} source      what the worker is told
 * @property {boolean} cacheable  kept in the cache unless the caller says otherwise
 * @property {(() => Promise<Uint8Array | null>)=} next  the next of the bytes that only the page can reach
 * @property {(() => void)=} close
 */

/** @param {ArrayBuffer | Uint8Array} data @returns {Opened} */
function openBytes(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  let at = 0;
  const next = async () => {
    const chunk = bytes.slice(at, at + CHUNK_BYTES);
    at += chunk.length;
    return chunk.length ? chunk : null;
  };
  return { source: { size: bytes.length }, cacheable: false, next };
}

/** @param {ReadableStream<Uint8Array>} stream @returns {Opened} */
function openStream(stream) {
  const reader = stream.getReader();
  const next = async () => {
    const { value, done } = await reader.read();
    if (done) return null;
    if (!(value instanceof Uint8Array)) throw new TypeError('it must give Uint8Arrays');
    return value.slice();
  };
  return { source: { size: 0 }, cacheable: false, next, close: () => { reader.cancel().catch(() => {}); } };
}

/** @param {any} handle a FileSystemFileHandle @returns {Promise<Opened>} */
async function openHandle(handle) {
  try {
    return { source: { files: [await handle.getFile()] }, cacheable: false };
  } catch (cause) {
    throw new NutshellError('io', `the file ${handle.name} cannot be read (${cause}): ask for its permission (requestPermission) `
      + 'or choose it again', { cause });
  }
}

/** The files of a model. @param {unknown[]} files @returns {Opened} */
function openFiles(files) {
  if (files.every((file) => file instanceof Blob)) return { source: { files }, cacheable: false };
  if (files.length && files.every((file) => typeof file === 'string' || file instanceof URL)) {
    return { source: { urls: files.map((url) => absolute(url)) }, cacheable: true };
  }
  throw badArgument('source', 'an array of URLs, or of Files', files);
}

/** @param {ModelSource} source @returns {Opened | Promise<Opened>} */
export function openSource(source) {
  if (Array.isArray(source)) return openFiles(source);
  if (typeof source === 'string' || source instanceof URL || source instanceof Blob) return openFiles([source]);
  try {
    if (source instanceof ArrayBuffer || source instanceof Uint8Array) return openBytes(source);
    if (source instanceof ReadableStream) return openStream(source);
  } catch (cause) {
    throw new NutshellError('bad-argument', `source cannot be read (${cause}): was it transferred, or is it locked?`, { cause });
  }
  const { cached, kind, getFile } = /** @type {{ cached?: unknown, kind?: unknown, getFile?: unknown }} */ (source ?? {});
  if (kind === 'file' && getFile) return openHandle(source);
  if (typeof cached === 'string') return { source: { cached }, cacheable: true };
  throw badArgument('source', 'a URL, a File, Blob or FileSystemFileHandle, an ArrayBuffer, a ReadableStream, { cached: id }, '
    + 'or an array of URLs or Files', source);
}

/** What the worker is told of a draft or an adapter. @param {any} given */
async function openBeside(given) {
  const { source = given, scale } = given ?? {}, opened = await openSource(source);
  return { source: opened.source, cache: opened.cacheable, scale };
}

/** @param {string | URL} url @param {string} [name] of the argument */
export function absolute(url, name = 'source') {
  const resolved = resolveUrl(url);
  const protocols = ['http:', 'https:', globalThis.location?.protocol]; // the last may be an extension's
  if (resolved && protocols.includes(resolved.protocol)) return resolved.href;
  throw badArgument(name, 'an address that begins with http:// or https://, or a relative one', String(url));
}

/** Answers the worker's request for more bytes. @param {Opened} opened @param {Host} host @param {number} id */
export async function sendMore(opened, host, id) {
  try {
    const bytes = await opened.next?.() ?? null;
    host.tell(id, 'bytes', { bytes }, bytes ? [bytes.buffer] : []);
  } catch (error) {
    host.tell(id, 'bytes', { error: String(error) });
  }
}

/**
 * Rejects with the signal's reason when it aborts; the work goes on in the background until it ends by
 * itself.
 * @template T
 * @param {Promise<T>} work
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T>}
 */
export function untilAborted(work, signal) {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

export class Loads {
  #home;
  /** The engine that `prepare` started. @type {{ key: string, host: Promise<Host> } | null} */
  #spare = null;

  /** @param {string} home folder of the script */
  constructor(home) {
    this.#home = home;
  }

  /** @param {any} checked options with threads, kernel, baseUrl, weightsLimit, draft, adapters */
  #engineOptions({ threads, kernel, baseUrl, weightsLimit, draft, adapters }) {
    const kind = (weightsLimit || draft || adapters) && '-more';
    return { threads, kernel, kind, base: baseUrl === undefined ? this.#home : folderUrl(baseUrl) };
  }

  /** @param {object} [options] */
  async prepare(options) {
    const { chat, ...engine } = checkOptions(rules.prepare, options);
    const wanted = this.#engineOptions(engine);
    const key = JSON.stringify(wanted);
    if (this.#spare?.key !== key) {
      this.#spare?.host.then((host) => host.end(new NutshellError('unloaded', 'another engine was prepared')), () => {});
      this.#spare = { key, host: Host.start(wanted) };
    }
    const spare = this.#spare;
    const host = await spare.host.catch((error) => {
      if (this.#spare === spare) this.#spare = null;
      throw error;
    });
    if (chat) await host.ask('prepare');
  }

  /** @param {import('./host.js').EngineOptions} wanted @param {boolean} store @returns {Promise<Host>} */
  async #takeHost(wanted, store) {
    const spare = this.#spare?.key === JSON.stringify(wanted) ? this.#spare : null;
    if (!spare) return Host.start(wanted, store);
    this.#spare = null;
    const host = await spare.host;
    return host.ended ? Host.start(wanted, store) : host;
  }

  /** @param {ModelSource} source @param {import('../nutshell.d.ts').LoadOptions} [options] @returns {Promise<Model>} */
  async load(source, options) {
    const checked = checkOptions(rules.load, options);
    checked.signal?.throwIfAborted();
    checked.sha256 = checked.sha256 && [checked.sha256].flat().map((/** @type {string} */ sum) => sum.toLowerCase());
    checked.mirrors = checked.mirrors?.map((/** @type {string | URL} */ url) => absolute(url, 'mirrors'));
    checked.draft &&= await openBeside(checked.draft);
    checked.adapters &&= await Promise.all(checked.adapters.map(openBeside));
    checked.headers &&= Object.fromEntries(new Headers(checked.headers));
    const opened = await openSource(source);
    return untilAborted(this.#load(opened, checked), checked.signal).finally(() => opened.close?.());
  }

  /** @param {Opened} opened @param {any} options @returns {Promise<Model>} */
  async #load(opened, options) {
    const { onProgress, signal, kernel, threads, baseUrl, cache = opened.cacheable, ...rest } = options;
    const host = await this.#takeHost(this.#engineOptions(options), cache !== false);
    let id = 0;
    const stop = () => host.tell(id, 'stop');
    const onEvent = (/** @type {any} */ event) => {
      if (event === 'more') sendMore(opened, host, id);
      else if (!signal?.aborted) onProgress?.(event.progress);
    };
    try {
      signal?.throwIfAborted();
      const request = { ...rest, source: opened.source, cache, kernel, threads };
      const loading = host.ask('load', request, onEvent, (given) => { id = given; });
      signal?.addEventListener('abort', stop);
      const info = await loading;
      signal?.throwIfAborted();
      info.cache.error &&= fromWire(info.cache.error);
      if (info.cache.id && info.cache.state !== 'hit') await askToPersist(host);
      return new Model(host, info);
    } catch (error) {
      host.end(new NutshellError('unloaded', 'the model was not loaded'));
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }
}
