// JavaScript that needs no browser: option checks, checksum, progress, the async iterator of a generation, the engine's
// loading calls, downloads, and the names of the public API. unit-sources.mjs has more.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Generation } from '../../web/page/generation.js';
import { xxh32 } from '../../web/shared/checksum.js';
import { NutshellError, fromWire, toWire } from '../../web/shared/errors.js';
import { checkIds, checkOptions, rules } from '../../web/shared/options.js';
import { checkMessages } from '../../web/worker/messages.js';
import { hasSharedMemory, hasSimd } from '../../web/shared/probe.js';
import { ANSWER_KINDS, FINISHES, GENERATE_OPTIONS, KV_TYPES, STATUSES } from '../../web/shared/tables.js';
import { Demand } from '../../web/worker/demand.js';
import { ByteReader, bytesOf } from '../../web/worker/byte_reader.js';
import { Downloads, retry } from '../../web/worker/downloads.js';
import { Engine } from '../../web/worker/engine.js';
import { instantiate } from '../../web/worker/instantiate.js';
import { chunkBytesFor } from '../../web/worker/layout.js';
import { ProgressMeter } from '../../web/worker/progress.js';
import { choose } from '../../web/worker/quota.js';
import { UrlSource } from '../../web/worker/source.js';
import { check, ensure, equal, failure, finish, skip } from './harness.mjs';
import { DIST, tiny } from './models.mjs';
import { inParts } from './parts.mjs';
import { checkChats } from './unit-chats.mjs';
import { checkAnswers } from './unit-answers.mjs';
import { checkDynamic } from './unit-dynamic.mjs';
import { checkSessions } from './unit-sessions.mjs';

const ROOT = join(import.meta.dirname, '../..');

// Values from the Python package xxhash 3.5.0 (xxHash 0.8.2): XXH32, seed 0, of the bytes (7 i + 3) mod 256, by length.
const XXH32 = { 0: 46947589, 1: 565077562, 3: 3443335746, 4: 1918138866, 15: 2194917453, 16: 2286244989, 17: 1158569860,
  31: 527684551, 32: 3918056631, 63: 200131319, 100: 1929976397, 1000: 3361362258 };

await check('xxHash32', () => {
  for (const [length, expected] of Object.entries(XXH32)) {
    equal(xxh32(Uint8Array.from({ length: Number(length) }, (_, i) => i * 7 + 3)), expected, `length ${length}:`);
  }
});

await check('options: fallbacks, and undefined is not given', () => {
  const options = checkOptions(rules.generate, { maxTokens: 5, topP: undefined });
  equal([options.maxTokens, options.topP, options.temperature, options.parseSpecial], [5, 0.95, 0.8, undefined]);
});

for (const [name, value] of Object.entries({
  maxTokens: 0, temperature: NaN, topK: 1.5, topP: 1.1, minP: '0', typicalP: -1, repeatPenalty: null, seed: 2 ** 53, stop: [''],
  signal: {}, parseSpecial: 1, presencePenalty: Infinity, repeatLastN: -1, ignoreEos: 'yes', special: 0,
})) {
  await check(`options: ${name} of ${String(value)} is refused by name`, async () => {
    const error = await failure(() => checkOptions(rules.generate, { [name]: value }));
    equal(error.code, 'bad-argument');
    ensure(error.message.startsWith(`${name} must be `), error.message);
  });
}

await check('options: names of the prototype are unknown options', async () => {
  equal((await failure(() => checkOptions(rules.load, { toString: 1 }))).code, 'bad-argument');
});

await check('messages and token ids', async () => {
  equal(checkMessages([{ role: 'user', content: '' }]).length, 1);
  for (const bad of [[], 'hi', [null], [{ role: 'user', content: 5 }], [{ content: 'a' }]]) {
    equal((await failure(() => checkMessages(bad))).code, 'bad-argument');
  }
  equal([...checkIds(new Uint16Array([1, 2]))], [1, 2]);
  for (const bad of [5, [-1], [0.5], [2 ** 31], null]) equal((await failure(() => checkIds(bad))).code, 'bad-argument');
});

