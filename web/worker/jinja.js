// Fetches the interpreter of chat templates, dist/nutshell-template.mjs, when it is first needed.
import { missingFile } from './instantiate.js';

const url = new URL('nutshell-template.mjs', import.meta.url);

/** @typedef {typeof import('../template.js')} Jinja */

/** @type {Promise<Jinja> | null} */
let loading = null;
let failures = 0;

/** Rejects with 'engine-missing'; the next call then tries again. @returns {Promise<Jinja>} */
export function loadJinja() {
  url.hash = failures ? String(failures) : ''; // browsers never ask again for a module that they once could not fetch
  loading ??= import(url.href).catch((cause) => {
    loading = null;
    failures++;
    throw missingFile(url, cause);
  });
  return loading;
}
