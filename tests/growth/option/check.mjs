// A sampler option with a step of its own: the shell takes it, checks its range and passes it on, the tables
// for JavaScript have it, and the step leaves out what it should.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const MODEL = 'dist/nutshell-tiny-q8_0.gguf', TEXT = 'Once upon a time';
const PLAIN = ['--max-tokens', '24', '--temperature', '1', '--top-k', '0', '--top-p', '1', '--min-p', '0'];

export default async function check({ tree, test, make, must, run, unit }) {
  const text = (...options) => JSON.parse(must('build/native/nutshell', 'run', MODEL, TEXT, '--json', ...PLAIN, ...options)).text;
  await test('the step leaves out what it should', () => { unit('test_top_a'); });
  await test('the shell takes it, and it changes what is sampled', () => {
    make('build/native/nutshell');
    assert.match(run('build/native/nutshell', 'run', '--help').out, /--top-a X +drop what/);
    for (const seed of ['1', '2', '3']) {
      assert.equal(text('--seed', seed, '--top-a', '0'), text('--seed', seed));
      assert.notEqual(text('--seed', seed, '--top-a', '1'), text('--seed', seed));
    }
  });
  await test('the shell refuses 2', () => {
    const { err, status } = run('build/native/nutshell', 'run', MODEL, TEXT, '--top-a', '2');
    assert.equal(status, 1);
    assert.match(err, /bad-argument: top_a must be between 0 and 1, not 2/);
  });
  await test('the tables for JavaScript have it, and nothing else changed', () => {
    const names = (source) => [...source.matchAll(/^ {2}\{ name: '(\w+)'.*$/gm)].map((row) => row[0]);
    const before = names(readFileSync(join(tree, 'web/shared/tables.js'), 'utf8'));
    make('web/shared/tables.js');
    const after = readFileSync(join(tree, 'web/shared/tables.js'), 'utf8');
    const row = "  { name: 'topA', kind: 'real', least: 0, most: 1, fallback: 0 },";
    assert.deepEqual(names(after).filter((name) => name !== row), before);
    assert.ok(names(after).includes(row) && /'topA'/.test(after.split('OPTION_NAMES')[1]));
  });
}
