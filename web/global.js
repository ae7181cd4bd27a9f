// The script for a <script> tag: dist/nutshell.js defines the global Nutshell. The script's own address is
// known only while it runs for the first time, and not in a worker that loads it with importScripts: there it
// is taken to lie beside the worker's script.
import { baseAddress } from './page/address.js';
import { createApi } from './page/api.js';

const script = /** @type {HTMLScriptElement | null | undefined} */ (globalThis.document?.currentScript);
/** @type {any} */ (globalThis).Nutshell = createApi(script?.src || baseAddress());
