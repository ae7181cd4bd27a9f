// Types of the public API. The same names are exported by nutshell.mjs and are members of the global `Nutshell` that
// nutshell.js defines. tests/browser/unit-test.mjs fails when this file and the code disagree on them.

/// <reference lib="esnext.disposable" />

/** Version of the library, "major.minor.patch". */
export const version: string;

/** A model file: one that the user picked or dropped, bytes at hand, or a stream of the file's bytes. */
export type ModelBytes = Blob | FileSystemFileHandle | ArrayBuffer | Uint8Array | ReadableStream<Uint8Array>;

/**
 * Where a model comes from: a URL (relative to the page, or to the script of a worker that uses the library), a file, or a model
 * in the cache by its id (see `cache.list`). Of a model in several files (NAME-00001-of-00003.gguf) the URL of the first, or an
 * array of all.
 */
export type ModelSource = string | URL | ModelBytes | { cached: string } | (string | URL)[] | Blob[];

/**
 * Loads a GGUF model. Rejects with a NutshellError, or with `signal.reason` once `signal` is aborted; what was
 * downloaded until then is kept in the cache and the next load goes on from there.
 */
export function load(source: ModelSource, options?: LoadOptions): Promise<Model>;

/**
 * Fetches and starts the engine ahead of time, so that the next `load` (with the same `threads`, `kernel` and `baseUrl`)
 * needs only the model: it starts sooner, and a cached model then loads without a network, and with `chat` chats too.
 */
export function prepare(options?: PrepareOptions): Promise<void>;

/** What this browser and page can do. Needs no network, and works in workers and in Node.js too. */
export function capabilities(): Capabilities;

/** The models that are kept in this browser's IndexedDB for this origin. */
export const cache: Cache;

export interface Capabilities {
  /** WebAssembly with 128-bit SIMD, which a policy may forbid: without it nothing runs. */
  simd: boolean;
  /** The relaxed integer dot product is there and computes rightly. */
  relaxedSimd: boolean;
  /** Workers can share memory, so that more than one thread can run: the page is cross-origin isolated. */
  threads: boolean;
  /** Threads that `load` uses when none are asked for. */
  defaultThreads: number;
}

export interface EngineOptions {
  /**
   * Threads, 1 to 64. Default: half of the processors that the browser reports, at most 8, and for single tokens fewer where
   * the first ones show that to be faster; 1 without shared memory.
   */
  threads?: number;
  /** Folder of the worker and wasm files. Default: the folder that nutshell.js or nutshell.mjs came from. */
  baseUrl?: string | URL;
  /** Kernels to run instead of the fastest ones; for tests and comparisons. */
  kernel?: 'relaxed' | 'pairs' | 'simd128' | 'ref';
}

export interface PrepareOptions extends EngineOptions {
  /** Fetch what only chats need too. Default false. */
  chat?: boolean;
}

