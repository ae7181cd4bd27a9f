// What a chat template may use up. Templates come with models, so they are as trustworthy as the model's
// author: one that loops without end, or doubles a string forty times, must fail like any other bad template
// and not take the tab with it. The interpreter has no such limits of its own; wasm/jinja.mjs inserts calls
// of these functions into its sources.
//
// Work is counted, not time, so that a template that renders on one machine renders on all. What could do
// much work in a single step is charged for it before.

export const LIMITS = {
  /** The largest template that is known has 17,000. */
  'characters of template': 250_000,
  /** Expressions, values and other things that take some hundred nanoseconds or some tens of bytes. Known
   * templates take 50 to
   *  250 for a message; a few take more the more messages there are. */
  steps: 10_000_000,
  /** In all texts that are made. A text joined from others counts when it is read: JavaScript engines copy it
   * no sooner. */
  'characters in all': 50_000_000,
  /** In one text, such as the result. */
  'characters in a text': 8_000_000,
  /** Expressions, blocks and calls inside of each other. */
  'levels of nesting': 400,
};

let stepsLeft = 0, charactersLeft = 0, depth = 0;

/** Called before a template is parsed, and before it is run. */
export function refill() {
  stepsLeft = LIMITS.steps;
  charactersLeft = LIMITS['characters in all'];
  depth = 0;
}

/** @param {keyof typeof LIMITS} limit @returns {never} */
export function met(limit) {
  throw new RangeError(`stopped at the limit of ${LIMITS[limit]} ${limit}`);
}

/** Charges for work. @param {number} [steps] NaN and Infinity are too many */
export function spend(steps = 1) {
  if (!((stepsLeft -= steps) >= 0)) met('steps');
}

/** Charges for text that is about to be made. @param {number} characters */
export function grow(characters) {
  if (!(characters <= LIMITS['characters in a text'])) met('characters in a text');
  if ((charactersLeft -= characters) < 0) met('characters in all');
}

/** Charges for reading a value through once: a step, and one more for each thousand characters. @template T @param {T} value */
export function read(value) {
  spend(typeof value === 'string' ? 1 + value.length / 1024 : 1);
  return value;
}

/** Charges for a new value of the template's. @template T @param {T} value @param {boolean} joined  whether it is a text joined
 *  from others @returns {T} */
export function made(value, joined) {
  spend();
  if (typeof value === 'string') {
    if (!joined) grow(value.length);
  } else if (Array.isArray(value)) spend(value.length);
  else if (value instanceof Map) spend(value.size);
  return value;
}

/** Joins two texts at little charge: JavaScript engines copy them later. @param {string} first @param {string} second */
export function concat(first, second) {
  if (first.length + second.length > LIMITS['characters in a text']) met('characters in a text');
  return first + second;
}

/** Charges for reading a value, if it is a text joined from others. @template {{ value: any, joined: boolean } | undefined} T
 *  @param {T} value @returns {T} */
export function flat(value) {
  if (value?.joined) {
    value.joined = false;
    grow(value.value.length);
  }
  return value;
}

/** One level deeper; `leave` is not needed where an error ends it all. */
export function enter() {
  if (depth++ === LIMITS['levels of nesting']) met('levels of nesting');
}

export function leave() {
  depth--;
}

/**
 * Charges for the search for a text in another, which in the worst case compares it at each position.
 * @param {string} text
 * @param {string} wanted
 */
function search(text, wanted) {
  spend(1 + (text.length + Math.max(text.length - wanted.length, 0) * wanted.length) / 1024);
}

// --- what JavaScript does in one step
// -----------------------------------------------------------------------------------

/** @param {string} text @param {string} wanted */
export function includes(text, wanted) {
  search(text, wanted);
  return text.includes(wanted);
}

/** @param {string} text @param {string} separator not empty */
export function split(text, separator) {
  search(text, separator);
  const parts = text.split(separator, stepsLeft + 1);
  spend(parts.length);
  return parts;
}

/** @param {string} text @param {number} count */
export function repeat(text, count) {
  grow(text.length * count);
  return text.repeat(count);
}

/** Python's slices, where the interpreter's own one is `slice`. A text without surrogate pairs is cut as
 * JavaScript cuts it.
 *  @param {string} text @param {(characters: string[], ...range: number[]) => string[]} slice
 *  @param {number} start @param {number} stop @param {number} step */
export function sliceText(text, slice, start, stop, step = 1) {
  read(text);
  if (step === 1 && !/[\ud800-\udfff]/.test(text)) return text.slice(start, stop);
  spend(text.length);
  return slice(Array.from(text), start, stop, step).join('');
}

/** Jinja's filter of that name. @param {string} text @param {number} width @param {boolean} first @param {boolean} blank */
export function indent(text, width, first, blank) {
  const space = repeat(' ', width);
  return join(split(text, '\n').map((line, i) => ((i || first) && (line || blank) ? space + line : line)), '\n');
}

/** As Array.prototype.join does it. @param {unknown[]} list @param {string} [separator] @returns {string} */
export function join(list, separator = ',') {
  spend(list.length);
  const parts = list.map((item) => (Array.isArray(item) ? join(item) : String(item ?? '')));
  grow(parts.reduce((sum, part) => sum + part.length, separator.length * parts.length));
  return parts.join(separator);
}

/** A value as JavaScript turns it into text. @param {unknown} value */
export const textOf = (value) => (Array.isArray(value) ? join(value) : String(value));

/** Whether JavaScript holds two values for loosely equal: it turns an array into text to compare it with what
 * is no object.
 *  @param {unknown} a @param {unknown} b */
export function looselyEqual(a, b) {
  const side = (/** @type {unknown} */ value, /** @type {unknown} */ other) =>
    (Array.isArray(value) && other != null && other !== Object(other) ? join(value) : value);
  return side(a, b) == side(b, a);
}

/**
 * Python's str.replace. A needle's halves of surrogate pairs are not found in whole pairs.
 * @param {string} text
 * @param {string} wanted
 * @param {string} by
 * @param {number | null} [count]
 */
export function replace(text, wanted, by, count) {
  search(text, wanted);
  spend(wanted.length / 16); // to compile it
  let left = count == null || count < 0 ? Infinity : count;
  const pattern = new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, '\\$&') || '(?=)', 'gu');
  return text.replaceAll(pattern, (found) => {
    if (left <= 0) return found;
    left--;
    spend(2);
    grow(by.length);
    return by;
  });
}

const GENERATION = /{%(-?)\s*(?:end)?generation\s*(-?)%}(\s*)/g;

/**
 * Takes out the tags generation and endgeneration, which mean something in training alone; those with a
 * hyphen take the blanks beside them along.
 * @param {string} template
 */
export function withoutGeneration(template) {
  let text = '', end = 0;
  for (const { 0: tag, 1: left, 2: right, 3: after, index } of template.matchAll(GENERATION)) {
    const before = template.slice(end, index);
    text += (left ? before.trimEnd() : before) + (right ? '' : after);
    end = index + tag.length;
  }
  return text + template.slice(end);
}
