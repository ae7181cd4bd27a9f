// The worker: one per model, and one per further thread of its engine. It answers requests { id, op, ... }
// with { id, value } or { id, error }, and sends { id, event } while one is running. Messages that belong to
// a running request carry its id as `target`.
import { Aborted, NutshellError, toWire } from '../shared/errors.js';
import { runCacheOperation } from './cache.js';
import { Demand } from './demand.js';
import { Engine } from './engine.js';
import { Generator, messagePause } from './generator.js';
import { compileModule, instantiate, sharedMemory } from './instantiate.js';
import { lazy } from './lazy.js';
import { loadModel } from './loader.js';
import { ProgressMeter } from './progress.js';
import { BlobSource, PageSource, UrlSource } from './source.js';
import { givenSplit, splitUrl } from './splits.js';
import { Store } from './store.js';
import { Threads, becomeThread } from './threads.js';
import { Wasm } from './wasm.js';

/**
 * @typedef {object} Job
 * @property {number} id
 * @property {AbortController} abort
 * @property {(event: unknown) => void} send
 * @property {(message: any) => void} [bytes]  takes the bytes that were asked for
 * @property {Demand} [demand]  of a generation
 */

/** Requests that are running, by id. @type {Map<number, Job>} */
const jobs = new Map();
let threads = 1;
/** @type {Engine} */
let engine;
/** @type {Generator} */
let generator;
/** Text of the loaded model's beginning-of-sequence token; '' where it has none. */
let bos = '';
/** The database, from when it is needed or the engine starts until the load is over. @type {Promise<Store> | null} */
let opening = null;
/** For models larger than memory, drafts and adapters. @type {typeof import('./more.js') | undefined} */
let more;
/** Where this worker is a thread of another one. @type {Awaited<ReturnType<typeof becomeThread>>} */
let runInThread;

/** @type {Record<string, (request: any, job: Job) => unknown>} */
const operations = {
  cache: (request, job) => runCacheOperation(request, {
    signal: job.abort.signal, report: job.send, source: request.source ? openSource(request, 0, 1, job) : null,
  }),

  async start(request, job) {
    if (request.store) opening = Store.open();
    opening?.catch(() => {}); // looked at by who takes it
    const pool = new Threads(request.threads - 1);
    const compiled = request.compiled ?? await compileModule(request.module);
    job.send({ compiled });
    if (/more/.test(request.module)) more = await loadMore();
    const started = await instantiate(compiled, request.threads > 1 ? sharedMemory() : null,
      { nut_thread_start: pool.run, ...more?.imports });
    started.exports.__wasm_call_ctors();
    await pool.start(compiled, started);
    more?.begin((count) => pool.start(compiled, started, count));
    threads = request.threads;
    engine = new Engine(started);
    if (request.module.startsWith('relaxed') && !engine.computes('relaxed')) {
      throw new NutshellError('bad-argument', 'relaxed SIMD'); // the page takes another module, or says what to do
    }
    generator = new Generator(engine, messagePause());
  },

  async thread(request) {
    runInThread = await becomeThread(request);
  },

  run: (request) => runInThread(request),

  load: (request, job) => load(request, job).finally(closeStore),

  tokenize: ({ text, options }) => engine.tokenize(text, options),
  detokenize: ({ ids, options }) => engine.detokenize(ids, options),
  render: async ({ messages, options }) => (await getChat()).render(messages, options),
  prepare: () => getChat().then(() => {}),

  session: ({ contextLength }) => opened(engine.sessionNew(contextLength)),
  fork: ({ session }) => generator.whenIdle(session, () => opened(engine.sessionFork(session))),
  save: ({ session }) => generator.whenIdle(session, () => engine.sessionSave(session)),
  restore: ({ session, bytes }) => generator.whenIdle(session, () => engine.sessionRestore(session, bytes)),
  embed: ({ session, text }) => generator.whenIdle(session, () => engine.embed(session, text)),
  free: ({ session }) => generator.whenIdle(session, () => engine.sessionFree(session)),

  generate: (request, job) => run(request, job, () => continued(request)),
  chat: (request, job) => run(request, job, async () => (
    (await getChat()).begin(request.messages, request.options, request.session))),
};

/** @param {any} request @param {Job} job */
async function load(request, job) {
  const meter = new ProgressMeter((progress) => job.send({ progress }));
  meter.flush();
  // Races of kernels are noted where models are kept.
  const races = (chosen = '') => request.cache !== false && openStore().then((store) => store.races(chosen)).catch(() => {});
  const options = { ...request, threads, fewer: !request.threads, races: await races() };
  const workOf = (/** @type {any} */ file) => workFor(file, { options, meter }, job);
  const { work, store } = await workOf(request);
  const { bytes, cache, ...besides } = await (more?.load ?? loadModel)(work, store, loadModel, workOf);
  const info = { fileName: work.stored?.name ?? work.sourceOf(0, 1)?.name ?? '', fileBytes: bytes, ...modelInfo(), ...besides };
  await races(info.model.races);
  meter.finish();
  return { ...info, cache: { ...cache, error: cache.error && toWire(cache.error) } };
}

/**
 * What loads a model's file, and the database where it is stored there.
 * @param {any} request  the page's, or { source, cache } of what is loaded beside the model
 * @param {Pick<import('./loader.js').Job, 'options' | 'meter'>} how
 * @param {Job} job
 */
