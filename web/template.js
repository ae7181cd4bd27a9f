// dist/nutshell-template.mjs: the interpreter of chat templates. It is a file of its own because it is a
// third of all the JavaScript and pages that do not chat never need it. The worker imports it for the first
// chat. wasm/jinja.mjs puts the limits of template/limits.js into the interpreter.
import { Template as Unbounded } from '@huggingface/jinja';
import { LIMITS, met, refill } from './template/limits.js';

/** A chat template that fails with an error where it would exceed one of LIMITS; the error names the limit.
 */
export class Template extends Unbounded {
  /** @param {string} source */
  constructor(source) {
    if (source.length > LIMITS['characters of template']) met('characters of template');
    refill();
    try {
      super(source);
    } catch (error) {
      throw named(error);
    }
  }

  /** @override @param {Record<string, unknown>} variables @returns {string} */
  render(variables) {
    refill();
    try {
      return super.render(variables);
    } catch (error) {
      throw named(error);
    }
  }
}

/** Replaces the browser's own error for calls that nest too deeply. @param {unknown} error */
function named(error) {
  if (/call stack|too much recursion/.test(String(error))) met('levels of nesting');
  return error;
}