await check('messages as clients of the OpenAI API send them', async () => {
  const call = { type: 'function', function: { name: 'f', arguments: '{}' } };
  const text = { type: 'text', text: 'Hi' };
  const good = [
    { role: 'assistant', content: null, tool_calls: [call] }, { role: 'assistant', tool_calls: [call] },
    { role: 'assistant', content: undefined, tool_calls: [call] },
    { role: 'assistant', content: null, function_call: call.function },
    { role: 'assistant', content: null, reasoning_content: 'Hm' }, { role: 'assistant', content: null, refusal: 'No' },
    { role: 'user', content: [text, text] }, { role: 'user', content: [text, { type: 'image_url', image_url: { url: 'a' } }] },
    { role: 'user', content: [] }, { role: 'user' }, { role: 'user', content: null },
  ];
  for (const message of good) equal(checkMessages([message])[0] === message, true, JSON.stringify(message));
  const bad = [
    { content: 'Hi' }, { role: 5, content: 'Hi' }, { role: 'user', content: ['Hi'] }, { role: 'user', content: [{ text: 'Hi' }] },
    { role: 'user', content: [{ type: 'text' }] }, { role: 'user', content: [null] }, { role: 'user', content: { type: 'text' } },
  ];
  for (const message of bad) {
    const { code, message: words } = await failure(() => checkMessages([message]));
    equal([code, words.startsWith('messages[0] must be ')], ['bad-argument', true], JSON.stringify(message));
  }
});

await check('errors cross to the page', () => {
  const error = fromWire(structuredClone(toWire(new NutshellError('quota', 'full', { cause: new RangeError('x') }))));
  equal([error instanceof NutshellError, error.code, error.message, error.cause], [true, 'quota', 'full', 'RangeError: x']);
  equal(toWire(new TypeError('oops')).code, 'engine-crashed');
});

await check('progress: speed, time left, and sums', () => {
  let now = 0;
  const events = [];
  const meter = new ProgressMeter((event) => events.push(event), () => now);
  meter.begin(0, 1000);
  meter.enter('download');
  for (let i = 0; i < 5; i++) {
    now += 100;
    meter.add(100);
  }
  equal([events.at(-1).bytesPerSecond, events.at(-1).secondsLeft, events.at(-1).loaded], [1000, 0.5, 500]);
  now += 10;
  meter.add(500); // too soon for an event of its own
  meter.finish();
  equal(events.map(({ phase }) => phase), ['download', 'download', 'download', 'download', 'download', 'download', 'ready']);
  equal(events.at(-2).loaded, 1000);
});

/** A generation whose worker is played by the test. */
function played(signal, Kind = Generation) {
  const log = [];
  /** @type {any} */
  const worker = {};
  const generation = new Kind({
    begin: () => log.push('begin'),
    ask: (onEvent, started) => {
      started(7);
      worker.say = (...pieces) => onEvent({ pieces, figures: { tokens: ++worker.tokens } });
      worker.tokens = 0;
      return new Promise((resolve, reject) => { Object.assign(worker, { resolve, reject }); });
    },
    stop: (id) => {
      log.push(`stop ${id}`);
      worker.resolve({ finishReason: 'aborted', tokens: worker.tokens });
    },
    took: (id, count) => log.push(`took ${count} of ${id}`),
    end: () => log.push('end'),
  }, 5, signal);
  return { generation, worker, log };
}

await check('generation: pieces in order, then the end', async () => {
  const { generation, worker, log } = played();
  equal(log, [], 'before the first piece');
  const first = generation.next();
  const second = generation.next();
  worker.say('a');
  worker.say('b');
  worker.say('c');
  worker.resolve({ finishReason: 'eos', tokens: 3, seconds: 2 });
  equal([await first, await second], [{ value: 'a', done: false }, { value: 'b', done: false }]);
  await new Promise(setImmediate);
  equal([await generation.next(), await generation.next()], [{ value: 'c', done: false }, { done: true }]);
  equal([generation.stats.finishReason, generation.stats.tokensPerSecond, generation.stats.seed], ['eos', 1.5, 5]);
  equal(log, ['begin', 'end']);
});

