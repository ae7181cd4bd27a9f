// Counts bytes as they arrive and reports them, not more often than a page can show.

const REPORT_EVERY = 50; // milliseconds
const SPEED_OVER = 3000; // milliseconds over which the speed is measured

/** @typedef {import('../nutshell.d.ts').Progress} Progress */

export class ProgressMeter {
  #report;
  #now;
  #total = 0;
  #loaded = 0;
  #reportedAt = -Infinity;
  #reported = 0; // bytes, in that report
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
   * Begins a file, or the first one again.
   * @param {number} before  bytes of the files before
   * @param {number} size    of this one; 0 while unknown
   */
  begin(before, size) {
    const again = this.#reported > before;
    this.#total = size && before + size;
    this.#loaded = this.#reported = before;
    this.#samples = [];
    if (again) this.flush();
  }

  /** @param {Progress['phase']} phase where bytes come from now; the speed is measured from now on */
  enter(phase) {
    if (phase === this.#phase) return;
    if (this.#loaded > this.#reported) this.flush();
    this.#phase = phase;
    this.#samples = [{ at: this.#now(), loaded: this.#loaded }];
  }

  /** @param {number} bytes more than before */
  add(bytes) {
    this.#loaded += bytes;
    if (this.#now() - this.#reportedAt >= REPORT_EVERY) this.flush();
  }

  /** Reports now. */
  flush() {
    const at = this.#now();
    this.#reportedAt = at;
    this.#reported = this.#loaded;
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
