// The engine and the module for chats without a worker, as web/worker/main.js puts them together.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as chats from '../../web/worker/chat.js';
import { Engine } from '../../web/worker/engine.js';
import { instantiate } from '../../web/worker/instantiate.js';
import { Wasm } from '../../web/worker/wasm.js';
import { DIST } from './models.mjs';

const compileModule = (/** @type {string} */ name) => WebAssembly.compile(readFileSync(join(DIST, `nutshell-${name}.wasm`)));

/** An engine with a model. @param {Buffer} model @param {number} contextLength */
export async function engineWith(model, contextLength) {
  const started = await instantiate(await compileModule('simd128'), null, {});
  started.exports.__wasm_call_ctors();
  const engine = new Engine(started);
  engine.loadBegin({ fileSize: model.length, contextLength, kvType: 'f16', kernel: undefined });
  engine.staging(model.length).set(model);
  engine.feed(0, model.length);
  engine.loadFinish({ contextLength, kvType: 'f16', threads: 1, fewer: false });
  return engine;
}

/** The chat of an engine, and the memory of its module. @param {Engine} engine */
export async function chatWith(engine) {
  /** @type {any} */
  let memory;
  const start = async (/** @type {Parameters<typeof instantiate>} */ ...how) => {
    const started = await instantiate(...how);
    ({ memory } = started);
    return started;
  };
  return { chat: await chats.chatWith(engine, { compileModule, instantiate: start, Wasm }), memory };
}