await check('generation: leaving the loop stops the worker', async () => {
  const { generation, worker, log } = played();
  setImmediate(() => worker.say('a'));
  for await (const piece of generation) {
    equal(piece, 'a');
    break;
  }
  equal([log, generation.stats.finishReason], [['begin', 'stop 7', 'end'], 'aborted']);
  equal(await generation.next(), { done: true });
});

await check('generation: abort rejects at once and drops pieces that were not taken', async () => {
  const control = new AbortController();
  const { generation, worker, log } = played(control.signal);
  const first = generation.next();
  worker.say('a');
  worker.say('b');
  equal(await first, { value: 'a', done: false });
  control.abort(new Error('mine'));
  equal((await failure(() => generation.next())).message, 'mine');
  equal(await generation.next(), { done: true });
  equal(log, ['begin', 'stop 7', 'end']);
});

await check('generation: an error of the worker comes after the pieces', async () => {
  const { generation, worker } = played();
  const first = generation.next();
  worker.say('a');
  worker.say('b');
  worker.reject(new NutshellError('io', 'gone'));
  await new Promise(setImmediate);
  equal([(await first).value, (await generation.next()).value], ['a', 'b']);
  equal((await failure(() => generation.next())).code, 'io');
  equal([await generation.next(), generation.stats.finishReason], [{ done: true }, 'error']);
});

await check('generation: the worker is told how many pieces were taken, not how many came', async () => {
  const { generation, worker, log } = played();
  const first = generation.next();
  for (let i = 0; i < 20; i++) worker.say('a');
  await first;
  equal(log, ['begin']);
  for (let i = 1; i < 20; i++) await generation.next();
  equal(log, ['begin', 'took 8 of 7', 'took 16 of 7']);
});

await check('generation waits for the page, and a stop ends the waiting', async () => {
  const control = new AbortController();
  const demand = new Demand(control.signal);
  const late = () => new Promise((done) => setTimeout(done, 50, 'waits'));
  const state = (promise) => Promise.race([promise.then(() => 'goes on'), late()]);
  equal([await state(demand.reaches(0)), await state(demand.reaches(31))], ['goes on', 'goes on']);
  const waiting = demand.reaches(32);
  equal(await state(waiting), 'waits');
  demand.took(1);
  equal([await state(waiting), await state(demand.reaches(32))], ['goes on', 'goes on']);
  const stopped = demand.reaches(40);
  equal(await state(stopped), 'waits');
  control.abort();
  equal(await state(stopped), 'goes on');
});

await check('generation: text() joins what is left', async () => {
  const { generation, worker } = played();
  const text = generation.text();
  worker.say('a');
  worker.say('b');
  worker.resolve({ finishReason: 'length' });
  equal(await text, 'ab');
});

// ---- the engine: models in several files ------------------------------------------------------------------------------

const compiled = await WebAssembly.compile(readFileSync(join(DIST, 'nutshell-simd128.wasm')));
const OPTIONS = { contextLength: 128, kvType: 'f16', kernel: undefined, threads: 1 };

async function newEngine() {
  const started = await instantiate(compiled, null, {});
  started.exports.__wasm_call_ctors();
  return new Engine(started);
}

/** Feeds one file. @param {Engine} engine @param {Buffer} bytes */
function feed(engine, bytes) {
  for (let at = 0, n; at < bytes.length; at += n) {
    n = Math.min(50_000, bytes.length - at);
    engine.staging(n).set(bytes.subarray(at, at + n));
    engine.feed(at, n);
  }
}

/** An engine with the first file fed. @param {Buffer} bytes */
async function fed(bytes) {
  const engine = await newEngine();
  equal(engine.splits(), 0, 'splits before a load:');
  engine.loadBegin({ fileSize: bytes.length, ...OPTIONS });
  equal(engine.splits(), 0, 'splits before the header:');
  feed(engine, bytes);
  return engine;
}

