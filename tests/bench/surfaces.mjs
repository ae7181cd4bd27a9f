// What is measured: one row of SURFACES per program that runs models, each with a function that measures it once and returns
// the same units. All read the same model file and the same prompt, and count the same tokens:
//
//   prefill   prompt tokens per second, from the call until the first token of the answer
//   decode    tokens per second from the first token of the answer to the last
//             (browsers: by the page's clock; shells: by the engine's; llama.cpp: by its own, see llama.mjs)
//   load      seconds from the call until the model can be used; its file is in the browser's storage or the file cache
//   first     seconds from the same call until the first token after a prompt of a few words
//   peakBytes peak memory of the process, above that before (browsers: the page's own process)
//   heldBytes of that, the memory for most of the time, without that of the browser's own program
//   wasmBytes of that, the memory of the WebAssembly module: the largest mapping of the process
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { startChromium, startFirefox } from '../browser/drivers.mjs';
import { DRAWN_TOKENS, SHORT_PROMPT, WARM_UP, median } from '../../demo/bench/bench.js';
import { hasAmx, layOutWithoutAmx } from './llama-vnni.mjs';

export const ROOT = join(import.meta.dirname, '../..');
export const PEERS = join(ROOT, '.toolchain/peers/node_modules');
const NATIVE = join(ROOT, 'build/native/nutshell');
const CLI_WASM = 'dist/nutshell-cli.wasm';
export const RIVALS = join(ROOT, '.toolchain/rivals/node_modules');
export const ONNX = join(ROOT, 'build/bench/onnx');
const WITHOUT_AMX = join(ROOT, 'build/bench/llama-vnni/node_modules');
const WASMTIME = join(ROOT, '.toolchain/bin/wasmtime');
const BROWSER_TIMEOUT = 15 * 60 * 1000; // wllama 3.8.1 reads two tokens of a 1B model a second
const POLL = 20; // ms between two looks at a process's memory
const LOOKS_PER_MAP = 25; // looks to one at what its memory consists of, which takes the system longer

/**
 * @typedef {object} Case      what every surface is given
 * @property {string} model    path of the model file
 * @property {string} modelUrl path of the same on the server
 * @property {number} contextLength
 * @property {string} prompt
 * @property {number[]} ids    the prompt's tokens
 * @property {number[]} shortIds
 * @property {number[]} warmUpIds
 * @property {string} site     address of the server
 * @property {(name: string) => string} profile  folder of a browser's profile, the same in all rounds
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
 * @property {number} [heldBytes]
 * @property {number} [wasmBytes]
 * @property {number} [programBytes] pages of the browser's program that were read meanwhile, part of the peak
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
 * @property {boolean} [long]    measured with the long prompt too, where that is asked for
 * @property {string} [missing]  why it cannot be measured on this machine
 * @property {(c: Case, threads: number) => Promise<Result>} measure
 * @property {(c: Case) => Promise<unknown>} [prepare]  once, before the rounds: the model gets into the browser's storage
 */

// --- programs ---------------------------------------------------------------------------------------------------------

/** @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

/**
 * A process's memory in bytes: peak, current, and how much of that is private and not mapped files.
 * The peak is since its last reset. Chromium resets it from time to time, so it has to be polled.
 * @param {number | undefined} pid @returns {{ peak: number, now: number, own: number } | null} null once it is gone
 */
function memoryOf(pid) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const read = (field) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
    const now = read('VmRSS');
    return now ? { peak: read('VmHWM'), now, own: now - read('RssFile') } : null;
  } catch {
    return null;
  }
}

/** Matches a writable mapping without a file in a list of mappings, and its resident kilobytes. */
const ANONYMOUS_PIECE = /^[\da-f]+-[\da-f]+ rw.. \S+ \S+ 0 *\n(?:.*\n){2,3}?Rss: +(\d+)/gm;

/** Bytes in use of the largest piece of memory that is no file's. @param {number} pid */
function largestPiece(pid) {
  try {
    const pieces = readFileSync(`/proc/${pid}/smaps`, 'latin1').matchAll(ANONYMOUS_PIECE);
    return 1024 * Math.max(0, ...[...pieces].map(([, kilobytes]) => Number(kilobytes)));
  } catch {
    return 0;
  }
}

