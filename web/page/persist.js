// Asks the browser, once per origin, to keep what is stored when the disk gets full. Workers cannot ask, only
// pages; some browsers then ask the user.

/**
 * After a model was stored. The browser's answer is not waited for: cache.usage() tells it.
 * @param {import('./host.js').Host} host  with a worker that runs
 */
export async function askToPersist(host) {
  if (!navigator.storage?.persist) return; // in workers
  const isFirst = await host.ask('cache', { operation: 'isFirst', argument: 'persist' }).catch(() => false);
  if (isFirst) navigator.storage.persist().catch(() => {});
}
