// Nutshell.cache: the stored models. IndexedDB is opened in a worker, so that the page's script has no code
// for it. A page starts one for each operation. A worker that uses the library starts one for all and never
// ends it: Firefox (153) now and then hangs for ever in a worker that ends a worker of its own.
import { NutshellError, badArgument } from '../shared/errors.js';
import { checkOptions, checkText, rules } from '../shared/options.js';
import { resolveUrl } from './address.js';
import { Host } from './host.js';
import { absolute, openSource, sendMore, untilAborted } from './load.js';
import { askToPersist } from './persist.js';

/** What may be meant: an id, or an address. @param {string} idOrUrl */
function target(idOrUrl) {
  const url = checkText('idOrUrl', idOrUrl);
  return [url, resolveUrl(url)?.href ?? url];
}

/** @param {import('../nutshell.d.ts').ModelBytes} source */
async function openImport(source) {
  const isOne = source instanceof Object && !(source instanceof URL) && !Array.isArray(source);
  const opened = isOne ? await openSource(source) : null;
  if (opened && !('cached' in opened.source)) return opened;
  throw badArgument('source', 'a File, Blob or FileSystemFileHandle, an ArrayBuffer or a ReadableStream', source);
}

/** @param {string} home folder of the script @returns {import('../nutshell.d.ts').Cache} */
export function createCache(home) {
  /** @type {Promise<Host> | null} */
  let kept = null;
  const isKept = !globalThis.document;
  const openHost = () => (isKept ? kept ??= Host.bare(home) : Host.bare(home));

  /**
   * @param {string} operation
   * @param {unknown} [argument]
   * @param {{ signal?: AbortSignal, onProgress?: (progress: any) => void }} [options]
   * @param {import('./load.js').Opened} [opened]  what the worker reads
   */
  async function ask(operation, argument, { signal, onProgress } = {}, opened) {
    const host = await openHost().catch((error) => {
      kept = null;
      throw error;
    });
    let id = 0;
    const stop = () => host.tell(id, 'stop');
    const onEvent = (/** @type {any} */ event) => {
      if (event === 'more' && opened) sendMore(opened, host, id);
      else if (!signal?.aborted) onProgress?.(event);
    };
    try {
      signal?.throwIfAborted();
      signal?.addEventListener('abort', stop);
      const request = { operation, argument, source: opened?.source };
      const answer = await host.ask('cache', request, onEvent, (given) => { id = given; });
      if (opened) await askToPersist(host);
      return answer;
    } finally { // of an operation that was stopped too, once it has cleaned up
      signal?.removeEventListener('abort', stop);
      if (!isKept) host.end(new NutshellError('bad-state', 'the request is over'));
      else if (host.ended) kept = null;
    }
  }
  return {
    list: () => ask('list'),
    delete: async (idOrUrl) => ask('delete', target(idOrUrl)),
    clear: () => ask('clear'),
    usage: () => ask('usage'),
    async verify(idOrUrl, options) {
      const checked = checkOptions(rules.verify, options);
      const work = ask('verify', idOrUrl === undefined ? null : target(idOrUrl), checked);
      return untilAborted(work, checked.signal);
    },
    export: async (idOrUrl) => ask('export', target(idOrUrl)),
    async import(source, options) {
      const { url, name, evict, ...rest } = checkOptions(rules.import, options);
      const argument = { url: url === undefined ? null : absolute(url, 'url'), name, evict };
      const opened = await openImport(source);
      const work = ask('import', argument, rest, opened).finally(() => opened.close?.());
      return untilAborted(work, rest.signal);
    },
  };
}
