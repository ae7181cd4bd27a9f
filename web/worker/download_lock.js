// Pages of one origin that load the same model at the same time share one download: the page that holds the
// model's lock fetches and stores the chunks and tells the other pages, which take them from the cache. The
// browser releases the lock when its page ends in whatever way; another page then holds it and goes on from
// there.

const LOOK_EVERY = 1000; // milliseconds, for a message that was missed

export class DownloadLock {
  #name;
  #signal;
  /** @type {BroadcastChannel | null} */
  #channel = null;
  /** @type {'new' | 'waiting' | 'held' | 'released'} */
  #state = 'new';
  #release = () => {};
  #wake = () => {};

  /** @param {string} key of the model @param {AbortSignal} signal */
  constructor(key, signal) {
    this.#name = `nutshell ${key}`;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake());
    try {
      if (navigator.locks) this.#channel = new BroadcastChannel(this.#name);
    } catch { /* the browser has none, or none here */ }
    if (this.#channel) this.#channel.onmessage = () => this.#wake();
    else this.#state = 'held'; // without both (pages that are not secure) each page fetches for itself
  }

  /** Whether this page is to fetch. After the first call it gets the lock as soon as no other page holds it.
   */
  async isHeld() {
    if (this.#state === 'new') {
      this.#state = 'waiting';
      try {
        if (!(await this.#request({ ifAvailable: true }))) this.#request({ signal: this.#signal }).catch(() => {});
      } catch {
        this.#state = 'held'; // locks are forbidden here
      }
    }
    return this.#state === 'held';
  }

  /** Resolves when the lock is held, or cannot be had. @param {LockOptions} options */
  #request(options) {
    return new Promise((resolve, reject) => {
      navigator.locks.request(this.#name, options, (lock) => {
        if (!lock || this.#state === 'released') return resolve(false);
        this.#state = 'held';
        this.#wake();
        resolve(true);
        return new Promise((release) => { this.#release = () => release(undefined); });
      }).catch(reject);
    });
  }

  /** Resolves when there may be more in the cache, or this page holds the lock. */
  async change() {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, LOOK_EVERY);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }

  /** Tells the other pages that there is more in the cache. */
  notify() {
    this.#channel?.postMessage(0);
  }

  release() {
    this.#state = 'released';
    this.notify();
    this.#release();
    this.#channel?.close();
  }
}