const BPE = 'models/SmolLM2-135M-Instruct-Q4_1.gguf'; // its header ends before 4 MiB
if (!existsSync(BPE)) skip('a pre-tokenizer in place of the file\'s', `${BPE} is missing`);
else await check('a pre-tokenizer in place of the file\'s', async () => {
  const file = readFileSync(BPE), engine = await newEngine();
  for (const [preTokenizer, code] of [[undefined, ''], ['llama-bpe', ''], ['no-such-name', 'unsupported-model']]) {
    engine.loadBegin({ fileSize: file.length, ...OPTIONS, preTokenizer });
    const error = await failure(() => { feed(engine, file.subarray(0, 1 << 22)); throw { code: '' }; });
    equal(error.code, code, `${preTokenizer}:`);
  }
});

/** Ends the load and writes a text. @param {Engine} engine */
function write(engine) {
  engine.loadFinish(OPTIONS);
  return generate(engine, { maxTokens: 40, temperature: 0 }).text;
}

/** A whole generation: its text, and the last step. @param {Engine} engine @param {object} options */
function generate(engine, options) {
  const checked = checkOptions(rules.generate, options);
  engine.generateBegin('Once upon a time', checked, { addBos: true, parseSpecial: false });
  let text = '', step;
  do {
    step = engine.generateStep();
    text += step.text;
  } while (step.kind !== 'done');
  return { text, step };
}

await check('a model in several files writes what the whole one writes', async () => {
  const whole = await fed(tiny());
  equal(whole.splits(), 1);
  const expected = write(whole);
  ensure(expected.length > 100, expected);
  for (const [options, count] of [[{ maxTensors: 20 }, 3], [{ maxTensors: 20, emptyFirst: true }, 4]]) {
    const [first, ...others] = inParts(tiny(), options);
    const engine = await fed(first);
    equal(engine.splits(), count);
    for (const file of others) {
      engine.loadNext(file.length);
      feed(engine, file);
    }
    equal(write(engine), expected);
  }
});

await check('files of a model that do not come in order are refused', async () => {
  const files = inParts(tiny(), { maxTensors: 20 });
  const cases = [
    ['bad-argument', /this is split 2 of 3 .* begin with the first/, () => fed(files[1])],
    ['bad-argument', /this is split 3 of 3 and split 2 comes next/, async () => {
      const engine = await fed(files[0]);
      engine.loadNext(0);
      feed(engine, files[2]);
    }],
    ['truncated-model', /3 splits and only 1 came/, async () => (await fed(files[0])).loadFinish(OPTIONS)],
    ['truncated-model', /split 2 of 3: .* bytes are missing/, async () => {
      const engine = await fed(files[0]);
      engine.loadNext(0);
      feed(engine, files[1].subarray(0, 200_000));
      engine.loadNext(0);
    }],
    ['bad-state', /no file is to come/, async () => (await fed(tiny())).loadNext(0)],
    ['bad-state', /no load was begun/, async () => (await newEngine()).loadNext(0)],
  ];
  for (const [code, words, work] of cases) {
    const error = await failure(work);
    equal(error.code, code, error.message);
    ensure(words.test(error.message), error.message);
  }
});

// ---- the engine: texts and generations ---------------------------------------------------------------------------------

/** An engine with the small model, its memory, and the names of the functions of the module that it calls. */
async function loaded(others = {}) {
  const started = await instantiate(compiled, null, {});
  const calls = [];
  started.exports.__wasm_call_ctors();
  const exports = Object.fromEntries(Object.entries(started.exports).map(([name, value]) => [name,
    name.startsWith('nutw_') ? (...args) => (calls.push(name), value(...args)) : value]));
  const engine = new Engine({ ...started, exports });
  const options = { ...OPTIONS, contextLength: 512, ...others };
  engine.loadBegin({ fileSize: tiny().length, ...options });
  feed(engine, tiny());
  engine.loadFinish(options);
  return { engine, calls, memory: started.memory };
}

