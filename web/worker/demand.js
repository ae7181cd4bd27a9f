// How far the page has come with the pieces of one generation. Drawing goes a few pieces ahead and then waits, so that a
// loop that takes no more pieces costs no more work.

const AHEAD = 32; // pieces; more than the page takes between two words about it

export class Demand {
  #signal;
  #taken = 0;
  #wake = () => {};

  /** @param {AbortSignal} signal ends the waiting too */
  constructor(signal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake());
  }

  /** @param {number} count pieces in all */
  took(count) {
    this.#taken = count;
    this.#wake();
  }

  /** Resolves when another piece may be drawn. @param {number} sent pieces so far */
  async reaches(sent) {
    while (sent - this.#taken >= AHEAD && !this.#signal.aborted) {
      await new Promise((resolve) => { this.#wake = () => resolve(undefined); });
    }
  }
}
