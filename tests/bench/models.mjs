// The measured models: a real one, and random weights in the shapes of others, which are as fast as the originals.
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { ROOT, runProgram } from './surfaces.mjs';

export const DEFAULT_MODEL = 'models/SmolLM2-135M-Instruct-Q4_1.gguf';

/** What "all" stands for. */
export const ALL_MODELS = [
  DEFAULT_MODEL, 'smollm2-135m:q8_0', 'smollm2-135m:q4_0', 'qwen2.5-0.5b:q4_0', 'qwen2.5-0.5b:q4_k', 'llama3.2-1b:q4_0',
  'llama3.2-1b:q4_k',
];

/** Their names in charts, in order, by file name. */
export const MODEL_NAMES = {
  'SmolLM2-135M-Instruct-Q4_1.gguf': 'SmolLM2 135M, Q4_1',
  'random-smollm2-135m-q8_0.gguf': 'SmolLM2 135M, Q8_0',
  'random-smollm2-135m-q4_0.gguf': 'SmolLM2 135M, Q4_0',
  'random-qwen2.5-0.5b-q4_0.gguf': 'Qwen2.5 0.5B, Q4_0',
  'random-qwen2.5-0.5b-q4_k.gguf': 'Qwen2.5 0.5B, Q4_K',
  'random-llama3.2-1b-q4_0.gguf': 'Llama 3.2 1B, Q4_0',
  'random-llama3.2-1b-q4_k.gguf': 'Llama 3.2 1B, Q4_K',
};

const RANDOM_MODELS = join(ROOT, '../shared/tools/gguf_random.py');
const FOLDER = join(ROOT, 'build/bench/models');

/** Path of a model that was named as a file or as SHAPE:TYPE; random weights are made once. @param {string} name */
export async function modelFile(name) {
  if (name === DEFAULT_MODEL) name = join(ROOT, name);
  if (existsSync(name)) return resolve(name);
  const [, shape, type] = /^([\w.-]+):(\w+)$/.exec(name) ?? [];
  if (!shape) throw new Error(`there is no ${name}; wasm/toolchain.sh model fetches ${DEFAULT_MODEL}`);
  const path = join(FOLDER, `random-${shape}-${type}.gguf`);
  if (existsSync(path)) return path;
  if (!existsSync(RANDOM_MODELS)) throw new Error(`${RANDOM_MODELS} is missing, which makes models with random weights`);
  process.stderr.write(`making ${basename(path)}\n`);
  mkdirSync(FOLDER, { recursive: true });
  await runProgram(process.env.PYTHON ?? 'python3', [RANDOM_MODELS, shape, type, `${path}.part`]);
  renameSync(`${path}.part`, path);
  return path;
}
