// A made-up tensor type: the shell writes it, the model loads, its rows are those that are computed here, and the tests
// that go through the list of formats (packing, products of all kernel sets) pass with one row more.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromHalf, readTensors, toHalf } from '../gguf.mjs';

const SOURCE = 'tests/golden/conformance/llama-mistral.gguf', NAME = 'blk.0.attn_q.weight', X4_T = 99;
const round = (x) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5); // halves away from zero, as C's roundf

/** 32 floats to a block: half d, byte i = code of column 2i and, above, of column 2i + 1; codes are x / d + 8. */
function block(x) {
  const d = Math.fround(Math.max(...x.map(Math.abs)) / 7), inverse = d ? Math.fround(1 / d) : 0;
  const bytes = Buffer.alloc(18), code = (v) => Math.min(15, Math.max(0, round(Math.fround(v * inverse)) + 8));
  bytes.writeUInt16LE(toHalf(d));
  for (let i = 0; i < 16; i++) bytes[2 + i] = code(x[2 * i]) | code(x[2 * i + 1]) << 4;
  return bytes;
}

/** A block's 32 weights. */
function weights(bytes) {
  const d = fromHalf(bytes.readUInt16LE(0));
  return [...bytes.subarray(2, 18)].flatMap((byte) => [d * ((byte & 15) - 8), d * ((byte >> 4) - 8)]);
}

export default async function check({ tree, test, make, must, unit }) {
  const out = join(tree, 'build/x4.gguf'), expected = join(tree, 'build/x4.f32');
  await test('the shell writes its blocks', () => {
    make('build/native/nutshell');
    must('build/native/nutshell', 'quantize', SOURCE, out, '--type', 'x4_t');
    const from = readTensors(readFileSync(join(tree, SOURCE))).get(NAME), to = readTensors(readFileSync(out)).get(NAME);
    assert.equal(from.type, 0);
    assert.equal(to.type, X4_T);
    const n = from.dims[0] * from.dims[1], blocks = [];
    for (let at = 0; at < n; at += 32) {
      blocks.push(block(Array.from({ length: 32 }, (_, i) => from.bytes.readFloatLE(4 * (at + i)))));
    }
    assert.deepEqual(Buffer.concat(blocks), Buffer.from(to.bytes.subarray(0, n / 32 * 18)));
    writeFileSync(expected, Buffer.from(Float32Array.from(blocks.flatMap(weights)).buffer));
  });
  await test('a model of it loads, with the right rows', () => { unit('test_x4', out, expected); });
  await test('a model of it writes text', () => {
    const text = must('build/native/nutshell', 'run', out, 'once', '--max-tokens', '8', '--ignore-eos', '--json');
    assert.equal(JSON.parse(text).ids.length, 8);
  });
  await test('test_formats passes', () => { assert.ok(unit('test_formats')); });
  await test('test_kernels passes: products of all kernel sets', () => { assert.ok(unit('test_kernels')); });
}
