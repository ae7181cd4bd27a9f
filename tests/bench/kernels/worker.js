// Runs a WASI program that needs only arguments, a clock and two output streams.
const MONOTONIC_SINCE = performance.now();

class Exit { constructor(/** @type {number} */ status) { this.status = status; } }

/** @param {string[]} args @param {() => DataView} view  of the program's memory, which may move when it grows */
function wasi(args, view) {
  const words = args.map((word) => new TextEncoder().encode(`${word}\0`));
  const decoders = { 1: new TextDecoder(), 2: new TextDecoder() };
  return {
    args_sizes_get(/** @type {number} */ count, /** @type {number} */ bytes) {
      view().setUint32(count, words.length, true);
      view().setUint32(bytes, words.reduce((sum, word) => sum + word.length, 0), true);
      return 0;
    },
    args_get(/** @type {number} */ pointers, /** @type {number} */ buffer) {
      for (const word of words) {
        view().setUint32(pointers, buffer, true);
        new Uint8Array(view().buffer, buffer).set(word);
        pointers += 4;
        buffer += word.length;
      }
      return 0;
    },
    clock_time_get(/** @type {number} */ _id, /** @type {bigint} */ _precision, /** @type {number} */ time) {
      view().setBigUint64(time, BigInt(Math.round(1e6 * (performance.now() - MONOTONIC_SINCE))), true);
      return 0;
    },
    fd_write(/** @type {1 | 2} */ fd, /** @type {number} */ parts, /** @type {number} */ n, /** @type {number} */ written) {
      let text = '', bytes = 0;
      for (let i = 0; i < n; i++) {
        const [at, length] = [view().getUint32(parts + 8 * i, true), view().getUint32(parts + 8 * i + 4, true)];
        text += decoders[fd].decode(new Uint8Array(view().buffer, at, length), { stream: true });
        bytes += length;
      }
      postMessage({ to: fd === 1 ? 'out' : 'err', text });
      view().setUint32(written, bytes, true);
      return 0;
    },
    fd_close: () => 0,
    fd_seek: () => 29, // ESPIPE: these streams have no position
    proc_exit(/** @type {number} */ status) { throw new Exit(status); },
  };
}

/** @param {{ url: string, args: string[] }} program */
async function run({ url, args }) {
  /** @type {any} */
  let exports;
  const imports = { wasi_snapshot_preview1: wasi(args, () => new DataView(exports.memory.buffer)) };
  ({ instance: { exports } } = await WebAssembly.instantiateStreaming(fetch(url), imports));
  exports._start();
}

onmessage = async ({ data }) => {
  try {
    await run(data);
    postMessage({ status: 0 });
  } catch (error) {
    postMessage(error instanceof Exit ? { status: error.status } : { error: String(error) });
  }
};
