// Sections of unit-test.mjs: what nutshell-dynamic.mjs has that needs no browser: thresholds, events of a stream, headers.
import { readFileSync } from 'node:fs';
import { quantileOf } from '../../web/dynamic/cascade.js';
import { Short, bytesOf, readHeader, modelOf } from '../../web/dynamic/gguf.js';
import { eventsOf } from '../../web/dynamic/sse.js';
import { learnThreshold } from '../../web/dynamic/threshold.js';
import { check, ensure, equal, failure } from './harness.mjs';
import { tiny } from './models.mjs';

const near = (/** @type {number} */ a, /** @type {number} */ b) => Math.abs(a - b) < 1e-9;

/** @param {string[]} pieces of a stream */
async function eventsIn(pieces) {
  const bytes = pieces.map((piece) => (typeof piece === 'string' ? new TextEncoder().encode(piece) : piece)), events = [];
  const stream = new ReadableStream({ pull: (to) => (bytes.length ? to.enqueue(bytes.shift()) : to.close()) });
  for await (const event of eventsOf(stream)) events.push(event);
  return events;
}

export async function checkDynamic() {
  const { cases } = JSON.parse(readFileSync(new URL('../golden/thresholds.json', import.meta.url), 'utf8'));
  for (const { examples, costs, rewards } of cases) {
    const models = examples[0].rewards.length;
    await check(`thresholds for ${models} models: the best reward for a cost, and the least cost for a reward`, () => {
      for (const [cost, reward] of costs) {
        const found = learnThreshold(examples, { cost });
        ensure(near(found.reward, reward) && found.cost <= cost, `cost ${cost}: reward ${found.reward}, expected ${reward}`);
        equal([found.thresholds.length, near(found.shares.reduce((a, b) => a + b), 1)], [models - 1, true]);
      }
      for (const [reward, cost] of rewards) {
        const found = learnThreshold(examples, { reward });
        ensure(near(found.cost, cost) && found.reward >= reward, `reward ${reward}: cost ${found.cost}, expected ${cost}`);
      }
    });
  }
  await check('thresholds: what cannot be learned is said in words', async () => {
    const [{ examples }] = cases;
    for (const call of [() => learnThreshold([]), () => learnThreshold([{ scores: [], rewards: [1], costs: [1] }]),
      () => learnThreshold([...examples, { scores: [NaN], rewards: [1, 1], costs: [1, 1] }]),
      () => learnThreshold(examples, { reward: 2 }), () => learnThreshold(examples, { cost: 0 }),
      () => learnThreshold(examples, { price: 1 })]) equal((await failure(call)).code, 'bad-argument');
  });
  await check('quantiles are those of numpy.quantile', () => {
    const numbers = [-4, -1, -2.5, -0.5, -3];
    for (const [q, expected] of [[0, -4], [0.1, -3.6], [0.25, -3], [0.5, -2.5], [0.9, -0.7], [1, -0.5]]) {
      ensure(near(quantileOf(numbers, q), expected), `${q}: ${quantileOf(numbers, q)}, expected ${expected}`);
    }
    equal([numbers[0], quantileOf([-2], 0.3), Number.isNaN(quantileOf([], 0.5))], [-4, -2, true]);
  });
  await check('events of a stream, whatever its packets and ends of lines are', async () => {
    const whole = ': hello\r\n\r\ndata: a\r\ndata:b\n\nevent: x\ndata: {"ü": 1}\n\n\n\nid: 3\n\ndata: c';
    const bytes = new TextEncoder().encode(whole), expected = ['a\nb', '{"ü": 1}', 'c'];
    equal(await eventsIn([whole]), expected);
    equal(await eventsIn([...bytes].map((byte) => Uint8Array.of(byte))), expected);
    equal(await eventsIn([]), []);
    const { message } = await failure(() => eventsIn(['data: ', 'x'.repeat(2 ** 20 + 1)]));
    ensure(/more than/.test(message), 'a line without an end');
  });
  await check('headers: a model of fewer layers, and what is no header', async () => {
    const bytes = /** @type {Buffer} */ (tiny()), header = readHeader(bytes, bytes.length);
    equal([header.layers, header.tensors.length, bytesOf(header, header.layers) < bytes.length], [6, 6 * 9 + 2, true]);
    const two = new Uint8Array(await modelOf(header, 2).arrayBuffer()), again = readHeader(two, two.length);
    equal([again.layers, again.tensors.length, bytesOf(again, 2)], [2, 2 * 9 + 2, bytesOf(header, 2)]);
    const same = readHeader(new Uint8Array(await modelOf(header, 6).arrayBuffer()), bytes.length);
    equal(same.tensors.map(({ name, offset }) => [name, offset]), header.tensors.map(({ name, offset }) => [name, offset]));
    const data = bytes.length - bytesOf(header, 6);
    for (const n of [0, 3, 24, 1000, data >> 1]) {
      ensure(await failure(() => readHeader(bytes.subarray(0, n), bytes.length)) instanceof Short, `${n} bytes are enough`);
    }
    for (let i = 0; i < 2000; i++) { // whatever a damaged header says, it is read or refused, and soon
      const damaged = Buffer.from(bytes.subarray(0, data));
      for (let k = 0; k <= i % 4; k++) damaged[(i * 7919 + k * 104729) % (i % 2 ? data : 200)] ^= 1 << (i % 8);
      try {
        readHeader(damaged, bytes.length);
      } catch (error) {
        ensure(error instanceof Error && !(error instanceof TypeError), String(error));
      }
    }
  });
}
