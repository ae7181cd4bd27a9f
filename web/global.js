// The script for a <script> tag: dist/nutshell.js defines the global Nutshell. Its own address is known only now, while
// it runs for the first time.
import { createApi } from './page/api.js';

const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
/** @type {any} */ (globalThis).Nutshell = createApi(script?.src || document.baseURI);