/** Looks at a process until stopped; peak and held are over what it held at first. @param {number} pid */
function watchMemory(pid) {
  const before = memoryOf(pid) ?? { peak: 0, now: 0, own: 0 };
  const looks = [before];
  let wasmBytes = 0;
  const look = () => {
    looks.push(memoryOf(pid) ?? before);
    if (looks.length % LOOKS_PER_MAP === 0) wasmBytes = Math.max(wasmBytes, largestPiece(pid));
  };
  const timer = setInterval(look, POLL);
  return {
    stop() {
      clearInterval(timer);
      const files = looks.map(({ now, own }) => now - own);
      return {
        peakBytes: Math.max(...looks.map(({ peak }) => peak)) - before.now,
        heldBytes: median(looks.map(({ own }) => own)) - before.own,
        programBytes: Math.max(...files) - files[0], wasmBytes,
      };
    },
  };
}

/** @param {string} command @param {string[]} args @returns {Promise<{ out: string, seconds: number, peakBytes: number }>} */
export function runProgram(command, args) {
  return new Promise((resolve, reject) => {
    const since = performance.now();
    const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '', complaint = '', peakBytes = 0;
    const poll = setInterval(() => { peakBytes = Math.max(peakBytes, memoryOf(child.pid)?.peak ?? 0); }, POLL);
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
  const options = ['--threads', String(threads), '--context', String(c.contextLength), '--temperature', '0', '--ignore-eos'];
  const model = realpathSync(c.model); // wasmtime follows no link to an absolute path
  const run = (prompt, n, ...more) =>
    runProgram(program, [...before, 'run', model, prompt, '--max-tokens', String(n), ...options, ...more]);
  const short = await run(SHORT_PROMPT, 1);
  const { out, seconds, peakBytes } = await run(c.prompt, DRAWN_TOKENS + 1, '--json');
  const { ids, kernel, threads: atWork, timings: { prefill, decode } } = JSON.parse(out);
  return {
    kernel, threads: atWork, promptTokens: prefill.tokens, drawn: ids.length - 1, peakBytes,
    prefill: prefill.tokens / prefill.seconds, decode: (ids.length - 1) / decode.seconds,
    loadSeconds: seconds - prefill.seconds - decode.seconds, firstTokenSeconds: short.seconds,
  };
}

/** @param {string} packages @param {Case} c @param {number} threads */
async function measureLlama(packages, c, threads) {
  const options = {
    library: join(packages, 'node-llama-cpp/dist/index.js'), model: c.model, threads, contextLength: c.contextLength, ids: c.ids,
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
 * @param {typeof startChromium} start @param {Case} c @param {{ path: string, module: string, profile: string }} page
 * @param {object} options @returns {Promise<Result>}
 */
async function measurePage(start, c, { path, module, profile }, options) {
  const browser = await start({ timeout: BROWSER_TIMEOUT, profile: c.profile(profile) });
  try {
    await browser.goto(c.site + path);
    const watched = (await renderers(browser)).map(watchMemory);
    const call = async (module, url, options) => (await import(module)).measure(url, options);
    const result = await browser.evaluate(call, new URL(path + module, c.site).href, c.modelUrl, options);
    const [memory] = watched.map((process) => process.stop()).sort((a, b) => b.peakBytes - a.peakBytes);
    return { ...result, ...memory, browser: browser.version };
  } finally {
    await browser.close();
  }
}

/** The page that every visitor can use. @param {typeof startChromium} start @param {Case} c @param {object} options */
function measureNutshell(start, c, options) {
  const { contextLength, prompt } = c;
  const page = { path: '/demo/bench/', module: 'bench.js', profile: start.name };
  return measurePage(start, c, page, { contextLength, prompt, runs: 1, ...options });
}

/** A profile for each version, as they do not share a store. @param {string} version @param {Case} c @param {number} threads */
function measureWllama(version, c, threads) {
  const page = { path: '/demo/wllama/', module: 'wllama.js', profile: `wllama-${version}` };
  return measurePage(startChromium, c, page, {
    version, threads, contextLength: c.contextLength, drawn: DRAWN_TOKENS, prompt: { text: c.prompt, ids: c.ids },
    short: { text: SHORT_PROMPT, ids: c.shortIds }, warmUp: { text: WARM_UP, ids: c.warmUpIds },
  });
}

/**
 * transformers.js runs ONNX folders, which ../shared/peers/export_onnx.py makes of a GGUF (its head says with what):
 * `plain-last` is the older form of such models with the logits of the last position alone, its fastest at reading.
 * @param {typeof startChromium} start @param {Case} c @param {number} threads
 */
function measureTransformers(start, c, threads) {
  const page = { path: '/demo/transformers/', module: 'transformers.js', profile: 'transformers' };
  const { ids, shortIds, warmUpIds } = c;
  const options = { variant: 'plain-last', dtype: 'q8', threads, ids, shortIds, warmUpIds, drawn: DRAWN_TOKENS };
  return measurePage(start, c, page, options);
}

/** Chromium as it is on an x86 processor without AVX-VNNI, which most have today: the relaxed dot is five instructions. */
const startWithoutVnni = (options) => startChromium({ ...options, args: ['--js-flags=--no-enable-avx-vnni'] });

// --- all of them ------------------------------------------------------------------------------------------------------

/** @param {string} version @returns {Pick<Surface, 'name' | 'threads' | 'prepare' | 'measure'>} */
const wllama = (version) => ({
  name: `wllama ${version}, Chromium`, threads: [1, 2],
  prepare: (c) => measureWllama(version, c, 1),
  measure: (c, threads) => measureWllama(version, c, threads),
});

/** Order of the table and of a round. @type {Surface[]} */
export const SURFACES = [
  {
    id: 'llama', name: 'llama.cpp, native', threads: [1, 2], long: true,
    measure: (c, threads) => measureLlama(PEERS, c, threads),
  },
  {
    id: 'llama-vnni', name: 'llama.cpp, native, no AMX', threads: [1, 2], kernel: 'ggml avx512-vnni', long: true,
    missing: hasAmx() ? undefined : 'this machine has no AMX: it would be the same as llama',
    prepare: async () => layOutWithoutAmx(PEERS, WITHOUT_AMX),
    measure: (c, threads) => measureLlama(WITHOUT_AMX, c, threads),
  },
  {
    id: 'chromium', name: 'Nutshell, Chromium', threads: [1, 2], kernel: 'relaxed', long: true,
    prepare: (c) => measureNutshell(startChromium, c, { threads: 1 }),
    measure: (c, threads) => measureNutshell(startChromium, c, { threads }),
  },
  {
    id: 'simd128', name: 'Nutshell, Chromium, SIMD128', threads: [1, 2], kernel: 'simd128', extra: true, long: true,
    prepare: (c) => measureNutshell(startChromium, c, { threads: 1 }),
    measure: (c, threads) => measureNutshell(startChromium, c, { threads, kernel: 'simd128' }),
  },
  {
    id: 'no-vnni', name: 'Nutshell, Chromium, no AVX-VNNI', threads: [1, 2], kernel: 'relaxed', extra: true, long: true,
    prepare: (c) => measureNutshell(startWithoutVnni, c, { threads: 1 }),
    measure: (c, threads) => measureNutshell(startWithoutVnni, c, { threads }),
  },
  {
    id: 'firefox', name: 'Nutshell, Firefox', threads: [1, 2], kernel: 'relaxed', extra: true, long: true,
    prepare: (c) => measureNutshell(startFirefox, c, { threads: 1 }),
    measure: (c, threads) => measureNutshell(startFirefox, c, { threads }),
  },
  {
    id: 'native', name: 'Nutshell, native', threads: [1, 2], kernel: 'relaxed', long: true,
    measure: (c, threads) => measureShell([NATIVE], c, threads),
  },
  {
    id: 'wasmtime', name: 'Nutshell, wasmtime', threads: [1], kernel: 'relaxed', long: true,
    measure: (c, threads) => measureShell([WASMTIME, 'run', '--dir', '/', join(ROOT, CLI_WASM)], c, threads),
  },
  { id: 'wllama', ...wllama('2.2.1') },
  { id: 'wllama3', ...wllama('3.8.1') },
  ...([['transformers', startChromium, ''], ['transformers-no-vnni', startWithoutVnni, ', no AVX-VNNI']].map(
    ([id, start, more]) => ({
      id, name: `transformers.js 4.3.2 q8, Chromium${more}`, threads: [1, 2], extra: true,
      missing: existsSync(ONNX) ? undefined : `there is no ${ONNX}: make it with ../shared/peers/export_onnx.py`,
      prepare: (c) => measureTransformers(start, c, 1),
      measure: (c, threads) => measureTransformers(start, c, threads),
    }))),
];

/** Token ids of a text, with the model's beginning token where it asks for one. @param {string} model @param {string} text */
export async function tokenize(model, text) {
  const { out } = await runProgram(NATIVE, ['tokenize', model, text, '--bos']);
  return out.trim().split(/\s+/).map(Number);
}