async function workFor(request, how, job) {
  const found = request.source.cached === undefined ? null : await findCached(request.source.cached);
  const { cache, evict = false, sha256 = [], headers = {} } = request;
  /** @type {Source | null} */
  let first = null;
  const sourceOf = (/** @type {number} */ i, /** @type {number} */ n) => {
    const source = found ? storedSource(found.stored.url, request, i, n, job) : openSource(request, i, n, job);
    return i ? source : (first ??= source);
  };
  /** @type {import('./loader.js').Job} */
  const work = { ...how, engine, sourceOf, stored: found?.stored ?? null, cache, evict, sha256, headers,
    signal: job.abort.signal, openStore };
  return { work, store: found?.store ?? null };
}

/** Messages to running requests. @type {Record<string, (job: Job, message: any) => void>} */
const signals = {
  stop: (job) => job.abort.abort(),
  bytes: (job, message) => job.bytes?.(message),
  took: (job, { count }) => job.demand?.took(count),
};

/** @typedef {import('./engine.js').Session} Session */

/** What the page is told of a session that was opened. @param {Session} session */
const opened = (session) => ({ session, ...engine.session(session) });

/** @type {() => Promise<typeof import('./chat.js')>} */
const loadChat = lazy('chat');

/** @type {() => Promise<typeof import('./more.js')>} */
const loadMore = lazy('more');

/** What only chats need is fetched once. */
const getChat = async () => (await loadChat()).chatWith(engine, { compileModule, instantiate, Wasm });

/** The generator's request for a text that is continued. @param {{ prompt: string, options: Record<string, any> }} request */
function continued({ prompt, options }) {
  const { parseSpecial } = options;
  // A beginning-of-sequence token that the text brings itself is not put there twice.
  const begins = parseSpecial && bos && prompt.startsWith(bos);
  return { prompt, options, flags: { parseSpecial, addBos: !begins } };
}

/**
 * @param {{ session: Session }} request
 * @param {Job} job
 * @param {() => any} prepare  the generator's request
 */
function run({ session }, job, prepare) {
  const { signal } = job.abort;
  job.demand = new Demand(signal);
  return generator.run(session, prepare, signal, job.demand, (pieces, figures) => job.send({ pieces, figures }));
}

const openStore = () => (opening ??= Store.open());

async function closeStore() {
  const store = await opening?.catch(() => null);
  opening = null;
  store?.close();
}

/** @param {string} id */
async function findCached(id) {
  const store = await openStore();
  const stored = await store.byId(id);
  if (!stored) {
    throw new NutshellError('not-cached', `there is no model ${id} in the cache: see Nutshell.cache.list()`);
  }
  return { store, stored };
}

/**
 * @typedef {import('./source.js').Source} Source
 * @typedef {object} LoadRequest
 * @property {any} source  as web/page/load.js tells it
 * @property {string[]} [mirrors]
 * @property {Record<string, string>} [headers]
 * @property {string[]} [sha256]
 */

/** File i of n under an address like the first one's. @param {string} url @param {LoadRequest} request @param {number} i
 *  @param {number} n @param {Job} job */
function urlSource(url, { mirrors = [], headers, sha256 = [] }, i, n, job) {
  const how = { mirrors: mirrors.map((mirror) => splitUrl(mirror, i, n)), headers, trusted: i in sha256 };
  return new UrlSource(url, how, job.abort.signal);
}

/** @param {string | null} url @param {LoadRequest} request @param {number} i @param {number} n @param {Job} job */
const storedSource = (url, request, i, n, job) => (url === null ? null : urlSource(splitUrl(url, i, n), request, i, n, job));

/** @param {LoadRequest} request @param {number} i @param {number} n @param {Job} job @returns {Source} */
function openSource(request, i, n, job) {
  const { urls, files, size } = request.source;
  if (urls?.length === 1) return urlSource(splitUrl(urls[0], i, n), request, i, n, job);
  if (urls) return urlSource(givenSplit(urls, i, n), { ...request, mirrors: [] }, i, n, job);
  if (files) return new BlobSource(givenSplit(files, i, n));
  givenSplit([size], i, n);
  return new PageSource(size, () => new Promise((resolve, reject) => {
    job.bytes = ({ bytes, error }) => (error === undefined ? resolve(bytes) : reject(streamError(error)));
    job.abort.signal.addEventListener('abort', () => reject(new Aborted()), { once: true });
    job.send('more');
  }));
}

/** @param {string} why */
const streamError = (why) => new NutshellError('io', `the stream of the model's bytes failed (${why}): open it again`);

/** Reads what is known of the loaded model. */
function modelInfo() {
  const model = engine.info();
  const session = engine.session();
  bos = model.bos ?? '';
  return {
    kernel: model.kernel, threads: session.threads, contextLength: session.contextLength, kvType: session.kvType,
    weightBytes: model.weight_bytes, sessionBytes: session.bytes,
    chat: !!session.chat, model,
  };
}

self.onmessage = async ({ data }) => {
  const { id, op, target } = data;
  if (target !== undefined) {
    const job = jobs.get(target);
    if (job) signals[op](job, data);
    return;
  }
  /** @type {Job} */
  const job = { id, abort: new AbortController(), send: (/** @type {unknown} */ event) => self.postMessage({ id, event }) };
  jobs.set(id, job);
  try {
    const value = await operations[op](data, job);
    const transfer = value instanceof Uint8Array ? [/** @type {ArrayBuffer} */ (value.buffer)] : [];
    self.postMessage({ id, value }, { transfer });
  } catch (error) {
    self.postMessage({ id, error: toWire(error) });
  } finally {
    jobs.delete(id);
  }
};
