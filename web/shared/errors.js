// The library's error class, and how an error is sent from the worker to the page.

/** @typedef {import('../nutshell.d.ts').ErrorCode} ErrorCode */

/** Every failure but an abort: a stable code, and a message that says what to do. */
export class NutshellError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   * @param {{ cause?: unknown }} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = 'NutshellError';
    /** @readonly */
    this.code = code;
  }
}

/**
 * An error as a message. Causes are sent as text, since not every browser can clone them.
 * @typedef {{ code: ErrorCode | 'aborted', message: string, cause?: string }} WireError
 */

/** Thrown inside the worker to leave a job that the page has stopped; the page has the reason. */
export class Aborted extends Error {}

/**
 * By its name: dist/nutshell-cache.mjs has a copy of the class.
 * @param {unknown} error
 * @returns {error is NutshellError}
 */
const isOurs = (error) => error instanceof Error && error.name === 'NutshellError';

/** @param {unknown} error @returns {WireError} */
export function toWire(error) {
  if (error instanceof Aborted) return { code: 'aborted', message: 'stopped' };
  if (isOurs(error)) {
    return { code: error.code, message: error.message, cause: error.cause === undefined ? undefined : String(error.cause) };
  }
  const text = String(error);
  return { code: 'engine-crashed', message: `the engine stopped unexpectedly (${text}); load the model again`, cause: text };
}

/** @param {WireError} wire @returns {NutshellError} */
export function fromWire({ code, message, cause }) {
  return new NutshellError(/** @type {ErrorCode} */ (code), message, cause === undefined ? undefined : { cause });
}

/** @param {unknown} value a value as an error message shows it */
export function shown(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? value.slice(0, 40) + '…' : value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}

/** @param {string} name @param {string} expects @param {unknown} value */
export function badArgument(name, expects, value) {
  return new NutshellError('bad-argument', `${name} must be ${expects}, not ${shown(value)}`);
}
