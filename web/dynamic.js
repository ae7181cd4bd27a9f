// dist/nutshell-dynamic.mjs: as much work as a question needs: cascades of models, answers and beginnings of prompts that are
// remembered, and which model suits this machine. A file of its own, since most pages need none of it. It works on models that
// the page has loaded. Where a script has defined the global Nutshell, its functions are members of that too.
import { Cascade } from './dynamic/cascade.js';
import { PrefixCache } from './dynamic/prefix_cache.js';
import { QueryCache } from './dynamic/query_cache.js';
import { recommend } from './dynamic/recommend.js';
import { Remote } from './dynamic/remote.js';
import { learnThreshold } from './dynamic/threshold.js';

export { learnThreshold, recommend };

/** @type {typeof import('./nutshell-dynamic.d.ts').cascade} */
export const cascade = (models, options) => new Cascade(models, options);

/** @type {typeof import('./nutshell-dynamic.d.ts').remote} */
export const remote = (options) => new Remote(options);

/** @type {typeof import('./nutshell-dynamic.d.ts').queryCache} */
export const queryCache = (options) => new QueryCache(options);

/** @type {typeof import('./nutshell-dynamic.d.ts').prefixCache} */
export const prefixCache = (options) => new PrefixCache(options);

const global = /** @type {any} */ (globalThis).Nutshell;
if (global) Object.assign(global, { cascade, learnThreshold, prefixCache, queryCache, recommend, remote });
