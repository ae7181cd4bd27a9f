// Markdown as nodes of the document. `marked` reads the text; what it read is built with createElement and text
// nodes alone, so that nothing a model writes is ever parsed as HTML: tags stay text, addresses are checked,
// images are links. While a text grows, only the blocks that changed are made again: what stands does not flicker,
// and a selection in it stays.
import { lexer } from './vendor.mjs';
import { button, make } from './page.js';

/** @typedef {import('marked').Token} Token */
/** @typedef {import('marked').Tokens.Generic} Generic */

const HEADING_BELOW = 2; // an answer's own heading is h2
const SAFE_ADDRESS = /^(https?:|mailto:)/i;
const NAMED = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };
const LAST_CODE_POINT = 0x10ffff;

/** Text with its character references read, as a browser reads them in HTML. */
function decode(/** @type {string} */ text) {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]+));/gi, (whole, decimal, hex, name) => {
    if (name) return NAMED[name] ?? whole;
    const code = decimal ? parseInt(decimal, 10) : parseInt(hex, 16);
    return code > 0 && code <= LAST_CODE_POINT ? String.fromCodePoint(code) : whole;
  });
}

/** A link, or its text alone where the address is not one of the web. */
function link(href, children) {
  if (!SAFE_ADDRESS.test(href)) return children;
  return [make('a', { href, target: '_blank', rel: 'noopener noreferrer' }, ...children)];
}

/** How a token inside a line is shown: nodes or text. @type {Record<string, (token: Generic) => (Node|string)[]>} */
const INLINE = {
  text: (token) => (token.tokens ? inline(token.tokens) : [decode(token.text)]),
  escape: (token) => [token.text],
  html: (token) => [token.raw],
  br: () => [make('br')],
  codespan: (token) => [make('code', {}, token.text)],
  strong: (token) => [make('strong', {}, ...inline(token.tokens))],
  em: (token) => [make('em', {}, ...inline(token.tokens))],
  del: (token) => [make('del', {}, ...inline(token.tokens))],
  link: (token) => link(token.href, inline(token.tokens)),
  image: (token) => link(token.href, [token.text || token.href]),
  checkbox: (token) => [token.checked ? '☑ ' : '☐ '],
};

/** @returns {(Node|string)[]} */
const inline = (/** @type {Token[]|undefined} */ tokens) =>
  (tokens ?? []).flatMap((token) => (INLINE[token.type] ?? (() => [token.raw]))(token));

function codeBlock(/** @type {Generic} */ { text, lang }) {
  const code = make('code', {}, text);
  const copied = () => { copy.textContent = 'Copied'; };
  const copy = button('Copy code', () => navigator.clipboard?.writeText(text).then(copied), 'quiet');
  const language = make('span', {}, (lang ?? '').split(/\s/)[0]);
  const block = make('pre', { tabIndex: 0 }, code); // focusable, since it may scroll
  block.setAttribute('aria-label', 'Code');
  block.setAttribute('role', 'region');
  return make('div', { className: 'code' }, make('div', { className: 'row' }, language, copy), block);
}

function listItem(/** @type {Generic} */ item) {
  const box = item.task && !item.tokens?.some(({ type }) => type === 'checkbox') ? INLINE.checkbox(item) : [];
  return make('li', {}, ...box, ...blocks(item.tokens));
}

function table(/** @type {Generic} */ { header, rows, align }) {
  const cells = (row, tag) => row.map((cell, i) => {
    const made = make(tag, {}, ...inline(cell.tokens));
    if (align[i]) made.dataset.align = align[i];
    return made;
  });
  const body = rows.map((row) => make('tr', {}, ...cells(row, 'td')));
  const all = make('table', {}, make('thead', {}, make('tr', {}, ...cells(header, 'th'))), make('tbody', {}, ...body));
  const scrolled = make('div', { className: 'table', tabIndex: 0 }, all);
  scrolled.setAttribute('role', 'region');
  scrolled.setAttribute('aria-label', 'Table');
  return scrolled;
}

/** How a block is shown. @type {Record<string, (token: Generic) => (Node|string)[]>} */
const BLOCK = {
  space: () => [],
  def: () => [],
  hr: () => [make('hr')],
  heading: (token) => [make(`h${Math.min(6, token.depth + HEADING_BELOW)}`, {}, ...inline(token.tokens))],
  paragraph: (token) => [make('p', {}, ...inline(token.tokens))],
  text: (token) => inline([token]), // in a list without blank lines
  html: (token) => [make('p', {}, token.raw.trimEnd())],
  code: (token) => [codeBlock(token)],
  blockquote: (token) => [make('blockquote', {}, ...blocks(token.tokens))],
  list: (token) => {
    const made = make(token.ordered ? 'ol' : 'ul', {}, ...token.items.map(listItem));
    if (token.ordered && token.start !== 1) made.start = token.start;
    return [made];
  },
  table: (token) => [table(token)],
};

/** @returns {(Node|string)[]} */
const blocks = (/** @type {Token[]|undefined} */ tokens) =>
  (tokens ?? []).flatMap((token) => (BLOCK[token.type] ?? INLINE[token.type] ?? (() => [token.raw]))(token));

/** Markdown that grows inside an element. */
export class MarkdownView {
  constructor(/** @type {HTMLElement} */ place) {
    this.place = place;
    /** Blocks that stand: what they were made from, and their nodes. @type {{ raw: string, nodes: ChildNode[] }[]} */
    this.standing = [];
  }

  /** Shows `text` instead of what is shown. Text that is nested too deep to be read is shown as it is. */
  show(/** @type {string} */ text) {
    try {
      this.showBlocks(lexer(text, { gfm: true, breaks: true }));
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof Error && /recursion/i.test(error.message))) throw error;
      this.showBlocks([{ type: 'html', raw: text, text }]);
    }
  }

  /** Shows blocks; those that stand already, from the first one on, are left alone. */
  showBlocks(/** @type {Token[]} */ tokens) {
    let same = 0;
    while (same < tokens.length && this.standing[same]?.raw === tokens[same].raw) same++;
    for (const { nodes } of this.standing.splice(same)) nodes.forEach((node) => node.remove());
    for (const token of tokens.slice(same)) {
      const nodes = blocks([token]).map((node) => (typeof node === 'string' ? document.createTextNode(node) : node));
      this.place.append(...nodes);
      this.standing.push({ raw: token.raw, nodes: /** @type {ChildNode[]} */ (nodes) });
    }
  }
}
