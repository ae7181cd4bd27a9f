// Compressing from the shell: recipes, runs that are killed and go on, and what cannot be done.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check as test, finish, skip } from './browser/harness.mjs';

const NUTSHELL = 'build/native/nutshell';
const TINY = 'dist/nutshell-tiny-q8_0.gguf';
const tiny = existsSync(TINY) ? readFileSync(TINY) : Buffer.alloc(0);
const work = mkdtempSync('build/recipe-test-');
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
const at = (/** @type {string} */ name) => join(work, name);
const size = `${Math.round(tiny.length * 0.6)}B`;

/** @param {string[]} args */
const run = (...args) => spawnSync(NUTSHELL, ['compress', ...args], { encoding: 'utf8', timeout: 600_000 });

/** @param {string[]} args */
function ok(...args) {
  const r = run(...args);
  assert.equal(r.status, 0, r.stderr.slice(-600));
  return r.stderr;
}

/** The command fails, says `words`, and leaves nothing of its output. @param {RegExp} words @param {string[]} args */
function refused(words, ...args) {
  const r = run(...args), out = args[1];
  assert.equal(r.status, 1, `exit status ${r.status}`);
  assert.match(r.stderr, words);
  for (const end of ['.part', '.state']) assert.ok(!existsSync(out + end), `${out}${end} is left`);
}

/** @param {string} name @param {unknown} steps a text, or what becomes JSON */
function recipe(name, steps) {
  writeFileSync(at(name), typeof steps === 'string' ? steps : JSON.stringify(steps));
  return at(name);
}

/** Starts the command, and kills it as soon as its state has so many bytes; false where it was done before.
 * @param {number} bytes @param {string[]} args @returns {Promise<boolean>} */
function killAt(bytes, ...args) {
  const child = spawn(NUTSHELL, ['compress', ...args], { stdio: 'ignore' });
  const state = `${args[1]}.state`;
  const look = setInterval(() => {
    if (existsSync(state) && statSync(state).size >= bytes) child.kill('SIGKILL');
  }, 1);
  return new Promise((done) => child.on('close', (code) => (clearInterval(look), done(code === null))));
}

