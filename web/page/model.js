// A loaded model as the page sees it.
import { NutshellError } from '../shared/errors.js';
import { checkIds, checkOptions, checkText, rules } from '../shared/options.js';
import { asyncDispose } from './dispose.js';
import { Conversation, Session, Slot } from './session.js';

/** @typedef {import('../nutshell.d.ts').ModelInfo} ModelInfo */

const OWN_SESSION = 0;

export class Model extends Conversation {
  #host;
  /** @readonly @type {ModelInfo} */
  info;

  /** @param {import('./host.js').Host} host @param {ModelInfo} info */
  constructor(host, info) {
    super(new Slot(host, OWN_SESSION));
    this.#host = host;
    this.info = info;
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
