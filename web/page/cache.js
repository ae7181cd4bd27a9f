// Nutshell.cache: the stored models. IndexedDB is opened in a worker of its own each time, so that pages that never ask
// carry no code for it.
import { NutshellError } from '../shared/errors.js';
import { checkText } from '../shared/options.js';
import { Host } from './host.js';

/** An address that is relative to the page, in full. @param {string} url */
function absolute(url) {
  return URL.canParse?.(url, document.baseURI) ? new URL(url, document.baseURI).href : url;
}

/** @param {string} home folder of the script @returns {import('../nutshell.d.ts').Cache} */
export function createCache(home) {
  /** @param {string} operation @param {unknown} [argument] */
  async function ask(operation, argument) {
    const host = await Host.bare(home);
    try {
      return await host.ask('cache', { operation, argument });
    } finally {
      host.end(new NutshellError('bad-state', 'the request is over'));
    }
  }
  return {
    list: () => ask('list'),
    delete: async (idOrUrl) => ask('delete', [checkText('idOrUrl', idOrUrl), absolute(idOrUrl)]),
    clear: () => ask('clear'),
    usage: () => ask('usage'),
  };
}
