// The ES module: dist/nutshell.mjs.
import { createApi } from './page/api.js';

export { capabilities, version } from './page/api.js';
export { NutshellError } from './shared/errors.js';
export const { load, prepare, cache } = createApi(import.meta.url);
