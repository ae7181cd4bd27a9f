// Tests the suite runner: what must count as a failure does, so that a green run means that every suite ran.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const RUNNER = join(dirname(fileURLToPath(import.meta.url)), 'run.mjs');
const folder = mkdtempSync(join(tmpdir(), 'nutshell-runner-'));

/** Passes when a file of the case's own folder appears within ten seconds; with `never`, when it does not within two. */
const AWAIT = (/** @type {string} */ name, never = false) =>
  `for i in $(seq ${never ? 20 : 100}); do [ -e ${name} ] && break; sleep 0.1; done; `
  + `[ ${never ? '! ' : ''}-e ${name} ] && echo 1 passed, 0 failed`;

/** @type {[string, any[], string, number][]} what is tried, suites, last line expected, exit status expected */
const CASES = [
  ['adds up', [{ command: 'echo 2 passed, 0 failed' }, { command: 'echo 3 passed, 0 failed, 4 skipped' }],
    '5 passed, 0 failed, 4 skipped', 0],
  ['a failure', [{ command: 'echo 2 passed, 1 failed; exit 1' }, { command: 'echo 1 passed, 0 failed' }],
    '3 passed, 1 failed', 1],
  ['no count', [{ command: 'echo all is well' }], '0 passed, 1 failed', 1],
  ['a count inside a line', [{ command: 'echo 5 passed, 0 failed or so' }], '0 passed, 1 failed', 1],
  ['no case', [{ command: 'echo 0 passed, 0 failed' }], '0 passed, 1 failed', 1],
  ['all skipped', [{ command: 'echo skip: no data; echo 0 passed, 0 failed, 2 skipped' }],
    '0 passed, 0 failed, 2 skipped', 0],
  ['a crash after the count', [{ command: 'echo 2 passed, 0 failed; kill -SEGV $$' }], '2 passed, 1 failed', 1],
  ['status 0 with failures', [{ command: 'echo 1 passed, 1 failed' }], '1 passed, 1 failed', 1],
  ['does not build', [{ build: 'false', command: 'echo 1 passed, 0 failed' }], '0 passed, 1 failed', 1],
  ['no such command', [{ command: 'no-such-command' }], '0 passed, 1 failed', 1],
  ['hangs', [{ command: 'sleep 60', timeout: 1 }], '0 passed, 1 failed', 1],
  ['hangs, and the next one does not end with it',
    [{ command: 'sleep 60', timeout: 1 }, { command: 'sleep 5; echo 2 passed, 0 failed' }], '2 passed, 1 failed', 1],
  ['waits, and stalls twice', [{ use: 'waits', command: 'sleep 60', timeout: 1 }], '0 passed, 1 failed', 1],
  ['waits, stalls once and then runs',
    [{ use: 'waits', command: '[ -e k ] && echo 2 passed, 0 failed && exit; touch k; sleep 60', timeout: 1 }],
    '2 passed, 0 failed', 0],
  ['waits, and fails once', [{ use: 'waits', command: '[ -e l ] && echo 2 passed, 0 failed && exit; touch l; exit 1' }],
    '0 passed, 1 failed', 1],
  ['leaves a process behind', [{ command: 'setsid sleep 60 & echo 1 passed, 0 failed' }], '1 passed, 0 failed', 0],
  ['one run per file', [{ each: 'tests/run*.mjs', command: '[ -e tests/{}.mjs ] && echo 1 passed, 0 failed' }],
    '2 passed, 0 failed', 0],
  ['one run per file, one of them bad',
    [{ each: 'tests/run*.mjs', command: '[ {} = run ] && echo 1 passed, 0 failed' }], '1 passed, 1 failed', 1],
  ['one run per file, of which one ends early and another goes on',
    [{ each: 'tests/run*.mjs', command: '[ {} = run ] || sleep 5; echo 1 passed, 0 failed' }], '2 passed, 0 failed', 0],
  ['no file', [{ each: 'tests/nothing*.c', command: 'echo 1 passed, 0 failed' }], '0 passed, 1 failed', 1],
  ['two that wait run at the same time, beside one that computes',
    [{ use: 'waits', command: `touch a; ${AWAIT('b')}` }, { use: 'waits', command: `touch b; ${AWAIT('c')}` },
      { command: `touch c; ${AWAIT('a')}` }], '3 passed, 0 failed', 0],
  ['three that wait do not', [1, 2, 3].map((i) => ({ use: 'waits',
    command: `touch run${i}; sleep 1; [ $(ls run* | wc -l) -le 2 ] && echo 1 passed, 0 failed; rm run${i}` })),
    '3 passed, 0 failed', 0],
  ['two that compute do not', [{ command: `touch d; ${AWAIT('e', true)}` }, { command: `touch e; ${AWAIT('d')}` }],
    '2 passed, 0 failed', 0],
  ['two builds do not run at the same time',
    [{ use: 'waits', build: `cd ${folder}; touch h; ${AWAIT('i', true)}`, command: 'echo 1 passed, 0 failed' },
      { use: 'waits', build: `cd ${folder}; touch i; ${AWAIT('h')}`, command: 'echo 1 passed, 0 failed' }],
    '2 passed, 0 failed', 0],
  ['one that needs the machine alone is first, and alone',
    [{ command: `touch f; ${AWAIT('g')}` }, { use: 'waits', command: `touch f; ${AWAIT('g')}` },
      { use: 'alone', command: `${AWAIT('f', true)} && touch g` }], '3 passed, 0 failed', 0],
  ['one that computes gives way', [{ command: '[ $(nice) = 19 ] && echo 1 passed, 0 failed' },
    { use: 'waits', command: '[ $(nice) -lt 19 ] && echo 1 passed, 0 failed' }], '2 passed, 0 failed', 0],
  ['an unknown use', [{ use: 'sleeps', command: 'echo 1 passed, 0 failed' }], '', 1],
  ['no suite', [], '0 passed, 0 failed', 1],
];

let failed = 0;
for (const [name, suites, line, status] of CASES) {
  const table = join(folder, 'suites.json');
  const own = mkdtempSync(join(folder, 'case-'));
  writeFileSync(table, JSON.stringify(suites.map((suite, i) =>
    ({ name: `test ${i}`, needs: [], ...suite, command: suite.each ? suite.command : `cd ${own}; ${suite.command}` }))));
  const started = Date.now();
  const result = spawnSync('node', [RUNNER], { env: { ...process.env, NUT_SUITES: table }, encoding: 'utf8' });
  const last = result.stdout.trimEnd().split('\n').pop();
  const named = /^failed: test \d/m.test(result.stdout) === / [1-9]\d* failed/.test(line); // below the table
  if (last === line && result.status === status && named && Date.now() - started < 40000) continue;
  failed++;
  console.log(`FAIL ${name}: "${last}" with status ${result.status}, expected "${line}" with ${status}`);
}
rmSync(folder, { recursive: true, force: true });
console.log(`${CASES.length - failed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
