// The page's end of a worker: starts it, sends requests to it, and notices when it has ended.
import { NutshellError, badArgument, fromWire } from '../shared/errors.js';
import { RELAXED_IS_WRONG, hasRelaxedSimd, hasSharedMemory, hasWorkers, needEngine } from '../shared/probe.js';
import { startWorker } from '../shared/worker.js';
import { resolveUrl } from './address.js';

// Now and then a thread never starts (seen in Firefox). The engine then runs with one thread.
const THREADS_START_SECONDS = 10;

/**
 * @typedef {{ threads?: number, kernel?: string, kind?: string, base: string }} EngineOptions  kind: '' or '-more'
 * @typedef {{ module: string, threads: number, store: boolean, compiled?: unknown }} StartRequest
 * @typedef {{ resolve: (value: any) => void, reject: (reason: unknown) => void, onEvent: (event: any) => void }} Pending
 */

/** Whether more than one thread can run. */
export const hasThreads = () => hasWorkers() && hasSharedMemory();

export function defaultThreads() {
  return hasThreads() ? Math.min(Math.max((globalThis.navigator?.hardwareConcurrency ?? 1) >> 1, 1), 8) : 1;
}

/** Engine modules that this page's workers have compiled, by folder and name: the next engine starts with one
 * of them, and with
 *  the code that the browser has optimized in the meantime. @type {Map<string, unknown>} */
const compiledModules = new Map();

/** The engine found so with its own kernels, which the probe of probe.js did not. */
let relaxedIsWrong = false;

/** @param {string} base */
const workerUrl = (base) => new URL('nutshell-worker.mjs', base);

const NO_WORKER = 'no worker can be started here: use the library in a page or a dedicated worker';

const BLOCKED = 'it was blocked: a Content-Security-Policy must allow it in worker-src and script-src, and the name nutshell '
  + 'in trusted-types; its MIME type must be JavaScript, its Cross-Origin-Embedder-Policy that of the page';

/** Why a worker could not be started, as far as a page can find out. @param {string} base @param {unknown} cause */
async function startError(base, cause) {
  const url = workerUrl(base);
  if (self.location.protocol === 'file:') {
    return new NutshellError('file-page', 'browsers start no worker for pages from the disk (file://): '
      + 'serve the folder, such as with "python3 -m http.server"', { cause });
  }
  if (url.origin !== self.origin) {
    return new NutshellError('cross-origin-worker', `browsers start no worker of another origin: ${url.href} is not of `
      + `${self.origin}. Put the files of dist/ in one folder of the page's own server; the option baseUrl names it`, { cause });
  }
  const status = await fetch(url, { method: 'HEAD' }).then((response) => response.status, () => 0);
  const why = status === 200 ? BLOCKED : status ? `the server answers with HTTP status ${status}` : 'the server does not answer';
  return new NutshellError('engine-missing', `the engine's worker ${url.href} did not start: ${why}. The files of dist/ `
    + 'belong together in one folder; the option baseUrl names it', { cause });
}

export class Host {
  #worker;
  #base;
  #answered = false;
  #nextId = 1;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** Why nothing can be asked any more. @type {NutshellError | null} */
  #ended = null;
  /** While the worker starts, its errors are passed to this function. @type {((cause: unknown) => void) | null} */
  #startFailed = null;

