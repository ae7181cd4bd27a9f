/** Put in by wasm/bundle.mjs, from package.json. */
declare const NUTSHELL_VERSION: string;
