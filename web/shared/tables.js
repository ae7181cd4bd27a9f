// Made by wasm/tables.c from src/nutshell.h and wasm/boundary.h: `make web/shared/tables.js` writes it anew.

/** Options of a generation that are numbers or flags, in the order in which they go to the engine. */
export const GENERATE_OPTIONS = /** @type {const} */ ([
  { name: 'maxTokens', kind: 'whole', least: 1, most: 4294967295, fallback: 0 },
  { name: 'temperature', kind: 'real', least: 0, most: 100, fallback: 0.8 },
  { name: 'topK', kind: 'whole', least: 0, most: 4294967295, fallback: 40 },
  { name: 'topP', kind: 'real', least: 0, most: 1, fallback: 0.95 },
  { name: 'minP', kind: 'real', least: 0, most: 1, fallback: 0.05 },
  { name: 'typicalP', kind: 'real', least: 0, most: 1, fallback: 1 },
  { name: 'repeatPenalty', kind: 'real', least: 0.01, most: 100, fallback: 1 },
  { name: 'presencePenalty', kind: 'real', least: -100, most: 100, fallback: 0 },
  { name: 'frequencyPenalty', kind: 'real', least: -100, most: 100, fallback: 0 },
  { name: 'repeatLastN', kind: 'whole', least: 0, most: 4294967295, fallback: 64 },
  { name: 'seed', kind: 'whole', least: 0, most: 9007199254740991, fallback: 0 },
  { name: 'ignoreEos', kind: 'flag', fallback: false },
  { name: 'lookup', kind: 'whole', least: 0, most: 15, fallback: 7 },
  { name: 'certainty', kind: 'flag', fallback: false },
  { name: 'special', kind: 'flag', fallback: false },
]);

/** Their names alone, in the same order: all that the worker needs of them. */
export const OPTION_NAMES = /** @type {const} */ ([
  'maxTokens', 'temperature', 'topK', 'topP', 'minP', 'typicalP',
  'repeatPenalty', 'presencePenalty', 'frequencyPenalty', 'repeatLastN', 'seed', 'ignoreEos',
  'lookup', 'certainty', 'special',
]);

/** Stop texts of a generation, and bytes of each, at most. */
export const MAX_STOPS = 16, MAX_STOP_BYTES = 256;

/** Flags for texts that become tokens. */
export const ADD_BOS = 1, PARSE_SPECIAL = 2, WHOLE_TEXT = 5;

/** Names of nut_status, by number: codes of errors. */
export const STATUSES = /** @type {const} */ ([
  'ok', 'bad-argument', 'out-of-memory', 'not-gguf', 'truncated-model', 'corrupt-model',
  'unsupported-model', 'model-too-large', 'context-full', 'busy', 'bad-state', 'io',
  'corrupt-session', 'chat-template', 'no-chat-template',
]);

/** Names of nut_kv_type, by number; the first is the default. */
export const KV_TYPES = /** @type {const} */ (['f16', 'q8_0', 'q4_0']);

/** Names of nut_step_kind, by number. */
export const STEP_KINDS = /** @type {const} */ (['prefill', 'token', 'done']);

/** Names of nut_answer_kind, by number. */
export const ANSWER_KINDS = /** @type {const} */ (['content', 'reasoning', 'call', 'arguments', 'call-end', 'no-call']);

/** Names of nut_finish, by number. */
export const FINISHES = /** @type {const} */ (['none', 'eos', 'stop', 'length']);

/** Fields of a result. */
export const RESULT = /** @type {const} */ (['address', 'bytes']);

/** Fields of a step of a generation. */
export const STEP = /** @type {const} */ ([
  'kind', 'finish', 'done', 'drafted', 'accepted', 'draftedByModel',
  'acceptedByModel', 'logProbability', 'entropy', 'text', 'textBytes',
]);

/** Fields of a session. */
export const SESSION = /** @type {const} */ ([
  'contextLength', 'positions', 'threads', 'bytes', 'shifted', 'vocabulary',
  'chat', 'kvType',
]);

/** Fields of an event of a job. */
export const JOB_EVENT = /** @type {const} */ ([
  'split', 'splits', 'offset', 'n', 'bytes', 'text',
  'done', 'total',
]);

/** Fields of an evaluation. */
export const EVALUATION = /** @type {const} */ ([
  'windows', 'tokens', 'bytes', 'perplexity', 'perplexityError', 'bitsPerByte',
  'compared', 'referencePerplexity', 'kl', 'klError', 'klMedian', 'kl90',
  'kl99', 'klMax', 'sameTop', 'sameTopLow', 'sameTopHigh', 'flips',
  'rmsDeltaP',
]);

/** Fields of what chat needs of a model. */
export const CHAT_MODEL = /** @type {const} */ ([
  'name', 'nameBytes', 'source', 'sourceBytes', 'toolSource', 'toolSourceBytes',
  'bos', 'bosBytes', 'eos', 'eosBytes',
]);

/** Fields of a prompt. */
export const PROMPT = /** @type {const} */ ([
  'text', 'textBytes', 'marks', 'turns', 'dropped', 'droppedCount',
  'name',
]);

/** Fields of what a model from storage has read. */
export const STORAGE = /** @type {const} */ ([
  'bytesRead', 'seconds', 'layers', 'layersKept', 'layerHits', 'layerMisses',
  'experts', 'expertsKept', 'expertHits', 'expertMisses',
]);
