// The module nutshell-compress, driven by the worker's script over memory, in Node: it writes the file that the native build
// writes, byte for byte, holds little memory, and stops and fails cleanly. And the modules that run models hold no such code.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { instantiate } from '../web/worker/instantiate.js';
import { JobEngine } from '../web/compress/engine.js';
import { check, ensure, equal, finish, skip } from './browser/harness.mjs';
import { inParts, partName } from './browser/parts.mjs';

const NATIVE = 'build/native/nutshell';
const MODULE = 'build/web/nutshell-compress.wasm';
const TINY = 'dist/nutshell-tiny-q8_0.gguf';
const BIG = process.env.NUT_SMOLLM2 ?? 'models/SmolLM2-135M-Instruct-Q4_1.gguf';
const STORIES = `${process.env.NUT_DATA ?? '../shared/data'}/models/stories260K-f32.gguf`;
const work = mkdtempSync('build/compress-module-test-');
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

const compiled = await WebAssembly.compile(readFileSync(MODULE));
const start = () => instantiate(compiled, null, {});

/** A model's files in memory, an output, and what was told. @param {Uint8Array[]} files */
function inMemory(files, { most = Infinity, signal = undefined } = {}) {
  const io = {
    out: new Uint8Array(0), n: 0, notes: [], told: [], opened: [], signal,
    open(split, splits) {
      io.opened.push([split, splits]);
      return { size: files[split].length, read: (offset, n) => files[split].subarray(offset, offset + Math.min(n, most)) };
    },
    async write(offset, bytes) {
      ensure(offset <= io.n, `a gap before ${offset}`);
      if (offset + bytes.length > io.out.length) {
        const larger = new Uint8Array(2 * (offset + bytes.length));
        larger.set(io.out);
        io.out = larger;
      }
      io.out.set(bytes, offset);
      io.n = Math.max(io.n, offset + bytes.length);
    },
    note: (text) => io.notes.push(text),
    progress: (progress) => io.told.push(progress),
    written: () => Buffer.from(io.out.buffer, 0, io.n),
  };
  return io;
}

/** What the native shell writes. @param {string} path @param {string} type */
function native(path, type) {
  const out = join(work, 'native.gguf');
  execFileSync(NATIVE, ['quantize', path, out, '--type', type], { stdio: 'ignore' });
  return readFileSync(out);
}

for (const [path, types] of [[TINY, ['q4_0', 'q4_1', 'f16']], [STORIES, ['q8_0', 'q4_0', 'q4_1', 'bf16']]]) {
  if (!existsSync(path)) {
    skip('the file of the native build', `${path} is missing`);
    continue;
  }
  const model = readFileSync(path);
  for (const type of types) {
    for (const most of [Infinity, 5000]) {
      await check(`${path} to ${type}, reads of at most ${most} bytes`, async () => {
        const io = inMemory([model], { most });
        await new JobEngine(await start()).compress({ type }, io);
        ensure(io.written().equals(native(path, type)), 'another file');
        const last = io.told.at(-1);
        ensure(io.told.length > 10 && last.done === last.total && /weight/.test(last.what), JSON.stringify(last));
      });
    }
  }
}

await check('a model in several files', async () => {
  const files = inParts(readFileSync(TINY), { maxTensors: 20 });
  files.forEach((bytes, i) => writeFileSync(join(work, partName('split', i, files.length)), bytes));
  const io = inMemory(files);
  await new JobEngine(await start()).compress({ method: 'round', type: 'q4_1' }, io);
  ensure(io.written().equals(native(join(work, partName('split', 0, files.length)), 'q4_1')), 'another file');
  equal(io.opened, files.map((_, i) => [i, i ? files.length : 0]));
});

await check('several jobs in one module, and a stop between steps', async () => {
  const engine = new JobEngine(await start());
  const model = readFileSync(TINY);
  const stop = new AbortController();
  const stopped = inMemory([model], { signal: stop.signal });
  stopped.progress = ({ done }) => done === 3 && stop.abort(new Error('enough'));
  await assert.rejects(engine.compress({ type: 'q4_0' }, stopped), /enough/);
  const io = inMemory([model]);
  await engine.compress({ type: 'q4_0' }, io);
  ensure(io.written().equals(native(TINY, 'q4_0')), 'another file');
});

/* ---- a size, and going on elsewhere ---- */

