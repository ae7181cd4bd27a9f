// What the JavaScript suites share: checks that are counted, and the last line, which the test runner reads.

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

/** Prints the last line and sets the exit status; a suite without checks has failed. */
export function finish() {
  if (passed + failed === 0) failed = 1;
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
  process.exitCode = failed ? 1 : 0;
}
