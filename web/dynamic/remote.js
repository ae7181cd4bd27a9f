// A model behind an endpoint with OpenAI's API, such as a server of llama.cpp, vLLM or OpenAI. Nothing is asked of it but what a
// cascade that it was given to asks.
import { NutshellError, badArgument } from '../shared/errors.js';
import { checkOptions } from '../shared/options.js';
import { eventsOf } from './sse.js';

/** @typedef {import('../shared/options.js').Rule} Rule */
/** @typedef {import('./candidate.js').Piece} Piece */

const SHOWN = 200; // characters of a server's own words in an error

/** @param {string} expects @returns {Rule} */
const text = (expects) => ({ expects, test: (x) => typeof x === 'string' && x !== '' });

/** @type {Record<string, Rule>} */
const REMOTE = {
  url: { expects: 'the address that the API begins with, such as "https://example.org/v1"',
    test: (x) => (typeof x === 'string' || x instanceof URL) && /^https?:/.test(addressOf(x)) },
  model: text("the model's name on that server"),
  apiKey: text('a text'),
  headers: { expects: 'an object of HTTP headers', test: (x) => typeof x === 'object' && x !== null, fallback: {} },
  body: { expects: 'an object of more fields for the request', test: (x) => typeof x === 'object' && x !== null, fallback: {} },
  stallSeconds: { expects: 'seconds, at least 1', test: (x) => typeof x === 'number' && x >= 1, fallback: 60 },
};

/** Names of our options in OpenAI's API; it has none for the others. */
const FIELDS = { maxTokens: 'max_tokens', temperature: 'temperature', topP: 'top_p', presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty', seed: 'seed', stop: 'stop', tools: 'tools' };

/** @param {string | URL} url */
function addressOf(url) {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    return '';
  }
}

/** What a status means for whoever configured the endpoint. @param {Response} response */
function adviceOf({ status, headers }) {
  const after = headers.get('Retry-After');
  if (status === 401 || status === 403) return 'it refuses the key: check apiKey';
  if (status === 404) return 'check url, which ends before /chat/completions, and model';
  if (status === 429) return `too many requests, or no credit is left: ask again ${after ? `after ${after} s` : 'later'}`;
  return status >= 500 ? 'it failed: ask again later' : 'check model and options';
}

/** @param {Response} response @param {string} url */
async function statusError(response, url) {
  const said = (await response.text().catch(() => '')).slice(0, SHOWN).replace(/\s+/g, ' ').trim();
  return new NutshellError(`http-${response.status}`, `HTTP status ${response.status} from ${url}: ${adviceOf(response)}`
    + (said ? ` (it says: ${said})` : ''));
}

/** @param {string} url @param {string} why @param {unknown} [cause] */
const badAnswer = (url, why, cause) => new NutshellError('network', `the answer of ${url} is not one of OpenAI's API: ${why}`,
  { cause });

/** What an event says: a text that may be empty, and log-probabilities of its tokens. @param {any} choice */
function pieceOf(choice) {
  const { delta, text, logprobs } = choice;
  const said = text ?? delta?.content ?? '';
  const probabilities = logprobs?.token_logprobs ?? logprobs?.content?.map((/** @type {any} */ one) => one?.logprob) ?? [];
  return { text: typeof said === 'string' ? said : '', logProbabilities: probabilities.filter(Number.isFinite),
    finish: choice.finish_reason ?? null };
}

/** @param {string} url @param {string} data of an event */
function read(url, data) {
  let event;
  try {
    event = JSON.parse(data);
  } catch (cause) {
    throw badAnswer(url, `an event is no JSON, or was cut off ("${data.slice(0, 40)}")`, cause);
  }
  if (event?.error) {
    const said = String(event.error.message ?? event.error).slice(0, SHOWN);
    throw new NutshellError('network', `${url} failed while it answered: ${said}`);
  }
  if (!Array.isArray(event?.choices)) throw badAnswer(url, 'an event has no choices');
  return event.choices.length ? pieceOf(event.choices[0]) : null; // the last event may have nothing but its usage
}