await check('texts that are empty are empty, whatever the call before gave', async () => {
  const { engine } = await loaded();
  const flags = { addBos: false, parseSpecial: false }, { eog: [eog] } = engine.info();
  const filled = () => {
    const ids = engine.tokenize('secret text', flags);
    equal([ids.length > 1, engine.detokenize(ids, { special: false })], [true, 'secret text']);
  };
  for (const [what, empty] of Object.entries({
    'a special token that is not shown': () => engine.detokenize(Int32Array.of(eog), { special: false }),
    'no ids': () => engine.detokenize(new Int32Array(0), { special: true }),
    'no text': () => engine.tokenize('', flags).length || '',
    'a prompt that is read': () => {
      engine.generateBegin('Once upon a time', checkOptions(rules.generate, {}), flags);
      const { kind, text } = engine.generateStep();
      engine.generateEnd();
      equal(kind, 'prefill');
      return text;
    },
  })) {
    filled();
    equal(empty(), '', what);
  }
  ensure(engine.detokenize(Int32Array.of(eog), { special: true }).length > 0, 'it has a text where it is shown');
});

await check('texts go through the engine as they are: long ones, and those that begin with U+FEFF', async () => {
  const { engine } = await loaded();
  for (const text of ['\ufeffthe end', 'Once upon a time. '.repeat(2000), 'é🙂 \u0001'.repeat(50)]) {
    const ids = engine.tokenize(text, { addBos: false, parseSpecial: false });
    equal(engine.detokenize(ids, { special: false }), text);
  }
});

await check('a token takes one call of the engine, a generation two more and its buffer', async () => {
  const { engine, calls } = await loaded();
  calls.length = 0;
  const { step } = generate(engine, { maxTokens: 20, temperature: 0, ignoreEos: true });
  equal([step.kind, step.finish, step.done], ['done', 'length', 20]);
  equal(calls, ['nutw_staging', 'nutw_generate_begin', ...Array(1 + 20 + 1).fill('nutw_generate_step')]);
});

await check('every option reaches the engine', async () => {
  const { engine } = await loaded();
  const { text: plain } = generate(engine, { maxTokens: 60, temperature: 0 });
  const changes = { // each changes the text that a greedy choice, or the first seed, would give
    maxTokens: [{ maxTokens: 5, temperature: 0 }], temperature: [{ temperature: 2, topK: 0, topP: 1, minP: 0, seed: 3 }],
    repeatPenalty: [{ temperature: 0, repeatPenalty: 3 }], presencePenalty: [{ temperature: 0, presencePenalty: 9 }],
    frequencyPenalty: [{ temperature: 0, frequencyPenalty: 9 }], seed: [{ seed: 1 }, { seed: 2 }],
    repeatLastN: [{ temperature: 0, repeatPenalty: 3, repeatLastN: 64 }, { temperature: 0, repeatPenalty: 3, repeatLastN: 1 }],
    topK: [{ seed: 1, temperature: 3, topK: 2 }, { seed: 1, temperature: 3, topK: 0 }],
    topP: [{ seed: 1, temperature: 3, topK: 0, topP: 0.3 }, { seed: 1, temperature: 3, topK: 0, topP: 1 }],
    minP: [{ seed: 1, temperature: 3, topK: 0, topP: 1, minP: 0.5 }, { seed: 1, temperature: 3, topK: 0, topP: 1, minP: 0 }],
    typicalP: [{ seed: 1, temperature: 2, typicalP: 0.2 }, { seed: 1, temperature: 2 }],
    ignoreEos: [{ temperature: 0, maxTokens: 400, ignoreEos: true }, { temperature: 0, maxTokens: 400 }],
    special: [{ temperature: 0, maxTokens: 400, ignoreEos: true, special: true },
      { temperature: 0, maxTokens: 400, ignoreEos: true }],
  };
  const same = 'lookup', silent = 'certainty'; // drafts change no text, and figures do not
  equal([...Object.keys(changes), same, silent].sort(), GENERATE_OPTIONS.map(({ name }) => name).sort(), 'options tried:');
  equal(generate(engine, { maxTokens: 60, temperature: 0, [same]: 7 }).text, plain);
  const none = generate(engine, { maxTokens: 60, temperature: 0, [same]: 0 });
  equal([none.text, none.step.drafts],
    [plain, { drafted: 0, accepted: 0, draftedByModel: 0, acceptedByModel: 0, logProbability: 0, entropy: 0 }]);
  const { text: told, step } = generate(engine, { maxTokens: 60, temperature: 0, [silent]: true });
  ensure(told === plain && step.drafts.logProbability < 0 && step.drafts.entropy > 0, JSON.stringify(step.drafts));
  for (const [name, [one, other]] of Object.entries(changes)) {
    const text = generate(engine, { maxTokens: 60, ...one }).text;
    ensure(text !== (other ? generate(engine, { maxTokens: 60, ...other }).text : plain), `${name} changes nothing: "${text}"`);
  }
});