  /**
   * @param {Worker} worker
   * @param {string} base
   * @param {((cause: unknown) => void) | null} [startFailed]  set from the beginning: WebKit can report an error at once
   */
  constructor(worker, base, startFailed = null) {
    this.#worker = worker;
    this.#base = base;
    this.#startFailed = startFailed;
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.#broken(event.message);
    };
    worker.onmessageerror = () => this.#broken('a message could not be read');
  }

  /**
   * A worker without an engine, for the cache.
   * @param {string} base
   * @param {((cause: unknown) => void) | null} [startFailed]
   * @returns {Promise<Host>}
   */
  static async bare(base, startFailed = null) {
    if (!hasWorkers()) throw new NutshellError('no-worker', NO_WORKER);
    try {
      return new Host(startWorker(workerUrl(base).href, 'nutshell'), base, startFailed);
    } catch (cause) {
      throw await startError(base, cause);
    }
  }

  /**
   * A worker whose engine has started, with as many threads as there can be.
   * @param {EngineOptions} options
   * @param {boolean} [store]  whether to open the database meanwhile
   * @returns {Promise<Host>}
   */
  static async start({ threads = defaultThreads(), kernel, kind = '', base }, store = false) {
    needEngine();
    if (/128|ref/.test(`${kernel}`)) return Host.#startKernels('simd128' + kind, threads, base, store);
    if (hasRelaxedSimd() && !relaxedIsWrong) {
      const host = await Host.#startKernels('relaxed' + kind, threads, base, store).catch((error) => {
        if (error.code !== 'bad-argument') throw error;
        relaxedIsWrong = true;
      });
      if (host) return host;
    }
    if (kernel) throw new NutshellError('bad-argument', RELAXED_IS_WRONG);
    return Host.#startKernels('simd128' + kind, threads, base, store);
  }

  /** @param {string} name @param {number} threads @param {string} base @param {boolean} store @returns {Promise<Host>} */
  static async #startKernels(name, threads, base, store) {
    if (threads > 1 && hasThreads()) {
      const host = await Host.#startModule(base, { module: `${name}-mt`, threads, store }).catch((error) => {
        if (error.code === 'engine-missing' || error.code === 'engine-crashed') return null;
        throw error;
      });
      if (host) return host;
    }
    return Host.#startModule(base, { module: name, threads: 1, store });
  }

  /** @param {string} base @param {StartRequest} request @returns {Promise<Host>} */
  static async #startModule(base, request) {
    let timer;
    /** @type {(cause: unknown) => void} */
    let startFailed = () => {};
    const failed = new Promise((_, reject) => {
      startFailed = (cause) => reject({ cause });
    });
    failed.catch(() => {}); // looked at below
    const host = await Host.bare(base, startFailed);
    const key = base + request.module;
    const watchThreads = () => setTimeout(() => host.#broken('its threads did not start'), THREADS_START_SECONDS * 1000);
    request.compiled = compiledModules.get(key);
    try {
      await Promise.race([failed, host.ask('start', request, ({ compiled }) => {
        compiledModules.set(key, compiled);
        if (request.threads > 1) timer = watchThreads();
      })]);
      host.#startFailed = null;
      return host;
    } catch (error) {
      host.end(new NutshellError('engine-crashed', 'the engine did not start'));
      throw error instanceof NutshellError ? error : await startError(base, /** @type {any} */ (error).cause);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * @param {string} op
   * @param {object} [request]
   * @param {(event: any) => void} [onEvent]
   * @param {(id: number) => void} [started]  gets the id for `tell`
   * @returns {Promise<any>}
   */
  ask(op, request = {}, onEvent = () => {}, started = () => {}) {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    const answer = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject, onEvent }));
    try {
      this.#worker.postMessage({ id, op, ...request });
      started(id);
    } catch (cause) {
      this.#pending.delete(id);
      return Promise.reject(new NutshellError('bad-argument', `an argument cannot be sent to the worker (${cause}): leave `
        + 'functions out', { cause }));
    }
    return answer;
  }

  /**
   * Sends a message to a request that is running.
   * @param {number} target
   * @param {string} op
   * @param {object} [message]
   * @param {Transferable[]} [transfer]
   */
  tell(target, op, message = {}, transfer = []) {
    if (!this.#ended) this.#worker.postMessage({ target, op, ...message }, transfer);
  }

  /** @param {{ id: number, value?: any, error?: import('../shared/errors.js').WireError, event?: any }} message */
  #receive({ id, value, error, event }) {
    this.#answered = true;
    const pending = this.#pending.get(id);
    if (!pending) return;
    if (event !== undefined) return pending.onEvent(event);
    this.#pending.delete(id);
    if (!error) return pending.resolve(value);
    const failure = fromWire(error);
    pending.reject(failure);
    if (failure.code === 'engine-crashed') this.end(failure);
  }

  /** The worker failed outside of any request. @param {unknown} cause */
  #broken(cause) {
    if (this.#startFailed) return this.#startFailed(cause);
    if (!this.#answered) return startError(this.#base, cause).then((error) => this.end(error));
    const why = cause || 'no reason given';
    this.end(new NutshellError('engine-crashed', `the engine's worker ended (${why}); load the model again`, { cause }));
  }

  /** Ends the worker; all requests, later ones too, fail with the reason. @param {NutshellError} reason */
  end(reason) {
    if (this.#ended) return;
    this.#ended = reason;
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }

  /** @returns {NutshellError | null} */
  get ended() {
    return this.#ended;
  }
}

/** An option that names a folder, as the folder's URL. @param {string | URL} url */
export function folderUrl(url) {
  const folder = resolveUrl(url);
  if (!folder || !/^[\w+.-]+:\/\//.test(folder.href)) throw badArgument('baseUrl', 'the URL of a folder', String(url));
  if (!folder.pathname.endsWith('/')) folder.pathname += '/';
  return folder.href;
}