export interface LoadOptions extends EngineOptions {
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** Positions that prompt and answer share. Default: what the model was trained with, at most 4096. */
  contextLength?: number;
  /**
   * How keys and values of the context are held. 'f16' (default): two bytes a number; 'q8_0': in little more
   * than half; 'q4_0': in 0.3, less exactly.
   */
  kvType?: 'f16' | 'q8_0' | 'q4_0';
  /** A pre-tokenizer in place of the one that the file names, where that is not known here. */
  preTokenizer?: string;
  /**
   * true (default for a URL): a stored copy is used unless the server has another version; else the model is stored
   * while it arrives. 'reload': downloaded again. 'required': as true, but the load fails where it cannot be stored
   * ('quota', 'storage'). false (default for other sources): not looked up and not stored.
   */
  cache?: boolean | 'reload' | 'required';
  /** SHA-256 of the whole file, in hexadecimal: a file with another one is not loaded ('wrong-checksum') and not stored.
   *  An array where the model has several files. */
  sha256?: string | string[];
  /**
   * Other addresses of the same file, tried in this order where one fails. Bytes of two addresses are joined only where their
   * ETags agree or `sha256` is given; else the file is fetched from its beginning again.
   */
  mirrors?: (string | URL)[];
  /** HTTP headers for the requests of this load, such as { Authorization: 'Bearer …' }. They are not stored. */
  headers?: HeadersInit;
  /**
   * Where the browser grants too little storage for this model: true deletes other models from the cache, the least recently
   * used first, as many as are needed, and none where all would not be enough. Models that are being downloaded stay.
   * Default false: the model is used and not stored (see `cache`).
   */
  evict?: boolean;
  /**
   * For models larger than memory: bytes that weights may take there. The rest is read again whenever a step comes to it,
   * from the cache or from the File, so that the text is the same and slower (`stats.storage`). A limit that is too small is
   * refused with the least one ('model-too-large'). Fetches another module of the engine. Needs a URL, a File or a model in
   * the cache, and a browser that keeps files: private windows may keep none ('storage').
   */
  weightsLimit?: number;
  /**
   * A smaller model with the same vocabulary, which drafts tokens where the text itself has none to look up (`lookup`): the
   * likeliest text stays the same, sampled ones keep their distribution. It drafts for the model's own conversation, as long
   * as that pays here (`stats.draftedByModel`), and is loaded before the model, as that is: from a URL, a File, a Blob or the
   * cache. Where it cannot be loaded or does not fit, the model goes on without it, and `info.draftError` says why. Fetches
   * another module of the engine.
   */
  draft?: string | URL | Blob | { cached: string };
  /**
   * Adapters (LoRA, GGUF files) beside the weights, 8 at most, with what each counts: 1 where no scale is given. Their bytes
   * come from where a draft's do. Not with weightsLimit. Fetches another module of the engine.
   */
  adapters?: (string | URL | Blob | { cached: string } | { source: string | URL | Blob | { cached: string }; scale?: number })[];
}

export interface Progress {
  /** 'engine': starting; 'download' and 'cache': bytes arrive from the source or from the cache; 'ready': done. */
  phase: 'engine' | 'download' | 'cache' | 'ready';
  /** Bytes of the model file that have arrived; ends at the file's size. It decreases only when the file on the server
   *  changed meanwhile and the load begins again. */
  loaded: number;
  /** Size of the file; 0 while unknown. Of a model in several files, those that have begun. */
  total: number;
  /** Over the last seconds; 0 while unknown. */
  bytesPerSecond: number;
  /** NaN while unknown. */
  secondsLeft: number;
  /** Whether the bytes of this step came from the cache. */
  fromCache: boolean;
}

/**
 * Texts that follow one another in one memory, the context: a prompt that begins like the one before and its answer is read
 * only from where it differs. A model is one conversation itself, and opens more with `session`.
 */
export interface Conversation {
  /** Figures of the generation that ran last or is running; null before the first. */
  readonly stats: GenerationStats | null;
  /**
   * Continues the prompt. Nothing happens until the first text is asked for, and all errors come from there. Leaving the
   * loop stops the generation; while the loop takes no texts, only a few are generated ahead. A session runs one
   * generation at a time ('busy'); those of several sessions run at the same time, a token of each in turn.
   */
  generate(prompt: string, options?: GenerateOptions): Generation;
  /**
   * Answers the last message, with the model's chat template; a model without one gets that of its family
   * ('no-chat-template' where that is unknown). What messages hold is text: no message can pretend to be another turn. Of a
   * prompt that begins as the one before, only the rest is read. The first chat fetches the files that only chats need.
   */
  chat(messages: ChatMessage[], options?: ChatOptions): Answer;
  /** The text that `chat` would continue; with `tokens: true` its token ids too, in which special tokens are those of the
   *  template alone. */
  renderChat(messages: ChatMessage[], options: RenderOptions & { tokens: true }): Promise<RenderedChat>;
  renderChat(messages: ChatMessage[], options?: RenderOptions): Promise<string>;
  /** Tokens of the prompt that `chat` would make of the messages, none left out. */
  countTokens(messages: ChatMessage[], options?: TemplateOptions): Promise<number>;
}

