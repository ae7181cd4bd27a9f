// What demo/chat/vendor.mjs gives; wasm/bundle.mjs makes it from these packages.
export { lexer } from 'marked';
export { openDB } from 'idb';
