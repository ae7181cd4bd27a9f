// A generation: pieces from the worker, texts or parts of an answer, become an async iterator. It starts when
// the first is asked for, and stops when its loop is left or its signal aborts.
import { NutshellError } from '../shared/errors.js';
import { asyncDispose } from './dispose.js';

/** @typedef {import('../nutshell.d.ts').GenerationStats} GenerationStats */

const TELL_EVERY = 8; // pieces that are taken before the worker is told; it generates AHEAD of them in advance (demand.js)

/**
 * @typedef {object} Run  what a generation needs of its model
 * @property {(onEvent: (event: any) => void, started: (id: number) => void) => Promise<any>} ask
 * @property {(id: number) => void} stop
 * @property {(id: number, count: number) => void} took  so many pieces have been taken in all
 * @property {(stop: (error: unknown) => void) => void} begin  throws 'busy', 'freed' or 'unloaded'; `stop` ends it later
 * @property {() => void} end    another generation may begin
 */

export class Generation {
  #run;
  #seed;
  /** @type {AbortSignal | undefined} */
  #signal;
  /** @type {'new' | 'running' | 'ended'} */
  #state = 'new';
  #id = 0;
  /** Pieces that nobody has taken yet. @type {any[]} */
  #pieces = [];
  #taken = 0;
  /** Whoever waits for a piece.
   *  @type {{ resolve: (result: IteratorResult<any>) => void, reject: (error: unknown) => void }[]} */
  #waiting = [];
  /** The error that is still to be thrown. @type {{ error: unknown } | null} */
  #failure = null;
  /** @type {Promise<unknown>} what the worker does */
  #work = Promise.resolve();
  /** @type {GenerationStats | null} */
  stats = null;

  /** @param {Run} run @param {number} seed @param {AbortSignal | undefined} signal */
  constructor(run, seed, signal) {
    this.#run = run;
    this.#seed = seed;
    this.#signal = signal;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** @returns {Promise<IteratorResult<any>>} */
  next() {
    if (this.#state === 'new') this.#start();
    const piece = this.#pieces.shift();
    if (piece !== undefined) return Promise.resolve(this.#take(piece));
    if (this.#failure) {
      const { error } = this.#failure;
      this.#failure = null;
      return Promise.reject(error);
    }
    if (this.#state === 'ended') return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Stops the generation; resolves when the engine is idle. @returns {Promise<IteratorResult<string>>} */
  async return() {
    this.#stop(null);
    await this.#work;
    return { value: undefined, done: true };
  }

  /** @param {unknown} error @returns {Promise<IteratorResult<string>>} */
  async throw(error) {
    await this.return();
    throw error;
  }

  async text() {
    let all = '';
    for await (const text of this) all += text;
    return all;
  }

  async [asyncDispose]() {
    await this.return();
  }

  #start() {
    try {
      this.#signal?.throwIfAborted();
      this.#run.begin((error) => this.#stop({ error }));
    } catch (error) {
      this.#state = 'ended';
      this.#failure = { error };
      return;
    }
    this.#state = 'running';
    this.stats = {
      promptTokens: 0, promptTokensRead: 0, tokens: 0, promptSeconds: 0, seconds: 0, tokensPerSecond: 0, seed: this.#seed,
      finishReason: null,
    };
    this.#signal?.addEventListener('abort', this.#aborted);
    this.#work = this.#run.ask((event) => this.#receive(event), (id) => { this.#id = id; }).then(
      (figures) => {
        this.#count(figures); // of a stopped one too: the worker did this much before it noticed
        this.#end(null);
      },
      (error) => this.#end({ error }),
    );
  }

  #aborted = () => this.#stop({ error: this.#signal?.reason });

  /** @param {{ pieces: any[], figures: object }} event */
  #receive({ pieces, figures }) {
    if (this.#state !== 'running') return;
    this.#count(figures);
    for (const piece of pieces) {
      const waiter = this.#waiting.shift();
      if (waiter) waiter.resolve(this.#take(piece));
      else this.#pieces.push(piece);
    }
  }

  /** @param {any} piece @returns {IteratorResult<any>} */
  #take(piece) {
    if (++this.#taken % TELL_EVERY === 0 && this.#state === 'running') this.#run.took(this.#id, this.#taken);
    return { value: piece, done: false };
  }

  /** @param {object} figures */
  #count(figures) {
    const stats = Object.assign(/** @type {GenerationStats} */ (this.stats), figures);
    stats.tokensPerSecond = stats.seconds > 0 ? stats.tokens / stats.seconds : 0;
  }

  /** Leaves before the end. @param {{ error: unknown } | null} failure */
  #stop(failure) {
    if (this.#state === 'running') {
      this.#run.stop(this.#id);
      if (this.stats) this.stats.finishReason = 'aborted';
      this.#pieces = [];
      this.#end(failure);
    }
    if (!failure) this.#failure = null;
    this.#state = 'ended';
    this.#pieces = [];
  }

  /** @param {{ error: unknown } | null} failure */
  #end(failure) {
    if (this.#state !== 'running') return;
    this.#state = 'ended';
    this.#signal?.removeEventListener('abort', this.#aborted);
    this.#run.end();
    if (failure?.error instanceof NutshellError && this.stats) this.stats.finishReason ??= 'error';
    const [first, ...others] = this.#waiting;
    this.#waiting = [];
    if (failure && first) first.reject(failure.error);
    else if (first) first.resolve({ value: undefined, done: true });
    else this.#failure = failure;
    for (const waiter of others) waiter.resolve({ value: undefined, done: true });
  }
}