/** One loaded model. It has a worker and a WebAssembly memory of its own until `unload`. `generate` and `chat` work on its
 *  own session. */
export interface Model extends Conversation {
  readonly info: ModelInfo;
  /** Opens another conversation on this model. It shares the weights and threads, and takes memory for its own context
   *  alone ('out-of-memory' where there is too little: nothing else has changed then). */
  session(options?: SessionOptions): Promise<Session>;
  tokenize(text: string, options?: TokenizeOptions): Promise<number[]>;
  detokenize(ids: ArrayLike<number>, options?: DetokenizeOptions): Promise<string>;
  /** Ends the worker and frees its memory, that of all sessions too; everything else then fails with 'unloaded', and so do
   *  generations that are running. May be called again. (In a worker that uses the library: Firefox 153 now and then hangs in
   *  a worker that ends another one.) */
  unload(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface SessionOptions {
  /** Positions that prompt and answer share. Default: as many as the model's own session has. */
  contextLength?: number;
}

/**
 * A further conversation on a model. `fork`, `save` and `restore` wait for a generation that was stopped, and fail with
 * 'busy' while one is running.
 */
export interface Session extends Conversation {
  /** Positions that prompt and answer share. */
  readonly contextLength: number;
  /** Bytes that the session takes in memory. A fork shares them with the first session, as far as both have the same text. */
  readonly bytes: number;
  /** Opens a session of the same length that goes on from what this one has read and written; then each goes its own way. */
  fork(): Promise<Session>;
  /**
   * All that this session has read and written, as the engine holds it, for `restore` here or in another page that has loaded
   * the same model with the same `kvType`. Its size is the share of `bytes` that the context in use takes. Whoever has it can
   * read the conversation.
   */
  save(): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Makes this session what was saved, so that a prompt that begins with that text is not read again. The bytes may come from
   * anywhere: 'corrupt-session' where they are not what `save` gives for this model, 'context-full' where the context is too
   * short; the session is then as it was.
   */
  restore(bytes: Uint8Array | ArrayBuffer): Promise<void>;
  /**
   * The vector of a text, of length 1, by which texts can be compared (the sum of products is their similarity): with models that
   * are made for it, such as all-MiniLM; those that write texts give vectors that say less. The session then holds that text.
   * 'context-full' where the text is longer than the context, or than the 512 tokens that models like BERT read at once.
   */
  embed(text: string): Promise<Float32Array>;
  /** Frees the session's memory. A generation that is running ends with 'freed', and so does everything that is asked later.
   *  May be called again. */
  free(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ModelInfo {
  /** Kernels at work: 'relaxed', 'pairs', 'simd128' or 'ref'; where sets raced, those of everything but products. */
  kernel: string;
  /** Threads at work: fewer than asked for where they could not be started. */
  threads: number;
  /** Positions that prompt and answer share. */
  contextLength: number;
  /** How keys and values are held. */
  kvType: 'f16' | 'q8_0' | 'q4_0';
  /** File name or the last part of the URL; '' for bytes without a name. */
  fileName: string;
  /** Size of the model file in bytes. */
  fileBytes: number;
  /** Bytes that the weights take in memory. */
  weightBytes: number;
  /** Bytes that the model's own session takes in memory: key/value cache and activations. */
  sessionBytes: number;
  /** Whether `chat` works without the option `template`: the model has a chat template, or is of a known family. */
  chat: boolean;
  cache: CacheState;
  /** With the option draft: why no model drafts; null where one does. */
  draftError?: string | null;
  /** What the file says about the model. */
  model: ModelFacts;
}

/** Texts from the file's own metadata are what its author wrote there: show them as text, never as HTML. */
export interface ModelFacts {
  architecture: string;
  /** '' where the file gives none. */
  name: string;
  n_params: number;
  n_vocab: number;
  n_ctx_train: number;
  n_embd: number;
  n_layer: number;
  n_ff: number;
  n_head: number;
  n_head_kv: number;
  head_dim: number;
  file_bytes: number;
  weight_bytes: number;
  kernel: string;
  /** Sets of kernels that raced for the products of a layout of weights, with the winner; empty where one set did all. */
  products: KernelRace[];
  /** What `load` notes of them for the next one; '' where there is nothing new. */
  races: string;
  tokenizer: string;
  /** Texts of the tokens that begin and end a sequence; null where the model has none. */
  bos: string | null;
  eos: string | null;
  add_bos: boolean;
  /** Ids of the tokens that end a generation. */
  eog: number[];
  chat_template: string | null;
  /** How many tensors there are of each type: { Q4_1: 210, F32: 61 }. */
  types: { [type: string]: number };
}

export interface KernelRace {
  /** Layout of the weights in memory. */
  layout: string;
  /** Tokens at once: up to four, or more. */
  tokens: 'few' | 'many';
  /** The kernels that were taken. */
  kernel: string;
  /** What each reached, in 10^9 multiply-adds per second: { relaxed: 52.1 }. */
  rates: { [kernel: string]: number };
  /** Whether an earlier load chose so, and a brief race agreed: choices are kept in this browser with the models, for as long as
   *  its version and the library's stay the same. The option `kernel` overrides them. */
  kept: boolean;
}

export interface CacheState {
  /**
   * 'hit': all bytes came from the cache; 'resumed': some did; 'stored': downloaded and stored now; 'off': not asked
   * for; 'failed': could not be stored, and `error` says why.
   */
  state: 'hit' | 'resumed' | 'stored' | 'off' | 'failed';
  /** Id of the stored model for `cache.delete` and `load({ cached })`; null where it is not stored. */
  id: string | null;
  error: NutshellError | null;
}

/** How a text is generated. Numbers and their limits are those of the engine (src/nutshell.h). */
export interface GenerateOptions {
  /** Tokens to sample at most, at least 1; default: until the context is full. */
  maxTokens?: number;
  /** 0: always the likeliest token. Default 0.8. */
  temperature?: number;
  /** Sample from the k likeliest tokens; 0: off. Default 40. */
  topK?: number;
  /** Sample from the likeliest tokens that have this share of the probability; 1: off. Default 0.95. */
  topP?: number;
  /** Leave out tokens below this share of the likeliest one's probability; 0: off. Default 0.05. */
  minP?: number;
  /** Locally typical sampling; 1: off. Default 1. */
  typicalP?: number;
  /** Above 1 avoids tokens that came among the last `repeatLastN`; 1: off. Default 1. */
  repeatPenalty?: number;
  /** Taken once from the logit of a token that came among the last `repeatLastN`; 0: off. Default 0. */
  presencePenalty?: number;
  /** Taken as often as the token came among the last `repeatLastN`; 0: off. Default 0. */
  frequencyPenalty?: number;
  /** Tokens, of the prompt too, that the three penalties look back on; 0: off. Default 64. */
  repeatLastN?: number;
  /** A whole number below 2^53: the same seed gives the same text. Default: chosen at random. */
  seed?: number;
  /** Go on where the model ends the text, until maxTokens or a stop text; for benchmarks. Default false. */
  ignoreEos?: boolean;
  /**
   * Up to how many tokens (0 to 7) are drafted from what came before and then checked in one step; the text stays the same.
   * Faster where an answer repeats its prompt: edits of code, quotes. How many follows what drafts were worth and what
   * steps cost; where they do not pay there are none. Default 7; 0: off.
   */
  lookup?: number;
  /** Tell in `stats` how sure the model is of what it writes, which takes a little time for each token. Default false. */
  certainty?: boolean;
  /** Give special tokens their text ("<|im_start|>") where the model writes them. Default false: they give none. */
  special?: boolean;
  /**
   * Texts that end the generation and are not part of it: at most 16, each at most 256 bytes in UTF-8. The text of a special
   * token ends it too, whether `special` shows it or not.
   */
  stop?: string | string[];
  /** Rejects the loop with `signal.reason`, within one token or one batch of the prompt. */
  signal?: AbortSignal;
  /** Of `generate` alone: take special tokens written in the prompt as such ("<|im_start|>"). Default false. */
  parseSpecial?: boolean;
  /** What each adapter of the model counts in this answer, in the order of the option of `load`; 0: nothing. Default: the
   *  scales given there. */
  adapters?: number[];
}

/** A part of a message's content; templates of text models read those with `type: 'text'`. */
export interface ContentPart {
  type: string;
  text?: string;
  [key: string]: unknown;
}

export interface ChatMessage {
  role: string;
  /** A text, or parts, for templates that read such; null or missing, as beside tool_calls. Templates get it as it is. */
  content?: string | null | ContentPart[];
  /** Special tokens written in this message are such, as if the template had written it. Default false. */
  trusted?: boolean;
  /** Calls of an assistant; the results follow as messages of the role 'tool'. */
  tool_calls?: ToolCall[];
  /** Some templates read more: name, tool_call_id, reasoning_content … */
  [key: string]: unknown;
}

export interface ToolCall {
  id?: string;
  type?: string;
  /** `arguments` are an object, or one as JSON, as in answers. */
  function: { name: string; arguments: unknown };
}

/** What a model has answered, a message for the next `chat`. */
export interface AnswerMessage extends ChatMessage {
  role: 'assistant';
  content: string;
  /** Only where the model has written some. */
  reasoning_content?: string;
  tool_calls?: { id: string; type: 'function'; function: { name: string; arguments: string } }[];
}

/**
 * A part of an answer: more of the content or of the reasoning; a call of a tool, which begins with the name (`call`) and goes
 * on with `arguments` in pieces of JSON; its end, with its id (`call-end`); or that it was none (`no-call`), and its text
 * follows as content. `index` says which call, from 0.
 */
export interface AnswerPart {
  kind: 'content' | 'reasoning' | 'call' | 'arguments' | 'call-end' | 'no-call';
  index: number;
  text: string;
}

export interface TemplateOptions {
  /** A Jinja template instead of the model's own. */
  template?: string;
  /** More variables for the template, such as { enable_thinking: false }. */
  templateVariables?: { [name: string]: unknown };
  /** Tools that the model may call, as its template reads them: { type: 'function', function: { name, description, parameters } }
   *  with a JSON schema of the parameters. */
  tools?: unknown[];
  /** Let the template open the answer. Default true. */
  addGenerationPrompt?: boolean;
}

export interface RenderOptions extends TemplateOptions {
  /** Give the token ids too. Default false. */
  tokens?: boolean;
}

export interface RenderedChat {
  text: string;
  ids: number[];
  /** Where the template is from: 'model', 'given', the name of another one of the model's ('tool_use'), or of the family
   *  whose template is built in ('chatml'). */
  template: string;
}

export interface ChatOptions extends GenerateOptions, TemplateOptions {
  /**
   * Where the context is full: 'error' (default) rejects with 'context-full', or ends with the finish reason 'length'; 'trim'
   * leaves out the oldest turns, but no system text and not the last turn, so that the answer has a quarter of the context, or
   * `maxTokens`; 'shift' goes on without the older half, but for its beginning, also while it writes ('unsupported-model' for
   * families that cannot). `stats` says what was left out.
   */
  overflow?: 'error' | 'trim' | 'shift';
  /** A text that the answer has begun with: the model goes on from there, and only what follows is told. */
  answer?: string;
}

export interface TokenizeOptions {
  /** Put the model's beginning-of-sequence token in front, where it asks for one. Default false. */
  addBos?: boolean;
  /** Take the text of special tokens as the tokens. Default false. */
  parseSpecial?: boolean;
}

export interface DetokenizeOptions {
  /** Give special tokens their text. Default false: they give none. */
  special?: boolean;
}

/** The answer's text as it is generated, in parts of whole characters. */
export interface Generation extends AsyncIterableIterator<string> {
  /** null until the generation started; kept up to date while it runs. */
  readonly stats: GenerationStats | null;
  /** All the text that is still to come. */
  text(): Promise<string>;
}

/**
 * The content of an answer as it is generated; reasoning and calls of tools go to `message`, and are among the `parts`. Which
 * marks a model sets around them is known from its template; marks that are not known stay in the content.
 */
export interface Answer extends Generation {
  readonly stats: ChatStats | null;
  /** The answer so far, as far as the loop has taken it. A call is in it when it is whole. */
  readonly message: AnswerMessage;
  /** A loop over all parts instead of the content alone. */
  parts(): AsyncIterableIterator<AnswerPart>;
}

export interface ChatStats extends GenerationStats {
  /** Which messages were left out of the prompt: their indices, ascending. */
  dropped?: number[];
  /** Tokens of the conversation that have left the context, with `overflow: 'shift'`. */
  shifted?: number;
}

export interface GenerationStats {
  /** Tokens of the prompt. */
  promptTokens: number;
  /** How many of them have been read; those that the session still held from before count at once. */
  promptTokensRead: number;
  /** Tokens sampled. */
  tokens: number;
  /** Tokens that were drafted (see the option lookup); there from the first token on, as accepted. */
  drafted?: number;
  /** How many of the drafted tokens are in the text. */
  accepted?: number;
  /** Those of both that the model of the option draft has drafted; the others were looked up. */
  draftedByModel?: number;
  acceptedByModel?: number;
  /** With the option certainty, else 0: the mean log-probability of the tokens sampled so far, in nats, by what the model
   *  predicts before penalties and temperature; e to the power of it is a geometric mean of probabilities. */
  logProbability?: number;
  /** And the mean entropy of those predictions: 0 where each had one possible token. */
  entropy?: number;
  /** With weightsLimit: what the model has read since it was loaded; there from the first token on. */
  storage?: StorageStats;
  /** Time spent on the prompt and on what follows it, in the worker; steps of other sessions do not count. */
  promptSeconds: number;
  seconds: number;
  /** Sampled tokens per second; 0 before the first. */
  tokensPerSecond: number;
  /** The seed in use. */
  seed: number;
  /** 'eos': the model ended it; 'stop': a stop text; 'length': maxTokens or a full context; null while it runs. */
  finishReason: 'eos' | 'stop' | 'length' | 'aborted' | 'error' | null;
}

export interface StorageStats {
  bytesRead: number;
  /** Of reading and unpacking. */
  seconds: number;
  /** Layers, and those that stay in memory but for their experts. */
  layers: number;
  layersKept: number;
  /** How often steps came to a layer that was in memory, and to one that had to be read. */
  layerHits: number;
  layerMisses: number;
  /** The same of the experts of all layers. */
  experts: number;
  expertsKept: number;
  expertHits: number;
  expertMisses: number;
}

export interface Cache {
  /** Models stored for this origin, incomplete ones too. */
  list(): Promise<CachedModel[]>;
  /** Deletes by id or by URL; true where there was something to delete. */
  delete(idOrUrl: string): Promise<boolean>;
  /** Deletes all models. */
  clear(): Promise<void>;
  usage(): Promise<CacheUsage>;
  /**
   * Reads stored models, one by id or URL ('not-cached' where there is none) or all, and compares them with their
   * checksums. Damaged chunks are deleted, so that the next load fetches them again; the model is incomplete until then.
   */
  verify(idOrUrl?: string, options?: VerifyOptions): Promise<CacheReport[]>;
  /** The model's file, to be saved or sent elsewhere. The Blob reads it only when it is read itself: save it before you
   *  delete the model. 'not-cached' where the model is not complete. */
  export(idOrUrl: string): Promise<Blob>;
  /**
   * Stores a file. With `url`, `load(url)` then takes it from the cache, without a network too, and it replaces what was
   * stored from there. Rejects with 'not-gguf' for other files and 'quota' where there is too little space; nothing of
   * the file is then left.
   */
  import(source: ModelBytes, options?: ImportOptions): Promise<CachedModel>;
}

export interface VerifyOptions {
  onProgress?: (progress: CacheProgress) => void;
  /** Stops with `signal.reason`. */
  signal?: AbortSignal;
}

export interface ImportOptions extends VerifyOptions {
  /** The address that the file would have been downloaded from. Default: it is stored as a file without one. */
  url?: string | URL;
  /** Default: the file's own name, else the last part of the URL. */
  name?: string;
  /** As for `load`. */
  evict?: boolean;
}

export interface CacheProgress {
  /** Bytes that were read. */
  loaded: number;
  /** Of how many; 0 while unknown. */
  total: number;
}

export interface CacheReport {
  id: string;
  url: string | null;
  name: string;
  /** How many chunks were checked. */
  chunks: number;
  /** Indexes of the chunks that were damaged or missing; they are deleted now. All, where only the file's SHA-256 is wrong. */
  damaged: number[];
  /** Whether the file has the SHA-256 that it had when it was stored; null where that is not known, or the file is not
   *  complete. */
  sha256: boolean | null;
  /** Whether the model is complete. */
  complete: boolean;
}

export interface CachedModel {
  id: string;
  /** URL that it came from; null for files. */
  url: string | null;
  name: string;
  /** Size of the file; 0 while unknown. */
  size: number;
  /** Bytes of it that are stored. */
  stored: number;
  complete: boolean;
  /** Milliseconds since 1970. */
  created: number;
  used: number;
}

export interface CacheUsage {
  /** Bytes of models. */
  models: number;
  /** How much this origin stores in all, and may store, as the browser says; null where it does not say. */
  used: number | null;
  quota: number | null;
  /**
   * Whether the browser keeps the stored models when the disk gets full; null where it does not say. The library asks for
   * that once, after the first model was stored; some browsers then ask the user.
   */
  persisted: boolean | null;
}

/**
 * Every failure except an abort. `message` says what to do. After an error in generate, chat, tokenize or detokenize the
 * model can be used on, except with the code 'engine-crashed'.
 */
export class NutshellError extends Error {
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown });
  readonly code: ErrorCode;
}

export type ErrorCode =
  // from the engine
  | 'bad-argument' // an option is of the wrong type or out of range
  | 'out-of-memory'
  | 'not-gguf' // no model at all: an HTML page, another format
  | 'truncated-model'
  | 'corrupt-model' // the file contradicts itself, or the model computes NaN
  | 'corrupt-session' // the bytes are not what `save` gives for this model
  | 'wrong-checksum' // the file is not the one that `sha256` names
  | 'unsupported-model' // an architecture, tensor type or tokenizer that is not known
  | 'model-too-large' // does not fit into the memory that a page can have
  | 'context-full' // the prompt does not fit into the context
  | 'bad-state'
  | 'io'
  // from the library
  | 'busy' // a generation is running
  | 'unloaded' // the model was unloaded
  | 'freed' // the session was freed
  | 'no-simd' // the browser lacks WebAssembly SIMD
  | 'wasm-blocked' // a Content-Security-Policy without 'wasm-unsafe-eval' forbids WebAssembly
  | 'no-worker' // no worker can be started here, such as in a service worker or in Node.js
  | 'engine-missing' // the worker or wasm files are not where they are looked for
  | 'engine-crashed' // the worker ended; load the model again
  | 'cross-origin-worker' // the worker file is on another origin
  | 'file-page' // the page was opened from the disk (file://)
  | 'network' // no answer: no connection, or refused by CORS or CSP
  | 'quota' // the browser grants too little storage
  | 'storage' // the browser's storage cannot be used
  | 'not-cached' // no model with this id is in the cache
  | 'no-chat-template'
  | 'chat-template' // the chat template cannot be read, fails, or is stopped at a limit of what templates may use up
  | `http-${number}`; // the server's answer, such as http-404
