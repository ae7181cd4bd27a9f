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

/** What the shell writes. @param {string[]} args */
const told = (...args) => spawnSync(NUTSHELL, args, { encoding: 'utf8' }).stdout;

/** Token ids of a text with its special tokens. @param {string} text */
const tokens = (text) => told('tokenize', TINY, text, '--special', '--bos').match(/\d+/g)?.map(Number) ?? [];

/** Of each token behind the first, -log of its probability, by the engine's logits. @param {number[]} ids */
function losses(ids) {
  told('logits', TINY, '--reference', '--ids', ids.join(','), '-o', at('logits.f32'));
  const bytes = readFileSync(at('logits.f32')), all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const width = all.length / ids.length;
  return ids.slice(1).map((id, t) => {
    const row = all.subarray(t * width, (t + 1) * width), most = Math.max(...row);
    return most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) - row[id];
  });
}

/** @param {string[]} args */
const run = (...args) => spawnSync(NUTSHELL, ['train', ...args], { encoding: 'utf8', timeout: 600_000 });

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
    assert.equal(lines[0], 'step,loss,cross_entropy,divergence,hint,rate,gradient_norm,held_out');
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

  await test('of conversations only answers are learned', () => {
    const talk = [{ role: 'user', content: 'Who sat in the tree?' }, { content: 'The "owl": }', role: 'assistant' },
      { role: 'user', content: 'And "role": "assistant"?' }, { role: 'assistant', content: 'The cat.' }];
    const ends = talk.map((m, i) => {
      const text = talk.slice(0, i).map((t) => `<|im_start|>${t.role}\n${t.content}<|im_end|>\n`).join('');
      return m.role === 'user' ? [0, 0] : [tokens(`${text}<|im_start|>assistant\n`).length,
        tokens(`${text}<|im_start|>${m.role}\n${m.content}<|im_end|>\n`).length];
    });
    const ids = tokens(talk.map((t) => `<|im_start|>${t.role}\n${t.content}<|im_end|>\n`).join(''));
    const said = losses(ids).filter((_, i) => ends.some(([begin, end]) => i + 1 >= begin && i + 1 < end));
    const want = said.reduce((sum, x) => sum + x, 0) / said.length;
    assert.ok(said.length > 10 && said.length < ids.length - 20, `${said.length} of ${ids.length} tokens are answers`);
    writeFileSync(at('talk.jsonl'), `${JSON.stringify({ id: 1, messages: talk })}\n\n`);
    const r = run(recipe('talk', { text: undefined, conversations: at('talk.jsonl'), window: ids.length - 1, steps: 1, batch: 1,
      held_out: 0 }));
    assert.equal(r.status, 0, r.stderr.slice(-600));
    const loss = Number(readFileSync(at('talk.csv'), 'utf8').trim().split('\n')[1].split(',')[1]);
    assert.ok(Math.abs(loss - want) < 1e-4 * want, `the loss is ${loss}, by the engine's logits ${want}`);
  });

  await test('a set of answers is what the model says in chats, and another model learns from it', () => {
    const asked = [{ role: 'user', content: 'Say "hi"' }], lines = ['Once upon a time', '', JSON.stringify({ messages: asked })];
    writeFileSync(at('prompts.txt'), lines.join('\n'));
    /** @param {string} model @param {string} name @param {string[]} more */
    const make = (model, name, ...more) => spawnSync(NUTSHELL,
      ['generate-set', model, at('prompts.txt'), at(name), '--temperature', '0', ...more], { encoding: 'utf8' });
    const r = make(TINY, 'set.jsonl', '--max-tokens', '200');
    assert.match(r.stderr, /prompts: 2; answers: 2; dropped: 0 empty, 0 repeating, 0 too long/);
    const sets = readFileSync(at('set.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line).messages);
    const first = [{ role: 'user', content: 'Once upon a time' }];
    for (const [i, messages] of [first, asked].entries()) {
      const said = spawnSync(NUTSHELL, ['chat', TINY, '--json', '--temperature', '0', '--max-tokens', '200'],
        { encoding: 'utf8', input: `${JSON.stringify(messages)}\n` });
      assert.deepEqual(sets[i], [...messages, { role: 'assistant', content: JSON.parse(said.stdout).content }]);
    }
    const learned = run(recipe('heard', { text: undefined, conversations: at('set.jsonl'), steps: 2 }));
    assert.equal(learned.status, 0, learned.stderr.slice(-600));

    writeFileSync(at('ha.txt'), 'ha '.repeat(4000));
    assert.equal(run(recipe('ha', { text: at('ha.txt'), rate: 0.01, window: 32 })).status, 0);
    const laughs = make(at('ha.gguf'), 'no.jsonl', '--max-tokens', '60').stderr;
    assert.match(laughs, /no answer is left of 2: 0 empty, 2 repeating, 0 longer/);
    const short = make(TINY, 'no.jsonl', '--max-tokens', '3').stderr;
    assert.match(short, /no answer is left of 2: 0 empty, 0 repeating, 2 longer than 3/);
    writeFileSync(at('prompts.txt'), 'one\n{"say": 1}\n');
    assert.match(make(TINY, 'no.jsonl').stderr, /prompt 2 is JSON without messages/);
    assert.ok(!existsSync(at('no.jsonl')), 'an output is left');
  });

  await test('an adapter is trained beside a model, and merged into it', () => {
    const r = run(recipe('adapter', { rank: 4, alpha: 8, rate: 0.01 }));
    assert.equal(r.status, 0, r.stderr.slice(-600));
    assert.ok(statSync(at('adapter.gguf')).size < statSync(TINY).size / 2, 'the adapter is large');
    const merge = (/** @type {string[]} */ ...args) => spawnSync(NUTSHELL, ['merge', ...args], { encoding: 'utf8' });
    const merged = merge(TINY, at('adapter.gguf'), at('merged.gguf'));
    assert.equal(merged.status, 0, merged.stderr);
    assert.ok(perplexity(at('merged.gguf')) < perplexity(TINY), 'perplexity has not fallen');
    const beside = (/** @type {string} */ adapter) => spawnSync(NUTSHELL, ['evaluate', TINY, '--text', 'README.md', '--context',
      '64', '--adapter', adapter, '--json'], { encoding: 'utf8' });
    /** @param {string} adapter */
    const loss = (adapter) => JSON.parse(beside(adapter).stdout).perplexity;
    const [none, whole] = [perplexity(TINY), perplexity(at('merged.gguf'))];
    assert.ok(Math.abs(loss(at('adapter.gguf')) / whole - 1) < 0.01, `merged ${whole}, beside ${loss(at('adapter.gguf'))}`);
    assert.ok(Math.abs(loss(`${at('adapter.gguf')}:0`) / none - 1) < 0.001, 'a scale of 0 changes something');
    assert.match(beside(TINY).stderr, /is no LoRA adapter/);
    assert.match(beside(at('none.gguf')).stderr, /cannot open/);
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
    refused(/one of "text" and "conversations"/, { conversations: at('talk.jsonl') });
    writeFileSync(at('asked.jsonl'), '[{"role": "user", "content": "Who?"}]\n');
    refused(/no conversation has an answer/, { text: undefined, conversations: at('asked.jsonl') });
    refused(/line 1 holds no conversation/, { text: undefined, conversations: 'README.md' });
    refused(/a smaller "window"/, { window: 4096 });
  });
}

finish();
