// dist/nutshell-more.mjs, fetched with the modules *-more by a load with weightsLimit, draft or adapters: what is read before
// the model itself, and what its generations do besides.
import { NutshellError, toWire } from '../shared/errors.js';
import { load as loadStored } from './stored.js';

/**
 * @typedef {import('./loader.js').Job} Job
 * @typedef {import('./store.js').Store} Store
 * @typedef {import('./engine.js').Engine} Engine
 * @typedef {(job: Job, store: Store | null) => ReturnType<typeof import('./loader.js').loadModel>} LoadModel
 * @typedef {{ source: any, cache: boolean, scale?: number }} Beside  a draft or an adapter, as the page tells it
 * @typedef {(file: Beside) => Promise<{ work: Job, store: Store | null }>} WorkOf  the work of loading another file
 */

export { imports } from './stored.js';

/** @param {Beside} file @param {string} option */
function needFile({ source }, option) {
  if (source.size === undefined) return;
  throw new NutshellError('bad-argument', `${option} must be a URL, a File, a Blob or { cached: id }, not bytes or a stream: `
    + 'make a Blob of bytes');
}

/** In the engine's place: collects a file's bytes. */
class Collector {
  crash = null;
  #staged = new Uint8Array();
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #parts = [];

  splits() {
    return 1;
  }

  /** @param {number} n */
  staging(n) {
    if (this.#staged.length < n) this.#staged = new Uint8Array(n);
    return this.#staged;
  }

  /** @param {number} offset @param {number} n */
  feed(offset, n) {
    if (!offset) this.#parts = [];
    this.#parts.push(this.#staged.slice(0, n));
  }

  bytes() {
    return new Blob(this.#parts).arrayBuffer().then((buffer) => new Uint8Array(buffer));
  }

  loadBegin() {}

  loadFinish() {}

  freeStaging() {}
}

/** Loads the model that drafts, and puts it aside. Why it cannot be, as an error; the model then runs without it.
 *  @param {Job} job of the model @param {Beside} draft @param {LoadModel} loadModel @param {WorkOf} workOf */
async function loadDraft({ engine, signal }, draft, loadModel, workOf) {
  try {
    const { work, store } = await workOf(draft);
    await loadModel(work, store);
    engine.wasm.check('draft', 0);
    return null;
  } catch (error) {
    if (signal.aborted || engine.crash) throw error;
    engine.reset();
    return /** @type {Error} */ (error);
  }
}

/** @param {Job} job @param {Beside[]} adapters @param {LoadModel} loadModel @param {WorkOf} workOf */
async function loadAdapters({ engine: { wasm } }, adapters, loadModel, workOf) {
  wasm.check('adapter_add', 0, 0);
  for (const adapter of adapters) {
    const { work, store } = await workOf(adapter), collector = new Collector();
    await loadModel({ ...work, engine: /** @type {any} */ (collector) }, store);
    const bytes = await collector.bytes();
    wasm.put(bytes);
    wasm.check('adapter_add', bytes.length, adapter.scale ?? 1);
  }
}

/** From now on each generation says what adapters count in it. @param {Engine} engine @param {{ scale?: number }[]} adapters */
function switchAdapters(engine, adapters) {
  const begin = engine.generateBegin.bind(engine), given = adapters.map(({ scale = 1 }) => scale);
  engine.generateBegin = (prompt, { adapters: scales = given, ...options }, flags, session = 0, shown = undefined) => {
    const [at] = engine.wasm.put(new Uint8Array(Float64Array.from(scales).buffer));
    engine.wasm.check('adapter_scales', session, at, scales.length);
    return begin(prompt, options, flags, session, shown);
  };
}

/** Lets the draft work for the model; why it cannot, as an error. @param {Engine} engine */
function useDraft({ wasm, crash }) {
  try {
    wasm.check('draft', 1);
    return null;
  } catch (error) {
    if (crash) throw error;
    return /** @type {Error} */ (error);
  }
}

/** Lets more threads start, for a draft's own steps. @type {(count: number) => Promise<unknown>} */
let addThreads;

/** @param {typeof addThreads} add */
export function begin(add) {
  addThreads = add;
}

/**
 * @param {Job} job  its options with weightsLimit, draft, adapters and source
 * @param {Store | null} store @param {LoadModel} loadModel @param {WorkOf} workOf
 */
export async function load(job, store, loadModel, workOf) {
  const { engine, options } = job, { weightsLimit, draft, adapters, threads } = /** @type {any} */ (options);
  if (draft) needFile(draft, 'draft');
  for (const adapter of adapters ?? []) needFile(adapter, 'the source of an adapter');
  if (draft && threads > 1) await addThreads(threads - 1);
  let failed = draft && await loadDraft(job, draft, loadModel, workOf);
  if (adapters) await loadAdapters(job, adapters, loadModel, workOf);
  const loaded = await (weightsLimit ? loadStored : loadModel)(job, store, loadModel);
  if (draft) failed ??= useDraft(engine);
  if (adapters) switchAdapters(engine, adapters);
  return { ...loaded, draftError: failed ? toWire(failed).message : draft && null };
}
