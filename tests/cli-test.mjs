// The shell as a user runs it: the native binary and the WASI build under wasmtime must print the same bytes. Models: the
// small one of dist/, and stories260K of ../shared/data where it exists.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { check as test, finish, skip } from './browser/harness.mjs';
import { inParts, partName } from './browser/parts.mjs';

const NATIVE = ['build/native/nutshell'];
const WASI = ['.toolchain/bin/wasmtime', 'run', '--dir', '.', 'build/wasi/nutshell.wasm'];
const TINY = 'dist/nutshell-tiny-q8_0.gguf';
const STORIES = `${process.env.NUT_DATA ?? '../shared/data'}/models/stories260K-f32.gguf`;
const tiny = existsSync(TINY) ? readFileSync(TINY) : Buffer.alloc(0);
const work = mkdtempSync('build/cli-test-');
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

function run(command, ...args) {
  const all = [...command.slice(1), ...args];
  const { stdout, stderr, status } = spawnSync(command[0], all, { encoding: 'utf8', timeout: 600_000 });
  return { out: stdout, err: stderr, status };
}

function ok(command, ...args) {
  const r = run(command, ...args);
  assert.equal(r.status, 0, r.err);
  return r;
}

/** The command fails with status 1, prints `code` and `words` to stderr and nothing to stdout. */
function refused(args, code, words) {
  const r = run(NATIVE, ...args);
  assert.equal(r.status, 1, `exit status ${r.status}`);
  assert.equal(r.out, '');
  assert.match(r.err, new RegExp(code));
  assert.match(r.err, words);
}

function file(name, bytes) {
  const path = join(work, name);
  writeFileSync(path, bytes);
  return path;
}

// ---- text --------------------------------------------------------------------------------------------------------
const PROMPT = 'Once upon a time';

for (const options of [['--temperature', '0'], ['--seed', '1'], ['--seed', '7', '--temperature', '1.2', '--top-k', '0'],
  ['--seed', '3', '--typical-p', '0.5', '--repeat-penalty', '1.3'], ['--seed', '9', '--min-p', '0', '--top-p', '0.5']]) {
  await test(`one text in every build: ${options.join(' ')}`, () => {
    const args = ['run', TINY, PROMPT, '--max-tokens', '60', ...options];
    const { out, err } = ok(NATIVE, ...args);
    assert.ok(out.length > 40, out);
    assert.match(err, /kernel relaxed, 1 thread\b/);
    assert.equal(ok(NATIVE, ...args, '--kernel', 'simd128').out, out, 'simd128');
    assert.equal(ok(NATIVE, ...args, '--threads', '2').out, out, 'two threads');
    const wasi = ok(WASI, ...args);
    assert.match(wasi.err, /kernel relaxed/);
    assert.equal(wasi.out, out, 'wasmtime');
    assert.equal(ok(WASI, ...args, '--kernel', 'simd128').out, out, 'wasmtime simd128');
  });
}

await test('other seeds, other texts', () => {
  const texts = [1, 2, 3, 4].map((seed) => ok(NATIVE, 'run', TINY, PROMPT, '--seed', `${seed}`).out);
  assert.equal(new Set(texts).size, 4);
});

await test('--max-tokens, --stop and --json', () => {
  const all = JSON.parse(ok(NATIVE, 'run', TINY, PROMPT, '--temperature', '0', '--max-tokens', '40', '--json').out);
  assert.equal(all.finish, 'length');
  assert.equal(all.ids.length, 40);
  const stop = all.text.slice(20, 26);
  const args = ['run', TINY, PROMPT, '--temperature', '0', '--max-tokens', '40', '--stop', stop, '--json'];
  const cut = JSON.parse(ok(NATIVE, ...args).out);
  assert.equal(cut.finish, 'stop');
  assert.equal(cut.text, all.text.slice(0, all.text.indexOf(stop)));
});

await test('exits and fewer experts are options that say what ran; nutshell draft finds what --draft self takes', () => {
  const args = ['run', TINY, PROMPT, '--temperature', '0', '--max-tokens', '30', '--ignore-eos', '--json'];
  const whole = JSON.parse(ok(NATIVE, ...args).out);
  assert.equal(whole.exit, undefined);
  const early = JSON.parse(ok(NATIVE, ...args, '--exit', 'margin:-1', '--exit-first', '1').out);
  assert.equal(early.exit.early, early.exit.tokens);
  assert.equal(early.exit.layers, early.exit.tokens);
  assert.ok(early.exit.asked > early.exit.layers);
  assert.equal(JSON.parse(ok(NATIVE, ...args, '--exit', 'margin:1').out).text, whole.text);
  assert.deepEqual(JSON.parse(ok(WASI, ...args, '--exit', 'cosine:0.9').out).exit,
    JSON.parse(ok(NATIVE, ...args, '--exit', 'cosine:0.9').out).exit);
  refused([...args, '--exit', 'margin'], 'bad-argument', /a rule and its threshold/);
  refused([...args, '--exit', 'depth:1'], 'bad-argument', /a rule and its threshold/);
  refused([...args, '--exit', 'margin:2'], 'bad-argument', /is -1 to 1, not 2/);
  refused([...args, '--exit-first', '1'], 'bad-argument', /need --exit/);
  refused([...args, '--exit', 'margin:0.5', '--draft-without', '1'], 'bad-argument', /not both/);
  refused([...args, '--experts', '1'], 'unsupported-model', /has no experts/);
  refused([...args, '--draft-confidence', '0.5'], 'bad-argument', /needs a draft/);
  refused([...args, '--draft', 'self'], 'io', /make it with nutshell draft MODEL/);
  const model = file('self.gguf', tiny);
  const found = JSON.parse(ok(NATIVE, 'draft', model, '--tokens', '32').out);
  assert.match(found.without, /^\d[\d,-]*$/);
  assert.ok(found.kept.sampled > 0 && found.kept.sampled <= 1 && found.cost < 1, JSON.stringify(found));
  assert.deepEqual(JSON.parse(readFileSync(`${model}.draft.json`, 'utf8')), found);
  args[1] = model;
  for (const confidence of ['0', '0.5']) {
    const self = JSON.parse(ok(NATIVE, ...args, '--draft', 'self', '--draft-confidence', confidence).out);
    assert.equal(self.text, whole.text);
  }
  writeFileSync(`${model}.draft.json`, '{"without":"7-3"}');
  refused([...args, '--draft', 'self'], 'bad-argument', /layers such as/);
  writeFileSync(`${model}.draft.json`, '{}');
  refused([...args, '--draft', 'self'], 'corrupt-model', /has no "without"/);
});

