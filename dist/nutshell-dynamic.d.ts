// Types of nutshell-dynamic.mjs: as much work as a question needs. It is a file of its own, fetched by pages that want it:
// import { cascade } from './nutshell-dynamic.mjs'. After that the functions are members of the global `Nutshell` too, where a
// script has defined that.
import type { ChatMessage, ChatOptions, Conversation, GenerateOptions, LoadOptions, Model, NutshellError, Session, SessionOptions,
  TemplateOptions } from './nutshell.d.ts';

/**
 * Several models as one: the first answers, and where its answer is not accepted the next one does (FrugalGPT, arXiv 2305.05176).
 * Models are loaded ones, their sessions, or endpoints that `remote` describes; the cheapest goes first. The last one's answer
 * always counts.
 */
export function cascade(models: (Conversation | RemoteModel)[], options?: CascadeOptions): Cascade;

/**
 * Describes a model behind an endpoint with OpenAI's API. Nothing is sent before a cascade gets to it; then the messages are, and
 * the key, to this address alone: redirects are refused. Log-probabilities are asked for where it is not the last.
 */
export function remote(options: RemoteOptions): RemoteModel;

/**
 * The thresholds for `accept` that make most of a list of examples: the largest mean reward where the mean cost may be `cost`, or
 * the least mean cost where the mean reward must be `reward` at least. 'bad-argument' where no thresholds reach that.
 */
export function learnThreshold(examples: Example[], options?: LearnOptions): Learned;

/** Answers to earlier questions, in this browser's IndexedDB, or in memory where that is denied. */
export function queryCache(options?: QueryCacheOptions): QueryCache;

/** Beginnings of prompts that were read before, in this browser's IndexedDB: a long system text is read once per machine. */
export function prefixCache(options?: PrefixCacheOptions): PrefixCache;

/**
 * Ranks models by the speed that this machine will have with them, from the first bytes of their files: for each a model with the
 * same shapes and types, fewer layers and no weights is made and timed. Those that need more than `maxMemory`, or cannot be
 * judged, come last. Do nothing else meanwhile.
 */
export function recommend(sources: (string | URL | Blob)[], options?: RecommendOptions): Promise<Recommendation[]>;

/**
 * Whether an answer is good enough: the least mean log-probability of its tokens (-1: a probability of 0.37, as a geometric
 * mean), limits of log-probability and entropy, or a function that says so. With a quantile, from 0 (the least sure token) to 1,
 * the limit is for that quantile of the tokens' log-probabilities instead of their mean: a few unsure tokens are lost in the mean
 * of a long answer (Gupta et al. 2024, arXiv 2404.10136).
 */
export type Accept = number | { logProbability?: number; entropy?: number; quantile?: number }
  | ((answer: Candidate, input: { messages?: ChatMessage[]; prompt?: string }) => boolean | Promise<boolean>);

export interface CascadeOptions {
  /** One rule, or one for each model but the last. Default -1. Figures that a model does not tell are not good enough. */
  accept?: Accept | Accept[];
  /** Stop a model that is still writing when its figures are not good enough after so many tokens; 0: never. Default 0. */
  early?: number;
  /** 'rewrite' (default): the next model answers anew. 'continue': it goes on from the text so far; endpoints answer chats
   *  anew. */
  onReject?: 'rewrite' | 'continue';
  /** Where answers are looked for first, and kept. */
  cache?: QueryCache;
}

/** Options of a generation go to each model; endpoints get those that OpenAI's API has. */
export interface Cascade {
  chat(messages: ChatMessage[], options?: ChatOptions): CascadeAnswer;
  generate(prompt: string, options?: GenerateOptions): CascadeAnswer;
}

/**
 * An answer as it comes. A loop over it gives the texts of the answer that counts: those of the last model as they come, those of
 * others when they were accepted. Where the last model fails before its first text, the loop gives the best answer of the others.
 */
export interface CascadeAnswer {
  /** The answer that counts, at the end. */
  readonly answer: Candidate | null;
  /** What each model that was asked has said; of one that failed, `error` says why. */
  readonly tried: Candidate[];
  /** What the cache had; null: nothing. */
  readonly found: Found | null;
  /** A loop over all texts as they come, with those that a later model's replace. */
  parts(): AsyncIterableIterator<CascadePart>;
  /** All of the answer that counts. */
  text(): Promise<string>;
  [Symbol.asyncIterator](): AsyncIterator<string>;
}

/** More text of the model with that index (-1: the cache); or that all texts before are void. */
export interface CascadePart {
  kind: 'text' | 'replace';
  model: number;
  text: string;
}

export interface Candidate {
  /** Its index; -1: the cache. */
  model: number;
  text: string;
  tokens: number;
  /** Means over the tokens, in nats (see GenerationStats); NaN where they are not known. */
  logProbability: number;
  /** Of the tokens one by one, as far as they are known; tokens whose text came at once share their mean. */
  logProbabilities: number[];
  entropy: number;
  seconds: number;
  /** 'eos', 'stop' or 'length', or what an endpoint says; null where it did not end by itself. */
  finishReason: string | null;
  accepted: boolean;
  error: NutshellError | null;
}

