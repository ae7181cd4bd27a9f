// How an answer is shown while it grows: reasoning folded away, the rest as Markdown.
import { make } from './page.js';
import { MarkdownView } from './markdown.js';

const BEGIN = '<think>', END = '</think>';

/**
 * The parts of what a model wrote. Reasoning stands at its start, between marks; some templates write the first mark
 * themselves (`opened`). A mark that has begun to come is neither.
 * @param {string} written
 * @param {boolean} opened
 */
export function splitReasoning(written, opened) {
  const begun = written.trimStart();
  if (!opened && !begun.startsWith(BEGIN)) {
    return { reasoning: '', answer: BEGIN.startsWith(begun) ? '' : written, thinking: false };
  }
  const inside = begun.startsWith(BEGIN) ? begun.slice(BEGIN.length) : begun;
  const end = inside.indexOf(END);
  if (end < 0) return { reasoning: inside.trim(), answer: '', thinking: true };
  return { reasoning: inside.slice(0, end).trim(), answer: inside.slice(end + END.length).trimStart(), thinking: false };
}

export class AnswerView {
  constructor(/** @type {HTMLElement} */ article, /** @type {HTMLElement} */ text) {
    this.text = text;
    this.markdown = new MarkdownView(text);
    this.thoughts = make('div', { className: 'thoughts' });
    this.summary = make('summary', {}, 'Reasoning');
    this.details = make('details', { className: 'reasoning', hidden: true }, this.summary, this.thoughts);
    article.insertBefore(this.details, text);
    text.classList.add('markdown');
  }

  show(/** @type {{ reasoning?: string, answer: string, thinking?: boolean }} */ { reasoning = '', answer, thinking = false }) {
    this.details.hidden = reasoning === '' && !thinking;
    this.thoughts.textContent = reasoning;
    this.summary.textContent = thinking ? 'Reasoning …' : 'Reasoning';
    this.markdown.show(answer);
  }
}
