// Fetches the interpreter of chat templates, dist/nutshell-template.mjs.
import { lazy } from './lazy.js';

/** @typedef {typeof import('../template.js')} Jinja */

/** @type {() => Promise<Jinja>} */
export const loadJinja = lazy('nutshell-template.mjs');
