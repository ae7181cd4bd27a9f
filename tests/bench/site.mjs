// What the benchmarks of whole models share: a site with the pages of all surfaces and a model, and a prompt of so many tokens.
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SHORT_PROMPT, WARM_UP, fitPrompt } from '../../demo/bench/bench.js';
import { ONNX, PEERS, RIVALS, ROOT, tokenize } from './surfaces.mjs';

/** @typedef {import('./surfaces.mjs').Case} Case */

export const WORK = join(ROOT, 'build/bench');

/** A folder that the demo's server can serve: the pages, dist/, wllama and the model, by links. @param {string} model */
export function layOutSite(model) {
  const site = join(WORK, 'site');
  rmSync(site, { recursive: true, force: true });
  for (const folder of ['demo', 'models']) mkdirSync(join(site, folder), { recursive: true });
  symlinkSync(join(ROOT, 'dist'), join(site, 'dist'));
  symlinkSync(join(ROOT, 'demo/bench'), join(site, 'demo/bench'));
  symlinkSync(join(import.meta.dirname, 'wllama'), join(site, 'demo/wllama'));
  symlinkSync(join(PEERS, '@wllama/wllama/esm'), join(site, 'demo/wllama-2.2.1'));
  symlinkSync(join(PEERS, 'wllama-3/esm'), join(site, 'demo/wllama-3.8.1'));
  symlinkSync(join(import.meta.dirname, 'transformers'), join(site, 'demo/transformers'));
  symlinkSync(join(RIVALS, '@huggingface/transformers/dist'), join(site, 'demo/transformers-lib'));
  symlinkSync(join(RIVALS, 'onnxruntime-web/dist'), join(site, 'demo/onnxruntime-lib'));
  symlinkSync(ONNX, join(site, 'demo/onnx'));
  symlinkSync(model, join(site, 'models', basename(model)));
  return site;
}

/**
 * @param {string} model @param {string} site @param {string} profiles @param {number} n  tokens of the prompt
 * @param {number} contextLength @returns {Promise<Case>}
 */
export async function caseOf(model, site, profiles, n, contextLength) {
  const prompt = await fitPrompt(async (text) => (await tokenize(model, text)).length, n);
  return {
    model, modelUrl: `/models/${encodeURIComponent(basename(model))}`, site, contextLength, prompt,
    ids: await tokenize(model, prompt), shortIds: await tokenize(model, SHORT_PROMPT),
    warmUpIds: await tokenize(model, WARM_UP), profile: (name) => join(profiles, name),
  };
}