await test('nutshell choose predicts from headers, ranks, and keeps to a budget', () => {
  const head = file('head.gguf', tiny.subarray(0, tiny.length - 1000)); // of which the weights are not all there
  const args = ['choose', '--seconds', '0.02', '--json'];
  const [model, other] = JSON.parse(ok(NATIVE, ...args, TINY, head).out);
  const info = JSON.parse(ok(NATIVE, 'info', TINY).out);
  assert.equal(model.weight_bytes, info.weight_bytes);
  assert.equal(other.params, model.params);
  assert.ok(model.ms_per_token > 0 && model.fits && Math.abs(model.tokens_per_second * model.ms_per_token - 1000) < 10);
  const slow = JSON.parse(ok(NATIVE, ...args, '--budget-ms', '0.00001', TINY).out);
  assert.equal(slow[0].fits, false);
  assert.match(ok(NATIVE, 'choose', '--seconds', '0.02', '--memory', '1', TINY).out, /does not fit[^]*none fits/);
  assert.ok(JSON.parse(ok(WASI, ...args, TINY).out)[0].ms_per_token > 0);
  refused(['choose'], 'bad-argument', /arguments are missing/);
  refused(['choose', 'there-is-none.gguf'], 'io', /there-is-none/);
  refused(['choose', '--context', '9999999', TINY], 'bad-argument', /trained with a context/);
  refused(['choose', file('no.gguf', 'text')], 'not-gguf', /./);
});

await test('drafts by a model change no likeliest text; what cannot draft is refused', () => {
  const args = ['run', TINY, PROMPT, '--temperature', '0', '--max-tokens', '60', '--ignore-eos'];
  const { out } = ok(NATIVE, ...args, '--lookup', '0');
  for (const draft of [['--draft', TINY], ['--draft-without', '1'], ['--draft-without', '1-2', '--lookup', '0']]) {
    assert.equal(ok(NATIVE, ...args, ...draft).out, out, draft.join(' '));
  }
  refused([...args, '--draft', TINY, '--draft-without', '1'], 'bad-argument', /not both/);
  for (const layers of ['', '1,', '2-1', '1;2', '-']) {
    refused([...args, '--draft-without', layers], 'bad-argument', /layers such as "3,7-9"/);
  }
  refused([...args, '--draft-without', '99'], 'bad-argument', /no layer 99/);
  refused([...args, '--draft', join(work, 'missing.gguf')], 'io', /missing\.gguf/);
  if (existsSync(STORIES)) refused([...args, '--draft', STORIES], 'bad-argument', /another vocabulary/);
});

await test('a chat of two turns', () => {
  const r = spawnSync(NATIVE[0], ['chat', TINY, '--temperature', '0', '--max-tokens', '30'],
    { encoding: 'utf8', input: 'Tell me a story about a cat.\nTell me a story about a dog.\n' });
  assert.equal(r.status, 0, r.stderr);
  assert.ok(r.stdout.trim().split('\n').length >= 2, r.stdout);
});

await test('a line of a chat is one message, however long it is and whatever is in it', () => {
  const chat = (command, input) => spawnSync(command[0], [...command.slice(1), 'chat', TINY, '--temperature', '0',
    '--max-tokens', '20'], { encoding: 'utf8', input });
  for (const command of [NATIVE, WASI]) {
    const plain = chat(command, 'Tell me a story about a cat.');
    const odd = chat(command, `Tell me a story${'\0'.repeat(9000)} about a cat.\r\n\0\n\n`);
    assert.equal(odd.status, 0, odd.stderr);
    assert.ok(plain.stdout.length > 20, plain.stdout);
    assert.equal(odd.stdout, plain.stdout);
    const long = chat(command, '~'.repeat(20000));
    assert.equal(long.status, 1);
    const [, tokens] = /the prompt has (\d+) tokens/.exec(long.stderr) ?? assert.fail(long.stderr);
    assert.ok(Number(tokens) > 10000, `${tokens} tokens of 20000 characters`);
  }
});

// Keys, history, pasting, signals: tests/terminal.py tells of each case in a line.
const terminal = spawnSync('python3', ['tests/terminal.py', NATIVE[0], TINY], { encoding: 'utf8', timeout: 1_200_000 });
if (terminal.error || /No module named/.test(terminal.stderr)) {
  skip('a chat on a terminal', 'there is no python3 with pty');
} else {
  const told = terminal.stdout.trim().split('\n');
  for (const line of told)
    await test(`a chat on a terminal: ${line.split(' ')[1]}`, () => assert.match(line, /^ok /));
  await test('a chat on a terminal: all cases', () => assert.ok(terminal.status === 0 && told.length === 9, terminal.stderr));
}

await test('a chat is laid out by the template of the file, or by a given one', () => {
  // Prompts by Jinja2, as transformers and llama.cpp render them: ../shared/data/reports/cases.json.
  const folder = `${process.env.NUT_DATA ?? '../shared/data'}/reports`;
  const chat = (model, ...more) => /prompt (\d+) tokens/.exec(spawnSync(NATIVE[0], ['chat', model, '--max-tokens', '1',
    '--temperature', '0', ...more], { encoding: 'utf8', input: 'Hello there\n' }).stderr)?.[1];
  if (existsSync(`${folder}/R01.gguf`)) {
    assert.equal(chat(`${folder}/R01.gguf`), '81');
    assert.equal(chat(`${folder}/R03.gguf`, '--system', 'Be brief.'), '48');
    assert.equal(chat(`${folder}/R05.gguf`), '30');
    const template = join(work, 'x.jinja');
    writeFileSync(template, '{{ messages[0].content }}');
    const ids = ok(NATIVE, 'tokenize', `${folder}/R05.gguf`, 'Hello there').out.trim().split(/\s+/);
    assert.equal(chat(`${folder}/R05.gguf`, '--template', template), String(ids.length + 1), 'and BOS');
  }
});

await test('conversations as JSON, one answer a line, the same under wasmtime', () => {
  const user = (/** @type {string} */ content) => ({ role: 'user', content });
  const input = `${JSON.stringify([user('Tell me a story about a "cat".')])}\n{ "messages": ${
    JSON.stringify([user('Tell me a story about a "cat".')], null, 2)}, "tools": [] }`;
  const [native, wasi] = [NATIVE, WASI].map((command) => spawnSync(command[0], [...command.slice(1), 'chat', TINY, '--json',
    '--seed', '7', '--max-tokens', '20'], { encoding: 'utf8', input }));
  assert.equal(native.status, 0, native.stderr);
  assert.equal(wasi.stdout, native.stdout);
  const [first, second, ...more] = native.stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(more.length, 0);
  assert.deepEqual(second, first);
  assert.ok(first.content.length > 20 && first.tool_calls.length === 0 && first.tokens === 20, native.stdout);
  const wrong = spawnSync(NATIVE[0], ['chat', TINY, '--json'], { encoding: 'utf8', input: '{"tools": []}' });
  assert.match(wrong.stderr, /messages/);
  assert.equal(spawnSync(NATIVE[0], ['chat', TINY, '--json'], { encoding: 'utf8', input: 'Hi' }).status, 1);
});

