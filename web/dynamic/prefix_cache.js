// Beginnings of prompts that are read once per machine: a session that has read one is kept as bytes, and the next page that
// opens a session with the same beginning gets it in that state. Whatever goes wrong, the text is read as ever.
import { NutshellError, badArgument } from '../shared/errors.js';
import { checkOptions } from '../shared/options.js';
import { Entries } from './database.js';

/** @typedef {import('../nutshell.d.ts').Model} Model */
/** @typedef {import('../nutshell.d.ts').Session} Session */
/** @typedef {import('../nutshell-dynamic.d.ts').Prefix} Prefix */

const PROBE = { maxTokens: 4, temperature: 0, ignoreEos: true, certainty: true };

/** @type {Record<string, import('../shared/options.js').Rule>} */
const PREFIX_CACHE = {
  name: { expects: 'a text', test: (x) => typeof x === 'string', fallback: '' },
  maxEntries: { expects: 'a whole number of at least 1', test: (x) => Number.isSafeInteger(x) && x >= 1, fallback: 50 },
  maxBytes: { expects: 'a number of bytes', test: (x) => typeof x === 'number' && x >= 1, fallback: 256e6 },
};

/** @type {WeakMap<object, Promise<string>>} */
const identities = new WeakMap();

/**
 * What tells a model from all others, and its kind of cache too: the beginning of what a session saves (its metadata and table of
 * tensors), and how likely the model finds four tokens, which each weight has a part in.
 * @param {Model} model
 */
async function identify(model) {
  const probe = await model.session({ contextLength: Math.min(model.info.contextLength, 64) });
  try {
    const header = (await probe.save()).subarray(8, 16);
    const generation = probe.generate('The', PROBE);
    await generation.text();
    return [...header, model.info.kvType, generation.stats?.logProbability, generation.stats?.entropy].join(' ');
  } finally {
    await probe.free();
  }
}

/** @param {Model} model */
function identityOf(model) {
  const known = identities.get(model) ?? identify(model);
  identities.set(model, known);
  known.catch(() => identities.delete(model));
  return known;
}

/** Two ends of a prefix: what they share is the prefix as the template writes it, whatever follows. */
const ENDS = ['a', 'Is it?'];

/**
 * The ids that all prompts with this beginning share, and a generation that reads them.
 * @param {Model} model
 * @param {Prefix} prefix
 */
async function planOf(model, { messages, prompt, ...rest }) {
  if (typeof prompt === 'string') {
    const { parseSpecial } = rest;
    const ids = await model.tokenize(prompt, { addBos: true, parseSpecial });
    return { ids, read: (/** @type {Session} */ session) => session.generate(prompt, { parseSpecial, maxTokens: 1 }) };
  }
  if (!Array.isArray(messages)) throw badArgument('prefix', 'an object with messages or a prompt', messages);
  const all = ENDS.map((content) => [...messages, { role: 'user', content }]);
  const [one, other] = await Promise.all(all.map(async (some) => (await model.renderChat(some, { ...rest, tokens: true })).ids));
  const differs = one.findIndex((id, i) => id !== other[i]), ids = one.slice(0, differs < 0 ? one.length : differs);
  return { ids, read: (/** @type {Session} */ session) => session.chat(all[0], { ...rest, maxTokens: 1 }) };
}

export class PrefixCache {
  #entries;

  /** @param {object} [options] */
  constructor(options) {
    const { name, maxBytes, maxEntries } = checkOptions(PREFIX_CACHE, options);
    this.#entries = new Entries(`prefixes ${name}`, { maxBytes, maxEntries });
  }

  /** Why prefixes are kept in memory alone; null where they are stored. */
  get error() {
    return this.#entries.error;
  }

  /**
   * @param {Model} model
   * @param {Prefix} prefix
   * @param {import('../nutshell.d.ts').SessionOptions} [options]
   * @returns {Promise<import('../nutshell-dynamic.d.ts').Opened>}
   */
  async session(model, prefix, options) {
    const { ids, read } = await planOf(model, prefix ?? {});
    const key = `${await identityOf(model)}: ${ids.join(' ')}`;
    const session = await model.session(options);
    try {
      if (await this.#restore(session, key)) return { session, tokens: ids.length, state: 'restored' };
      await read(session).text();
      const bytes = await session.save();
      const kept = await this.#entries.put(key, bytes, bytes.length);
      return { session, tokens: ids.length, state: kept ? 'stored' : 'read' };
    } catch (error) {
      await session.free();
      throw error;
    }
  }

  /** @param {Session} session @param {string} key */
  async #restore(session, key) {
    const bytes = await this.#entries.get(key);
    if (!bytes) return false;
    try {
      await session.restore(bytes);
      return true;
    } catch (error) {
      if (!(/** @type {NutshellError} */ (error)?.code === 'corrupt-session')) throw error;
      await this.#entries.delete(key); // damaged on the disk, or of another release of the library
      return false;
    }
  }

  clear() {
    return this.#entries.clear();
  }

  usage() {
    return this.#entries.usage();
  }
}
