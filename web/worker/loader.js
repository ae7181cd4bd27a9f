// Brings a model into the engine: its files one after the other, all from the beginning again when the server's turn out to be
// others. How many there are, the first one says.
import { NutshellError } from '../shared/errors.js';
import { FileLoader, isUseless } from './file.js';
import { Changed } from './source.js';

const MAX_RESTARTS = 3;

/**
 * @typedef {import('./source.js').Source} Source
 * @typedef {import('./file.js').CacheResult} CacheResult
 * @typedef {import('./store.js').Store} Store
 * @typedef {Omit<import('./file.js').Job, 'source' | 'begin' | 'end' | 'sha256'> & {
 *   options: { contextLength: number, kvType: string, kernel: string | undefined, threads: number },
 *   sha256: string[], sourceOf: (i: number, n: number) => Source | null }} Job
 */

/** All files, once. @param {Job} job @param {Store | null} store */
async function loadFiles(job, store) {
  const { engine, options, meter, sha256 } = job;
  /** @type {{ bytes: number, cache: CacheResult }[]} */
  const loaded = [];
  let n = 1;
  for (let i = 0; i < n; i++) {
    const begin = (/** @type {number} */ fileSize) => {
      if (i === 0) engine.loadBegin({ fileSize, ...options });
      else engine.loadNext(fileSize);
      meter.begin(i ? meter.loaded : 0, fileSize);
    };
    const end = () => {
      n = Math.max(engine.parts(), 1);
      if (i + 1 < n) return;
      engine.freeStaging(); // the session may lie there
      engine.loadFinish(options);
    };
    const file = { ...job, source: job.sourceOf(i, n), stored: i ? null : job.stored, sha256: sha256[i] ?? null, begin, end };
    loaded.push(await new FileLoader(file, store).run().catch(async (error) => {
      if (i > 0 && isUseless(error)) await forget(loaded, job); // the wrong bytes may be those of another of the files
      throw error;
    }));
  }
  return { bytes: loaded.reduce((sum, { bytes }) => sum + bytes, 0), cache: joined(loaded.map(({ cache }) => cache)) };
}

/** What becomes of the files in the cache is told of the model. @param {CacheResult[]} files @returns {CacheResult} */
function joined(files) {
  const failed = files.find(({ error }) => error);
  const states = new Set(files.map(({ state }) => state));
  const state = failed?.state ?? (states.size === 1 ? files[0].state : 'resumed');
  return { state, id: failed ? null : files[0].id, error: failed?.error ?? null };
}

/** @param {{ cache: CacheResult }[]} loaded @param {Job} job */
async function forget(loaded, job) {
  const store = await job.openStore().catch(() => null);
  for (const { cache } of loaded) if (cache.id) await store?.remove(cache.id).catch(() => {});
}

/** @param {Job} job @param {Store | null} store */
export async function loadModel(job, store) {
  try {
    for (let restarts = 0; ; restarts++) {
      try {
        return await loadFiles(restarts ? { ...job, stored: null } : job, store);
      } catch (error) {
        if (!(error instanceof Changed)) throw error;
        if (restarts >= MAX_RESTARTS) {
          throw new NutshellError('network', 'the file changes on the server while it is loaded: try again later');
        }
      }
    }
  } finally {
    if (!job.engine.crash) job.engine.freeStaging();
  }
}
