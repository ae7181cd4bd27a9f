// Chat templates: turn messages into the text that the model was trained to continue. Templates are Jinja,
// come with the model, and run in the interpreter of @huggingface/jinja, inside the worker and within the
// limits of template/limits.js.
import { NutshellError } from '../shared/errors.js';

/**
 * @typedef {import('../nutshell.d.ts').ChatMessage} ChatMessage
 * @typedef {import('../template.js').Template} Template
 */

/** Characters of a template's own error message that are passed on. */
const MESSAGE = 500;

export class ChatTemplate {
  #source;
  #tokens;
  #loadJinja;
  /** @type {Map<string, Template>} */
  #parsed = new Map();

  /**
   * @param {string | null} source  the model's own template
   * @param {{ bos: string, eos: string }} tokens  texts of its special tokens
   * @param {() => Promise<import('./jinja.js').Jinja>} loadJinja
   */
  constructor(source, tokens, loadJinja) {
    this.#source = source;
    this.#tokens = tokens;
    this.#loadJinja = loadJinja;
  }

  get exists() {
    return this.#source !== null;
  }

  /** @param {string} source @param {import('./jinja.js').Jinja} jinja */
  #parse(source, { Template }) {
    let template = this.#parsed.get(source);
    if (!template) {
      template = new Template(source);
      this.#parsed.clear();
      this.#parsed.set(source, template);
    }
    return template;
  }

  /**
   * @param {ChatMessage[]} messages
   * @param {{ template?: string, templateVariables: Record<string, unknown>, addGenerationPrompt: boolean }} options
   * @returns {Promise<string>}
   */
  async render(messages, options) {
    const source = options.template ?? this.#source;
    if (source === null) {
      throw new NutshellError('no-chat-template', 'this model has no chat template: pass one as the option template, '
        + 'or write the prompt yourself and use generate');
    }
    const jinja = await this.#loadJinja();
    try {
      return this.#parse(source, jinja).render({
        bos_token: this.#tokens.bos,
        eos_token: this.#tokens.eos,
        ...options.templateVariables,
        messages,
        add_generation_prompt: options.addGenerationPrompt,
      });
    } catch (cause) {
      const why = (cause instanceof Error ? cause.message : String(cause)).slice(0, MESSAGE);
      throw new NutshellError('chat-template', `the chat template cannot turn these messages into text (${why}); `
        + 'try other roles or another order of the messages, or pass another template as the option template', { cause });
    }
  }

  /** Whether the text begins with the beginning-of-sequence token already. @param {string} text */
  startsWithBos(text) {
    return this.#tokens.bos !== '' && text.startsWith(this.#tokens.bos);
  }
}
