// A module of the library as JavaScript sees it: numbers, strings and byte arrays instead of addresses,
// exceptions instead of return codes (see wasm/nut_wasm.c).
import { NutshellError } from '../shared/errors.js';

export const encoder = new TextEncoder();
export const decoder = new TextDecoder('utf-8', { ignoreBOM: true }); // a text may begin with U+FEFF, which is not to be lost

export class Wasm {
  #started;
  #prefix;
  /** Why the module can no longer be used. @type {NutshellError | null} */
  crash = null;

  /** @param {import('./instantiate.js').Started} started @param {string} prefix of its functions */
  constructor(started, prefix) {
    this.#started = started;
    this.#prefix = prefix;
  }

  /** Calls a function of wasm/surface.txt; a trap makes the module unusable. @param {string} name @param {...number} args */
  call(name, ...args) {
    if (this.crash) throw this.crash;
    try {
      return this.#started.exports[this.#prefix + name](...args);
    } catch (cause) {
      this.crash = new NutshellError('engine-crashed',
        `the engine stopped unexpectedly (${cause}); load the model again`, { cause });
      throw this.crash;
    }
  }

  /** As `call`, and throws the module's own error where the result says so. @param {string} name @param {...number} args */
  check(name, ...args) {
    const result = this.call(name, ...args);
    if (result < 0) throw this.error();
    return result;
  }

  /** As `call`, of a function that gives an address; throws the module's own error where that is 0.
   *  @param {string} name @param {...number} args @returns {number} */
  address(name, ...args) {
    const at = this.call(name, ...args) >>> 0;
    if (at === 0) throw this.error();
    return at;
  }

  /**
   * As `address`, of a function that gives a struct of wasm/boundary.h.
   * @template {readonly string[]} Fields
   * @param {Fields} fields
   * @param {string} name
   * @param {...number} args
   * @returns {Record<Fields[number], number>}
   */
  struct(fields, name, ...args) {
    const at = this.address(name, ...args);
    const doubles = new Float64Array(this.#started.memory.buffer, at, fields.length);
    return /** @type {any} */ (Object.fromEntries(fields.map((field, i) => [field, doubles[i]])));
  }

  error() {
    const code = this.cString(this.call('error_name'));
    return new NutshellError(/** @type {any} */ (code), this.cString(this.call('error_message')));
  }

  /** Bytes at an address; valid until the next call. @param {number} at @param {number} n @returns {Uint8Array} */
  view(at, n) {
    return new Uint8Array(this.#started.memory.buffer, at >>> 0, n);
  }

  /** A text. Copied first, since text decoders refuse shared memory. @param {number} at @param {number} n bytes */
  text(at, n) {
    return decoder.decode(this.view(at, n).slice());
  }

  /** Terminated text. @param {number} at */
  cString(at) {
    const bytes = new Uint8Array(this.#started.memory.buffer, at >>> 0);
    return decoder.decode(bytes.slice(0, bytes.indexOf(0)));
  }

  /** Address of n bytes for input. @param {number} n */
  stage(n) {
    return this.address('staging', n);
  }

  /** Puts inputs one behind another; their addresses. @param {...Uint8Array} inputs */
  put(...inputs) {
    let at = this.stage(inputs.reduce((sum, { length }) => sum + length, 1));
    return inputs.map((bytes) => {
      this.view(at, bytes.length).set(bytes);
      at += bytes.length;
      return at - bytes.length;
    });
  }
}