await checkSessions(loaded);
await checkAnswers(loaded, played);

// ---- downloads ---------------------------------------------------------------------------------------------------------

/** A source of n chunks that answers at once. @param {number} chunkBytes @param {number} n */
function quickSource(chunkBytes, n) {
  const open = async (start, end) => {
    let at = start;
    const read = async () => {
      if (at >= end) return null;
      const bytes = new Uint8Array(Math.min(1000, end - at)).map((_, i) => (at + i) / chunkBytes);
      at += bytes.length;
      return bytes;
    };
    return { offset: start, read, cancel() {} };
  };
  return { size: chunkBytes * n, ranges: true, maxRequests: 4, open, place: 0, leave: () => false };
}

await check('downloads wait for a slow disk: few chunks are held that are not stored yet', async () => {
  const CHUNK = 4096, CHUNKS = 60;
  /** @type {any} */
  const source = quickSource(CHUNK, CHUNKS);
  let unstored = 0, most = 0, writing = Promise.resolve();
  const arrived = () => {
    most = Math.max(most, ++unstored);
    return writing = writing.then(() => new Promise((done) => setTimeout(done, 3))).then(() => { unstored--; });
  };
  const needs = { source, chunkBytes: CHUNK, signal: new AbortController().signal, has: () => false, arrived, received() {} };
  const downloads = new Downloads(needs, 0, await source.open(0, CHUNK));
  for (let i = 0; i < CHUNKS; i++) {
    const bytes = await downloads.chunk(i);
    equal([bytes.length, bytes[0], bytes[CHUNK - 1]], [CHUNK, i, i]);
    downloads.release(i);
  }
  equal(await downloads.chunk(CHUNKS), null);
  ensure(most <= 5, `${most} of ${CHUNKS} chunks waited for the disk`); // two, and one of each other request on its way
});

await check('a place where two requests fail at a time is left once', async () => {
  const mirrors = ['https://b.invalid/m.gguf'], { signal } = new AbortController();
  const source = new UrlSource('https://a.invalid/m.gguf', { mirrors }, signal);
  const work = async () => {
    const { place } = source;
    await new Promise(setImmediate);
    if (place === 0) throw new NutshellError('http-404', 'gone');
    return place;
  };
  equal(await Promise.all([1, 2, 3].map(() => retry(source, signal, work))), [1, 1, 1]);
});

await check('one buffer serves all streams that are read one after the other', async () => {
  const Own = ArrayBuffer;
  let made = 0;
  globalThis.ArrayBuffer = class extends Own {
    constructor(...args) {
      super(...args);
      made++;
    }
  };
  try {
    for (let i = 0; i < 20; i++) {
      let text = '';
      for await (const bytes of bytesOf(new Blob([`blob ${i}`]))) text += new TextDecoder().decode(bytes);
      equal(text, `blob ${i}`);
      const reader = new ByteReader(new Blob([`other ${i}`]).stream());
      equal(new TextDecoder().decode(await reader.read()), `other ${i}`);
      reader.cancel();
    }
  } finally {
    globalThis.ArrayBuffer = Own;
  }
  equal(made, 1, 'buffers made:');
});

await check('a stream that is cancelled while it is waited for keeps its buffer', async () => {
  const stalled = new ReadableStream({ type: 'bytes', pull: () => new Promise(() => {}) });
  const reader = new ByteReader(stalled), waiting = reader.read();
  await new Promise(setImmediate);
  reader.cancel();
  const other = new ByteReader(new Blob(['x'.repeat(1000)]).stream());
  const bytes = await other.read();
  equal([await waiting, bytes.length, bytes[999]], [null, 1000, 120]);
  other.cancel();
});

