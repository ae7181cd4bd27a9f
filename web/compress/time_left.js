// How long a job still takes, from the share that is done: as long for the rest as for what is done. The
// shares are those of the time that each part took when it was measured, so no more is known.

const LEAST = 0.01; // done, before anything is said

export class TimeLeft {
  #before;
  #since;
  #now;
  #done = 0;

  /** @param {number} seconds that earlier runs of the job took @param {() => number} now milliseconds */
  constructor(seconds = 0, now = () => performance.now()) {
    this.#before = seconds;
    this.#now = now;
    this.#since = now();
  }

  /** Of all runs of the job. */
  get seconds() {
    return this.#before + (this.#now() - this.#since) / 1000;
  }

  /** @param {number} share 0 to 1; a job that tries again may tell less than before */
  reach(share) {
    this.#done = Math.max(this.#done, Math.min(share, 1));
  }

  get done() {
    return this.#done;
  }

  /** NaN while unknown. */
  get secondsLeft() {
    return this.#done < LEAST ? NaN : this.seconds * (1 - this.#done) / this.#done;
  }
}