await test('a chat that is longer than the context', () => {
  const chat = (/** @type {string[]} */ ...more) => spawnSync(NATIVE[0], ['chat', TINY, '--temperature', '0', '--max-tokens',
    '40', ...more], { encoding: 'utf8', input: 'Tell me a story about a cat and a dog.\n'.repeat(12) });
  const trimmed = chat('--context', '256');
  assert.equal(trimmed.status, 0, trimmed.stderr);
  assert.match(trimmed.stderr, /2 messages were left out/);
  assert.match(chat('--context', '256', '--overflow', 'error').stderr, /context-full/);
  const shifted = chat('--context', '256', '--overflow', 'shift');
  assert.equal(shifted.status, 0, shifted.stderr);
  assert.doesNotMatch(shifted.stderr, /left out/);
  assert.match(chat('--overflow', 'no').stderr, /error, trim or shift/);
});

await test('a conversation as JSON that is longer than the context says which messages were left out', () => {
  const turn = [['user', 'Tell me a story about a cat and a dog.'], ['assistant', 'There was a cat, and there was a dog.']];
  const messages = [{ role: 'system', content: 'Be kind.' }, ...Array.from({ length: 24 }, (_, i) => (
    { role: turn[i % 2][0], content: turn[i % 2][1] })), { role: 'user', content: 'Go on.' }];
  const answer = (/** @type {object[]} */ given, /** @type {string[]} */ ...more) => {
    const options = ['--json', '--context', '256', '--max-tokens', '20', '--seed', '7', ...more];
    const input = JSON.stringify(given);
    return JSON.parse(spawnSync(NATIVE[0], ['chat', TINY, ...options], { encoding: 'utf8', input }).stdout || '{}');
  };
  const trimmed = answer(messages);
  assert.ok(trimmed.dropped.length >= 10 && trimmed.prompt_tokens < 256 - 20, JSON.stringify(trimmed));
  assert.deepEqual(trimmed.dropped, Array.from(trimmed.dropped, (_, i) => i + 1), 'the oldest, without the system text');
  const kept = messages.filter((_, i) => !trimmed.dropped.includes(i));
  assert.deepEqual(answer(kept), { ...trimmed, dropped: [] });
  assert.deepEqual(answer(messages, '--overflow', 'shift').dropped, []);
  assert.deepEqual(answer(messages, '--overflow', 'error'), {});
});

await test('tokenize, info and perplexity', () => {
  const ids = ok(NATIVE, 'tokenize', TINY, PROMPT).out;
  assert.match(ids, /^\d+( \d+)*\n$/);
  assert.equal(ok(WASI, 'tokenize', TINY, PROMPT).out, ids);
  const info = JSON.parse(ok(NATIVE, 'info', TINY, '--json').out);
  assert.equal(info.architecture, 'llama');
  assert.equal(info.kernel, 'relaxed');
  assert.ok(info.types.Q8_0 > 10 && info.tensors.length > 20 && info.tensors.every((t) => t.bytes > 0));
  assert.deepEqual(JSON.parse(ok(NATIVE, 'info', TINY).out), info, 'indented or not, it is the same');
  const own = ok(NATIVE, 'run', TINY, PROMPT, '--seed', '2', '--max-tokens', '400', '--ignore-eos').out;
  const text = file('text.txt', PROMPT + own);
  const judged = JSON.parse(ok(NATIVE, 'perplexity', TINY, text, '--context', '128', '--json').out);
  assert.ok(judged.perplexity > 1 && judged.perplexity < 20 && judged.windows > 1, JSON.stringify(judged));
});

await test('evaluate: a model beside itself, its stored logits, and a rounded one', () => {
  const text = file('owl.txt', readFileSync('LICENSE').subarray(0, 1500)), stored = join(work, 'tiny.logits');
  const common = ['--text', text, '--context', '64', '--windows', '4', '--json'], q4 = join(work, 'worse.gguf');
  const alone = JSON.parse(ok(NATIVE, 'evaluate', TINY, ...common, '--store', stored, '--float').out);
  const plain = JSON.parse(ok(NATIVE, 'perplexity', TINY, text, ...common.slice(2), '--reference').out);
  assert.ok(Math.abs(alone.perplexity / plain.perplexity - 1) < 1e-4 && alone.perplexity_error > 0, JSON.stringify(alone));
  const same = JSON.parse(ok(NATIVE, 'evaluate', TINY, ...common, '--reference', stored, '--float').out);
  assert.ok(same.kl < 1e-5 && same.same_top > 0.99, JSON.stringify(same));
  ok(NATIVE, 'quantize', TINY, q4, '--type', 'q4_0');
  const live = JSON.parse(ok(NATIVE, 'evaluate', q4, ...common, '--reference', TINY).out);
  const again = JSON.parse(ok(WASI, 'evaluate', q4, ...common, '--reference', stored).out);
  assert.ok(live.kl > 0.001 && live.same_top < 1 && live.kl_p99 > live.kl_median, JSON.stringify(live));
  assert.ok(Math.abs(again.kl / live.kl - 1) < 0.01, `${again.kl} and ${live.kl}`);
  const { out } = ok(NATIVE, 'evaluate', q4, ...common.slice(0, -1), '--reference', stored);
  assert.match(out, /KL divergence [\d.]+ \+- [\d.]+, median/);
});

await test('evaluate: tasks, of a model and its reference', () => {
  const six = file('six.txt', 'The owl sat\n1\nin a tree.\non the sea.\nx\ny\n'.repeat(3));
  const words = file('words.jsonl', '{"text": "Once upon a time there was a little girl"}\n'.repeat(2));
  const args = ['evaluate', TINY, '--task', `hellaswag=${six}`, '--task', `lambada=${words}`, '--items', '2'];
  const { tasks } = JSON.parse(ok(NATIVE, ...args, '--reference', TINY, '--json').out);
  assert.deepEqual(tasks.map((t) => [t.task, t.of, t.items]),
    [['hellaswag', 'model', 2], ['hellaswag', 'reference', 2], ['lambada', 'model', 2], ['lambada', 'reference', 2]]);
  assert.ok(tasks.every((t) => t.accuracy_low <= t.accuracy && t.accuracy <= t.accuracy_high && t.nll > 0));
  assert.match(ok(WASI, ...args).out, /hellaswag: [\d.]+ % right .*\nlambada: .* of 2, loss [\d.]+/);
  refused(['evaluate', TINY, '--task', six], 'bad-argument', /NAME=FILE/);
  refused(['evaluate', TINY, '--task', `chess=${six}`], 'bad-argument', /choose one of hellaswag/);
});

