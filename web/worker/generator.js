// Generations, one after the other: steps the engine and sends each piece of text to the page. Between two steps the
// worker looks into its message queue, so that a stop is seen within one token or one batch of the prompt. It draws a few
// pieces ahead of the page and then waits, so that a loop that takes no more pieces costs no more work.

/** Lets messages that have arrived be handled. A message to oneself is much quicker than a timer. */
const breathe = (() => {
  const { port1, port2 } = new MessageChannel();
  /** @type {((value?: unknown) => void)[]} */
  const waiting = [];
  port1.onmessage = () => waiting.shift()?.();
  return () => new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(0);
  });
})();

/**
 * @typedef {object} Request
 * @property {string} prompt
 * @property {Record<string, any>} options  checked, with every number in it
 * @property {{ addBos: boolean, parseSpecial: boolean }} flags
 *
 * @typedef {object} Figures  what the page makes GenerationStats of
 * @property {number} promptTokens
 * @property {number} promptTokensRead
 * @property {number} tokens
 * @property {number} promptSeconds
 * @property {number} seconds
 * @property {'eos' | 'stop' | 'length' | 'aborted' | null} finishReason
 */

export class Generator {
  #engine;
  /** @type {Promise<unknown>} the generation that is running or the last one */
  #last = Promise.resolve();

  /** @param {import('./engine.js').Engine} engine */
  constructor(engine) {
    this.#engine = engine;
  }

  /**
   * Runs when the one before has ended. Resolves at its end or when it is stopped, rejects with the engine's error.
   * @param {() => Promise<Request>} prepare  called when it is this one's turn
   * @param {AbortSignal} signal
   * @param {import('./demand.js').Demand} demand
   * @param {(text: string, figures: Figures) => void} emit
   * @returns {Promise<Figures>}
   */
  run(prepare, signal, demand, emit) {
    const run = this.#last.then(() => this.#run(prepare, signal, demand, emit));
    this.#last = run.catch(() => {});
    return run;
  }

  /**
   * @param {() => Promise<Request>} prepare
   * @param {AbortSignal} signal
   * @param {import('./demand.js').Demand} demand
   * @param {(text: string, figures: Figures) => void} emit
   */
  async #run(prepare, signal, demand, emit) {
    /** @type {Figures} */
    const figures = { promptTokens: 0, promptTokensRead: 0, tokens: 0, promptSeconds: 0, seconds: 0, finishReason: null };
    const stopped = () => Object.assign(figures, { finishReason: /** @type {const} */ ('aborted') });
    if (signal.aborted) return stopped();
    const { prompt, options, flags } = await prepare();
    if (signal.aborted) return stopped();
    figures.promptTokens = this.#engine.generateBegin(prompt, options, flags);
    try {
      for (let sent = 0; ;) {
        const step = this.#step(figures);
        if (step.text || step.kind === 'prefill') emit(step.text, figures);
        if (step.kind === 'done') return figures;
        if (step.text) sent++;
        await breathe();
        await demand.reaches(sent);
        if (signal.aborted) return stopped();
      }
    } finally {
      if (!this.#engine.crash) this.#engine.generateEnd();
    }
  }

  /** One step of the engine, counted. @param {Figures} figures */
  #step(figures) {
    const since = performance.now();
    const step = this.#engine.generateStep();
    const seconds = (performance.now() - since) / 1000;
    if (step.kind === 'prefill') {
      figures.promptSeconds += seconds;
      figures.promptTokensRead = step.done;
    } else {
      figures.seconds += seconds;
      figures.tokens = step.done;
      figures.finishReason = step.finish;
    }
    return step;
  }
}
