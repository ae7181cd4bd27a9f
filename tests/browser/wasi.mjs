// Runs a program of the WASI build in a worker of a page: as much of wasi_snapshot_preview1 as the unit tests need, which
// read files and print. Posts {status, output} when the program ends.
//
//   worker.postMessage({ program: URL, args, files: URL of the bytes, places: { path: [offset, length] } })
const ROOTS = ['.', '../shared']; // preopened, as file descriptors 3 and 4
const OK = 0, BADF = 8, NOENT = 44;
const REGULAR = 4, DIRECTORY = 3, CHARACTERS = 2;

class Exit extends Error {
  /** @param {number} status */
  constructor(status) {
    super(`exit ${status}`);
    this.status = status;
  }
}

class System {
  output = '';
  /** Open files, from descriptor 3 + ROOTS.length on. @type {({ bytes: Uint8Array, at: number } | undefined)[]} */
  #open = [];
  /** @type {WebAssembly.Memory | undefined} */
  memory;
  #text = new TextDecoder();

  /** @param {string[]} args @param {(path: string) => Uint8Array | undefined} read */
  constructor(args, read) {
    this.args = args.map((arg) => new TextEncoder().encode(`${arg}\0`));
    this.read = read;
  }

  get view() { return new DataView(/** @type {WebAssembly.Memory} */ (this.memory).buffer); }
  bytes(at, n) { return new Uint8Array(this.view.buffer, at, n); }
  file(fd) { return this.#open[fd - 3 - ROOTS.length]; }
  u32(at, value) { this.view.setUint32(at, value, true); return OK; }

  /** The ranges of memory of a list of vectors. */
  vectors(at, n) {
    return Array.from({ length: n }, (_, i) =>
      this.bytes(this.view.getUint32(at + 8 * i, true), this.view.getUint32(at + 8 * i + 4, true)));
  }

  imports() {
    const total = this.args.reduce((sum, arg) => sum + arg.length, 0);
    return {
      args_sizes_get: (n, bytes) => this.u32(n, this.args.length) || this.u32(bytes, total),
      args_get: (to, bytes) => {
        for (const arg of this.args) {
          this.u32(to, bytes);
          this.bytes(bytes, arg.length).set(arg);
          to += 4, bytes += arg.length;
        }
        return OK;
      },
      environ_sizes_get: (n, bytes) => this.u32(n, 0) || this.u32(bytes, 0),
      environ_get: () => OK,
      clock_time_get: (_id, _precision, to) => {
        this.view.setBigUint64(to, BigInt(Math.round(performance.now() * 1e6)), true);
        return OK;
      },
      fd_prestat_get: (fd, to) => {
        const root = ROOTS[fd - 3];
        return root ? this.u32(to, 0) || this.u32(to + 4, root.length) : BADF;
      },
      fd_prestat_dir_name: (fd, to, n) => {
        this.bytes(to, n).set(new TextEncoder().encode(ROOTS[fd - 3]).subarray(0, n));
        return OK;
      },
      fd_fdstat_get: (fd, to) => {
        this.bytes(to, 24).fill(0);
        this.view.setUint8(to, fd < 3 ? CHARACTERS : ROOTS[fd - 3] ? DIRECTORY : REGULAR);
        this.view.setBigUint64(to + 8, ~0n, true);
        this.view.setBigUint64(to + 16, ~0n, true);
        return OK;
      },
      fd_fdstat_set_flags: () => OK,
      path_open: (fd, _flags, path, n, _create, _rights, _inherited, _more, to) => {
        const name = this.#text.decode(this.bytes(path, n).slice());
        const bytes = this.read(fd === 3 ? name : `${ROOTS[fd - 3]}/${name}`);
        if (!bytes) return NOENT;
        this.#open.push({ bytes, at: 0 });
        return this.u32(to, 3 + ROOTS.length + this.#open.length - 1);
      },
      fd_close: (fd) => {
        this.#open[fd - 3 - ROOTS.length] = undefined;
        return OK;
      },
      fd_read: (fd, list, n, to) => {
        const file = this.file(fd);
        if (!file) return BADF;
        const from = file.at;
        for (const into of this.vectors(list, n)) {
          const part = file.bytes.subarray(file.at, file.at + into.length);
          into.set(part);
          file.at += part.length;
        }
        return this.u32(to, file.at - from);
      },
      fd_seek: (fd, offset, whence, to) => {
        const file = this.file(fd);
        if (!file) return BADF;
        file.at = Number(offset) + [0, file.at, file.bytes.length][whence];
        this.view.setBigUint64(to, BigInt(file.at), true);
        return OK;
      },
      fd_write: (_fd, list, n, to) => {
        let total = 0;
        for (const bytes of this.vectors(list, n)) {
          this.output += this.#text.decode(bytes.slice());
          total += bytes.length;
        }
        return this.u32(to, total);
      },
      proc_exit: (status) => { throw new Exit(status); },
    };
  }
}

/** @param {{ program: string, args: string[], files: string, places: Record<string, [number, number]> }} what */
async function run({ program, args, files, places }) {
  const all = new Uint8Array(await (await fetch(files)).arrayBuffer());
  const system = new System(args, (path) => {
    const [offset, length] = places[path] ?? [];
    return offset === undefined ? undefined : all.subarray(offset, offset + /** @type {number} */ (length));
  });
  const imports = { wasi_snapshot_preview1: system.imports() };
  const { instance } = await WebAssembly.instantiateStreaming(fetch(program), imports);
  system.memory = /** @type {WebAssembly.Memory} */ (instance.exports.memory);
  try {
    /** @type {() => void} */ (instance.exports._start)();
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    return { status: error.status, output: system.output };
  }
  return { status: 0, output: system.output };
}

self.onmessage = ({ data }) => run(data).then((result) => self.postMessage(result),
  (error) => self.postMessage({ status: -1, output: String(error.stack ?? error) }));
