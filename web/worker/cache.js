// The operations of Nutshell.cache.
import { Store, estimate } from './store.js';

/** @typedef {import('../nutshell.d.ts').CachedModel} CachedModel */

/** @param {Store} store @returns {Promise<CachedModel[]>} */
async function list(store) {
  return Promise.all((await store.all()).map(async (manifest) => {
    const { id, url, name, size, complete, created, used } = manifest;
    return { id, url, name, size, stored: await store.storedBytes(manifest), complete, created, used };
  }));
}

/** @type {Record<string, (store: Store, argument: any) => Promise<unknown>>} */
const operations = {
  list,
  async delete(store, [id, url]) {
    const manifest = await store.byId(id) ?? await store.byKey(url);
    if (manifest) await store.remove(manifest.id);
    return manifest !== undefined;
  },
  async clear(store) {
    for (const { id } of await store.all()) await store.remove(id);
  },
  async usage(store) {
    const models = (await list(store)).reduce((sum, { stored }) => sum + stored, 0);
    return { models, ...await estimate() };
  },
};

/** @param {{ operation: string, argument: unknown }} request */
export async function runCacheOperation({ operation, argument }) {
  const store = await Store.open();
  try {
    return await operations[operation](store, argument);
  } finally {
    store.close();
  }
}
