// Files of dist/ that the worker fetches only when they are needed.
import { missingFile } from './instantiate.js';

/**
 * @template T
 * @param {string} name  nutshell-NAME.mjs, beside the worker's file
 * @returns {() => Promise<T>} gives the module; rejects with 'engine-missing', and the next call then tries again
 */
export function lazy(name) {
  const url = new URL(`nutshell-${name}.mjs`, import.meta.url);
  /** @type {Promise<T> | null} */
  let loading = null;
  let failures = 0;
  return () => {
    url.hash = failures ? String(failures) : ''; // browsers never ask again for the address of a module that once failed
    loading ??= import(url.href).catch((cause) => {
      loading = null;
      failures++;
      throw missingFile(url, cause);
    });
    return loading;
  };
}
