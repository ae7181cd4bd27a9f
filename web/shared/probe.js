// What this browser can do, found out by trying, never by its name. Runs in pages, in workers and in Node.js.
import { NutshellError } from './errors.js';

// (module (func (export "f") (param i32 i32) (result i32) BODY)) with BODY's bytes to follow.
const HEAD = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0];
const SPLAT_A = [0x20, 0, 0xfd, 0x11]; // local.get 0, i32x4.splat
const SPLAT_B = [0x20, 1, 0xfd, 0x11];
const SPLAT_0 = [0x41, 0, 0xfd, 0x11];
const LANE_0 = [0xfd, 0x1b, 0]; // i32x4.extract_lane 0
const RELAXED_DOT = [0xfd, 0x93, 2]; // i32x4.relaxed_dot_i8x16_i7x16_add_s

/** @param {number[]} body */
function program(...body) {
  return Uint8Array.of(...HEAD, 0x0a, body.length + 4, 1, body.length + 2, 0, ...body, 0x0b);
}

/** Whether the browser knows the instructions; a policy may forbid them still. @returns {boolean} */
export function hasSimd() {
  return typeof WebAssembly === 'object' && WebAssembly.validate(program(...SPLAT_A, ...LANE_0));
}

/** Whether modules may run here: a Content-Security-Policy can forbid it. Some browsers then refuse to
 * compile them, WebKit to
 *  instantiate them. @returns {boolean} */
export function isWasmAllowed() {
  try {
    const empty = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
    return Boolean(new WebAssembly.Instance(new WebAssembly.Module(empty)));
  } catch {
    return false;
  }
}

// Four products of an int8 and a number in 0..127: bytes of a and b, and their sum worked out by hand.
const DOTS = [
  { a: [-1, -127, 127, -128], b: [127, 1, 126, 127], sum: -127 - 127 + 16002 - 16256 },
  { a: [-128, -128, -128, -128], b: [127, 127, 127, 127], sum: -65024 },
  { a: [127, 127, 127, 127], b: [127, 127, 127, 127], sum: 64516 },
];

/** @param {number[]} bytes */
const pack = ([a, b, c, d]) => (a & 255) | ((b & 255) << 8) | ((c & 255) << 16) | (d << 24);

/** Whether the relaxed dot product exists and computes rightly: Node 20 has it and computes wrongly. @returns {boolean} */
export function hasRelaxedSimd() {
  const bytes = program(...SPLAT_A, ...SPLAT_B, ...SPLAT_0, ...RELAXED_DOT, ...LANE_0);
  if (!hasSimd() || !WebAssembly.validate(bytes) || !isWasmAllowed()) return false;
  const { f } = /** @type {any} */ (new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports);
  return DOTS.every(({ a, b, sum }) => f(pack(a), pack(b)) === sum);
}

/**
 * Whether memory can be shared with other threads. `crossOriginIsolated` alone does not tell: WebKitGTK 2.50
 * says true and has no SharedArrayBuffer. @returns {boolean}
 */
export function hasSharedMemory() {
  try {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(new SharedArrayBuffer(1));
    port1.close();
    port2.close();
    return memory.buffer instanceof SharedArrayBuffer;
  } catch {
    return false;
  }
}

export const NO_SIMD = 'this browser has no WebAssembly SIMD, which the engine needs: use Chrome or Edge 91, Firefox 89, '
  + 'Safari 16.4 or later, without lockdown mode';

/** @param {unknown} [cause] */
export const blockedError = (cause) => new NutshellError('wasm-blocked', 'a Content-Security-Policy forbids WebAssembly: let '
  + "script-src allow 'wasm-unsafe-eval', for the page and for nutshell-worker.mjs", { cause });

/** Whether workers can be started here: service workers, some browsers' shared workers and Node.js have none.
 */
export const hasWorkers = () => typeof Worker === 'function';

export const RELAXED_IS_WRONG = 'this browser computes relaxed SIMD wrongly: leave kernel out';

/** Throws an error that says why no engine can run here. */
export function needEngine() {
  if (!hasSimd()) throw new NutshellError('no-simd', NO_SIMD);
  if (!isWasmAllowed()) throw blockedError();
}