export interface RemoteOptions {
  /** The address that the API begins with, such as "https://example.org/v1". */
  url: string | URL;
  /** The model's name on that server. */
  model: string;
  /** Sent as a bearer token. Whoever opens the page can read it. */
  apiKey?: string;
  /** More HTTP headers. */
  headers?: { [name: string]: string };
  /** More fields for each request. */
  body?: { [name: string]: unknown };
  /** How long a server may say nothing. Default 60. */
  stallSeconds?: number;
}

/** What `remote` gives, for `cascade`. */
export interface RemoteModel {
  readonly name: string;
}

/** What each model of a cascade made of a question. */
export interface Example {
  /** How sure each but the last was: what `accept` compares, such as `logProbability`; larger is surer. */
  scores: number[];
  /** How good the answer of each was: 1 and 0 for right and wrong, or any number. */
  rewards: number[];
  /** What the answer of each costs: seconds, money. */
  costs: number[];
}

export interface LearnOptions {
  /** The mean cost of a question at most; those of all models that were asked count. */
  cost?: number;
  /** The mean reward at least. */
  reward?: number;
}

export interface Learned {
  /** For `accept`; Infinity: never. */
  thresholds: number[];
  /** What they would have given for the examples. */
  reward: number;
  cost: number;
  /** The share of the questions that each model answers. */
  shares: number[];
}

export interface QueryCacheOptions {
  /** Caches with different names are different ones. Default ''. */
  name?: string;
  /** A session of a model for embeddings, which compares questions by meaning. Default: none, and only equal questions count. */
  embedder?: Pick<Session, 'embed'>;
  /** The least similarity of two questions with one answer. Default 0.95; which one is right depends on the embedder. */
  threshold?: number;
  /** Beyond these the answers go that were used least recently. Default 1000. */
  maxEntries?: number;
  /** Default 16 MB. */
  maxBytes?: number;
  /** Seconds after which an answer is not given any more. Default: Infinity. */
  maxAge?: number;
}

/** What is asked: a prompt or messages, and all else that the answer depends on. */
export interface Query {
  prompt?: string;
  messages?: ChatMessage[];
  /** Of the generation: only answers with the same count. */
  options?: { [name: string]: unknown };
  /** Which model answers, in words of the caller's. */
  model?: string;
}

/** Two questions are equal where they differ in spaces alone. Similar ones must have the same numbers in them. */
export interface QueryCache {
  get(query: Query): Promise<Found | null>;
  /** True where the answer outlives the page. */
  put(query: Query, text: string): Promise<boolean>;
  clear(): Promise<void>;
  usage(): Promise<CacheSize>;
  /** Why answers are kept in memory alone; null where they are stored. */
  readonly error: unknown;
  /** Why the last question was not compared by meaning, such as that it is too long; null where it was. */
  readonly embedError: unknown;
}

export interface Found {
  text: string;
  /** The question that was asked then. */
  question: string;
  kind: 'exact' | 'similar';
  /** 0 to 1. */
  similarity: number;
}

export interface CacheSize {
  entries: number;
  bytes: number;
  /** Whether all entries outlive the page. */
  stored: boolean;
}

export interface PrefixCacheOptions {
  /** Caches with different names are different ones. Default ''. */
  name?: string;
  /** Beyond these the beginnings go that were used least recently. Default 50. */
  maxEntries?: number;
  /** Default 256 MB. A position of SmolLM2 takes 23 kB. */
  maxBytes?: number;
}

/** The first messages of chats, with the options of their template; or the beginning of prompts. */
export interface Prefix extends TemplateOptions {
  messages?: ChatMessage[];
  prompt?: string;
  /** Of a prompt: take special tokens written in it as such. Default false. */
  parseSpecial?: boolean;
}

export interface PrefixCache {
  /**
   * Opens a session that has read this beginning. What was kept of another model, or is damaged, is not used: then it is read
   * anew. Fails where `model.session` or the reading does.
   */
  session(model: Model, prefix: Prefix, options?: SessionOptions): Promise<Opened>;
  clear(): Promise<void>;
  usage(): Promise<CacheSize>;
  /** Why beginnings are kept in memory alone; null where they are stored. */
  readonly error: unknown;
}

export interface Opened {
  session: Session;
  /** Of the beginning. */
  tokens: number;
  /** 'restored': not read again. 'stored': read, and kept for the next time; 'read': read, and not kept on the disk. */
  state: 'restored' | 'stored' | 'read';
}

export interface RecommendOptions {
  /** How long each of one or two measurements for a model takes, its load not counted. Default 1. */
  seconds?: number;
  /** Bytes that a model and its session may take. Default 4 GB. */
  maxMemory?: number;
  /** With which options the models will be loaded: threads, contextLength, kvType. */
  load?: Pick<LoadOptions, 'threads' | 'contextLength' | 'kvType' | 'kernel' | 'baseUrl'>;
  signal?: AbortSignal;
}

export interface Recommendation {
  source: string | URL | Blob;
  /** As the file says. */
  name: string;
  fileBytes: number;
  /** Generated, predicted for short texts. */
  tokensPerSecond: number;
  /** Weights and session, predicted. */
  memoryBytes: number;
  fits: boolean;
  /** Why it could not be judged; else null. */
  error: Error | null;
}
