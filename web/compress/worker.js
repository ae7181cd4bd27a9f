// The worker of dist/nutshell-compress.mjs: answers requests { id, op, … } as the library's does
// (worker/main.js). It starts the module and brings together what a task needs.
import { Aborted, NutshellError, toWire } from '../shared/errors.js';
import { xxh32 } from '../shared/checksum.js';
import { blockedError, isWasmAllowed } from '../shared/probe.js';
import { messagePause } from '../worker/generator.js';
import { instantiate, missingFile } from '../worker/instantiate.js';
import { IMPORT_LOCK } from '../worker/layout.js';
import { Store } from '../worker/store.js';
import { JobEngine } from './engine.js';
import { openModel } from './input.js';
import { KeptJobs } from './kept.js';
import { CompressTask } from './task.js';
import { TimeLeft } from './time_left.js';

const LISTEN_EVERY = 30; // milliseconds, for messages of the page

/**
 * @typedef {object} Job
 * @property {AbortController} abort
 * @property {(event: object) => void} send
 */

/** @type {Promise<Store> | null} */
let opening = null;
const openStore = () => (opening ??= Store.open());

const letMessagesIn = messagePause();
let listened = performance.now();

async function pause() {
  if (performance.now() - listened < LISTEN_EVERY) return;
  await letMessagesIn();
  listened = performance.now();
}

/** The module, with a checksum: a copy of its memory is good for the same module alone. */
async function startEngine() {
  const url = new URL('nutshell-compress.wasm', import.meta.url);
  try {
    const response = await fetch(url, { credentials: 'same-origin' });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const started = await instantiate(await WebAssembly.compile(bytes), null, {});
    return { engine: new JobEngine(started), module: `${bytes.length}-${xxh32(bytes)}` };
  } catch (cause) {
    throw isWasmAllowed() ? missingFile(url, cause) : blockedError(cause);
  }
}

/** @param {string} text */
const sumOf = (text) => xxh32(new TextEncoder().encode(text)).toString(16).padStart(8, '0');

/** The same for the same model and options. @param {string} key @param {object} options */
const jobId = (key, options) => sumOf(`${key} ${JSON.stringify(options)}`) + sumOf(`${JSON.stringify(options)} ${key}`);

/** Runs the work while no other page does the same, and while no page takes its output for abandoned.
 *  @template T @param {string} id @param {() => Promise<T>} work @returns {Promise<T>} */
function alone(id, work) {
  if (!navigator.locks) return work();
  return navigator.locks.request(IMPORT_LOCK, { mode: 'shared' }, () =>
    navigator.locks.request(`nutshell-compress ${id}`, { ifAvailable: true }, (lock) => {
      if (lock) return work();
      throw new NutshellError('busy', 'this model is being compressed already, perhaps in another tab: wait, or stop it there');
    }));
}

/** @param {Job} job */
const contextOf = ({ abort, send }) => ({
  openStore, signal: abort.signal,
  downloading: (/** @type {import('../nutshell.d.ts').Progress} */ { loaded, total, secondsLeft }) => send({
    progress: { phase: 'download', text: 'downloading the model', done: total ? loaded / total : 0, secondsLeft, resumed: false },
  }),
});

/** @param {any} request @param {Job} job */
async function compress({ source, options, name, cache, resume, about }, job) {
  const { signal } = job.abort;
  const store = cache ? await openStore() : null;
  const model = await openModel(source, contextOf(job));
  const { engine, module } = await startEngine();
  const id = jobId(model.key ?? '', options);
  const jobs = resume && model.key ? await KeptJobs.open() : null;
  const report = (/** @type {object} */ progress) => job.send({ progress });
  try {
    return await alone(id, () => new CompressTask({
      engine, module, model, store, jobs, id, request: options, name: name || nameFor(model.name, options), about, signal, report,
      pause,
    }).run());
  } finally {
    jobs?.close();
  }
}

/** @param {string} name of the source @param {{ size?: number, bpw?: number, training?: string }} options */
function nameFor(name, { size, bpw, training }) {
  const mark = size ? `${(size / 1e6).toFixed(0)}MB` : bpw ? `${bpw}bpw` : training ? 'trained' : 'small';
  return `${name.replace(/\.gguf$/i, '') || 'model'}-${mark}.gguf`;
}

/** @param {any} request @param {Job} job */
async function evaluate({ source, reference, text, window, windows }, job) {
  const { signal } = job.abort;
  const time = new TimeLeft();
  const tell = (/** @type {string} */ phase, /** @type {string} */ words, /** @type {number} */ share) => {
    time.reach(share);
    job.send({ progress: { phase, text: words, done: time.done, secondsLeft: time.secondsLeft, resumed: false } });
  };
  const { engine } = await startEngine();
  for (const [of, isReference] of [[source, false], [reference, true]]) {
    if (!of) continue;
    const { open } = await openModel(of, contextOf(job));
    await engine.load(open, { reference: isReference, signal, passed: pause });
    tell('load', 'the models are loaded', 0);
  }
  return engine.evaluate({ text, window, windows }, {
    signal, between: pause, progress: ({ done, total }) => tell('evaluate', 'reading the text', total ? done / total : 0),
  });
}

/** @template T @param {(jobs: KeptJobs) => Promise<T>} work @param {T} otherwise */
async function withJobs(work, otherwise) {
  const jobs = await KeptJobs.open();
  if (!jobs) return otherwise;
  try {
    return await work(jobs);
  } finally {
    jobs.close();
  }
}

/** @type {Record<string, (request: any, job: Job) => Promise<unknown>>} */
const operations = {
  compress,
  evaluate,
  unfinished: () => withJobs(async (jobs) =>
    (await jobs.all()).map(({ pieces: _, turns: __, module: ___, ...facts }) => facts), []),
  discard: ({ job }) => withJobs((jobs) => jobs.drop(job), false),
};

/** @type {Map<number, Job>} */
const running = new Map();

self.onmessage = async ({ data }) => {
  const { id, op } = data;
  if (op === 'stop') {
    running.get(id)?.abort.abort(new Aborted());
    return;
  }
  const job = { abort: new AbortController(), send: (/** @type {object} */ event) => self.postMessage({ id, event }) };
  running.set(id, job);
  try {
    self.postMessage({ id, value: await operations[op](data, job) });
  } catch (error) {
    self.postMessage({ id, error: toWire(job.abort.signal.aborted ? new Aborted() : error) });
  } finally {
    running.delete(id);
  }
};