await check('bytes of a chunk follow from the size', () => {
  const K = 1 << 10, M = 1 << 20;
  const cases = [[0, 4 * M], [1, 256 * K], [16 * M, 256 * K], [16 * M + 1, 512 * K], [100 * M, 2 * M], [128 * M, 2 * M],
    [128 * M + 1, 4 * M], [20_000 * M, 4 * M]];
  for (const [size, bytes] of cases) equal(chunkBytesFor(size), bytes, `of ${size}:`);
});

await check('as few models are deleted as are enough, in their order', () => {
  const candidates = [5, 3, 9].map((bytes, i) => ({ id: String(i), name: '', bytes }));
  const chosen = [1, 5, 6, 8, 9, 17, 18].map((missing) => choose(candidates, missing)?.length ?? null);
  equal(chosen, [1, 1, 2, 2, 3, 3, null]);
});

await check('probes run in Node.js too', () => equal([hasSimd(), hasSharedMemory()], [true, true]));

await check('the module exports what nutshell.d.ts declares, and so does the global', async () => {
  const types = readFileSync(join(ROOT, 'web/nutshell.d.ts'), 'utf8');
  const declared = [...types.matchAll(/^export (?:const|function|class) (\w+)/gm)].map(([, name]) => name);
  ensure(declared.length >= 6, 'the declarations were not found');
  const exported = await import(join(DIST, 'nutshell.mjs'));
  equal(Object.keys(exported).sort(), declared.sort());
  const [, members] = /^export interface Cache \{$([^]*?)^\}$/m.exec(types) ?? [null, ''];
  equal(Object.keys(exported.cache).sort(), [...members.matchAll(/^  (\w+)\(/gm)].map(([, name]) => name).sort(), 'cache');
  const scope = { document: { currentScript: { src: 'https://example.org/nutshell.js' }, baseURI: 'https://example.org/' } };
  const script = new Function('globalThis', readFileSync(join(DIST, 'nutshell.js'), 'utf8'));
  for (const global of [scope, { location: { href: 'https://example.org/worker.js' } }, {}]) { // a page, a worker, neither
    script(global);
    equal(Object.keys(global.Nutshell).sort(), declared);
  }
});

await check('web/shared/tables.js is made from the C sources as they are', () => {
  execFileSync('make', ['-s', 'build/native/tables'], { cwd: ROOT });
  const made = execFileSync(join(ROOT, 'build/native/tables'), { encoding: 'utf8' });
  ensure(readFileSync(join(ROOT, 'web/shared/tables.js'), 'utf8') === made, 'it is old: run make web/shared/tables.js');
});

/** Members of an interface of nutshell.d.ts, those that it inherits too: their types and comments, by name. */
function members(types, name) {
  const pattern = new RegExp(`^export interface ${name} (?:extends ([\\w, ]+) )?\\{(?:\\}|$([^]*?)^\\})$`, 'm');
  const [, parents, body] = pattern.exec(types) ?? [null, '', ''];
  const own = [...(body ?? '').matchAll(/(?:\/\*\*((?:(?!\*\/)[^])*)\*\/\s*)?^  (\w+)\?: (.*);$/gm)]
    .map(([, comment = '', member, type]) => [member, { type, comment }]);
  return { ...Object.assign({}, ...(parents ?? '').split(', ').filter(Boolean).map((parent) => members(types, parent))),
    ...Object.fromEntries(own) };
}

await check('nutshell.d.ts has the options that are checked, with their types and defaults', () => {
  const types = readFileSync(join(ROOT, 'web/nutshell.d.ts'), 'utf8');
  const interfaces = { PrepareOptions: 'prepare', LoadOptions: 'load', SessionOptions: 'session', GenerateOptions: 'generate',
    RenderOptions: 'render', ChatOptions: 'chat', TokenizeOptions: 'tokenize',
    DetokenizeOptions: 'detokenize', VerifyOptions: 'verify', ImportOptions: 'import' };
  equal(Object.values(interfaces).sort(), Object.keys(rules).sort(), 'tables of options:');
  for (const [name, table] of Object.entries(interfaces)) {
    equal(Object.keys(members(types, name)).sort(), Object.keys(rules[table]).sort(), `${name}:`);
  }
  const declared = members(types, 'GenerateOptions');
  for (const { name, kind, fallback } of GENERATE_OPTIONS) {
    equal(declared[name].type, kind === 'flag' ? 'boolean' : 'number', `${name}:`);
    const [, told] = /[Dd]efault:? ([\d.]*\d|false|true)\b/.exec(declared[name].comment) ?? [];
    equal(told ?? 'words', ['maxTokens', 'seed'].includes(name) ? 'words' : String(fallback), `default of ${name}:`);
  }
});

await check('nutshell.d.ts has the names that the engine gives', () => {
  const types = readFileSync(join(ROOT, 'web/nutshell.d.ts'), 'utf8');
  const union = (names) => names.map((name) => `'${name}'`).join(' | ');
  ensure(types.includes(`  kvType?: ${union(KV_TYPES)};`) && types.includes(`  kvType: ${union(KV_TYPES)};`), 'kinds of cache');
  ensure(types.includes(`  finishReason: ${union([...FINISHES.slice(1), 'aborted', 'error'])} | null;`), 'reasons to finish');
  ensure(types.includes(`  kind: ${union(ANSWER_KINDS)};`), 'kinds of parts');
  const codes = [...types.slice(types.indexOf('export type ErrorCode')).matchAll(/^  \| '([\w-]+)'/gm)].map(([, code]) => code);
  equal(STATUSES.slice(1).filter((code) => !codes.includes(code)), [], 'codes that are missing:');
});

await check('the types of dist/ are those of the sources', () => {
  for (const name of ['nutshell.d.ts', 'nutshell-compress.d.ts', 'nutshell-dynamic.d.ts']) {
    equal(readFileSync(join(DIST, name), 'utf8'), readFileSync(join(ROOT, 'web', name), 'utf8'), name);
  }
});

await check('nutshell-compress.d.ts has what that module exports, and the options that it takes', async () => {
  const types = readFileSync(join(ROOT, 'web/nutshell-compress.d.ts'), 'utf8');
  const exported = await import(join(DIST, 'nutshell-compress.mjs'));
  equal(Object.keys(exported).sort(), [...types.matchAll(/^export function (\w+)/gm)].map(([, name]) => name).sort());
  for (const [name, call] of [['CompressOptions', exported.compress], ['EvaluateOptions', exported.evaluate]]) {
    const [, body] = new RegExp(`^export interface ${name} \\{$([^]*?)^\\}$`, 'm').exec(types) ?? [];
    const declared = [...body.matchAll(/^  (\w+)\??: /gm)].map(([, option]) => option);
    const { message } = await failure(() => call('model.gguf', { none: 1 }));
    equal(message.split('options here are ')[1].split(', ').sort(), declared.sort(), name);
  }
});

await check('nutshell-dynamic.d.ts has what that module exports, and the options that it takes', async () => {
  const types = readFileSync(join(ROOT, 'web/nutshell-dynamic.d.ts'), 'utf8');
  const exported = await import(join(DIST, 'nutshell-dynamic.mjs'));
  equal(Object.keys(exported).sort(), [...types.matchAll(/^export function (\w+)/gm)].map(([, name]) => name).sort());
  const { cascade, learnThreshold, prefixCache, queryCache, recommend, remote } = exported;
  const far = remote({ url: 'https://example.org/v1', model: 'far' }), example = { scores: [0], rewards: [0, 1], costs: [0, 1] };
  const calls = {
    CascadeOptions: (options) => cascade([far], options), RemoteOptions: remote, QueryCacheOptions: queryCache,
    LearnOptions: (options) => learnThreshold([example], options), PrefixCacheOptions: prefixCache,
    RecommendOptions: (options) => recommend([], options),
  };
  for (const [name, call] of Object.entries(calls)) {
    const [, body] = new RegExp(`^export interface ${name} \\{$([^]*?)^\\}$`, 'm').exec(types) ?? [];
    const declared = [...body.matchAll(/^  (\w+)\??: /gm)].map(([, option]) => option);
    const { message } = await failure(() => call({ none: 1 }));
    equal(message.split('options here are ')[1].split(', ').sort(), declared.sort(), name);
  }
});

await checkDynamic();
await import('./unit-sources.mjs');
await checkChats();
finish();