const TEXT = Array.from({ length: 40 }, (_, i) =>
  `Once upon a time there were ${i + 3} cats, and the cat number ${i} had ${i * i} toys. `).join('');
const SIZE = 800_000;
const memoryInput = (bytes) => ({ size: bytes.length, read: (offset, n) => bytes.subarray(offset, offset + n) });

/** The file of that size, as floats add up in the module. @param {number} [keepAt] the step after which the job is moved */
async function sized(keepAt = 0) {
  const io = inMemory([readFileSync(TINY)]);
  let engine = new JobEngine(await start()), steps = 0;
  let kept = null;
  io.between = () => {
    if (++steps === keepAt) kept = { memory: engine.memory.slice(), splits: engine.splits, n: io.n };
  };
  await engine.compress({ size: SIZE, text: TEXT }, io);
  if (!keepAt) return { bytes: io.written(), steps, notes: io.notes };
  equal(kept?.n, 0, 'written before it was moved:');
  const again = inMemory([readFileSync(TINY)]);
  engine = new JobEngine(await start());
  engine.restore(kept.memory.length, kept.splits).set(kept.memory);
  await engine.goOn(again);
  return { bytes: again.written(), steps, notes: again.notes };
}

const whole = await sized();
await check('a model of a size is no larger, nearly as large, and loads', async () => {
  ensure(whole.bytes.length <= SIZE && whole.bytes.length > 0.97 * SIZE, `${whole.bytes.length} bytes`);
  await new JobEngine(await start()).load(() => memoryInput(whole.bytes));
});
await check('a copy of the memory goes on in another module, and gives the same file', async () => {
  for (const part of [0.02, 0.3, 0.6]) {
    const { bytes } = await sized(Math.ceil(part * whole.steps));
    ensure(bytes.equals(whole.bytes), `another file from ${part} of the steps on`);
  }
});
await check('a size that cannot be reached: the least that can is told', async () => {
  const io = inMemory([readFileSync(TINY)]);
  const error = await new JobEngine(await start()).compress({ size: 50_000, text: TEXT }, io).then(() => null, (e) => e);
  equal([error?.code, io.n], ['bad-argument', 0]);
  assert.match(error.message, /takes at least 0\.0\d MB/);
});

/* ---- evaluating ---- */

