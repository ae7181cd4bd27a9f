// Addresses that callers give. They may be relative to the page, or to the script of the worker that the
// library is used in.

/** What relative addresses are relative to; undefined in Node.js. @returns {string | undefined} */
export const baseAddress = () => globalThis.document?.baseURI ?? globalThis.location?.href;

/** The full address; null where there is none. @param {string | URL} url */
export function resolveUrl(url) {
  try {
    return new URL(url, baseAddress());
  } catch {
    return null;
  }
}