await test('calibrate: conversations as the template writes them', () => {
  const talk = [{ role: 'user', content: 'Who sat in the tree ] "now"?' }, { role: 'assistant', content: 'The owl {did}.' }];
  const lines = `${JSON.stringify({ id: 1, messages: talk })}\n\n${JSON.stringify(talk)}\n`;
  const chats = file('chats.jsonl', lines.repeat(12)), out = join(work, 'chat.stats');
  const rendered = talk.map((m) => `<|im_start|>${m.role}\n${m.content}<|im_end|>\n`).join('');
  const whole = file('rendered.txt', rendered.repeat(24)), plain = join(work, 'plain.stats');
  const told = ok(NATIVE, 'calibrate', TINY, '--chat', chats, '-o', out, '--context', '64').err;
  ok(NATIVE, 'calibrate', TINY, '--text', whole, '--parse-special', '-o', plain, '--context', '64');
  assert.match(told, /tokens in \d+ windows of 64/);
  assert.ok(readFileSync(out).equals(readFileSync(plain)), 'the statistics of the rendered text');
  const refuse = (text, words) =>
    refused(['calibrate', TINY, '--chat', file('bad.jsonl', text), '-o', join(work, 'no.stats')], 'bad-argument', words);
  refuse('{"messages": "none"}\n', /line 1 holds no conversation/);
  refuse('\n\n', /empty/);
  refused(['calibrate', TINY, '--chat', chats, '--text', whole, '-o', join(work, 'no.stats')], 'bad-argument', /one of --text/);
});

await test('evaluate: logits stored in short, refused for another text', () => {
  const text = file('short.txt', readFileSync('LICENSE').subarray(0, 1500)), stored = join(work, 'short.logits');
  const args = ['--context', '64', '--windows', '2', '--json'];
  ok(NATIVE, 'evaluate', TINY, '--text', text, ...args, '--store', stored, '--short');
  assert.ok(statSync(stored).size < 48 + 62 * 393, `${statSync(stored).size} bytes`);
  const same = JSON.parse(ok(WASI, 'evaluate', TINY, '--text', text, ...args, '--reference', stored).out);
  assert.ok(same.kl < 1e-5 && same.same_top > 0.98, JSON.stringify(same));
  refused(['evaluate', TINY, '--text', 'CONTRIBUTING.md', ...args, '--reference', stored], 'bad-argument', /another text/);
  refused(['evaluate', TINY, '--text', text, '--short'], 'bad-argument', /--store FILE/);
});

await test('evaluate: a report that is one page, with all figures, and texts that are no markup', () => {
  const text = file('report.txt', readFileSync('LICENSE').subarray(0, 1500)), html = join(work, 'a<b&c.html');
  const prompts = file('prompts.txt', 'Once upon a <b>time</b>\n\nThe & sat\n'), worse = join(work, 'worse<i>.gguf');
  ok(NATIVE, 'quantize', TINY, worse, '--type', 'q4_0');
  const args = ['evaluate', worse, '--text', text, '--context', '64', '--windows', '3', '--reference', TINY, '--json',
    '--prompts', prompts, '--report', html, '--items', '5'];
  const found = JSON.parse(ok(NATIVE, ...args).out), page = readFileSync(html, 'utf8');
  assert.equal(found.per_window.length, 3);
  assert.ok(Math.abs(found.per_window.reduce((sum, w) => sum + w.kl / 3, 0) / found.kl - 1) < 1e-6, 'windows');
  assert.equal(found.kl_percentiles.length, 101);
  assert.ok(found.kl_percentiles[50] > 0 && found.kl_percentiles[99] <= found.kl_max);
  assert.deepEqual(found.continuations.map((c) => c.prompt), ['Once upon a <b>time</b>', 'The & sat']);
  assert.ok(found.continuations.every((c) => c.reference.length > 0 && c.same <= c.tokens));
  const skills = found.tasks.filter((t) => t.of === 'model').map((t) => t.task);
  assert.ok(['capitals', 'code', 'arithmetic', 'copying'].every((name) => skills.includes(name)), `${skills}`);
  assert.ok(found.tasks.every((t) => t.of === 'reference' || t.kept_low <= t.kept), 'kept');
  for (const words of ['How far from the reference', 'What can this model still do?', 'Continuations side by side', 'capitals',
    `${found.file_bytes / 1e6}`.slice(0, 3), 'Once upon a &lt;b&gt;time&lt;/b&gt;', 'The &amp; sat', 'worse&lt;i&gt;.gguf',
    found.kl.toPrecision(5).replace(/0+$/, ''), 'Wilson']) assert.ok(page.includes(words), words);
  assert.equal(page.match(/<svg /g).length, 4);
  assert.equal(page.match(/<polyline /g).length, 4); // percentiles, loss of both, KL
  assert.ok(!/<b>|<i>|https?:|src=|href=|<script|NaN|inf\b/.test(page), 'no markup of others, and nothing to load');
  const tags = [];
  for (const [, end, tag, self] of page.matchAll(/<(\/?)([a-z0-9]+)[^>]*?(\/?)>/g))
    if (end) assert.equal(tags.pop(), tag);
    else if (!self && tag !== 'meta') tags.push(tag);
  assert.deepEqual(tags, []);
  refused(['evaluate', TINY, '--report', '/dev/null'], 'io', /pipe or a device/);
});

await test('calibrate: statistics of every matrix, and the same under wasmtime', () => {
  const [a, b, text] = [join(work, 'a.stats'), join(work, 'b.stats'), file('few.txt', PROMPT.repeat(400))];
  const told = ok(NATIVE, 'calibrate', TINY, '--text', text, '-o', a, '--context', '64').err;
  assert.match(told, /tokens in \d+ windows of 64; at most \d+ MB of memory/);
  ok(WASI, 'calibrate', TINY, '--text', text, '-o', b, '--context', '64');
  const tensors = JSON.parse(ok(NATIVE, 'info', TINY, '--json').out).tensors.filter((t) => t.shape?.length === 2);
  const bytes = readFileSync(a);
  assert.equal(bytes.length, readFileSync(b).length);
  for (const t of tensors) assert.ok(bytes.includes(`${t.name}.in_sum2`) && bytes.includes(`${t.name}.counts`), t.name);
  assert.ok(tensors.length > 5, `${tensors.length} matrices`);
  refused(['run', a, 'x'], 'unsupported-model', /importance matrix/);
});

// ---- values ------------------------------------------------------------------------------------------------------
// Expected: by transformers in float64 (tests/golden/conformance/*.json say how), of which row i has the logits of tokens j
// with (i + j) % stride == 0.
const CONFORMANCE = 'tests/golden/conformance';

/** Largest difference of a file of logits from the expected ones, in their standard deviations. */
function worstOf(path, name) {
  const { ids, shape, std, stride, logits } = JSON.parse(readFileSync(`${CONFORMANCE}/${name}.json`));
  const floats = (bytes) => new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const got = floats(readFileSync(path));
  const expected = floats(readFileSync(`${CONFORMANCE}/${logits}`));
  assert.deepEqual([shape[0], got.length], [ids.length, shape[0] * shape[1]]);
  let worst = 0;
  let at = 0;
  for (let i = 0; i < shape[0]; i++)
    for (let j = 0; j < shape[1]; j++)
      if ((i + j) % (stride ?? 1) === 0) worst = Math.max(worst, Math.abs(got[i * shape[1] + j] - expected[at++]) / std);
  assert.equal(at, expected.length);
  return worst;
}

