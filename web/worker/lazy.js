// Files of dist/ that the worker fetches only when they are needed: scripts that most pages never ask for.
import { missingFile } from './instantiate.js';

/**
 * @template T
 * @param {string} name  beside the worker's file
 * @returns {() => Promise<T>} the module; rejects with 'engine-missing', and the next call then tries again
 */
export function lazy(name) {
  const url = new URL(name, import.meta.url);
  /** @type {Promise<T> | null} */
  let loading = null;
  let failures = 0;
  return () => {
    url.hash = failures ? String(failures) : ''; // browsers never ask again for a module that they once could not fetch
    loading ??= import(url.href).catch((cause) => {
      loading = null;
      failures++;
      throw missingFile(url, cause);
    });
    return loading;
  };
}
