// A cascade (FrugalGPT: Chen et al. 2023, arXiv 2305.05176): the first model answers; where its answer is not good enough the
// next one does, which costs more. How good an answer is, its own probabilities tell, or a function of the caller's.
import { NutshellError, badArgument } from '../shared/errors.js';
import { checkOptions, checkText } from '../shared/options.js';
import { answerOf, isLocal, isModel, isOfModel, noAnswer } from './candidate.js';
import { QueryCache } from './query_cache.js';

/**
 * @typedef {import('../nutshell-dynamic.d.ts').Accept} Accept
 * @typedef {import('../nutshell-dynamic.d.ts').Candidate} Candidate
 * @typedef {import('../nutshell-dynamic.d.ts').CascadePart} CascadePart
 * @typedef {import('./candidate.js').Input} Input
 * @typedef {{ models: any[], accepts: Accept[], early: number, onReject: 'rewrite' | 'continue', cache?: QueryCache }} Settings
 */

/** @param {any} x @returns {x is Accept} */
const isAccept = (x) => typeof x === 'number' ? !Number.isNaN(x) : typeof x === 'function' || (typeof x === 'object' && x !== null
  && Object.keys(x).length > 0
  && Object.entries(x).every(([name, value]) => /^(logProbability|entropy|quantile)$/.test(name) && typeof value === 'number')
  && (x.quantile === undefined || (x.quantile >= 0 && x.quantile <= 1 && x.logProbability !== undefined)));

const ACCEPT = 'the least mean log-probability, { logProbability, entropy }, { logProbability, quantile } with a quantile from 0 '
  + 'to 1, a function, or an array of those, one for each model but the last';

/** @type {Record<string, import('../shared/options.js').Rule>} */
const CASCADE = {
  accept: { expects: ACCEPT, test: (x) => (Array.isArray(x) ? x.every(isAccept) : isAccept(x)), fallback: -1 },
  early: { expects: 'a whole number of tokens, 0 for never', test: (x) => Number.isSafeInteger(x) && x >= 0, fallback: 0 },
  onReject: { expects: '"rewrite" or "continue"', test: (x) => x === 'rewrite' || x === 'continue', fallback: 'rewrite' },
  cache: { expects: 'what queryCache gives', test: (x) => x instanceof QueryCache },
};

/** A quantile of numbers, between two of them in proportion; NaN of none. Of an answer's log-probabilities it tells more than the
 *  mean, in which a few unsure tokens are lost among many (Gupta et al. 2024, arXiv 2404.10136). @param {number[]} numbers
 *  @param {number} q */
export function quantileOf(numbers, q) {
  const sorted = [...numbers].sort((a, b) => a - b), at = q * (sorted.length - 1), below = Math.floor(at);
  return sorted.length ? sorted[below] + (at - below) * (sorted[Math.ceil(at)] - sorted[below]) : NaN;
}

/** What figures say; a rule that has no figures to go by accepts nothing. @param {Exclude<Accept, Function>} rule
 *  @param {Candidate} answer */
function isSure(rule, { logProbability: mean, logProbabilities, entropy }) {
  const q = typeof rule === 'number' ? undefined : rule.quantile;
  const logProbability = q === undefined ? mean : quantileOf(logProbabilities, q);
  const least = typeof rule === 'number' ? rule : rule.logProbability ?? -Infinity;
  const most = typeof rule === 'number' ? Infinity : rule.entropy ?? Infinity;
  return (least === -Infinity || logProbability >= least) && (most === Infinity || entropy <= most);
}

/** The answer to one question: a loop over its texts, or over its parts. */
export class CascadeAnswer {
  /** The answer that counts; null until there is one. @type {Candidate | null} */
  answer = null;
  /** What each model that was asked has said, in their order. @type {Candidate[]} */
  tried = [];
  /** @type {import('../nutshell-dynamic.d.ts').Found | null} */
  found = null;
  #settings;
  #input;
  #options;
  #parts;

  /** @param {Settings} settings @param {Input} input @param {any} options */
  constructor(settings, input, options) {
    this.#settings = settings;
    this.#input = input;
    this.#options = options;
    this.#parts = this.#answers();
  }

  /** @returns {AsyncIterableIterator<CascadePart>} */
  parts() {
    return this.#parts;
  }

  /** The texts of the answer that counts; those of a model that may be replaced come when it was accepted.
   *  @returns {AsyncGenerator<string, void>} */
  async* [Symbol.asyncIterator]() {
    const last = this.#settings.models.length - 1;
    let kept = '', given = false;
    for await (const { kind, model, text } of this.#parts) {
      if (kind === 'replace' && given) throw this.tried[last].error; // what was given cannot be taken back
      kept = kind === 'replace' ? '' : kept + text;
      if (!kept || (model >= 0 && model !== last)) continue;
      given = true;
      yield kept;
      kept = '';
    }
    if (kept) yield kept;
  }

