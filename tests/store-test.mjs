// Models larger than the memory for their weights, from the shell: the same text natively and under wasmtime, and files that
// are cut off or changed while they are read.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { check as test, finish } from './browser/harness.mjs';

const NATIVE = ['build/native/nutshell'], WASI = ['.toolchain/bin/wasmtime', 'run', '--dir', '.', 'build/wasi/nutshell.wasm'];
const TINY = 'dist/nutshell-tiny-q8_0.gguf', PROMPT = 'Once upon a time';
const tiny = readFileSync(TINY);
const work = mkdtempSync('build/store-test-');
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

/** @param {string[]} command @param {string[]} args */
function run([program, ...first], ...args) {
  const { status, stdout, stderr } = spawnSync(program, [...first, ...args], { encoding: 'utf8', timeout: 600_000 });
  return { status, out: stdout, err: stderr };
}

/** @param {string[]} command @param {string[]} args */
function ok(command, ...args) {
  const told = run(command, ...args);
  assert.equal(told.status, 0, told.err);
  return told;
}

await test('the same text with layers read from the file, natively and under wasmtime', () => {
  const args = ['run', TINY, PROMPT, '--temperature', '0', '--max-tokens', '40'];
  const { out } = ok(NATIVE, ...args);
  const { err } = run(NATIVE, ...args, '--weights-limit', '1kB');
  assert.match(err, /model-too-large/);
  const least = Number(/give a limit of (\d+) bytes/.exec(err)?.[1]);
  assert.ok(least > 1e4, err);
  for (const [limit, words] of [[`${least - 1}`, /model-too-large: .* for a layer/], ['much', /bad-argument: .* is no size/]]) {
    const { status, out: nothing, err: why } = run(NATIVE, ...args, '--weights-limit', limit);
    assert.deepEqual([status, nothing], [1, '']);
    assert.match(why, words);
  }
  for (const command of [NATIVE, WASI]) {
    for (const more of [[], ['--threads', '2'], ['--lookup', '0']]) {
      const stored = ok(command, ...args, '--weights-limit', `${least}`, ...more);
      assert.equal(stored.out, out);
      assert.match(stored.err, /storage \d+\.\d MB read in .*; 0 of \d layers stay, hits 0\.0 %/);
    }
    const { text, timings: { storage } } = JSON.parse(ok(command, ...args, '--weights-limit', `${least}`, '--json').out);
    assert.equal(text, JSON.parse(ok(NATIVE, ...args, '--json').out).text);
    assert.ok(storage.weight_bytes <= least && storage.bytes_read > tiny.length && storage.layers.misses > 40, storage);
    assert.ok(storage.layers.hits === 0 && storage.experts.all === 0, storage);
  }
  const all = ok(NATIVE, ...args, '--weights-limit', '1GB');
  assert.equal(all.out, out);
  assert.match(all.err, /storage 0\.0 MB read/);
});

await test('a file that is cut or changed while it is read ends the answer, in words', async () => {
  const path = join(work, 'cut.gguf'), args = ['run', path, PROMPT, '--ignore-eos', '--max-tokens', '500', '--lookup', '0'];
  writeFileSync(path, tiny);
  const least = /give a limit of (\d+) bytes/.exec(run(NATIVE, ...args, '--weights-limit', '1kB').err)?.[1] ?? '';
  for (const [spoil, words] of [[() => truncateSync(path, tiny.length / 2), /has become shorter/],
    [() => {
      const f = openSync(path, 'r+');
      writeSync(f, tiny.map((byte) => byte ^ 1), tiny.length / 2 | 0, tiny.length / 2 | 0, tiny.length / 2 | 0);
      closeSync(f);
    }, /has changed|damaged/]]) {
    const child = spawn(NATIVE[0], [...args, '--weights-limit', least]);
    let err = '';
    child.stderr.on('data', (data) => { err += data; });
    child.stdout.once('data', spoil);
    const [status] = await once(child, 'close');
    assert.equal(status, 1, err);
    assert.match(err, words);
    writeFileSync(path, tiny);
  }
});

finish();
