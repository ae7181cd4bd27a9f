// How an answer is shown while it grows: reasoning folded away, the rest as Markdown.
import { make } from './page.js';
import { MarkdownView } from './markdown.js';

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
