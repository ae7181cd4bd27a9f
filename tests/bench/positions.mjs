// How fast a model goes on in a long context: tokens per second of a prompt of N tokens, and of what is generated after it.
//
//   node tests/bench/positions.mjs [--surface native,chromium,...] [--rounds 3] [MODEL.gguf]
//
// Surfaces are those of surfaces.mjs, with one thread; the figures are medians over interleaved rounds. Reading the cache costs
// a token at position N about (bytes of the cache up to N) / (bytes of the weights) of its time at position 0.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { median } from '../../demo/bench/bench.js';
import { startServer } from '../../demo/serve.mjs';
import { DEFAULT_MODEL, modelFile } from './models.mjs';
import { caseOf, layOutSite } from './site.mjs';
import { SURFACES } from './surfaces.mjs';

const PROMPTS = [8, 1000, 4000, 8000]; // tokens
const CONTEXT = 8192;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { surface: { type: 'string', default: 'native,wasmtime,chromium,no-vnni' }, rounds: { type: 'string', default: '3' } },
});
const model = await modelFile(positionals[0] ?? DEFAULT_MODEL);
const surfaces = values.surface.split(',').map((id) => {
  const found = SURFACES.find((surface) => surface.id === id);
  if (!found) throw new Error(`there is no surface ${id}`);
  return found;
});
const profiles = mkdtempSync(join(tmpdir(), 'nutshell-positions-'));
const server = await startServer({ port: 0, root: layOutSite(model) });
try {
  /** @type {Map<string, import('./surfaces.mjs').Result[]>} */
  const results = new Map();
  for (const surface of surfaces) await surface.prepare?.(await caseOf(model, server.url, profiles, PROMPTS[0], CONTEXT));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const n of PROMPTS) {
      const given = await caseOf(model, server.url, profiles, n, CONTEXT);
      for (const surface of surfaces) {
        const key = `${surface.id} ${n}`;
        results.set(key, [...(results.get(key) ?? []), await surface.measure(given, 1)]);
      }
    }
  }
  console.log(`${basename(model)}, one thread, tokens/s: prompt, then decode after it`);
  for (const { id, name } of surfaces) {
    const figure = (/** @type {number} */ n, /** @type {'prefill' | 'decode'} */ what) =>
      median((results.get(`${id} ${n}`) ?? []).map((result) => result[what])).toFixed(1);
    console.log(`${name.padEnd(34)} ${PROMPTS.map((n) => `${n}: ${figure(n, 'prefill')}, ${figure(n, 'decode')}`).join('   ')}`);
  }
} finally {
  await server.close();
  rmSync(profiles, { recursive: true, force: true });
}
