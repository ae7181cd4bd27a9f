// What is measured: one row of SURFACES per program that runs models, each with a function that measures it once and
// answers in the same units. All read the same model file and the same prompt, and count the same tokens:
//
//   prefill   prompt tokens per second, from the call until the first token of the answer
//   decode    tokens per second from the first token of the answer to the last
//             (browsers: by the page's clock; shells: by the engine's; llama.cpp: by its own, see llama.mjs)
//   load      seconds from the call until the model can be used; its file is in the browser's storage or the file cache
//   first     seconds from the same call until the first token after a prompt of a few words
//   peakBytes what the process held at most, over what it held before (browsers: the page's own process)
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startChromium, startFirefox } from '../browser/drivers.mjs';
import { DRAWN_TOKENS, SHORT_PROMPT } from '../../demo/bench/bench.js';

export const ROOT = join(import.meta.dirname, '../..');
export const CONTEXT = 2048;
export const PEERS = join(ROOT, '.toolchain/peers/node_modules');
const NATIVE = join(ROOT, 'build/native/nutshell');
const CLI_WASM = 'dist/nutshell-cli.wasm';
const WASMTIME = join(ROOT, '.toolchain/bin/wasmtime');
const BROWSER_TIMEOUT = 4 * 60 * 1000;
const POLL = 20; // ms between two looks at a process's memory; the peak stays, so that only its last value counts

/**
 * @typedef {object} Case      what every surface is given
 * @property {string} model    path of the model file
 * @property {string} modelUrl path of the same on the server
 * @property {string} prompt
 * @property {number[]} ids    the prompt's tokens
 * @property {number[]} shortIds
 * @property {number[]} warmUpIds
 * @property {string} site     address of the server
 * @property {(browser: string) => string} profile  folder of a browser's profile, the same in all rounds
 *
 * @typedef {object} Result
 * @property {string} kernel
 * @property {number} threads
 * @property {number} prefill
 * @property {number} decode
 * @property {number} promptTokens
 * @property {number} drawn
 * @property {number} loadSeconds
 * @property {number} firstTokenSeconds
 * @property {number} [peakBytes]
 * @property {number} [modelBytes]  Nutshell: weights, key/value cache and buffers
 * @property {boolean} [fromCache]  false: the model file was fetched
 * @property {string} [browser]
 *
 * @typedef {object} Surface
 * @property {string} id
 * @property {string} name
 * @property {number[]} threads
 * @property {string} [kernel]   what it must report, or its figures are of something else
 * @property {boolean} [extra]   only when asked for
 * @property {(c: Case, threads: number) => Promise<Result>} measure
 * @property {(c: Case) => Promise<unknown>} [prepare]  once, before the rounds: the model gets into the browser's storage
 */

// --- programs ---------------------------------------------------------------------------------------------------------

