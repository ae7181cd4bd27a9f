// What int8 activations cost a model in quality, as docs/speed.md has it: the KL divergence of its probabilities to those of the
// same weights on floats, over the second halves of the first three windows of 512 tokens of WikiText-2's test text. It is the
// same on all surfaces, which give the same bits, so the native build computes it.
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { ROOT, runProgram } from './surfaces.mjs';

const TEXT = join(resolve(ROOT, process.env.NUT_DATA ?? '../shared/data'), 'text/wiki.test.raw');
const WINDOWS = 3;

/** Whether a model is one whose loss means something: weights that were trained, and the text to read. @param {string} model */
const hasLoss = (model) => !basename(model).startsWith('random-') && existsSync(TEXT);

/** @param {string} json  what `nutshell evaluate --json` says */
export function klOf(json) {
  const { kl, windows } = JSON.parse(json);
  if (typeof kl !== 'number' || windows !== WINDOWS) throw new Error(`no KL of ${WINDOWS} windows in ${json}`);
  return kl;
}

/** Nats a token; undefined where it means nothing. Takes about 20 seconds for SmolLM2-135M. @param {string} model
 *  @param {number} threads */
export async function int8Loss(model, threads) {
  if (!hasLoss(model)) return undefined;
  const { out } = await runProgram(join(ROOT, 'build/native/nutshell'), ['evaluate', model, '--reference', model, '--text', TEXT,
    '--windows', String(WINDOWS), '--threads', String(threads), '--json']);
  return klOf(out);
}
