// Tiny models of rwkv.cpp, converted by rwkv-to-gguf.mjs: the logits are those that rwkv.cpp stored beside them
// (tests/expected-logits-*.bin there, after the bytes of its test's prompt, `"in`), and what is no RWKV-7 is refused.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, ensure, finish, skip } from '../browser/harness.mjs';
import { convert } from './rwkv-to-gguf.mjs';

const DATA = join(process.env.NUT_DATA ?? '../shared/data', 'rwkv'), WORK = 'build/rwkv-test';
const PROMPT = [...Buffer.from('"in')];
const NEAR = 1e-5; // the logits' deviation is 0.6
mkdirSync(WORK, { recursive: true });

const floats = (path) => new Float32Array(new Uint8Array(readFileSync(path)).buffer);

async function compare(...options) {
  const [model, out] = [join(WORK, 'rwkv7.gguf'), join(WORK, 'logits.f32')];
  convert(join(DATA, 'tiny-rwkv-7v0-834K-FP32.bin'), model);
  execFileSync('build/native/nutshell', ['logits', model, '--ids', `${PROMPT}`, '-o', out, ...options], { stdio: 'ignore' });
  const expected = floats(join(DATA, 'expected-logits-7v0-834K.bin')), last = floats(out).subarray(-expected.length);
  const most = Math.max(...expected.map((x, i) => Math.abs(x - last[i])));
  ensure(expected.length === 256 && most < NEAR, `${expected.length} logits differ by up to ${most}`);
}

function refused(path, message) {
  const args = ['tests/peers/rwkv-to-gguf.mjs', path, join(WORK, 'no.gguf')];
  const { status, stderr } = spawnSync('node', args, { encoding: 'utf8' });
  ensure(status === 1 && message.test(stderr), `status ${status}: ${stderr}`);
}

if (!existsSync(DATA)) skip('models of rwkv.cpp', `${DATA} is missing`);
else {
  await check('RWKV-7, reference path', () => compare('--reference'));
  await check('RWKV-7, fast path', () => compare());
  await check('RWKV-5.2 is refused', () =>
    refused(join(DATA, 'tiny-rwkv-5v2-730K-FP32.bin'), /time_decay: only RWKV-7 is converted/));
}
await check('another file is refused', () => {
  writeFileSync(join(WORK, 'other.bin'), Buffer.alloc(64));
  refused(join(WORK, 'other.bin'), /is no file of rwkv\.cpp/);
});
finish();
