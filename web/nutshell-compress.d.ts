// Types of nutshell-compress.mjs, which makes models smaller, or trains them, in a page. It is a file of its own, fetched by
// pages that want it: import { compress } from './nutshell-compress.mjs'. After that the functions are members of the global
// `Nutshell` too, where a script has defined that.
import type { CachedModel, ModelSource } from './nutshell.d.ts';

/**
 * Makes the best coded model that is no larger than `size`, without any training: in a worker, in memory that grows with the
 * largest layer and not with the model. Sources are those of `Nutshell.load` but streams; a URL is downloaded into the cache
 * first. Rejects with a NutshellError ('bad-argument' for a size that cannot be reached: the message says the least that can),
 * or with `signal.reason`. Nothing of the file is left then; what was computed is kept for the next call with the same source
 * and options (see `resume`).
 */
export function compress(source: ModelSource, options: CompressOptions): Promise<Compressed>;

/**
 * Trains a model on a text, in a worker: what is learned and how long is said by options of docs/training.md. Nothing leaves the
 * page. The model is held in floats: for small models. With a `rank` an adapter (LoRA) is trained and added to the model.
 * Sources, rejections and going on are those of `compress`.
 */
export function train(source: ModelSource, options: TrainOptions): Promise<Trained>;

/**
 * How well a model predicts a text, and how far it is from a reference. Both are loaded, the reference as floats: for small
 * models and short texts. Text that the model was compressed with flatters it.
 */
export function evaluate(source: ModelSource, options: EvaluateOptions): Promise<Evaluation>;

/** Jobs of `compress` and `train` that were stopped, or whose page was closed: the same call goes on with one. */
export function unfinished(): Promise<UnfinishedJob[]>;

/** Deletes what is kept of such a job, by its id; true where there was one. */
export function discard(id: string): Promise<boolean>;

export interface CompressOptions {
  /** Bytes that the file may have, as a number or as a text such as "60MB" or "57MiB". This, or `bpw`, or a `recipe`. */
  size?: number | string;
  /** Or bits of the file for each weight of the model, such as 3.5. */
  bpw?: number;
  /** A list of steps, or its JSON: see docs/compression.md. Default: 'auto', the best coded model of the size. */
  recipe?: string | object[];
  /** Without gradients: in half the time, and a worse model. Default false. */
  fast?: boolean;
  /** A text like those that the model is for, a few hundred kB. Default: one that is built in. */
  calibration?: string;
  /** Of the file. Default: the source's, with the size. */
  name?: string;
  /** Whether the file becomes a model of the cache; else its bytes are the browser's, as long as `file` is used. Default true. */
  cache?: boolean;
  /**
   * Whether a job is kept on the disk meanwhile (as many bytes as it has memory), so that the same call goes on after the tab was
   * closed, from at most a few seconds before. Sources without an identity, such as bytes, are not. Default true.
   */
  resume?: boolean;
  onProgress?: (progress: CompressProgress) => void;
  /** Stops within a layer's work; what was computed is kept, unless `resume` is false. */
  signal?: AbortSignal;
  /** Folder of the library's files. Default: that of nutshell-compress.mjs. */
  baseUrl?: string | URL;
}

export interface TrainOptions {
  /** To learn from. */
  text: string;
  /** As in a recipe of docs/training.md, such as `{ rank: 8, steps: 200 }`, without the names of files and without a teacher.
   *  All of the text is learned, unless `held_out` says otherwise. */
  options?: Record<string, number | string>;
  /** Of the file. Default: the source's, with `trained`. */
  name?: string;
  /** See CompressOptions. */
  cache?: boolean;
  resume?: boolean;
  onProgress?: (progress: CompressProgress) => void;
  signal?: AbortSignal;
  baseUrl?: string | URL;
}

export interface Trained extends Compressed {
  /** What was trained beside the model, in llama.cpp's form; null without a `rank`. */
  adapter: Blob | null;
}

export interface CompressProgress {
  /** 'download': the source is fetched into the cache; 'load': models are loaded; 'compress'; 'train'; 'check': what was written
   *  is loaded; 'evaluate'. */
  phase: 'download' | 'load' | 'compress' | 'train' | 'check' | 'evaluate';
  /** What is done now. Names in it come from the model: show them as text. */
  text: string;
  /** 0 to 1, of the phase. */
  done: number;
  /** NaN while unknown. */
  secondsLeft: number;
  /** Whether the job goes on from where an earlier one has ended. */
  resumed: boolean;
}

export interface Compressed {
  /** The file. Its bytes are read from the disk when they are: save it before the model is deleted from the cache. */
  file: Blob;
  /** The model in the cache, for `Nutshell.load({ cached: id })`; null with `cache: false`. */
  cached: CachedModel | null;
  /** Of the source. */
  sourceBytes: number;
  /** What is to be known of it, such as that the source had lost something already. */
  notes: string[];
  /** Seconds of work, those of earlier visits too. */
  seconds: number;
}

export interface UnfinishedJob {
  id: string;
  /** Of the file that it makes. */
  name: string;
  /** Where the model comes from; of files only their names are known, and they have to be chosen again. */
  source: { cached: string } | { urls: string[] } | { files: string[] };
  options: { size?: number; bpw?: number; recipe?: string; fast: boolean; calibration?: string }
    | { training: Record<string, number | string> };
  /** 0 to 1. */
  done: number;
  seconds: number;
  /** Bytes of the module's memory that are kept, at most. */
  bytes: number;
  /** When, in milliseconds since 1970. */
  saved: number;
}

export interface EvaluateOptions {
  text: string;
  /** The model to compare with, such as the one that was compressed. */
  reference?: ModelSource;
  /** Tokens that are read together from an empty context; the second half of each window is scored. Default 512. */
  window?: number;
  /** At most so many windows; 0: all. Default 0. */
  windows?: number;
  onProgress?: (progress: CompressProgress) => void;
  signal?: AbortSignal;
  baseUrl?: string | URL;
}

export interface Evaluation {
  windows: number;
  /** Scored. */
  tokens: number;
  /** Of their text. */
  bytes: number;
  perplexity: number;
  /** Its standard error. */
  perplexityError: number;
  bitsPerByte: number;
  /** Beside the reference; null without. */
  comparison: Comparison | null;
}

export interface Comparison {
  referencePerplexity: number;
  /** Kullback-Leibler divergence from the reference's probabilities, nats a token: a mean with its standard error. */
  kl: number;
  klError: number;
  klMedian: number;
  /** 90 and 99 % of the tokens have at most this. */
  kl90: number;
  kl99: number;
  klMax: number;
  /** Share of the tokens of which both find the same likeliest, with its interval at 95 %. */
  sameTop: number;
  sameTopLow: number;
  sameTopHigh: number;
  /** Where they do not, how much less likely the model's choice is than the reference's, by the reference; over all tokens. */
  flips: number;
  /** Root of the mean square change of the probability of the token that came. */
  rmsDeltaP: number;
}
