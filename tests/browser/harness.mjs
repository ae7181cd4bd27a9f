// What the browser suites share: checks that are counted, browsers that are started again where their driver answers no more, and
// the closing line that the test runner reads.
import { BrowserStuck } from './watchdog.mjs';

let passed = 0;
let failed = 0;
let skipped = 0;

/** Runs one check; a throw counts as failed and the suite goes on. @param {string} name @param {() => unknown} test */
export async function check(name, test) {
  const since = Date.now();
  try {
    await test();
    passed++;
    if (process.env.NUT_VERBOSE) console.log(`ok ${name} (${Date.now() - since} ms)`);
  } catch (error) {
    if (error instanceof BrowserStuck) throw error; // inBrowser repeats the section
    failed++;
    console.log(`FAIL ${name}: ${error instanceof Error ? error.message : error}`);
  }
}

/** @param {unknown} got @param {unknown} expected @param {string} [what] */
export function equal(got, expected, what = 'got') {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what} ${a}, expected ${b}`);
}

/** @param {unknown} condition @param {string} otherwise */
export function ensure(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}

/** What a call fails with. @param {() => unknown} work */
export async function failure(work) {
  try {
    await work();
  } catch (error) {
    return /** @type {any} */ (error);
  }
  throw new Error('it did not fail');
}

/** Reports that a check was skipped, and why. @param {string} name @param {string} why */
export function skip(name, why) {
  skipped++;
  console.log(`skip ${name}: ${why}`);
}

const RESTARTS = 2; // of one browser in one suite

/**
 * Runs sections of a suite in a browser, one after the other. Where its driver answers no more, the browser is started again and
 * the section repeated, which is said in a line that begins with "again"; what the broken try counted is forgotten. A section
 * must not rely on what an earlier one left in the browser.
 * @param {() => Promise<import('./drivers.mjs').Browser>} start
 * @param {((browser: import('./drivers.mjs').Browser) => Promise<unknown>)[]} sections
 */
export async function inBrowser(start, sections) {
  /** @type {import('./drivers.mjs').Browser | undefined} */
  let browser;
  let restarts = 0;
  /** What is wrong with the driver, if anything. @param {(typeof sections)[0]} section */
  const attempt = async (section) => {
    try {
      browser ??= await start();
      await section(browser);
      return browser.silent;
    } catch (error) {
      if (error instanceof BrowserStuck) return error.message;
      throw error;
    }
  };
  try {
    for (const section of sections) {
      for (let silent; ;) {
        const before = [passed, failed, skipped];
        silent = await attempt(section);
        if (!silent) break;
        await browser?.close();
        browser = undefined;
        [passed, failed, skipped] = before;
        if (restarts++ === RESTARTS) {
          failed++;
          console.log(`FAIL ${silent}, after ${RESTARTS} restarts`);
          return;
        }
        console.log(`again: ${silent}: started again (${restarts} of ${RESTARTS}), and the section is repeated`);
      }
    }
  } finally {
    await browser?.close();
  }
}

/** Prints the closing line and sets the exit status; a suite without checks has failed. */
export function finish() {
  if (passed + failed === 0) failed = 1;
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
  process.exitCode = failed ? 1 : 0;
}
