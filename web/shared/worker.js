// Starts a worker, also where a page's policy requires Trusted Types: a script's address must then come from
// a policy whose name the page allows.

/** @type {{ createScriptURL: (url: string) => any } | null | undefined} */
let policy;

function findPolicy() {
  try {
    const types = /** @type {any} */ (self).trustedTypes;
    return types?.createPolicy('nutshell', { createScriptURL: (/** @type {string} */ url) => url });
  } catch {
    return null; // not allowed, or made by another copy of the library: where one is required, the worker cannot start
  }
}

/** @param {string} url @param {string} name @returns {Worker} */
export function startWorker(url, name) {
  policy = policy === undefined ? findPolicy() ?? null : policy;
  return new Worker(policy?.createScriptURL(url) ?? url, { type: 'module', name });
}
