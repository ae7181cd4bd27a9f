// Counts bytes as they arrive and reports them, not more often than a page can show.

const REPORT_EVERY = 50; // milliseconds
const SPEED_OVER = 3000; // milliseconds that the speed is taken from

/** @typedef {import('../nutshell.d.ts').Progress} Progress */

export class ProgressMeter {
  #report;
  #now;
  #total = 0;
  #loaded = 0;
  #reported = -Infinity; // when
  #told = 0; // bytes, in that report
  /** @type {Progress['phase']} */
  #phase = 'engine';
  /** Times and byte counts, oldest first. @type {{ at: number, loaded: number }[]} */
  #samples = [];

  /** @param {(progress: Progress) => void} report @param {() => number} now milliseconds */
  constructor(report, now = () => performance.now()) {
    this.#report = report;
    this.#now = now;
  }

  get loaded() {
    return this.#loaded;
  }

  /**
   * Begins a file, or begins anew.
   * @param {number} before  bytes of the files before
   * @param {number} size    of this one; 0 while unknown
   */
  begin(before, size) {
    const anew = this.#told > before;
    this.#total = size && before + size;
    this.#loaded = this.#told = before;
    this.#samples = [];
    if (anew) this.flush();
  }

  /** @param {Progress['phase']} phase where bytes come from now; the speed is counted anew */
  enter(phase) {
    if (phase === this.#phase) return;
    if (this.#loaded > this.#told) this.flush();
    this.#phase = phase;
    this.#samples = [{ at: this.#now(), loaded: this.#loaded }];
  }

  /** @param {number} bytes more than before */
  add(bytes) {
    this.#loaded += bytes;
    if (this.#now() - this.#reported >= REPORT_EVERY) this.flush();
  }

  /** Reports now. */
  flush() {
    const at = this.#now();
    this.#reported = at;
    this.#told = this.#loaded;
    this.#samples.push({ at, loaded: this.#loaded });
    while (this.#samples.length > 2 && at - this.#samples[0].at > SPEED_OVER) this.#samples.shift();
    const first = this.#samples[0];
    const seconds = (at - first.at) / 1000;
    const bytesPerSecond = seconds > 0 ? (this.#loaded - first.loaded) / seconds : 0;
    this.#report({
      phase: this.#phase,
      loaded: this.#loaded,
      total: this.#total,
      bytesPerSecond,
      secondsLeft: this.#total && bytesPerSecond > 0 ? (this.#total - this.#loaded) / bytesPerSecond : NaN,
      fromCache: this.#phase === 'cache',
    });
  }

  /** All bytes are there and the model can be used. */
  finish() {
    this.#total = this.#loaded;
    this.enter('ready');
    this.flush();
  }
}