for (const { arch, variant } of JSON.parse(readFileSync(`${CONFORMANCE}/index.json`)).models.slice(0, 4)) {
  await test(`logits: ${arch}-${variant}`, () => {
    const name = `${arch}-${variant}`;
    const { ids, n_ctx: context } = JSON.parse(readFileSync(`${CONFORMANCE}/${name}.json`));
    const args = ['logits', `${CONFORMANCE}/${name}.gguf`, '--ids', ids.join(), '--context', `${context}`];
    const out = join(work, `${name}.f32`);
    for (const command of [NATIVE, WASI]) {
      assert.equal(ok(command, ...args, '--reference', '-o', out).out, '');
      assert.ok(worstOf(out, name) < 2e-3, `reference: ${worstOf(out, name)}`);
      ok(command, ...args, '-o', out);
      assert.ok(worstOf(out, name) < 2e-2, `${worstOf(out, name)}`);
    }
  });
}

await test('embed writes a vector of length 1, and rows', () => {
  const floats = (path) => {
    const bytes = readFileSync(path);
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  };
  const [out, rows] = ['e.f32', 'h.f32'].map((name) => join(work, name));
  const ids = ok(NATIVE, 'tokenize', TINY, PROMPT, '--bos').out.trim().split(' ');
  ok(NATIVE, 'embed', TINY, '--ids', ids.join(), '-o', out);
  const pooled = floats(out);
  ok(WASI, 'embed', TINY, PROMPT, '-o', out);
  assert.deepEqual(floats(out), pooled, 'a text is its tokens');
  ok(NATIVE, 'embed', TINY, PROMPT, '--hidden', '-o', rows);
  const hidden = floats(rows);
  assert.equal(hidden.length, ids.length * pooled.length);
  const mean = pooled.map((_, i) => ids.reduce((sum, _id, t) => sum + hidden[t * pooled.length + i], 0));
  const length = Math.hypot(...mean);
  pooled.forEach((x, i) => assert.ok(Math.abs(x - mean[i] / length) < 1e-6));
});

const ENCODERS = `${process.env.NUT_DATA ?? '../shared/data'}/conformance`;
for (const name of ['bert-mean', 'bert-cls', 'qwen3-embedding']) {
  if (!existsSync(`${ENCODERS}/${name}.json`)) {
    skip(`embed: ${name}`, `${ENCODERS} is missing`);
    continue;
  }
  await test(`embed: ${name}`, () => { // expected: by transformers in float64
    const { ids } = JSON.parse(readFileSync(`${ENCODERS}/${name}.json`));
    const out = join(work, `${name}.f32`);
    ok(NATIVE, 'embed', `${ENCODERS}/${name}.gguf`, '--ids', ids.join(), '--reference', '-o', out);
    const got = readFileSync(out);
    const expected = readFileSync(`${ENCODERS}/${name}.pooled.f32`);
    assert.equal(got.length, expected.length);
    for (let i = 0; i < got.length; i += 4)
      assert.ok(Math.abs(got.readFloatLE(i) - expected.readFloatLE(i)) < 1e-5, `number ${i / 4}`);
  });
}

const RERANKER = 'tests/golden/families/qwen3-reranker';
await test('rerank prints the best document first, and the scores of token ids', () => { // expected: by transformers
  const { ids, pair, scores } = JSON.parse(readFileSync(`${RERANKER}.json`));
  const printed = ok(NATIVE, 'rerank', `${RERANKER}.gguf`, '--ids', ids.join(), '--reference').out.trim().split('\n').map(Number);
  assert.equal(printed.length, scores.length);
  scores.forEach((x, i) => assert.ok(Math.abs(x - printed[i]) < 1e-5, `${printed[i]}`));
  const documents = file('documents.txt', ['no', '', pair.document, 'a stone'].join('\n'));
  const rows = ok(WASI, 'rerank', `${RERANKER}.gguf`, pair.query, documents).out.trim().split('\n').map((row) => row.split('\t'));
  assert.deepEqual(rows.map((row) => row[1]).sort(), ['1', '3', '4']);
  rows.slice(1).forEach((row, i) => assert.ok(Number(row[0]) <= Number(rows[i][0]), 'in order'));
  const [score, , text] = rows.find((row) => row[1] === '3');
  assert.ok(Math.abs(Number(score) - scores[0]) < 2e-3, score);
  assert.equal(text, pair.document);
  refused(['rerank', TINY, 'a', documents], 'no-chat-template', /tokenizer.chat_template.rerank/);
  refused(['rerank', TINY, '--ids', '1,2'], 'unsupported', /no head/);
});

await test('logits never overwrite their model, and leave nothing behind when they fail', () => {
  const model = file('model.gguf', tiny);
  for (const to of [model, `${work}/../${work.slice(6)}/model.gguf`])
    refused(['logits', model, '--ids', '1', '-o', to], 'bad-argument', /same file/);
  assert.ok(readFileSync(model).equals(tiny));
  const [first, second] = inParts(tiny, { maxTensors: 20 }).map((bytes, i, all) => file(partName('l', i, all.length), bytes));
  refused(['logits', first, '--ids', '1', '-o', second], 'bad-argument', /same file/);
  refused(['logits', TINY, '--ids', '1,99999999', '-o', join(work, 'no.f32')], 'bad-argument', /99999999/);
  refused(['logits', TINY, '--ids', Array(3000).fill('1').join(), '-o', join(work, 'no.f32')], 'context-full', /context/);
  assert.deepEqual(readdirSync(work).filter((name) => name.startsWith('no.f32')), []);
});

// ---- files that cannot run ---------------------------------------------------------------------------------------
/** The tiny model's bytes with another name of its family. */
const stranger = (bytes) => Buffer.from(bytes.toString('latin1').replace('llama', 'lhama'), 'latin1');

await test('tokenize and info read the header alone of a file that cannot run', () => {
  const path = file('stranger.gguf', stranger(tiny));
  refused(['run', path, 'x'], 'unsupported-model|corrupt-model', /lhama/);
  assert.equal(ok(NATIVE, 'tokenize', path, PROMPT).out, ok(NATIVE, 'tokenize', TINY, PROMPT).out);
  const { out, err } = ok(NATIVE, 'info', path, '--json');
  assert.match(err, /cannot run: .*lhama/);
  const facts = JSON.parse(out);
  assert.equal(facts.architecture, 'lhama');
  assert.equal(facts.tensors.length, JSON.parse(ok(NATIVE, 'info', TINY, '--json').out).tensors.length);
});

