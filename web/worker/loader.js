// Brings a model into the engine, file by file (a model can be split in several; the first says how many
// there are). It begins again from the first file when a file turns out to have changed on the server.
import { NutshellError } from '../shared/errors.js';
import { FileLoader, isUseless } from './file.js';
import { Changed } from './source.js';

const MAX_RESTARTS = 3;
// A file that changes twice during a load is likely one whose address leads to several servers by turns.
// Nothing tells whether they have the same bytes, so that each file is then taken from one answer.
const WHOLE_AFTER = 2;

/**
 * @typedef {import('./source.js').Source} Source
 * @typedef {import('./file.js').CacheResult} CacheResult
 * @typedef {import('./store.js').Store} Store
 * @typedef {Omit<import('./file.js').Job, 'source' | 'begin' | 'end' | 'sha256'> & {
 *   options: { contextLength: number, kvType: string, kernel: string | undefined, races: unknown, threads: number,
 *     fewer: boolean },
 *   sha256: string[], sourceOf: (i: number, n: number) => Source | null }} Job
 */

/** All files, once. @param {Job} job @param {Store | null} store @param {boolean} whole  each in one answer */
async function loadFiles(job, store, whole) {
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
      n = Math.max(engine.splits(), 1);
      if (i + 1 < n) return;
      engine.freeStaging(); // the session may lie there
      engine.loadFinish(options);
    };
    const source = job.sourceOf(i, n);
    if (whole) source?.takeWhole?.();
    const file = { ...job, source, stored: i ? null : job.stored, sha256: sha256[i] ?? null, begin, end };
    loaded.push(await new FileLoader(file, store).run().catch(async (error) => {
      if (i > 0 && isUseless(error)) await forget(loaded, job); // the wrong bytes may be another file's
      throw error;
    }));
  }
  return { bytes: loaded.reduce((sum, { bytes }) => sum + bytes, 0), cache: summary(loaded.map(({ cache }) => cache)) };
}

/** What is told of the model, of whose files in the cache this is known. @param {CacheResult[]} files @returns {CacheResult} */
function summary(files) {
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
        return await loadFiles(restarts ? { ...job, stored: null } : job, store, restarts >= WHOLE_AFTER);
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
