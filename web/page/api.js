// The public API, for the folder that the script came from.
import { NutshellError } from '../shared/errors.js';
import { hasRelaxedSimd, hasSimd, isWasmAllowed } from '../shared/probe.js';
import { createCache } from './cache.js';
import { defaultThreads, hasThreads } from './host.js';
import { Loads } from './load.js';

/** @type {string} */
export const version = NUTSHELL_VERSION;

/** @returns {import('../nutshell.d.ts').Capabilities} */
export function capabilities() {
  return {
    simd: hasSimd() && isWasmAllowed(), relaxedSimd: hasRelaxedSimd(), threads: hasThreads(), defaultThreads: defaultThreads(),
  };
}

/**
 * @param {string | undefined} script address of nutshell.js or nutshell.mjs; undefined where nothing tells it (Node.js)
 * @returns {typeof import('../nutshell.d.ts')}
 */
export function createApi(script) {
  const home = script === undefined ? '' : new URL('.', script).href;
  const loads = new Loads(home);
  return {
    load: loads.load.bind(loads),
    prepare: loads.prepare.bind(loads),
    cache: createCache(home),
    capabilities,
    version,
    NutshellError,
  };
}
