// Threads of the engine: workers that run the same module in the same memory. They are started before the
// engine asks for them, since a worker needs the event loop to start and the engine cannot wait for that.
// Each runs this same script, fetched while the module is compiled; see `thread` and `run` in main.js.
import { startWorker } from '../shared/worker.js';
import { instantiate } from './instantiate.js';

const STACK_BYTES = 512 << 10;

// Now and then a worker never starts in Firefox. Then another one is tried.
const START_MILLISECONDS = [2000, 4000];

/** @typedef {import('./instantiate.js').Started} Started */

/** Asks a thread; resolves with its answer. @param {Worker} worker @param {object} request @param {number} [milliseconds] */
function ask(worker, request, milliseconds) {
  return new Promise((resolve, reject) => {
    const timer = milliseconds && setTimeout(() => reject(new Error('no answer')), milliseconds);
    worker.onmessage = ({ data }) => {
      clearTimeout(timer);
      if (data.error) reject(data.error);
      else resolve(data.value);
    };
    worker.onerror = reject;
    worker.postMessage({ id: 0, ...request });
  });
}

const createWorker = () => startWorker(import.meta.url, 'nutshell thread');

/** @param {number} length */
const newWorkers = (length) => Array.from({ length }, createWorker);

export class Threads {
  /** Workers that are not threads yet. */
  #fresh;
  /** Threads that wait for work. @type {Worker[]} */
  #idle = [];

  /** @param {number} count */
  constructor(count) {
    this.#fresh = newWorkers(count);
  }

  /**
   * Starts the threads; those that do not start are left out.
   * @param {WebAssembly.Module} compiled
   * @param {Started} started  the engine's own instance
   * @param {number} [more]  threads
   */
  async start(compiled, { exports, memory }, more) {
    if (more) this.#fresh = newWorkers(more);
    await Promise.all(this.#fresh.map(async (worker) => {
      const stack = exports.nutw_thread_stack(STACK_BYTES);
      for (const milliseconds of stack ? START_MILLISECONDS : []) {
        try {
          await ask(worker, { op: 'thread', compiled, memory, stack, size: STACK_BYTES }, milliseconds);
          this.#idle.push(worker);
          return;
        } catch {
          worker.terminate();
          worker = createWorker();
        }
      }
      worker.terminate();
    }));
  }

  /**
   * Lets an idle thread call a function of the module's table. If that crashes, the word at `crashed` becomes
   * 1.
   * @param {number} fn
   * @param {number} argument
   * @param {number} crashed
   */
  run = (fn, argument, crashed) => {
    const worker = this.#idle.pop();
    if (!worker) return false;
    ask(worker, { op: 'run', fn, argument, crashed }).then(() => this.#idle.push(worker), () => {});
    return true;
  };
}

/**
 * In the thread's own worker: makes it a thread.
 * @param {{ compiled: WebAssembly.Module, memory: WebAssembly.Memory, stack: number, size: number }} request
 * @returns {Promise<(request: { fn: number, argument: number, crashed: number }) => void>} runs what `run` asks for
 */
export async function becomeThread({ compiled, memory, stack, size }) {
  const { exports } = await instantiate(compiled, memory, {});
  exports._emscripten_wasm_worker_initialize(stack, size);
  return ({ fn, argument, crashed }) => {
    try {
      exports.__indirect_function_table.get(fn)(argument);
    } catch (error) {
      Atomics.store(new Int32Array(memory.buffer), crashed >>> 2, 1);
      throw error;
    }
  };
}
