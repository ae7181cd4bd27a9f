// A watchdog around a browser's driver. Firefox's sometimes answers no more, for reasons that are not
// Nutshell's: then the browser is ended, started again, and the section of the suite repeated. inBrowser of
// harness.mjs does that; this file notices it.

/** What a call to a driver ends with that is not answered any more. A suite may throw it too, where it knows
 * that a browser is at
 *  fault. */
export class BrowserStuck extends Error {}

const CALLS = /** @type {const} */ ([
  'goto',
  'evaluate',
  'click',
  'fill',
  'press',
  'attach',
  'setViewport',
  'screenshot',
  'setOffline',
  'evaluateInChrome',
]);

/** How long a driver may take for a call; and, after that, for something that takes no time at all. */
export const LIMIT = 60000;
const PING = 10000;

/** @param {number} ms */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Watches the calls of a browser, in place. One that takes longer than `limit` ms makes the browser silent:
 * `silent` says which, `end` is called, and this call and all later ones reject with BrowserStuck. An
 * evaluate may take longer while the driver answers another one: then it is the page that takes its time, and
 * the driver's own timeout counts.
 * @template {import('./drivers.mjs').Browser} B
 * @param {B} browser  @param {() => void} end  @param {{ limit?: number, ping?: number }} [options]
 * @returns {B}
 */
export function watched(browser, end, { limit = LIMIT, ping = PING } = {}) {
  const { evaluate } = browser;
  const answers = () =>
    Promise.race([
      evaluate('1').then(
        () => true,
        () => false,
      ),
      pause(ping).then(() => false),
    ]);

  /** @param {string} name @param {() => Promise<any>} call */
  async function watch(name, call) {
    if (browser.silent) throw new BrowserStuck(browser.silent);
    /** @type {any} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(async () => {
        if (!browser.silent && name === 'evaluate' && (await answers())) return;
        browser.silent ??= `${browser.name}'s driver did not answer "${name}" within ${limit / 1000} s`;
        end();
        reject(new BrowserStuck(browser.silent));
      }, limit);
    });
    try {
      return await Promise.race([call(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  for (const name of CALLS) {
    const call = /** @type {any} */ (browser[name]);
    if (call)
      /** @type {any} */ (browser)[name] = (/** @type {any[]} */ ...args) => watch(name, () => call(...args));
  }
  return browser;
}