  /** All of the answer. */
  async text() {
    let all = '';
    for await (const text of this) all += text;
    return all;
  }

  /** @returns {AsyncGenerator<CascadePart, void>} */
  async* #answers() {
    const { cache, models } = this.#settings;
    const query = { ...this.#input, options: this.#options, model: models.map(nameOf).join('\n') };
    this.found = await cache?.get(query) ?? null;
    if (this.found) {
      this.answer = { ...noAnswer(-1, this.found.text), accepted: true };
      yield { kind: 'text', model: -1, text: this.found.text };
      return;
    }
    for (let i = 0; !this.answer; i++) yield* this.#ask(i);
    if (this.answer.accepted && this.answer.finishReason !== 'length') await cache?.put(query, this.answer.text);
  }

  /** Asks model i; the answer is set where it counts. @param {number} i @returns {AsyncGenerator<CascadePart, void>} */
  async* #ask(i) {
    const { models, onReject } = this.#settings;
    const isLast = i === models.length - 1, before = this.tried[i - 1];
    const goesOn = onReject === 'continue' && before && !before.error && ('prompt' in this.#input || isLocal(models[i]));
    const answer = noAnswer(i, goesOn ? before.text : '');
    this.tried.push(answer);
    if (before && !goesOn) yield { kind: 'replace', model: i, text: '' };
    const input = goesOn && 'prompt' in this.#input ? { prompt: this.#input.prompt + answer.text } : this.#input;
    const options = goesOn && !('prompt' in this.#input)
      ? { ...this.#options, answer: (this.#options.answer ?? '') + answer.text } : this.#options;
    try {
      for await (const text of answerOf(models[i], input, options, answer, !isLast)) {
        yield { kind: 'text', model: i, text };
        if (!isLast && this.#isHopeless(i, answer)) break;
      }
      answer.accepted = isLast || (!answer.error && await this.#accepts(i, answer));
    } catch (error) {
      if (!isOfModel(error)) throw error;
      answer.error = /** @type {any} */ (error);
      if (isLast) return yield* this.#fallBack(answer);
    }
    if (answer.accepted) this.answer = answer;
  }

  /** Where the last model has failed, an answer that was not accepted is better than none. @param {Candidate} failed
   *  @returns {AsyncGenerator<CascadePart, void>} */
  async* #fallBack(failed) {
    const best = this.tried.filter(({ error, finishReason }) => !error && finishReason).at(-1);
    if (!best) throw failed.error;
    this.answer = best;
    yield { kind: 'replace', model: best.model, text: '' };
    yield { kind: 'text', model: best.model, text: best.text };
  }

  /** Whether a model that is still writing has shown that it is not sure. @param {number} i @param {Candidate} answer */
  #isHopeless(i, answer) {
    const { accepts, early } = this.#settings, rule = accepts[i];
    return early > 0 && typeof rule !== 'function' && answer.tokens >= early && !isSure(rule, answer);
  }

  /** @param {number} i @param {Candidate} answer */
  async #accepts(i, answer) {
    const rule = this.#settings.accepts[i];
    return Boolean(typeof rule === 'function' ? await rule(answer, this.#input) : isSure(rule, answer));
  }
}

/** What tells models apart in a cache. @param {any} model */
const nameOf = (model) => (model.info ? `${model.info.fileName} ${model.info.fileBytes}` : model.name ?? 'session');

export class Cascade {
  #settings;

  /** @param {unknown} models @param {object} [options] */
  constructor(models, options) {
    if (!Array.isArray(models) || models.length < 1 || !models.every(isModel)) {
      throw badArgument('models', 'an array of models, sessions, or what remote() gives', models);
    }
    const { accept, ...rest } = checkOptions(CASCADE, options);
    const accepts = Array.isArray(accept) ? accept : models.slice(1).map(() => accept);
    if (accepts.length !== models.length - 1) {
      throw new NutshellError('bad-argument', `accept has ${accepts.length} rules for ${models.length} models: give one for each `
        + 'but the last, whose answer always counts');
    }
    /** @type {Settings} */
    this.#settings = { models, accepts, ...rest };
  }

  /** @param {any[]} messages @param {object} [options] */
  chat(messages, options) {
    if (!Array.isArray(messages)) throw badArgument('messages', 'an array of messages', messages);
    return new CascadeAnswer(this.#settings, { messages }, options ?? {});
  }

  /** @param {string} prompt @param {object} [options] */
  generate(prompt, options) {
    return new CascadeAnswer(this.#settings, { prompt: checkText('prompt', prompt) }, options ?? {});
  }
}
