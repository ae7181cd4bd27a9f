// One model's answer within a cascade, whether it runs here or behind an endpoint: its texts as they come, and how sure the
// model is of them.
import { NutshellError } from '../shared/errors.js';
import { Remote } from './remote.js';

/**
 * @typedef {object} Piece
 * @property {string} text
 * @property {number[]} logProbabilities  of the tokens that it is made of, where an endpoint tells them
 * @property {string | null} finish
 *
 * @typedef {import('../nutshell-dynamic.d.ts').Candidate} Candidate
 * @typedef {{ messages: any[] } | { prompt: string }} Input
 */

/** Whether it runs here. @param {unknown} model @returns {model is import('../nutshell.d.ts').Conversation} */
export const isLocal = (model) => typeof (/** @type {any} */ (model)?.generate) === 'function';

/** @param {unknown} model */
export const isModel = (model) => model instanceof Remote || isLocal(model);

/** An answer without tokens yet. @param {number} index of its model @param {string} text that it begins with, if any
 *  @returns {Candidate} */
export const noAnswer = (index, text = '') => ({
  model: index, text, tokens: 0, logProbability: NaN, logProbabilities: [], entropy: NaN, seconds: 0, finishReason: null,
  accepted: false, error: null,
});

/** What a model that runs here says. @param {any} model @param {Input} input @param {any} options @param {Candidate} answer
 *  @returns {AsyncGenerator<string, void>} */
async function* local(model, input, options, answer) {
  const all = { ...options, certainty: true };
  const generation = 'messages' in input ? model.chat(input.messages, all) : model.generate(input.prompt, all);
  let sum = 0;
  const take = () => {
    const { tokens = 0, logProbability = 0, entropy = 0, finishReason = null } = generation.stats ?? {};
    const before = answer.logProbabilities.length, added = tokens * logProbability - sum;
    for (let i = before; i < tokens; i++) answer.logProbabilities.push(added / (tokens - before));
    sum += added;
    Object.assign(answer, { tokens, finishReason });
    if (tokens) Object.assign(answer, { logProbability, entropy });
  };
  for await (const text of generation) {
    take();
    yield text;
  }
  take();
}

/** What an endpoint says. @param {Remote} model @param {Input} input @param {any} options @param {Candidate} answer
 *  @param {boolean} judged @returns {AsyncGenerator<string, void>} */
async function* away(model, input, options, answer, judged) {
  let sum = 0, count = 0;
  for await (const { text, logProbabilities, finish } of model.pieces(input, options, judged)) {
    for (const one of logProbabilities) sum += one;
    answer.logProbabilities.push(...logProbabilities);
    count += logProbabilities.length;
    answer.tokens += logProbabilities.length || (text ? 1 : 0); // servers send a token an event, mostly
    if (count) answer.logProbability = sum / count;
    answer.finishReason = /** @type {any} */ (finish === 'stop' ? 'eos' : finish) ?? answer.finishReason;
    if (text) yield text;
  }
}

/**
 * Writes on `answer` and gives the texts. Errors of the caller's own (an option, an abort) and those of a model are thrown alike.
 * @param {any} model
 * @param {Input} input
 * @param {any} options
 * @param {Candidate} answer
 * @param {boolean} judged  whether somebody will ask how sure the model is
 * @returns {AsyncGenerator<string, void>}
 */
export async function* answerOf(model, input, options, answer, judged) {
  const since = performance.now();
  try {
    const texts = model instanceof Remote ? away(model, input, options, answer, judged) : local(model, input, options, answer);
    for await (const text of texts) {
      answer.text += text;
      answer.seconds = (performance.now() - since) / 1000;
      yield text;
    }
  } finally {
    answer.seconds = (performance.now() - since) / 1000;
  }
}

/** Whether the next model may be asked instead: not where the caller was wrong, or wants no answer any more.
 *  @param {unknown} error */
export const isOfModel = (error) => error instanceof Error && error.name === 'NutshellError'
  && /** @type {NutshellError} */ (error).code !== 'bad-argument';