const VOCABULARY = `${process.env.NUT_DATA ?? '../shared/data'}/vocab/bert-bge.gguf`;
if (existsSync(VOCABULARY)) {
  await test('tokenize and info read a vocabulary without weights', () => {
    assert.equal(ok(NATIVE, 'tokenize', VOCABULARY, 'hello world', '--bos').out, '101 7592 2088\n'); // llama.cpp
    const { tokenizer, tensors } = JSON.parse(ok(NATIVE, 'info', VOCABULARY, '--json').out);
    assert.equal(tokenizer, 'bert');
    assert.deepEqual(tensors, []);
    refused(['embed', VOCABULARY, 'x', '-o', join(work, 'v.f32')], 'corrupt-model', /no weights/);
  });
} else {
  skip('tokenize and info of a vocabulary', `${VOCABULARY} is missing`);
}

// ---- what is refused ---------------------------------------------------------------------------------------------
const REFUSALS = [
  ['no command', [], '', /usage/],
  ['an unknown command', ['dance'], '', /no command "dance"/],
  ['missing arguments', ['run', TINY], 'bad-argument', /MODEL PROMPT/],
  ['too many arguments', ['info', TINY, 'x'], 'bad-argument', /too many/],
  ['an unknown option', ['run', TINY, 'x', '--speed', '9'], 'bad-argument', /--speed/],
  ['an option without value', ['run', TINY, 'x', '--seed'], 'bad-argument', /needs a value/],
  ['a word for a number', ['run', TINY, 'x', '--max-tokens', 'many'], 'bad-argument', /whole number/],
  ['a negative number', ['run', TINY, 'x', '--top-k', '-1'], 'bad-argument', /whole number/],
  ['a temperature below 0', ['run', TINY, 'x', '--temperature', '-1'], 'bad-argument', /temperature/],
  ['a share above 1', ['run', TINY, 'x', '--top-p', '2'], 'bad-argument', /top_p/],
  ['no threads', ['run', TINY, 'x', '--threads', '1000'], 'bad-argument', /threads/],
  ['an unknown kernel', ['run', TINY, 'x', '--kernel', 'avx9'], 'bad-argument', /avx9/],
  ['too long a context', ['run', TINY, 'x', '--context', '999999'], 'bad-argument', /context/],
  ['too long a prompt', ['run', TINY, 'word '.repeat(2000)], 'context-full', /context/],
  ['no such file', ['run', 'nowhere.gguf', 'x'], 'io', /nowhere/],
  ['an HTML page', ['run', file('page.gguf', '<!DOCTYPE html><html><body>Not found</body></html>'), 'x'], 'not-gguf', /web page/],
  ['another file', ['run', 'LICENSE', 'x'], 'not-gguf', /GGUF/],
  ['an empty file', ['run', file('empty.gguf', ''), 'x'], 'not-gguf', /empty/],
  ['a file cut in its header', ['run', file('head.gguf', tiny.subarray(0, 5000)), 'x'], 'truncated-model|corrupt', /download/],
  ['a file cut in its weights', ['run', file('cut.gguf', tiny.subarray(0, tiny.length - 100)), 'x'],
    'truncated-model', /download/],
  ['a folder as a model', ['run', work, 'x'], 'io', /is a folder/],
  ['a device as a model', ['run', '/dev/null', 'x'], 'io', /pipe or a device/],
  ['a folder to quantize', ['quantize', work, join(work, 'out.gguf'), '--type', 'q8_0'], 'io', /is a folder/],
  ['a folder as a text', ['perplexity', TINY, work], 'io', /is a folder/],
  ['logits without ids', ['logits', TINY, '-o', join(work, 'x.f32')], 'bad-argument', /--ids is missing/],
  ['logits without a file', ['logits', TINY, '--ids', '1'], 'bad-argument', /-o is missing/],
  ['words for ids', ['logits', TINY, '--ids', '1,two', '-o', join(work, 'x.f32')], 'bad-argument', /not "two"/],
  ['an unfinished list of ids', ['logits', TINY, '--ids', '1,', '-o', join(work, 'x.f32')], 'bad-argument', /with commas/],
  ['an unknown method', ['quantize', TINY, join(work, 'out.gguf'), '--method', 'magic'], 'bad-argument', /choose one of round/],
  ['an unknown type to quantize to', ['quantize', TINY, join(work, 'out.gguf'), '--type', 'q2_z'], 'bad-argument', /q8_0/],
  ['a text as statistics', ['quantize', TINY, join(work, 'out.gguf'), '--type', 'q4_0', '--imatrix', 'LICENSE'],
    'corrupt', /no file of statistics/],
  ['no type to quantize to', ['quantize', TINY, join(work, 'out.gguf')], 'bad-argument', /which type/],
  ['a calibration without a file to write', ['calibrate', TINY], 'bad-argument', /-o is missing/],
  ['a text too short to calibrate with', ['calibrate', TINY, '--text', file('owl', 'owl'), '-o', join(work, 'x.stats')],
    'bad-argument', /longer text/],
  ['an evaluation of nothing', ['evaluate', TINY], 'bad-argument', /--skills, --prompts FILE/],
  ['stored logits of another text', ['evaluate', TINY, '--text', 'LICENSE', '--reference',
    file('bad.logits', 'NUTLOG02'.padEnd(80))], 'bad-argument', /store them again/],
  ['a text too short to evaluate', ['perplexity', TINY, 'LICENSE', '--context', '512000'], 'bad-argument', /context|window/],
];
for (const [name, args, code, words] of REFUSALS) await test(`refused: ${name}`, () => refused(args, code, words));

// ---- models in several files -------------------------------------------------------------------------------------
/** Writes the tiny model's files; their paths. */
function writeParts(name, options, files = inParts(tiny, options)) {
  return files.map((bytes, i) => file(partName(name, i, files.length), bytes));
}

for (const [name, options] of [['three', { maxTensors: 20 }], ['bare', { maxTensors: 30, emptyFirst: true }],
  ['one', { maxTensors: 100 }], ['many', { maxTensors: 1 }]]) {
  await test(`a model in several files is the whole one: ${name}`, () => {
    const [first] = writeParts(name, options);
    const text = file('three.txt', readFileSync('LICENSE').subarray(0, 900));
    for (const args of [['run', PROMPT, '--seed', '5', '--max-tokens', '60'], ['tokenize', PROMPT],
      ['perplexity', text, '--context', '64', '--json']]) {
      const [command, ...rest] = args;
      const { out } = ok(NATIVE, command, TINY, ...rest);
      assert.ok(out.length > 10, out);
      assert.equal(ok(NATIVE, command, first, ...rest).out, out, command);
      assert.equal(ok(WASI, command, first, ...rest).out, out, `${command} under wasmtime`);
    }
    const { file_bytes: bytes, ...facts } = JSON.parse(ok(NATIVE, 'info', first, '--json').out);
    const { file_bytes: wholeBytes, ...wholeFacts } = JSON.parse(ok(NATIVE, 'info', TINY, '--json').out);
    assert.deepEqual(facts, wholeFacts);
    assert.ok(bytes >= wholeBytes && bytes < 1.1 * wholeBytes + 10000, `${bytes} bytes`);
  });

  await test(`quantize makes one file of several: ${name}`, () => {
    const [first] = writeParts(name, options);
    const paths = ['whole', 'native', 'wasi'].map((by) => join(work, `${by}-${name}.gguf`));
    ok(NATIVE, 'quantize', TINY, paths[0], '--type', 'q4_1');
    ok(NATIVE, 'quantize', first, paths[1], '--type', 'q4_1');
    ok(WASI, 'quantize', first, paths[2], '--type', 'q4_1');
    const [whole, native, wasi] = paths.map((path) => readFileSync(path));
    assert.ok(whole.length > 100_000 && native.equals(whole) && wasi.equals(whole));
  });
}