/** Aborts when nothing comes for so long. @param {number} seconds @param {() => void} stalled */
function watch(seconds, stalled) {
  let timer = setTimeout(stalled, seconds * 1000);
  return {
    came() {
      clearTimeout(timer);
      timer = setTimeout(stalled, seconds * 1000);
    },
    end: () => clearTimeout(timer),
  };
}

export class Remote {
  #settings;
  #base;

  /** @param {import('../nutshell-dynamic.d.ts').RemoteOptions} options */
  constructor(options) {
    this.#settings = checkOptions(REMOTE, options);
    if (this.#settings.url === undefined) throw badArgument('url', REMOTE.url.expects, undefined);
    if (this.#settings.model === undefined) throw badArgument('model', REMOTE.model.expects, undefined);
    this.#base = addressOf(this.#settings.url).replace(/\/+$/, '');
  }

  get name() {
    return this.#settings.model;
  }

  /** @param {object} input messages or a prompt @param {any} options of the generation @param {boolean} judged */
  #bodyOf(input, options, judged) {
    const isChat = 'messages' in input;
    const fields = Object.entries(FIELDS).filter(([name]) => options[name] !== undefined);
    return { model: this.#settings.model, ...input, stream: true, ...(judged ? { logprobs: isChat ? true : 1 } : {}),
      ...Object.fromEntries(fields.map(([name, field]) => [field, options[name]])), ...this.#settings.body };
  }

  /** @param {string} url @param {object} body @param {AbortSignal} signal */
  async #ask(url, body, signal) {
    const headers = new Headers(this.#settings.headers);
    headers.set('Content-Type', 'application/json');
    if (this.#settings.apiKey) headers.set('Authorization', `Bearer ${this.#settings.apiKey}`);
    // A key goes to the address that it was given for, and nowhere else.
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal, credentials: 'omit',
      redirect: 'error', referrerPolicy: 'no-referrer', cache: 'no-store' });
    if (!response.ok) throw await statusError(response, url);
    if (!response.body) throw badAnswer(url, 'it is empty');
    return response.body;
  }

  /**
   * @param {{ messages: object[] } | { prompt: string }} input
   * @param {any} options  as of a generation, checked by the local models where there are some
   * @param {boolean} judged  whether the server is asked for log-probabilities
   * @returns {AsyncGenerator<Piece, void>}
   */
  async* pieces(input, options, judged) {
    const url = `${this.#base}/${'messages' in input ? 'chat/completions' : 'completions'}`;
    const stop = new AbortController(), { signal } = options;
    const left = () => stop.abort();
    let stalled = false;
    const timer = watch(this.#settings.stallSeconds, () => {
      stalled = true;
      stop.abort();
    });
    signal?.addEventListener('abort', left);
    try {
      signal?.throwIfAborted();
      yield* this.#read(url, await this.#ask(url, this.#bodyOf(input, options, judged), stop.signal), timer.came);
    } catch (error) {
      signal?.throwIfAborted();
      if (stalled) {
        const { stallSeconds } = this.#settings;
        throw new NutshellError('network', `nothing came from ${url} for ${stallSeconds} seconds: ask again later`);
      }
      if (error instanceof NutshellError) throw error;
      throw new NutshellError('network', `no answer from ${url}, or its end is missing (${error}): check the connection, and `
        + 'that the server allows this page (CORS), and the page the server (connect-src)', { cause: error });
    } finally {
      timer.end();
      signal?.removeEventListener('abort', left);
      stop.abort();
    }
  }

  /** @param {string} url @param {ReadableStream<Uint8Array>} stream @param {() => void} came */
  async* #read(url, stream, came) {
    let finish = null;
    for await (const data of eventsOf(stream)) {
      came();
      if (data === '[DONE]') return;
      const piece = read(url, data);
      finish = piece?.finish ?? finish;
      if (piece) yield piece;
    }
    // Some servers leave [DONE] out; that the answer is whole is known then by its reason to end.
    if (!finish) throw badAnswer(url, 'it ends before its last event');
  }
}
