// What the sections of dynamic-test.mjs share: servers, models, and what a page has ready.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { convert } from '../peers/bert-to-gguf.mjs';
import { stories, tiny } from './models.mjs';
import { OpenAiServer } from './openai-server.mjs';
import { TestServer } from './server.mjs';

/** @typedef {import('./drivers.mjs').Browser} Browser */
/** @typedef {Awaited<ReturnType<typeof setUp>>} Servers */

const ROOT = join(import.meta.dirname, '../..');
export const ENCODER = 'jina-bert-v2-plain'; // of tests/golden/families

/** all-MiniLM-L6 as a file; null where its folder is not named. */
function miniLm() {
  const folder = process.env.NUT_MINILM, file = join(ROOT, 'build/minilm-test/minilm.gguf');
  if (!folder) return null;
  mkdirSync(join(ROOT, 'build/minilm-test'), { recursive: true });
  if (!existsSync(file)) convert(folder, file);
  return readFileSync(file);
}

/** @param {string} dist */
export async function setUp(dist) {
  const model = tiny(), golden = stories(), minilm = miniLm();
  if (!model) throw new Error('there is no model to test with');
  const encoder = readFileSync(join(ROOT, `tests/golden/families/${ENCODER}.gguf`));
  const smollm2 = join(ROOT, 'models/SmolLM2-135M-Instruct-Q4_1.gguf');
  const all = { 'encoder.gguf': encoder, 'stories.gguf': golden?.model, 'minilm.gguf': minilm,
    'smollm2.gguf': existsSync(smollm2) ? readFileSync(smollm2) : null };
  const files = Object.fromEntries(Object.entries(all).filter(([, bytes]) => bytes));
  const main = await TestServer.start({ dist, model, files, isolated: true }), openai = await OpenAiServer.start();
  return { main, openai, golden: golden?.golden ?? null, files, hasMiniLm: minilm !== null,
    close: () => Promise.all([main.close(), openai.close()]) };
}

/** Opens a page with the library, the module, and a model of one thread. @param {Browser} browser @param {Servers} servers */
export async function open(browser, { main }) {
  await browser.goto(`${main.url}/`);
  await browser.evaluate(async () => {
    window.dynamic = await import('/dist/nutshell-dynamic.mjs');
    await Nutshell.cache.clear();
    await resultOf(indexedDB.deleteDatabase('nutshell-dynamic'));
    await window.load('model/a.gguf', { threads: 1, contextLength: 256, cache: false });
  });
}
