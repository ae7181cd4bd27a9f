// The operations of Nutshell.cache. Those that few pages need are in upkeep.js, which is
// dist/nutshell-cache.mjs.
import { Aborted } from '../shared/errors.js';
import { lazy } from './lazy.js';
import { estimate } from './quota.js';
import { Store } from './store.js';

/**
 * @typedef {object} Context  of one operation
 * @property {AbortSignal} signal
 * @property {(progress: import('../nutshell.d.ts').CacheProgress) => void} report
 * @property {import('./source.js').Source | null} source  to import from
 * @property {() => void} checkStopped  throws once the page has stopped the operation
 *
 * @typedef {(store: Store, argument: any, context: Context) => Promise<unknown>} Operation
 */

/** @param {Store} store */
const list = async (store) => Promise.all((await store.all()).map((manifest) => store.entry(manifest)));

/** @type {Record<string, Operation>} */
const operations = {
  list,
  async delete(store, [id, url]) {
    const manifest = await store.byId(id) ?? await store.byKey(url);
    if (manifest) await store.remove(manifest.id);
    return manifest !== undefined;
  },
  clear: (store) => store.clear(),
  async usage(store) {
    const models = (await list(store)).reduce((sum, { stored }) => sum + stored, 0);
    const persisted = await navigator.storage?.persisted().catch(() => null) ?? null;
    return { models, ...await estimate(), persisted };
  },
  isFirst: (store, what) => store.isFirst(what),
};

/** @type {() => Promise<typeof import('./upkeep.js')>} */
export const loadUpkeep = lazy('cache');

/**
 * @param {{ operation: string, argument: unknown }} request
 * @param {Omit<Context, 'checkStopped'>} context
 */
export async function runCacheOperation({ operation, argument }, context) {
  const work = operations[operation] ?? (await loadUpkeep()).operations[operation];
  const checkStopped = () => {
    if (context.signal.aborted) throw new Aborted();
  };
  const store = await Store.open();
  try {
    return await work(store, argument, { ...context, checkStopped });
  } finally {
    store.close();
  }
}
