// A loaded model as the page sees it.
import { NutshellError } from '../shared/errors.js';
import { checkIds, checkOptions, checkText, rules } from '../shared/options.js';
import { asyncDispose } from './dispose.js';
import { Session } from './session.js';

/** @typedef {import('../nutshell.d.ts').ModelInfo} ModelInfo */
/** @typedef {import('../nutshell.d.ts').ChatMessage} ChatMessage */

export class Model {
  #host;
  /** The model's own session, which is there as long as the model. */
  #own;
  /** @readonly @type {ModelInfo} */
  info;

  /** @param {import('./host.js').Host} host @param {ModelInfo} info */
  constructor(host, info) {
    this.#host = host;
    this.#own = new Session(host, { session: 0, contextLength: info.contextLength, bytes: info.sessionBytes });
    this.info = info;
  }

  get stats() {
    return this.#own.stats;
  }

  /** @param {string} prompt @param {object} [options] */
  generate(prompt, options) {
    return this.#own.generate(prompt, options);
  }

  /** @param {ChatMessage[]} messages @param {object} [options] */
  chat(messages, options) {
    return this.#own.chat(messages, options);
  }

  /** @param {ChatMessage[]} messages @param {object} [options] */
  renderChat(messages, options) {
    return this.#own.renderChat(messages, options);
  }

  /** @param {ChatMessage[]} messages @param {object} [options] */
  countTokens(messages, options) {
    return this.#own.countTokens(messages, options);
  }

  /** @param {object} [options] */
  async session(options) {
    return new Session(this.#host, await this.#host.ask('session', checkOptions(rules.session, options)));
  }

  /** @param {string} text @param {object} [options] @returns {Promise<number[]>} */
  async tokenize(text, options) {
    const request = { text: checkText('text', text), options: checkOptions(rules.tokenize, options) };
    return Array.from(await this.#host.ask('tokenize', request));
  }

  /** @param {ArrayLike<number>} ids @param {object} [options] @returns {Promise<string>} */
  async detokenize(ids, options) {
    return this.#host.ask('detokenize', { ids: checkIds(ids), options: checkOptions(rules.detokenize, options) });
  }

  async unload() {
    this.#host.end(new NutshellError('unloaded', 'this model was unloaded: load it again to use it'));
  }

  async [asyncDispose]() {
    await this.unload();
  }
}
