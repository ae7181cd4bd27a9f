// Training from the shell: a run that is killed goes on and makes the same file and log; what cannot be done leaves nothing.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check as test, finish, skip } from './browser/harness.mjs';

const NUTSHELL = 'build/native/nutshell';
const TINY = 'dist/nutshell-tiny-q8_0.gguf';
const work = mkdtempSync('build/train-test-');
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
const at = (/** @type {string} */ name) => join(work, name);

/** A recipe of this name, whose output is NAME.gguf and log NAME.csv. @param {string} name @param {object} options */
function recipe(name, options = {}) {
  const all = { model: TINY, text: 'README.md', output: at(`${name}.gguf`), log: at(`${name}.csv`), steps: 24, batch: 2,
    window: 64, checkpoint: 3, evaluate: 8, ...options };
  writeFileSync(at(`${name}.json`), JSON.stringify(all));
  return at(`${name}.json`);
}

/** @param {string[]} args */
const run = (...args) => spawnSync(NUTSHELL, ['train', ...args], { encoding: 'utf8', timeout: 120_000 });

/** Of README.md. @param {string} model */
function perplexity(model) {
  const r = spawnSync(NUTSHELL, ['perplexity', model, 'README.md', '--context', '64'], { encoding: 'utf8' });
  return Number(/perplexity[^\d]*([\d.]+)/.exec(r.stdout)?.[1]);
}

/** Checkpoints in a state, whole: records of one size, which the head of the first says. @param {string} path */
function checkpoints(path) {
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  return bytes.length < 48 ? 0 : Math.floor((bytes.length - 16) / (32 + Number(bytes.readBigUInt64LE(24))));
}

/** Kills the command once its state has so many checkpoints; false where it was done before.
 * @param {string} name @param {number} n @returns {Promise<boolean>} */
function killAt(name, n) {
  const child = spawn(NUTSHELL, ['train', at(`${name}.json`)], { stdio: 'ignore' });
  const look = setInterval(() => {
    if (checkpoints(at(`${name}.gguf.state`)) >= n) child.kill('SIGKILL');
  }, 5);
  return new Promise((done) => child.on('close', (code) => (clearInterval(look), done(code === null))));
}

if (!existsSync(TINY)) {
  skip('training', `${TINY} is missing`);
} else {
  await test('a run that is killed again and again goes on and makes the same file and log', async () => {
    const whole = run(recipe('whole'), '--threads', '2');
    assert.equal(whole.status, 0, whole.stderr.slice(-600));
    assert.match(whole.stderr, /text held out: [\d.]+ nats a token before, [\d.]+ after/);
    assert.ok(!existsSync(at('whole.gguf.state')), 'a state is left after success');
    recipe('killed');
    for (let n = 1; n <= 2; n++) assert.ok(await killAt('killed', n), 'the run was not killed');
    const last = run(at('killed.json'));
    assert.equal(last.status, 0, last.stderr.slice(-600));
    assert.match(last.stderr, /going on behind the checkpoint of step \d+/);
    const text = (/** @type {string} */ name) => readFileSync(at(name), 'latin1').replaceAll(at('killed'), at('whole'));
    assert.equal(text('killed.csv'), text('whole.csv'), 'another log');
    const weights = (/** @type {string} */ name) => readFileSync(at(name)).subarray(-200_000);
    assert.ok(weights('killed.gguf').equals(weights('whole.gguf')), 'other weights');
  });

  await test('the log has a line for each step, whose losses fall, and the model is better on the text', () => {
    const lines = readFileSync(at('whole.csv'), 'utf8').trim().split('\n');
    assert.equal(lines[0], 'step,loss,cross_entropy,divergence,rate,gradient_norm,held_out');
    assert.equal(lines.length, 25);
    const loss = (/** @type {string} */ line) => Number(line.split(',')[1]);
    assert.ok(loss(lines[24]) < loss(lines[1]), `${loss(lines[1])} and then ${loss(lines[24])}`);
    assert.deepEqual(lines.slice(1).filter((line) => !line.endsWith(',')).map((line) => Number(line.split(',')[0])), [1, 9, 17]);
    assert.ok(perplexity(at('whole.gguf')) < perplexity(TINY), 'perplexity has not fallen');
  });

  await test('a student comes nearer to its teacher', () => {
    const r = run(recipe('student', { model: at('whole.gguf'), teacher: TINY, divergence: 'reverse_kl', temperature: 2 }));
    assert.equal(r.status, 0, r.stderr.slice(-600));
    const lines = readFileSync(at('student.csv'), 'utf8').trim().split('\n').slice(1);
    const divergences = lines.map((line) => Number(line.split(',')[3]));
    assert.ok(divergences[0] > 0 && divergences[23] < divergences[0], `${divergences[0]} and then ${divergences[23]}`);
  });

  await test('an adapter is trained beside a model, and merged into it', () => {
    const r = run(recipe('adapter', { rank: 4, alpha: 8, rate: 0.01 }));
    assert.equal(r.status, 0, r.stderr.slice(-600));
    assert.ok(statSync(at('adapter.gguf')).size < statSync(TINY).size / 2, 'the adapter is large');
    const merge = (/** @type {string[]} */ ...args) => spawnSync(NUTSHELL, ['merge', ...args], { encoding: 'utf8' });
    const merged = merge(TINY, at('adapter.gguf'), at('merged.gguf'));
    assert.equal(merged.status, 0, merged.stderr);
    assert.ok(perplexity(at('merged.gguf')) < perplexity(TINY), 'perplexity has not fallen');
    const wrong = merge(TINY, TINY, at('wrong.gguf'));
    assert.match(wrong.stderr, /is no LoRA adapter/);
    assert.ok(wrong.status === 1 && !existsSync(at('wrong.gguf')), 'an output is left');
  });

  await test('training that goes astray keeps its checkpoint, and goes on with a lower rate', () => {
    const wild = run(recipe('wild', { rate: 1e6, warmup: 10 }));
    assert.equal(wild.status, 1);
    assert.match(wild.stderr, /went astray at step \d+.*of \S+; give a lower "rate"/s);
    assert.ok(existsSync(at('wild.gguf.state')) && !existsSync(at('wild.gguf')), 'no state, or an output');
    const tame = run(recipe('wild', { rate: 1e-5, warmup: 10 }));
    assert.match(tame.stderr, /going on behind the checkpoint/);
  });

  await test('what cannot be done is told, and leaves nothing', () => {
    /** @param {RegExp} words @param {object} options */
    const refused = (words, options) => {
      const r = run(recipe('refused', options));
      assert.equal(r.status, 1);
      assert.match(r.stderr, words);
      for (const end of ['', '.part', '.state']) assert.ok(!existsSync(at(`refused.gguf${end}`)), `${end} is left`);
    };
    refused(/there is no option "stepz"/, { stepz: 1 });
    refused(/cannot open/, { text: at('none.txt') });
    refused(/names "nothing"/, { learn: 'nothing' });
    refused(/are the same file/, { output: TINY });
    refused(/a smaller "window"/, { window: 4096 });
  });
}

finish();
