// Answers to questions that were asked before: word for word (but for spaces), or with nearly the same meaning, as the vectors
// of an embedding model tell. All that an answer depends on but the last question has to be the same.
import { badArgument } from '../shared/errors.js';
import { checkOptions } from '../shared/options.js';
import { Entries } from './database.js';

/** @typedef {import('../nutshell-dynamic.d.ts').Query} Query */
/** @typedef {import('../nutshell-dynamic.d.ts').Found} Found */

/** @param {number} least @param {unknown} fallback @returns {import('../shared/options.js').Rule} */
const number = (least, fallback) =>
  ({ expects: `a number of at least ${least}`, test: (x) => typeof x === 'number' && x >= least, fallback });

/** @type {Record<string, import('../shared/options.js').Rule>} */
const QUERY_CACHE = {
  name: { expects: 'a text', test: (x) => typeof x === 'string', fallback: '' },
  embedder: { expects: 'a session of a model for embeddings', test: (x) => typeof x?.embed === 'function' },
  threshold: { expects: 'a similarity from 0 to 1', test: (x) => typeof x === 'number' && x >= 0 && x <= 1, fallback: 0.95 },
  maxEntries: number(1, 1000),
  maxBytes: number(1, 16e6),
  maxAge: number(0, Infinity),
};

/** @param {string} text */
const normalized = (text) => text.normalize('NFC').replace(/\s+/g, ' ').trim();

/** What a text says that a vector hardly shows: its numbers, in their order. @param {string} text */
const numbersOf = (text) => (text.match(/\d+(?:[.,]\d+)*/g) ?? []).join(' ');

/** Parts that say nothing about the answer. */
const IDLE = new Set(['signal', 'lookup', 'certainty']);

/** JSON with the names of objects in one order. @param {any} value @returns {string} */
function canonical(value) {
  if (typeof value === 'string') return JSON.stringify(normalized(value));
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  const names = Object.keys(value).filter((name) => value[name] !== undefined).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)}}`;
}

/** A query as its last question and all else, both as keys. @param {Query} query */
function split({ prompt, messages, options = {}, model = '' }) {
  const rest = Object.fromEntries(Object.entries(options).filter(([name]) => !IDLE.has(name)));
  const last = messages?.at(-1)?.content, question = prompt ?? (typeof last === 'string' ? last : '');
  const before = messages?.map((message, i) => (i === messages.length - 1 && typeof last === 'string'
    ? { ...message, content: '' } : message));
  return { question: normalized(question), around: canonical({ before, rest, model }) };
}

/** @param {Float32Array} a @param {Float32Array} b both of length 1 */
function similarity(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export class QueryCache {
  #entries;
  #settings;
  /** The vector of the question that was asked last: whoever asks puts the answer next. @type {[string, Float32Array] | null} */
  #latest = null;
  /** Why the last question was not compared by meaning. @type {unknown} */
  embedError = null;

  /** @param {object} [options] */
  constructor(options) {
    this.#settings = checkOptions(QUERY_CACHE, options);
    const { name, maxBytes, maxEntries } = this.#settings;
    this.#entries = new Entries(`answers ${name}`, { maxBytes, maxEntries });
  }

  /** Why answers are kept in memory alone; null where they are stored. */
  get error() {
    return this.#entries.error;
  }

  /** @param {Query} query @returns {Promise<Found | null>} */
  async get(query) {
    const { question, around } = this.#read(query);
    const oldest = Date.now() - 1000 * this.#settings.maxAge;
    const key = `${around}\n${question}`, notes = (await this.#entries.notes()).filter(({ created }) => created >= oldest);
    if (notes.some((note) => note.key === key)) return this.#found(key, 'exact', 1);
    const near = question && this.#settings.embedder ? await this.#nearest(question, around, notes) : null;
    return near && this.#found(near.key, 'similar', near.similarity);
  }

  /** @param {Query} query @param {string} text  the answer @returns {Promise<boolean>} whether it is stored on the disk */
  async put(query, text) {
    const { question, around } = this.#read(query);
    if (typeof text !== 'string') throw badArgument('text', 'the answer', text);
    const vector = question && this.#settings.embedder ? await this.#embed(question) : null;
    const key = `${around}\n${question}`, bytes = 2 * (key.length + text.length + question.length) + 4 * (vector?.length ?? 0);
    return this.#entries.put(key, { text, question }, bytes, { around, vector, numbers: numbersOf(question) });
  }

  clear() {
    return this.#entries.clear();
  }

  usage() {
    return this.#entries.usage();
  }

  /** @param {Query} query */
  #read(query) {
    const { prompt, messages } = query ?? {};
    if (typeof prompt !== 'string' && !Array.isArray(messages)) {
      throw badArgument('query', 'an object with a prompt or messages', query);
    }
    return split(query);
  }

  /** @param {string} key @param {'exact' | 'similar'} kind @param {number} near @returns {Promise<Found | null>} */
  async #found(key, kind, near) {
    const value = await this.#entries.get(key);
    return value && { text: value.text, question: value.question, kind, similarity: near };
  }

  /** @param {string} question @returns {Promise<Float32Array | null>} null where the model cannot read it */
  async #embed(question) {
    if (this.#latest?.[0] === question) return this.#latest[1];
    try {
      this.#latest = [question, await this.#settings.embedder.embed(question)];
      this.embedError = null;
      return this.#latest[1];
    } catch (error) { // such as a question that is longer than the model reads
      this.embedError = error;
      return null;
    }
  }

  /** The entry whose question is nearest, if that is near enough. @param {string} question @param {string} around
   *  @param {import('./database.js').Note[]} notes */
  async #nearest(question, around, notes) {
    const numbers = numbersOf(question);
    const candidates = notes.filter(({ more }) => more.vector && more.around === around && more.numbers === numbers);
    const vector = candidates.length ? await this.#embed(question) : null;
    let best = null;
    for (const { key, more } of candidates) {
      const near = vector && vector.length === more.vector.length ? similarity(vector, more.vector) : -1;
      if (near >= this.#settings.threshold && near > (best?.similarity ?? -1)) best = { key, similarity: near };
    }
    return best;
  }
}