await test('a chat with a model in several files', () => {
  const [first] = writeParts('talk', { maxTensors: 20 });
  const [whole, parts] = [TINY, first].map((path) => spawnSync(NATIVE[0],
    ['chat', path, '--temperature', '0', '--max-tokens', '30'], { encoding: 'utf8', input: 'Tell me a story about a cat.\n' }));
  assert.equal(parts.status, 0, parts.stderr);
  assert.ok(parts.stdout.length > 20 && parts.stdout === whole.stdout, parts.stdout);
});

{
  const files = inParts(tiny, { maxTensors: 20 });
  const other = inParts(tiny, { maxTensors: 14 });
  const without = (name, i, bytes) => writeParts(name, null, files).map((path, k) => {
    if (k === i) rmSync(path);
    if (k === i && bytes) writeFileSync(path, bytes);
    return path;
  });
  const begin = without('second')[1];
  const renamed = file('renamed.gguf', files[0]);
  for (const [name, first, code, words] of [
    ['a later file first', begin, 'bad-argument', /split 2 of 3 .* begin with the first, .* -00001-of-00003\.gguf/],
    ['a file missing', without('lost', 1)[0], 'io', /split 2 of the model's 3 .*lost-00002-of-00003\.gguf": No such file/],
    ['the last file missing', without('end', 2)[0], 'io', /end-00003-of-00003\.gguf": No such file/],
    ['names that say nothing', renamed, 'bad-argument', /3 splits, .*renamed\.gguf" must end in -00001-of-00003\.gguf/],
    ['a whole file as a split', without('mixed', 1, tiny)[0], 'bad-argument', /a whole model, and split 2 of 3 of another/],
    ['a split of another model', without('other', 2, other[2])[0], 'bad-argument', /split 3 of another model \(of 4 splits/],
    ['a split twice', without('twice', 2, files[1])[0], 'bad-argument', /split 2 of 3 and split 3 comes next/],
    ['a split cut off', without('cut', 1, files[1].subarray(0, 1e5))[0], 'truncated-model', /split 2 of 3: .*download it again/],
    ['a web page as a split', without('page', 1, '<!DOCTYPE html>'.padEnd(50))[0], 'not-gguf', /split 2 of 3: .* a web page/],
  ]) {
    await test(`refused: ${name}`, () => {
      refused(['run', first, 'x'], code, words);
      const out = join(work, 'refused.gguf');
      refused(['quantize', first, out, '--type', 'q8_0'], code, words);
      assert.ok(!existsSync(out), 'nothing is written');
    });
  }
}

// ---- compress ----------------------------------------------------------------------------------------------------
await test('compress makes a model of the size that was asked for', () => {
  const out = join(work, 'sized.gguf'), size = Math.round(tiny.length * 0.6);
  ok(NATIVE, 'compress', TINY, out, '--size', `${size}B`, '--text', 'README.md', '--threads', '2');
  const n = statSync(out).size;
  assert.ok(n <= size && n > 0.97 * size, `${n} of ${size} bytes`);
  assert.match(ok(NATIVE, 'info', out).out, new RegExp(`"file_bytes": ${n}`));
  refused(['compress', TINY, out, '--size', '10kB', '--text', 'README.md'], 'bad-argument', /takes at least/);
  refused(['compress', TINY, out, '--size', 'big', '--text', 'README.md'], 'bad-argument', /60MB/);
  refused(['compress', TINY, out, '--text', 'README.md'], 'bad-argument', /--size/);
  refused(['compress', TINY, TINY, '--size', '100kB', '--text', 'README.md'], '', /same file|reads/);
  assert.equal(statSync(out).size, n, 'refusals leave the old file');
});

// ---- quantize ----------------------------------------------------------------------------------------------------
await test('a failed quantize leaves the old file and nothing half-written', () => {
  const out = file('kept.gguf', 'precious');
  refused(['quantize', file('bad.gguf', tiny.subarray(0, tiny.length >> 1)), out, '--type', 'q4_0'], '', /truncated|download/);
  assert.equal(readFileSync(out, 'utf8'), 'precious');
  assert.deepEqual(readdirSync(work).filter((f) => f.includes('.part')), []);
});

/** Runs the shell with a limit on the size of files, as on a disk that gets full. */
function onFullDisk(kilobytes, ...args) {
  const script = `trap '' XFSZ; ulimit -f ${kilobytes}; exec "$@"`;
  return spawnSync('bash', ['-c', script, 'bash', ...NATIVE, ...args], { encoding: 'utf8' });
}

await test('whichever write fails, quantize says so and leaves the old file and nothing half-written', () => {
  const whole = join(work, 'whole.gguf');
  ok(NATIVE, 'quantize', TINY, whole, '--type', 'q4_1');
  const size = Math.ceil(statSync(whole).size / 1024);
  const out = file('kept-too.gguf', 'precious');
  const limits = [...Array(size).keys()].filter((n) => n % 9 === 0 || n < 40 || size - n < 40);
  for (const limit of limits) {
    const r = onFullDisk(limit, 'quantize', TINY, out, '--type', 'q4_1');
    assert.equal(r.status, 1, `${limit} of ${size} kB: status ${r.status}`);
    assert.match(r.stderr, /nutshell quantize: io: cannot write .*: File too large/);
    assert.equal(readFileSync(out, 'utf8'), 'precious', `at ${limit} kB`);
    assert.deepEqual(readdirSync(work).filter((f) => f.includes('.part')), [], `at ${limit} kB`);
  }
  assert.equal(onFullDisk(size, 'quantize', TINY, out, '--type', 'q4_1').status, 0, 'what fits is written');
  assert.ok(readFileSync(out).equals(readFileSync(whole)));
});

await test('quantize to where no file can be, and beside a file that is another\'s', () => {
  const folder = join(work, 'folder.gguf');
  mkdirSync(folder);
  refused(['quantize', TINY, folder, '--type', 'q4_0'], 'io', /folder\.gguf/);
  assert.deepEqual(readdirSync(work).filter((f) => f.includes('.part')), []);
  refused(['quantize', TINY, join(work, 'no/such/folder.gguf'), '--type', 'q4_0'], 'io', /No such file/);
  const source = file('mine.gguf.part', tiny); // the name under which mine.gguf is written
  for (const command of [NATIVE, WASI]) {
    const r = run(command, 'quantize', source, join(work, 'mine.gguf'), '--type', 'q4_0');
    assert.equal(r.status, 1, r.err);
    assert.match(r.err, /mine\.gguf\.part" is there already/);
    assert.ok(readFileSync(source).equals(tiny), 'the source is as it was');
    assert.ok(!existsSync(join(work, 'mine.gguf')));
  }
  rmSync(source);
});

await test('quantize refuses to write over what it reads, by whatever name', () => {
  const source = file('source.gguf', tiny);
  const folder = join(work, 'folder');
  mkdirSync(folder);
  symlinkSync('../source.gguf', join(folder, 'symbolic.gguf'));
  linkSync(source, join(folder, 'hard.gguf'));
  const parts = writeParts('over', { maxTensors: 20 });
  for (const [from, to] of [[source, source], [source, `${folder}/../source.gguf`], [source, join(folder, 'symbolic.gguf')],
    [source, join(folder, 'hard.gguf')], [join(folder, 'symbolic.gguf'), source], [parts[0], parts[0]], [parts[0], parts[2]]]) {
    const before = readFileSync(to);
    for (const command of [NATIVE, WASI]) {
      const r = run(command, 'quantize', from, to, '--type', 'q4_0');
      assert.equal(r.status, 1, `${from} to ${to}: ${r.err}`);
      assert.match(r.err, /bad-argument: .* are the same file/);
      assert.ok(readFileSync(to).equals(before), to);
    }
  }
  assert.deepEqual(readdirSync(work).filter((f) => f.endsWith('.part')), []);
  ok(NATIVE, 'quantize', source, file('other.gguf', tiny), '--type', 'q4_0'); // the same bytes, but another file
});

await test('quantize writes to files alone', () => {
  const pipe = join(work, 'pipe');
  assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
  for (const to of [pipe, '/dev/null', '/dev/stdout']) {
    refused(['quantize', TINY, to, '--type', 'q4_0'], 'io', /pipe or a device/);
  }
  assert.ok(statSync(pipe).isFIFO());
});

await test('quantize tells of a source that was quantized already', () => {
  const out = join(work, 'twice.gguf');
  const words = /quantized already \(\d+ tensors, such as [\w.]+ in Q8_0\)/;
  assert.match(ok(NATIVE, 'quantize', TINY, out, '--type', 'q4_0').err, words);
  assert.doesNotMatch(ok(NATIVE, 'quantize', TINY, out, '--type', 'q8_0').err, /quantized already/);
});

await test('names that hold control characters do not reach the terminal', () => {
  const name = Buffer.from('output_norm.weight'), at = tiny.indexOf(name);
  for (const bytes of ['\x1b]52;c;YQ==\x07', '\x7f\x00\b\n\t', '\u009b31m', '\u0080']) {
    const odd = Buffer.from(tiny);
    odd.write(bytes, at);
    const r = run(NATIVE, 'quantize', file('odd.gguf', odd), join(work, 'odd-out.gguf'), '--type', 'q4_0');
    assert.equal(r.status, 0, r.err);
    assert.match(r.err, /\?+[\w.;=\]]*weight/);
    const raw = spawnSync(NATIVE[0], ['quantize', join(work, 'odd.gguf'), join(work, `odd${bytes.replaceAll('\0', '')}`, 'x'),
      '--type', 'q4_0']).stderr.toString();
    assert.doesNotMatch(r.err + raw, /[\0-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]/);
  }
});

await test('quantize weighs errors by the statistics of calibrate', () => {
  const [stats, plain, weighed] = ['q.stats', 'plain.gguf', 'weighed.gguf'].map((name) => join(work, name));
  const args = ['--type', 'q4_0'];
  ok(NATIVE, 'calibrate', TINY, '--text', 'LICENSE', '--context', '128', '-o', stats);
  ok(NATIVE, 'quantize', TINY, plain, ...args);
  ok(NATIVE, 'quantize', TINY, weighed, ...args, '--imatrix', stats);
  assert.equal(statSync(plain).size, statSync(weighed).size);
  assert.ok(!readFileSync(plain).equals(readFileSync(weighed)), 'statistics change nothing');
  ok(NATIVE, 'compress', TINY, plain, '--imatrix', stats,
    '--recipe', file('weighed.json', '[{"step": "round", "type": "q4_0"}]'));
  const weights = (path) => readFileSync(path).subarray(-100_000);
  assert.ok(weights(plain).equals(weights(weighed)), 'the recipe writes other weights');
});

await test('a text from a pipe', () => {
  const text = readFileSync('LICENSE').subarray(0, 900).toString().repeat(90); // more than one buffer
  const args = ['perplexity', TINY, '--context', '64', '--windows', '3', '--json'];
  const piped = spawnSync('sh', ['-c', `cat | "$0" "$@"`, ...NATIVE, args[0], args[1], '/dev/stdin', ...args.slice(2)],
    { encoding: 'utf8', input: text });
  assert.equal(piped.status, 0, piped.stderr);
  assert.equal(piped.stdout, ok(NATIVE, args[0], args[1], file('piped.txt', text), ...args.slice(2)).out);
});

if (existsSync(STORIES)) {
  // Bytes per 32 weights (ggml): Q8_0 34, Q4_0 18, Q4_1 20, F32 128.
  for (const [type, bytes] of [['q8_0', 34], ['q4_0', 18], ['q4_1', 20]]) {
    test(`quantize to ${type}: every matrix of whole blocks, nothing else, and 8 bits for the tied output matrix`, () => {
      const out = join(work, `${type}.gguf`);
      ok(NATIVE, 'quantize', STORIES, out, '--type', type);
      const before = JSON.parse(ok(NATIVE, 'info', STORIES, '--json').out);
      const after = JSON.parse(ok(NATIVE, 'info', out, '--json').out);
      let expected = 0;
      before.tensors.forEach((t, i) => {
        const quantized = t.shape.length === 2 && t.shape[0] % 32 === 0;
        const kept = t.name === 'token_embd.weight';
        assert.equal(after.tensors[i].type, kept ? 'Q8_0' : quantized ? type.toUpperCase() : 'F32', t.name);
        expected += quantized ? (t.bytes / 128) * (kept ? 34 : bytes) : t.bytes;
      });
      assert.equal(after.tensors.reduce((sum, t) => sum + t.bytes, 0), expected);
      assert.ok(statSync(out).size < statSync(STORIES).size);
      assert.match(ok(NATIVE, 'run', out, PROMPT, '--temperature', '0', '--max-tokens', '20').out, /\w+ \w+ \w+/);
      const same = join(work, `${type}-wasi.gguf`);
      const wasi = ok([...WASI.slice(0, 4), '--dir', '../shared', ...WASI.slice(4)], 'quantize', STORIES, same, '--type', type);
      assert.equal(wasi.status, 0);
      assert.ok(readFileSync(out).equals(readFileSync(same)), 'wasmtime writes the same file');
    });
  }
} else {
  skip('quantize', `${STORIES} is missing`);
}

finish();