if (!tiny.length) {
  skip('recipes', `${TINY} is missing`);
} else {
  await test('a run that is killed again and again goes on and makes the same file', async () => {
    const whole = at('whole.gguf'), out = at('killed.gguf'), args = [TINY, out, '--size', size, '--text', 'README.md'];
    ok(TINY, whole, ...args.slice(2));
    assert.ok(!existsSync(`${whole}.state`), 'a state is left after success');
    let killed = 0;
    for (let bytes = 1; bytes < 1e6; bytes += 60_000) killed += Number(await killAt(bytes, ...args));
    assert.ok(killed >= 2, `only ${killed} runs were killed`);
    if (existsSync(`${out}.state`)) assert.match(ok(...args), /going on where an earlier run was interrupted|tensors/);
    assert.ok(readFileSync(out).equals(readFileSync(whole)), 'the files differ');
    for (const end of ['.part', '.state']) assert.ok(!existsSync(out + end), `${end} is left`);
  });

  await test('recipes: rounding, coded models by bits a weight, and what they say', () => {
    const out = at('made.gguf');
    ok(TINY, out, '--recipe', recipe('round.json', [{ step: 'round', type: 'q4_0' }]));
    assert.match(spawnSync(NUTSHELL, ['info', out], { encoding: 'utf8' }).stdout, /Q4_0/);
    const words = ok(TINY, out, '--text', 'README.md',
      '--recipe', recipe('coded.json', '[{"step": "calibrate", "windows": 2},\n {"step": "coded", "bpw": 6}]'));
    const said = /([\d.]+) MB, ([\d.]+) bits a weight/.exec(words);
    assert.ok(said && Number(said[2]) <= 6 && Number(said[2]) > 5.8, words.slice(-200));
    assert.ok(Math.abs(statSync(out).size - Number(said[1]) * 1e6) < 6000, said[0]);
    ok(TINY, out, '--recipe', 'auto', '--bpw', '7', '--text', 'README.md');
    assert.match(ok(TINY, out, '--recipe', at('round.json')), /was quantized already/);
  });

  await test('the step that evaluates finds what the judge finds', () => {
    const out = at('judged.gguf'), words = readFileSync('docs/api.md'), heldFrom = words.length - Math.floor(words.length / 8);
    const begin = Math.max(words.lastIndexOf(' ', heldFrom - 1), words.lastIndexOf('\n', heldFrom - 1)) + 1;
    writeFileSync(at('held.txt'), words.subarray(begin));
    const told = ok(TINY, out, '--text', 'docs/api.md', '--recipe',
      recipe('judged.json', [{ step: 'round', type: 'q4_0' }, { step: 'evaluate', windows: 3 }]));
    const { stdout } = spawnSync(NUTSHELL, ['evaluate', out, '--reference', TINY, '--float', '--text', at('held.txt'),
      '--windows', '3', '--json'], { encoding: 'utf8' });
    const judged = JSON.parse(stdout), said = /source ([\d.]+) \+- ([\d.]+), .*perplexity ([\d.]+)/.exec(told);
    assert.ok(said, told.slice(-300));
    assert.equal(Number(said[1]).toFixed(3), judged.kl.toFixed(3));
    assert.ok(Math.abs(Number(said[3]) / judged.perplexity - 1) < 1e-4, `${said[3]} ${judged.perplexity}`);
  });

  const cases = /** @type {[RegExp, ...string[]][]} */ ([
    [/there is no step "melt"; there are calibrate, channels, coded/, '--recipe', recipe('a', [{ step: 'melt' }])],
    [/line 1, column 18: step "round" has no option "bits"; it has type/, '--recipe', recipe('b', [{ step: 'round', bits: 4 }])],
    [/line 2, column 1: .* is missing/, '--recipe', recipe('c', '[{"step":"round"}\nnonsense')],
    [/choose one of .*q4_0/, '--recipe', recipe('d', [{ step: 'round', type: 'q9' }])],
    [/needs statistics/, '--recipe', recipe('e', [{ step: 'coded', size: '1MB' }])],
    [/No such file/, '--recipe', at('nowhere.json')],
    [/say how large/, '--text', 'README.md'],
    [/not both|already/, '--size', '60kB', '--bpw', '3'],
    [/takes at least 0\.\d+ MB/, '--size', '10kB', '--text', 'README.md'],
    [/give a longer one|longer text/, '--size', size, '--text', recipe('short.txt', 'too short')],
    [/bits a weight/, '--bpw', '40'],
  ]);
  for (const [words, ...args] of cases) {
    await test(`refused: ${words.source}`, () => {
      writeFileSync(at('kept.gguf'), 'precious');
      refused(words, TINY, at('kept.gguf'), ...args);
      assert.equal(readFileSync(at('kept.gguf'), 'utf8'), 'precious');
    });
  }

  await test('refused: outputs that are no files, the source, or what others have', () => {
    const args = ['--size', size, '--text', 'README.md'];
    mkdirSync(at('folder.gguf'));
    refused(/it is a folder/, TINY, at('folder.gguf'), ...args);
    assert.match(run(TINY, '/dev/null', ...args).stderr, /pipe or a device|cannot create/);
    writeFileSync(at('own.gguf'), tiny);
    refused(/are the same file/, at('own.gguf'), at('own.gguf'), ...args);
    assert.ok(readFileSync(at('own.gguf')).equals(tiny));
    writeFileSync(at('x.gguf.state'), 'a file that somebody has given this name');
    assert.match(run(TINY, at('x.gguf'), ...args).stderr, /is there, and is none/);
    assert.ok(existsSync(at('x.gguf.state')), 'it was removed');
    assert.ok(!existsSync('/dev/null.state'));
  });
}

finish();
