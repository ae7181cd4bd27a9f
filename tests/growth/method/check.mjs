// A made-up compression method: the shell offers it, and every tensor of the file that it writes is as
// computed here.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors, toHalf } from '../gguf.mjs';

const SOURCE = 'tests/golden/conformance/llama-mistral.gguf', F32 = 0, Q8_0 = 8;
const round = (x) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5); // halves away from zero, as C's roundf

/** 32 floats to a block of Q8_0 (half d = max / 127, int8 codes) whose codes have lost their lowest bit. */
function block(x) {
  const d = Math.fround(Math.max(...x.map(Math.abs)) / 127), inverse = d ? Math.fround(1 / d) : 0;
  const bytes = Buffer.alloc(34);
  bytes.writeUInt16LE(toHalf(d));
  x.forEach((v, i) => bytes.writeInt8(2 * Math.floor(round(Math.fround(v * inverse)) / 2), 2 + i));
  return bytes;
}

export default async function check({ tree, test, make, must, run }) {
  const out = join(tree, 'build/halve.gguf');
  await test('writes the tensors that it should', () => {
    make('build/native/nutshell');
    must('build/native/nutshell', 'quantize', SOURCE, out, '--method', 'halve');
    const from = readTensors(readFileSync(join(tree, SOURCE))), to = readTensors(readFileSync(out));
    let nMatrices = 0;
    assert.deepEqual([...to.keys()].sort(), [...from.keys()].sort());
    for (const [name, source] of from) {
      const made = to.get(name), n = source.dims.reduce((a, b) => a * b), isMatrix = source.dims.length === 2;
      assert.equal(source.type, F32);
      assert.equal(made.type, isMatrix ? Q8_0 : F32, name);
      nMatrices += isMatrix;
      const blocks = [];
      for (let at = 0; isMatrix && at < n; at += 32) {
        blocks.push(block(Array.from({ length: 32 }, (_, i) => source.bytes.readFloatLE(4 * (at + i)))));
      }
      const expected = isMatrix ? Buffer.concat(blocks) : Buffer.from(source.bytes.subarray(0, 4 * n));
      assert.ok(expected.equals(made.bytes.subarray(0, expected.length)), name);
    }
    assert.ok(nMatrices > 10, `${nMatrices} matrices`);
  });
  await test('is named where another is asked for, and is not the default', () => {
    const { err, status } = run('build/native/nutshell', 'quantize', SOURCE, out, '--method', 'none');
    assert.equal(status, 1);
    assert.match(err, /halve/);
    assert.match(run('build/native/nutshell', 'quantize', SOURCE, out).err, /say which type/); // as round asks
  });
}
