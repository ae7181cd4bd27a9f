// Brings a model into the engine: its file, from the beginning again when the server's turns out to be another one.
import { NutshellError } from '../shared/errors.js';
import { FileLoader } from './file.js';
import { Changed } from './source.js';

const MAX_RESTARTS = 3;

/**
 * @typedef {Omit<import('./file.js').Job, 'begin' | 'end'> & {
 *   options: { contextLength: number, kvType: string, kernel: string | undefined, threads: number } }} Job
 * @param {Job} job
 * @param {import('./store.js').Store | null} store
 */
export async function loadModel(job, store) {
  const { engine, options } = job;
  const begin = (/** @type {number} */ fileSize) => engine.loadBegin({ fileSize, ...options });
  const end = () => {
    engine.freeStaging(); // the session may lie there
    engine.loadFinish(options);
  };
  try {
    for (let restarts = 0; ; restarts++) {
      try {
        return await new FileLoader({ ...job, stored: restarts ? null : job.stored, begin, end }, store).run();
      } catch (error) {
        if (!(error instanceof Changed)) throw error;
        if (restarts >= MAX_RESTARTS) {
          throw new NutshellError('network', 'the file changes on the server while it is loaded: try again later');
        }
      }
    }
  } finally {
    if (!engine.crash) engine.freeStaging();
  }
}
