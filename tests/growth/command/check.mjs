// A shell command: it runs, the list of commands has it, and its arguments are checked as those of the
// others.
import assert from 'node:assert/strict';

const MODEL = 'tests/golden/conformance/qwen3-tied.gguf';

export default async function check({ test, make, must, run }) {
  await test('runs', () => {
    make('build/native/nutshell');
    assert.equal(must('build/native/nutshell', 'hello', MODEL), 'hello, qwen3 of 512 tokens\n');
  });
  await test('is in the help', () => {
    assert.match(must('build/native/nutshell', '--help'), /^ {2}hello +greet a model/m);
    assert.match(must('build/native/nutshell', 'hello', '--help'), /usage: nutshell hello MODEL/);
  });
  await test('refuses wrong arguments', () => {
    const { err, status } = run('build/native/nutshell', 'hello');
    assert.equal(status, 1);
    assert.match(err, /nutshell hello: bad-argument: arguments are missing/);
  });
}