/** @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

/** Peak of a process's memory in bytes; 0 once it is gone. @param {number | undefined} pid */
function peakOf(pid) {
  try {
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** What a process holds now, in bytes. @param {number} pid */
function heldBy(pid) {
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}

/** @param {string} command @param {string[]} args @returns {Promise<{ out: string, seconds: number, peakBytes: number }>} */
export function runProgram(command, args) {
  return new Promise((resolve, reject) => {
    const since = performance.now();
    const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '', complaint = '', peakBytes = 0;
    const poll = setInterval(() => { peakBytes = peakOf(child.pid) || peakBytes; }, POLL);
    children.add(child);
    child.stdout.on('data', (text) => { out += text; });
    child.stderr.on('data', (text) => { complaint += text; });
    child.on('error', reject);
    child.on('close', (status) => {
      clearInterval(poll);
      children.delete(child);
      if (status === 0) resolve({ out, seconds: (performance.now() - since) / 1000, peakBytes });
      else reject(new Error(`${command} ${args[0]} ended with status ${status}: ${complaint.trim() || out.trim()}`));
    });
  });
}

/** The command line tool. @param {string[]} command what runs it @param {Case} c @param {number} threads */
async function measureShell([program, ...before], c, threads) {
  const options = ['--threads', String(threads), '--context', String(CONTEXT), '--temperature', '0', '--ignore-eos'];
  const run = (prompt, n, ...more) =>
    runProgram(program, [...before, 'run', c.model, prompt, '--max-tokens', String(n), ...options, ...more]);
  const short = await run(SHORT_PROMPT, 1);
  const { out, seconds, peakBytes } = await run(c.prompt, DRAWN_TOKENS + 1, '--json');
  const { ids, kernel, threads: atWork, timings: { prefill, decode } } = JSON.parse(out);
  return {
    kernel, threads: atWork, promptTokens: prefill.tokens, drawn: ids.length - 1, peakBytes,
    prefill: prefill.tokens / prefill.seconds, decode: (ids.length - 1) / decode.seconds,
    loadSeconds: seconds - prefill.seconds - decode.seconds, firstTokenSeconds: short.seconds,
  };
}

/** @param {Case} c @param {number} threads */
async function measureLlama(c, threads) {
  const options = {
    library: join(PEERS, 'node-llama-cpp/dist/index.js'), model: c.model, threads, contextLength: CONTEXT, ids: c.ids,
    shortIds: c.shortIds, warmUpIds: c.warmUpIds, drawn: DRAWN_TOKENS,
  };
  const { out } = await runProgram(process.execPath, [join(import.meta.dirname, 'llama.mjs'), JSON.stringify(options)]);
  return JSON.parse(out);
}

// --- browsers ---------------------------------------------------------------------------------------------------------

/** Processes that run pages. @param {import('../browser/drivers.mjs').Browser} browser @returns {Promise<number[]>} */
async function renderers(browser) {
  if (browser.name !== 'chromium') return [];
  const control = await browser.page.context().browser().newBrowserCDPSession();
  const { processInfo } = await control.send('SystemInfo.getProcessInfo');
  return processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
}

/**
 * Starts the browser, opens a page of the site, calls `measure` of the page's module, and looks at the page's memory.
 * @param {typeof startChromium} start @param {Case} c @param {string} path @param {string} module @param {object} options
 * @returns {Promise<Result>}
 */
async function measurePage(start, c, path, module, options) {
  const browser = await start({ timeout: BROWSER_TIMEOUT, profile: c.profile(start.name) });
  try {
    await browser.goto(c.site + path);
    const before = new Map((await renderers(browser)).map((pid) => [pid, heldBy(pid)]));
    const call = async (module, url, options) => (await import(module)).measure(url, options);
    const result = await browser.evaluate(call, new URL(path + module, c.site).href, c.modelUrl, options);
    const peaks = [...before].map(([pid, held]) => peakOf(pid) - held);
    return { ...result, peakBytes: peaks.length ? Math.max(...peaks) : undefined, browser: browser.version };
  } finally {
    await browser.close();
  }
}

/** The page that every visitor can use. @param {typeof startChromium} start @param {Case} c @param {object} options */
function measureNutshell(start, c, options) {
  return measurePage(start, c, '/demo/bench/', 'bench.js', { contextLength: CONTEXT, prompt: c.prompt, runs: 1, ...options });
}

/** @param {Case} c @param {number} threads */
function measureWllama(c, threads) {
  const { ids, shortIds, warmUpIds } = c;
  return measurePage(startChromium, c, '/demo/wllama/', 'wllama.js',
    { threads, contextLength: CONTEXT, ids, shortIds, warmUpIds, drawn: DRAWN_TOKENS });
}

// --- all of them ------------------------------------------------------------------------------------------------------

/** The surface that the others are compared with. */
export const BASE = 'llama';

/** Order of the table and of a round. @type {Surface[]} */
export const SURFACES = [
  {
    id: 'llama', name: 'llama.cpp, native', threads: [1, 2], measure: measureLlama,
  },
  {
    id: 'chromium', name: 'Nutshell, Chromium', threads: [1, 2], kernel: 'relaxed',
    prepare: (c) => measureNutshell(startChromium, c, { threads: 1 }),
    measure: (c, threads) => measureNutshell(startChromium, c, { threads }),
  },
  {
    id: 'simd128', name: 'Nutshell, Chromium, SIMD128', threads: [1, 2], kernel: 'simd128', extra: true,
    prepare: (c) => measureNutshell(startChromium, c, { threads: 1 }),
    measure: (c, threads) => measureNutshell(startChromium, c, { threads, kernel: 'simd128' }),
  },
  {
    id: 'firefox', name: 'Nutshell, Firefox', threads: [1, 2], kernel: 'relaxed', extra: true,
    prepare: (c) => measureNutshell(startFirefox, c, { threads: 1 }),
    measure: (c, threads) => measureNutshell(startFirefox, c, { threads }),
  },
  {
    id: 'native', name: 'Nutshell, native', threads: [1, 2], kernel: 'relaxed',
    measure: (c, threads) => measureShell([NATIVE], c, threads),
  },
  {
    id: 'wasmtime', name: 'Nutshell, wasmtime', threads: [1], kernel: 'relaxed',
    measure: (c, threads) => measureShell([WASMTIME, 'run', '--dir', '/', join(ROOT, CLI_WASM)], c, threads),
  },
  {
    id: 'wllama', name: 'wllama 2.2.1, Chromium', threads: [1, 2],
    prepare: (c) => measureWllama(c, 1),
    measure: measureWllama,
  },
];

/** Token ids of a text, with the model's beginning token where it asks for one. @param {string} model @param {string} text */
export async function tokenize(model, text) {
  const { out } = await runProgram(NATIVE, ['tokenize', model, text, '--bos']);
  return out.trim().split(/\s+/).map(Number);
}
