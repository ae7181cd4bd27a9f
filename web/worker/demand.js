// Flow control of one generation: how many of its texts the page has taken. Generation goes a few texts ahead
// and then waits, so that a loop that takes no more costs no more work.

const AHEAD = 32; // texts; more than the page takes between two messages about it

export class Demand {
  #signal;
  #taken = 0;
  #wake = () => {};

  /** @param {AbortSignal} signal ends the waiting too */
  constructor(signal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake());
  }

  /** @param {number} count texts taken in all */
  took(count) {
    this.#taken = count;
    this.#wake();
  }

  /** Resolves when another text may be generated. @param {number} sent texts so far */
  async reaches(sent) {
    while (sent - this.#taken >= AHEAD && !this.#signal.aborted) {
      await new Promise((resolve) => { this.#wake = () => resolve(undefined); });
    }
  }
}
