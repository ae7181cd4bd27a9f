// A made-up model family: a random model of it, whose logits must be those of the float64 program in network.mjs.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomNumbers, vocabulary } from '../gguf.mjs';
import { SIZE, TRAITS, erf, logits, makeFile, makeTensors } from './network.mjs';

const N_IDS = 40, SEED = 11;

const deviation = (values) => {
  const mean = values.reduce((a, b) => a + b) / values.length;
  return Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
};

export default async function check({ tree, test, make, must, unit }) {
  const tensors = makeTensors(SEED), random = randomNumbers(SEED + 1), { n } = vocabulary();
  const ids = [1, ...Array.from({ length: N_IDS - 1 }, () => 3 + Math.floor(random() * (n - 3)))];
  const expected = logits(tensors, ids).flat(), std = deviation(expected);
  const model = join(tree, 'build/growthnet.gguf'), values = join(tree, 'build/growthnet.f64');
  writeFileSync(model, makeFile(tensors));
  writeFileSync(values, new Uint8Array(Float64Array.from([...ids, ...expected]).buffer));

  await test('the float64 program', () => {
    // Abramowitz and Stegun, Handbook of Mathematical Functions (1964), table 7.1
    for (const [x, y] of [[0.5, 0.5204998778], [1, 0.8427007929], [2, 0.9953222650]]) {
      assert.ok(Math.abs(erf(x) - y) < 1e-10, `erf ${x}`);
    }
    assert.ok(N_IDS > 2 * SIZE.window && std > 0.5 && std < 10, `deviation ${std}`);
  });
  await test('each trait of the family shows in the logits', () => {
    for (const trait of Object.keys(TRAITS)) {
      const without = logits(tensors, ids, { ...TRAITS, [trait]: false }).flat();
      const most = Math.max(...without.map((v, i) => Math.abs(v - expected[i]))) / std;
      assert.ok(most > 0.2, `without ${trait} logits differ by ${most} of their deviation`);
    }
  });
  await test('logits are those of the float64 program, on both paths', () => {
    unit('test_growthnet', model, values, String(N_IDS), String(std));
  });
  await test('the shell knows it', () => {
    make('build/native/nutshell');
    assert.match(must('build/native/nutshell', 'info', model, '--json'), /"growthnet"/);
    const out = JSON.parse(must('build/native/nutshell', 'run', model, 'the', '--max-tokens', '12', '--ignore-eos', '--json'));
    assert.equal(out.ids.length, 12);
  });
}
