// The shell while allocations fail: each command runs with its first allocation failing, then its second, and so on until
// none is left, and again with all from the n-th on failing. Each time it must report the failure with status 1, or do its
// work as usual. It must never crash or leak (the build has the address sanitizer) and never leave a half-written file.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { check, finish } from '../browser/harness.mjs';

const SHELL = 'build/asan/nutshell_faults';
const TINY = 'dist/nutshell-tiny-q8_0.gguf';
const work = mkdtempSync('build/faults-test-');
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
const text = join(work, 'text.txt');
writeFileSync(text, 'Once upon a time there was a cat. '.repeat(12));

const DRAW = ['--temperature', '0', '--max-tokens', '4'];
/** @type {{ args: string[], input?: string, out?: boolean }[]}  out: the last argument but two is a file that is written */
const COMMANDS = [
  { args: ['run', TINY, 'Once upon a time', ...DRAW] },
  { args: ['run', TINY, 'Once', ...DRAW, '--json', '--stop', 'x', '--threads', '2', '--kv-type', 'q8_0', '--context', '64'] },
  { args: ['chat', TINY, ...DRAW, '--system', 'Be brief.'], input: 'Hello.\nAnd now?\n' },
  { args: ['tokenize', TINY, 'Once upon a time'] },
  { args: ['info', TINY] },
  { args: ['perplexity', TINY, text, '--context', '32', '--windows', '2'] },
  { args: ['quantize', TINY, join(work, 'out.gguf'), '--type', 'q4_0'], out: true },
];

/** @param {{ args: string[], input?: string }} command @param {Record<string, string>} env
 * @returns {Promise<{ status: number | null, stdout: string, stderr: string }>} */
function run({ args, input }, env) {
  return new Promise((done) => {
    const child = spawn(SHELL, args, { env: { ...process.env, ...env, ASAN_OPTIONS: 'detect_leaks=1' } });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => { stdout += chunk; });
    child.stderr.on('data', (chunk) => { stderr += chunk; });
    child.on('close', (status) => done({ status, stdout, stderr }));
    child.stdin.on('error', () => {}); // it ended before it had read all of its input
    child.stdin.end(input ?? '');
  });
}

const timeless = (/** @type {string} */ stdout) => stdout.replace(/"seconds":[\d.]+/g, '');
const parts = () => readdirSync(work).filter((name) => name.includes('.part'));

/** Checks a run whose k-th allocation failed. */
function judge(command, result, whole, what) {
  const { status, stdout, stderr } = result;
  assert.doesNotMatch(stderr, /Sanitizer|runtime error/, `${what}: ${stderr}`);
  if (status === 0) assert.equal(timeless(stdout), timeless(whole.stdout), what);
  else assert.match(stderr, /nutshell \w+: out-of-memory: .*(out of memory|does not fit in memory)/, `${what}: ${stderr}`);
  assert.ok(status === 0 || status === 1, `${what}: status ${status}`);
}

async function failEach(command, env, whole, n) {
  let errors = 0;
  let next = 1;
  // Runs that write a file have the same file name, so they run one after the other.
  await Promise.all(Array.from({ length: command.out ? 1 : availableParallelism() }, async () => {
    for (let k = next++; k <= n; k = next++) {
      const what = `allocation ${k} of ${n}${env.NUT_FAIL_ALL ? ' and all behind it' : ''}`;
      const result = await run(command, { ...env, NUT_FAIL_AT: `${k}` });
      judge(command, result, whole, what);
      if (command.out) {
        assert.deepEqual(parts(), [], what);
        assert.equal(readdirSync(work).includes('out.gguf'), result.status === 0, what);
        rmSync(join(work, 'out.gguf'), { force: true });
      }
      if (result.status !== 0) errors++;
    }
  }));
  assert.ok(errors > n / 2, `only ${errors} of ${n} are errors`);
}

for (const command of COMMANDS) {
  await check(command.args.filter((word) => word !== TINY).join(' '), async () => {
    const whole = await run(command, {});
    assert.equal(whole.status, 0, whole.stderr);
    if (command.out) assert.ok(readFileSync(join(work, 'out.gguf')).length > 100000);
    rmSync(join(work, 'out.gguf'), { force: true });
    const n = Number(/(\d+) allocations/.exec(whole.stderr)?.[1]);
    assert.ok(n > 5, whole.stderr);
    await failEach(command, {}, whole, n);
    await failEach(command, { NUT_FAIL_ALL: '1' }, whole, n);
  });
}
finish();