await check('an evaluation beside a reference finds what the shell finds', async () => {
  const paths = ['text.txt', 'small.gguf'].map((name) => join(work, name));
  writeFileSync(paths[0], TEXT);
  writeFileSync(paths[1], whole.bytes);
  const told = JSON.parse(execFileSync(NATIVE, ['evaluate', paths[1], '--reference', TINY, '--text', paths[0], '--context', '128',
    '--json'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  const engine = new JobEngine(await start());
  await engine.load(() => memoryInput(whole.bytes));
  await engine.load(() => memoryInput(readFileSync(TINY)), { reference: true });
  const found = await engine.evaluate({ text: TEXT, window: 128, windows: 0 }, {});
  equal([found.windows, found.tokens, found.bytes], [told.windows, told.scored, told.bytes]);
  for (const [name, other] of [['perplexity', 'perplexity'], ['kl', 'kl'], ['referencePerplexity', 'reference_perplexity'],
    ['bitsPerByte', 'bits_per_byte'], ['sameTop', 'same_top'], ['flips', 'flips'], ['klMedian', 'kl_median']]) {
    const difference = Math.abs(found[name] / told[other] - 1);
    ensure(difference < 0.002, `${name}: ${found[name]}, natively ${told[other]}`); // floats of the reference add up otherwise
  }
});

/* ---- training ---- */

const TRAINING = { model: 'm', text: 't', output: 'o', steps: 8, batch: 2, window: 32, warmup: 2, rate: 0.003, held_out: 0 };

/** Perplexity of TEXT. @param {Uint8Array} bytes of a model */
async function perplexity(bytes) {
  const engine = new JobEngine(await start());
  await engine.load(() => memoryInput(bytes));
  return (await engine.evaluate({ text: TEXT, window: 64, windows: 4 }, {})).perplexity;
}

await check('a model learns a text, and goes on in another module to the same file', async () => {
  const model = readFileSync(TINY), before = await perplexity(model), training = JSON.stringify({ ...TRAINING, learn: 'norms' });
  const io = inMemory([model]);
  let engine = new JobEngine(await start()), steps = 0, kept = new Uint8Array();
  io.between = () => {
    if (++steps === 60) kept = engine.memory.slice();
  };
  await engine.train({ training, text: TEXT, adapts: false }, io);
  const after = await perplexity(io.written());
  ensure(after < 0.97 * before, `perplexity ${before} before, ${after} after`);
  const again = inMemory([model]);
  engine = new JobEngine(await start());
  engine.restore(kept.length, 1).set(kept);
  await engine.goOn(again);
  ensure(again.written().equals(io.written()), 'another file');
});
await check('an adapter is trained, and added to the model as the shell adds it', async () => {
  const model = readFileSync(TINY), training = JSON.stringify({ ...TRAINING, rank: 4 });
  const engine = new JobEngine(await start()), adapter = inMemory([model]), merged = inMemory([model]);
  await engine.train({ training, text: TEXT, adapts: true }, adapter);
  await engine.merge(new Uint8Array(adapter.written()), merged);
  const paths = ['adapter.gguf', 'merged.gguf'].map((name) => join(work, name));
  writeFileSync(paths[0], adapter.written());
  execFileSync(NATIVE, ['merge', TINY, ...paths], { stdio: 'ignore' });
  ensure(merged.written().equals(readFileSync(paths[1])), 'another file');
  const [before, after] = [await perplexity(model), await perplexity(merged.written())];
  ensure(after < 0.97 * before, `perplexity ${before} before, ${after} after`);
});
await check('a recipe of training that cannot be is refused', async () => {
  const error = await new JobEngine(await start()).train({ training: JSON.stringify({ ...TRAINING, teacher: 't' }), text: TEXT,
    adapts: false }, inMemory([readFileSync(TINY)])).then(() => null, (e) => e);
  equal(error?.code, 'bad-argument');
  assert.match(error.message, /is to be given with it/);
});

for (const [name, options, files, code, words] of [
  ['an unknown type', { type: 'q9' }, [], 'bad-argument', /"q9".*q8_0/],
  ['an unknown method', { type: 'q8_0', method: 'magic' }, [], 'bad-argument', /"magic".*round/],
  ['a cut file', { type: 'q8_0' }, [readFileSync(TINY).subarray(0, 600_000)], 'truncated-model', /cut off/],
  ['a web page', { type: 'q8_0' }, [Buffer.from('<!DOCTYPE html><html>')], 'not-gguf', /web page/],
]) {
  await check(`refused: ${name}`, async () => {
    const error = await new JobEngine(await start()).compress(options, inMemory(files)).then(() => null, (e) => e);
    equal(error?.code, code);
    assert.match(error.message, words);
  });
}

await check('errors of the caller arrive, and the job ends', async () => {
  const started = await start();
  const io = inMemory([readFileSync(TINY)]);
  io.write = () => Promise.reject(new Error('the disk is full'));
  await assert.rejects(new JobEngine(started).compress({ type: 'q4_0' }, io), /the disk is full/);
  ensure(started.exports.nutc_step() < 0, 'the job goes on');
});

if (existsSync(BIG)) {
  await check('memory is that of slices, and time that of a native run', async () => {
    const started = await start();
    const io = inMemory([readFileSync(BIG)]);
    const since = performance.now();
    await new JobEngine(started).compress({ type: 'q4_0' }, io);
    const seconds = (performance.now() - since) / 1000;
    ensure(io.written().equals(native(BIG, 'q4_0')), 'another file');
    const bytes = started.memory.buffer.byteLength;
    console.log(`${BIG} to q4_0: ${seconds.toFixed(1)} s, ${(bytes / 1e6).toFixed(1)} MB of memory`);
    ensure(bytes <= 16e6, `${bytes} bytes`); // headers of 1.8 MB, slices of 0.8 MB, first memory 4 MiB
  });
} else skip('memory', `${BIG} is missing`);

const COMPRESSING = ['choose one of %s', 'there is no method']; // messages of methods.c and round.c
await check('the module holds the messages that the others must not hold', () => {
  const text = readFileSync(MODULE).toString('latin1');
  for (const words of COMPRESSING) ensure(text.includes(words), `"${words}" is not in it`);
});
for (const name of ['simd128', 'relaxed', 'simd128-mt', 'relaxed-mt']) {
  const path = `dist/nutshell-${name}.wasm`;
  await check(`${path} holds no code that makes or evaluates models`, () => {
    const text = readFileSync(path).toString('latin1');
    for (const words of [...COMPRESSING, 'less than one window of']) ensure(!text.includes(words), `"${words}" is in it`);
  });
}
finish();
