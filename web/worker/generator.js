// Generations: steps the engine and sends each piece of text to the page. Those of one session run one after
// the other; those of several run at the same time, a step of each in turn. After a step the worker looks
// into its message queue, so that a stop is seen within one token, or one batch of the prompt, of each. A
// generation goes a few pieces ahead of the page and then waits, so that a loop that takes no more pieces
// costs no more work.

/**
 * Makes the pause between two steps, in which messages that have arrived are handled: a message to oneself,
 * which is much quicker than a timer. Pauses end in the order in which they began, so that the steps of
 * generations alternate.
 * @returns {() => Promise<unknown>}
 */
export function messagePause() {
  const { port1, port2 } = new MessageChannel();
  /** @type {((value?: unknown) => void)[]} */
  const waiting = [];
  port1.onmessage = () => waiting.shift()?.();
  return () => new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(0);
  });
}

/**
 * @typedef {import('./engine.js').Session} Session
 *
 * @typedef {object} Request
 * @property {string | Int32Array} prompt
 * @property {Record<string, any>} options  checked, with every number in it
 * @property {{ addBos: boolean, parseSpecial: boolean }} flags
 * @property {Int32Array} [shown]  special tokens whose text is part of the answer
 * @property {object} [more]  figures
 * @property {(step: import('./engine.js').Step, figures: any) => unknown[]} [read]  what the page gets of a step; its text
 * @property {() => void} [close]  after the end, whatever it was
 *
 * @typedef {object} Figures  what the page makes GenerationStats of
 * @property {number} promptTokens
 * @property {number} promptTokensRead
 * @property {number} tokens
 * @property {number} [drafted]  not before the first token
 * @property {number} [accepted]
 * @property {object} [storage]  of a model larger than memory, from its first token on
 * @property {number} promptSeconds
 * @property {number} seconds
 * @property {'eos' | 'stop' | 'length' | 'aborted' | null} finishReason
 */

export class Generator {
  #engine;
  #pause;
  /** What each session does, or did last. @type {Map<Session, Promise<unknown>>} */
  #last = new Map();

  /**
   * @param {import('./engine.js').Engine} engine
   * @param {() => Promise<unknown>} pause  between two steps
   */
  constructor(engine, pause) {
    this.#engine = engine;
    this.#pause = pause;
  }

  /**
   * Does something with a session when all that was asked of it before is over.
   * @template T
   * @param {Session} session
   * @param {() => T | Promise<T>} work
   * @returns {Promise<T>}
   */
  whenIdle(session, work) {
    const done = (this.#last.get(session) ?? Promise.resolve()).then(work);
    this.#last.set(session, done.catch(() => {}));
    return done;
  }

  /**
   * Runs when the session's one before has ended. Resolves at its end or when it is stopped, rejects with the
   * engine's error.
   * @param {Session} session
   * @param {() => Promise<Request>} prepare  called when it begins
   * @param {AbortSignal} signal
   * @param {import('./demand.js').Demand} demand
   * @param {(pieces: unknown[], figures: Figures) => void} emit
   * @returns {Promise<Figures>}
   */
  run(session, prepare, signal, demand, emit) {
    return this.whenIdle(session, () => this.#run(session, prepare, signal, demand, emit));
  }

  /**
   * @param {Session} session
   * @param {() => Promise<Request>} prepare
   * @param {AbortSignal} signal
   * @param {import('./demand.js').Demand} demand
   * @param {(pieces: unknown[], figures: Figures) => void} emit
   */
  async #run(session, prepare, signal, demand, emit) {
    /** @type {Figures} */
    const figures = { promptTokens: 0, promptTokensRead: 0, tokens: 0, promptSeconds: 0, seconds: 0, finishReason: null };
    const stopped = () => Object.assign(figures, { finishReason: /** @type {const} */ ('aborted') });
    if (signal.aborted) return stopped();
    const { prompt, options, flags, shown, read, close, more } = await prepare();
    Object.assign(figures, more);
    try {
      if (signal.aborted) return stopped();
      figures.promptTokens = this.#engine.generateBegin(prompt, options, flags, session, shown);
      for (let sent = 0; ;) {
        const step = this.#step(session, figures);
        const pieces = read ? read(step, figures) : step.text ? [step.text] : [];
        if (pieces.length || step.kind === 'prefill') emit(pieces, figures);
        if (step.kind === 'done') return figures;
        sent += pieces.length;
        await this.#pause();
        await demand.reaches(sent);
        if (signal.aborted) return stopped();
      }
    } finally {
      close?.();
      if (!this.#engine.crash) this.#engine.generateEnd(session);
    }
  }

  /** One step of the engine, counted. @param {Session} session @param {Figures} figures */
  #step(session, figures) {
    const since = performance.now();
    const step = this.#engine.generateStep(session);
    const seconds = (performance.now() - since) / 1000;
    if (step.kind === 'prefill') {
      figures.promptSeconds += seconds;
      figures.promptTokensRead = step.done;
    } else {
      figures.seconds += seconds;
      figures.tokens = step.done;
      figures.finishReason = step.finish;
      Object.assign(figures, step.drafts);
    }
    return step;
  }
}
