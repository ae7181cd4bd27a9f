// The watchdog around drivers, on drivers that are no more than these lines: one that answers nothing, one that falls silent in
// the middle of a section, one whose page takes its time. No browser is started.
import { execFileSync } from 'node:child_process';
import { check, ensure, equal, finish } from './harness.mjs';
import { BrowserStuck, watched } from './watchdog.mjs';

const QUICK = { limit: 100, ping: 50 };
const never = () => new Promise(() => {});

/** A browser with these calls, watched, which counts how often it was ended. @param {object} calls */
function browserOf(calls) {
  const ended = { times: 0 };
  const plain = /** @type {any} */ ({
    name: 'fake',
    log: [],
    close: async () => {},
    evaluate: async () => 1,
    ...calls,
  });
  return {
    browser: watched(
      plain,
      () => {
        ended.times++;
      },
      QUICK,
    ),
    ended,
  };
}

/** What a promise is rejected with. @param {Promise<unknown>} promise */
const errorOf = (promise) =>
  promise.then(
    () => {
      throw new Error('it was answered');
    },
    (error) => error,
  );

await check('a call that is not answered ends the browser and says which it was', async () => {
  const { browser, ended } = browserOf({ goto: never });
  const error = await errorOf(browser.goto('http://127.0.0.1/'));
  ensure(error instanceof BrowserStuck, `${error}`);
  equal(
    [error.message, browser.silent, ended.times],
    ['fake\'s driver did not answer "goto" within 0.1 s', error.message, 1],
  );
});

await check('later calls are refused, and the driver is not asked', async () => {
  let asked = 0;
  const { browser } = browserOf({ click: never, evaluate: async () => ++asked });
  await errorOf(browser.click('a'));
  const error = await errorOf(browser.evaluate('2'));
  ensure(error instanceof BrowserStuck && asked === 0, `${error}, asked ${asked} times`);
});

await check('an evaluate that is not answered, while another is not either', async () => {
  const { browser } = browserOf({ evaluate: never });
  ensure((await errorOf(browser.evaluate('slow'))) instanceof BrowserStuck, 'another error');
});

await check('an evaluate whose page takes its time goes on: the driver answers others', async () => {
  const late = () => new Promise((done) => setTimeout(done, 3 * QUICK.limit, 'late'));
  const { browser, ended } = browserOf({
    evaluate: (/** @type {string} */ code) => (code === '1' ? Promise.resolve(1) : late()),
  });
  equal([await browser.evaluate('slow'), browser.silent ?? null, ended.times], ['late', null, 0]);
});

await check(
  'results, arguments and errors pass through; calls that a browser lacks are not made up',
  async () => {
    const { browser } = browserOf({
      fill: async (/** @type {any[]} */ ...all) => all,
      press: async () => {
        throw new RangeError('no key');
      },
    });
    equal(await browser.fill('a', 'b'), ['a', 'b']);
    equal((await errorOf(browser.press('Enter'))).message, 'no key');
    equal(browser.setOffline ?? null, null);
  },
);

/** Runs a suite of two sections in a process of its own; the first start's driver falls silent in the second check of the second
 *  section, and so do the next `silent - 1`. @param {number} silent */
function suite(silent) {
  const code = `
    import { check, finish, inBrowser } from './harness.mjs';
    import { watched } from './watchdog.mjs';
    let starts = 0;
    const start = async () => {
      const answers = ++starts > ${silent};
      const browser = { name: 'fake', evaluate: async () => 1, close: async () => console.log('closed'),
        goto: (url) => url !== 'hard' || answers ? Promise.resolve() : new Promise(() => {}) };
      return watched(browser, () => console.log('ended'), { limit: 50, ping: 20 });
    };
    const section = (name, url) => async (browser) => {
      await check(name + ', first', () => browser.goto('easy'));
      await check(name + ', second', () => browser.goto(url).then(() => { if (name === 'b') throw new Error('found'); }));
      await check(name + ', third', () => browser.goto('easy'));
    };
    await inBrowser(start, [section('a', 'easy'), section('b', 'hard'), section('c', 'easy')]);
    finish();`;
  try {
    return execFileSync('node', ['--input-type=module', '-e', code], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
    })
      .trim()
      .split('\n');
  } catch (error) {
    return /** @type {any} */ (error).stdout.trim().split('\n');
  }
}
const AGAIN = (/** @type {number} */ n) =>
  `again: fake's driver did not answer "goto" within 0.05 s: started again (${n} of 2), and the section is repeated`;

await check('a section is repeated in a new browser, and counts once', () => {
  equal(suite(0), ['FAIL b, second: found', 'closed', '8 passed, 1 failed']);
  equal(suite(1), ['ended', 'closed', AGAIN(1), 'FAIL b, second: found', 'closed', '8 passed, 1 failed']);
});

await check('twice, and no more: then the suite has failed', () => {
  equal(suite(2), [
    'ended',
    'closed',
    AGAIN(1),
    'ended',
    'closed',
    AGAIN(2),
    'FAIL b, second: found',
    'closed',
    '8 passed, 1 failed',
  ]);
  equal(suite(9).slice(-3), [
    'closed',
    'FAIL fake\'s driver did not answer "goto" within 0.05 s, after 2 restarts',
    '3 passed, 1 failed',
  ]);
});
finish();
