// The public API, made for the folder that the script came from.
import { NutshellError } from '../shared/errors.js';
import { hasRelaxedSimd, hasSharedMemory, hasSimd } from '../shared/probe.js';
import { createCache } from './cache.js';
import { defaultThreads } from './host.js';
import { Loads } from './load.js';

/** @type {string} */
export const version = NUTSHELL_VERSION;

/** @returns {import('../nutshell.d.ts').Capabilities} */
export function capabilities() {
  return { simd: hasSimd(), relaxedSimd: hasRelaxedSimd(), threads: hasSharedMemory(), defaultThreads: defaultThreads() };
}

/**
 * @param {string} script address of nutshell.js or nutshell.mjs
 * @returns {typeof import('../nutshell.d.ts')}
 */
export function createApi(script) {
  const home = new URL('.', script).href;
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
