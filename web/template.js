// dist/nutshell-template.mjs: the interpreter of chat templates, a file of its own because it is nearly half of all the
// JavaScript, and pages that only continue texts never need it. The worker imports it for the first chat. wasm/jinja.mjs
// puts the bounds of template/limits.js into the interpreter.
import { Template as Unbounded } from '@huggingface/jinja';
import { LIMITS, met, refill } from './template/limits.js';

/** A chat template that uses up no more than LIMITS: it fails with an error that says which one it met. */
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

/** Engines say in their own words that calls nest too deeply for them. @param {unknown} error */
function named(error) {
  if (/call stack|too much recursion/.test(String(error))) met('levels of nesting');
  return error;
}
