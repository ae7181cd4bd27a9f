// Pages of one origin that load the same model at the same time share one download: whoever holds the model's lock fetches
// and stores, and tells the others, who take the chunks from the cache. A lock is let go when its holder ends, in whatever
// way; then another goes on from there.

const LOOK_EVERY = 1000; // milliseconds, where a word was missed

export class Turn {
  #name;
  #signal;
  #channel;
  /** @type {'new' | 'waiting' | 'leading' | 'left'} */
  #state = 'new';
  #letGo = () => {};
  #wake = () => {};

  /** @param {string} key of the model @param {AbortSignal} signal */
  constructor(key, signal) {
    this.#name = `nutshell ${key}`;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake());
    // Without them (pages that are not secure) each page fetches for itself.
    this.#channel = navigator.locks && typeof BroadcastChannel === 'function' ? new BroadcastChannel(this.#name) : null;
    if (this.#channel) this.#channel.onmessage = () => this.#wake();
    else this.#state = 'leading';
  }

  /** Whether this page is the one that fetches. Once asked, it is as soon as no other is. */
  async leads() {
    if (this.#state === 'new') {
      this.#state = 'waiting';
      if (!(await this.#take({ ifAvailable: true }))) this.#take({ signal: this.#signal }).catch(() => {});
    }
    return this.#state === 'leading';
  }

  /** Resolves when the lock is held, or is not to be had. @param {LockOptions} options */
  #take(options) {
    return new Promise((resolve, reject) => {
      navigator.locks.request(this.#name, options, (lock) => {
        if (!lock || this.#state === 'left') return resolve(false);
        this.#state = 'leading';
        this.#wake();
        resolve(true);
        return new Promise((letGo) => { this.#letGo = () => letGo(undefined); });
      }).catch(reject);
    });
  }

  /** Resolves when there may be more in the cache, or this page leads. */
  async news() {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, LOOK_EVERY);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }

  /** Tells the others that there is more in the cache. */
  tell() {
    this.#channel?.postMessage(0);
  }

  leave() {
    this.#state = 'left';
    this.tell();
    this.#letGo();
    this.#channel?.close();
  }
}
