// Writes docs/api.md from web/nutshell.d.ts, web/nutshell-compress.d.ts and web/nutshell-dynamic.d.ts, the hand-kept
// types of the JavaScript API.
//
//   node wasm/api-docs.mjs            writes docs/api.md
//   node wasm/api-docs.mjs --check    compares it with what would be written; status 1 where they differ
//
// The TypeScript package in use has no parser to call, so this file reads the declarations itself. It knows
// the few forms that the file has and fails on any other, so that nothing is left out unseen:
// tests/docs-test.mjs runs it.
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = 'web/nutshell.d.ts', PAGE = 'docs/api.md';
/** Of the modules that few pages fetch. */
const MORE_TYPES = ['web/nutshell-compress.d.ts', 'web/nutshell-dynamic.d.ts'];

/**
 * @typedef {object} Item  a declaration, or a member of an interface or class
 * @property {string} comment  its JSDoc as one paragraph, '' without one
 * @property {string} text     the code without its comment; of an interface, only the head
 * @property {Item[]} members
 */

/** The words of a comment as one paragraph. @param {string} comment */
const words = (comment) => comment.replace(/^\/\*\*|\*\/$/g, '').replace(/^\s*(\*|\/\/) ?/gm, ' ').replace(/\s+/g, ' ').trim();

/** Where the statement that begins at `from` ends: behind its ; (and a comment in the same line) or its last
 * }. */
function endOf(/** @type {string} */ text, /** @type {number} */ from) {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    if (text.startsWith('//', i)) i = text.indexOf('\n', i);
    else if (text.startsWith('/*', i)) i = text.indexOf('*/', i) + 1;
    else if ('({[<'.includes(text[i])) depth++;
    else if (')}]'.includes(text[i]) || (text[i] === '>' && text[i - 1] !== '=')) depth--;
    if (depth === 0 && text[i] === ';') return i + 1 + (/^ *\/\/[^\n]*/.exec(text.slice(i + 1))?.[0].length ?? 0);
    if (depth === 0 && text[i] === '}' && /^(?:\s*\n\s*\n|\s*$)/.test(text.slice(i + 1))) return i + 1;
  }
  throw new Error(`${TYPES}: no end of "${text.slice(from, from + 60)}"`);
}

/** The declarations of a text, with their comments. @param {string} text @returns {Item[]} */
function items(text) {
  const found = [];
  let comment = '';
  for (let i = 0; i < text.length;) {
    const [space] = /** @type {RegExpExecArray} */ (/^\s*/.exec(text.slice(i)));
    i += space.length;
    const passed = /^(?:\/\*\*[^]*?\*\/|(?:\/\/[^\n]*\n\s*)+)/.exec(text.slice(i))?.[0];
    if (passed !== undefined && passed !== '') {
      comment = passed.startsWith('/**') ? words(passed) : '';
      i += passed.length;
    } else if (i < text.length) {
      const end = endOf(text, i);
      if (!text.startsWith('import ', i)) found.push(item(comment, text.slice(i, end)));
      comment = '';
      i = end;
    }
  }
  return found;
}

/** @param {string} comment @param {string} text @returns {Item} */
function item(comment, text) {
  const body = /^export (?:interface|class) [^{]*\{([^]*)\}$/.exec(text)?.[1];
  if (body === undefined) return { comment, text, members: [] };
  return { comment, text: text.slice(0, text.indexOf('{')).trim(), members: items(body) };
}

/** The name of a declaration or member. @param {string} text */
function nameOf(text) {
  const match = /^(?:export (?:const|function|interface|type|class) |readonly )?([\w$]+|\[[\w.]+(?:: \w+)?\])/.exec(text);
  if (!match) throw new Error(`${TYPES}: what is "${text.slice(0, 60)}"?`);
  return match[1];
}

/** Code in a cell of a table. @param {string} code */
const cell = (code) => `\`${code.replace(/\s+/g, ' ').replaceAll('|', '\\|')}\``;

/** A row for a member: its name as it is called or read, its type, what it means. @param {Item} member */
function row({ comment, text }) {
  const name = nameOf(text), code = text.replace(/^readonly /, '').replace(/;$/, '');
  const isMethod = code[name.length] === '(', type = code.slice(name.length).replace(/^\??: /, '');
  const meaning = comment.replaceAll('|', '\\|');
  return `| \`${name}\` | ${cell(isMethod ? code : type)}${/^[\w$]+\?:/.test(code) ? ', optional' : ''} | ${meaning} |`;
}

/** The members of a union, one a row, with the comment behind each. @param {string} text */
function union(text) {
  const rows = [...text.matchAll(/^\s*(\/\/ [^\n]*)$|^\s*\| (`[^`]*`|'[^']*');?(?: \/\/ ([^\n]*))?/gm)];
  return rows.map(([, heading, value, meaning]) =>
    (heading ? `| *${words(heading)}* | |` : `| \`${value.replace(/^.|.$/g, '')}\` | ${meaning ?? ''} |`)).join('\n');
}

const block = (/** @type {string} */ text) => '```ts\n' + breakUp(text) + '\n```';
const TABLE_HEAD = '| name | type | meaning |\n|---|---|---|\n';

/** @param {Item} declaration */
function section({ comment, text, members }) {
  const name = nameOf(text), heading = `## ${name}${text.startsWith('export function') ? '()' : ''}`;
  const parts = [heading, wrap(comment)];
  const head = text.replace(/^export /, '');
  if (members.length === 0 || head !== `interface ${name}`) parts.push(/^export type \w+ =\s*\n/.test(text) ? '' : block(head));
  if (members.length) parts.push(TABLE_HEAD + members.map(row).join('\n'));
  if (/^export type \w+ =\s*\n/.test(text)) parts.push('| value | meaning |\n|---|---|\n' + union(text));
  return parts.filter(Boolean).join('\n\n');
}

/** Lines of at most 110 columns. @param {string} text */
function wrap(text) {
  const lines = [''];
  for (const word of text.split(' ')) {
    if (lines[lines.length - 1].length + 1 + word.length > 110) lines.push('');
    lines[lines.length - 1] += (lines[lines.length - 1] ? ' ' : '') + word;
  }
  return lines.join('\n');
}

/** A long union type, one member a line. @param {string} code */
function breakUp(code) {
  return code.length <= 110 ? code : code.replace(/ = /, ' =\n  | ').replace(/(?<=[\w\]}>)]) \| (?![^(<]*[)>])/g, '\n  | ');
}

const isType = (/** @type {Item} */ { text }) => /^export (interface|type|class)/.test(text);

function page() {
  const [main, ...more] = [TYPES, ...MORE_TYPES].map((file) => items(readFileSync(file, 'utf8')));
  const all = [main, ...more].flat(), names = all.map(({ text }) => nameOf(text));
  /** A link to a heading; of two that differ in case alone, the second one's address ends in -1. */
  const anchor = (/** @type {string} */ name) => {
    const same = names.filter((other) => other.toLowerCase() === name.toLowerCase());
    return `[${name}](#${name.toLowerCase()}${same.indexOf(name) ? '-1' : ''})`;
  };
  const list = (/** @type {string} */ title, /** @type {Item[]} */ some) =>
    wrap(`${title}: ${some.map(({ text }) => anchor(nameOf(text))).join(', ')}`);
  return [
    '# The JavaScript API',
    wrap('This page is made from [web/nutshell.d.ts](../web/nutshell.d.ts), '
      + '[web/nutshell-compress.d.ts](../web/nutshell-compress.d.ts) and '
      + '[web/nutshell-dynamic.d.ts](../web/nutshell-dynamic.d.ts) by `node wasm/api-docs.mjs`; edit the types and not '
      + 'this page. The names are exported by `nutshell.mjs` and are members of the global `Nutshell` that `nutshell.js` '
      + 'defines. What makes models smaller is exported by `nutshell-compress.mjs`, what cascades and remembers by '
      + '`nutshell-dynamic.mjs`; both make their functions members of the global too, where there is one.'),
    list('Functions and values', main.filter((one) => !isType(one))),
    list('Types', main.filter(isType)),
    ...more.map((some, i) => list(`Of ${MORE_TYPES[i].replace(/^web\/(.*)\.d\.ts$/, '$1.mjs')}`,
      [...some.filter((one) => !isType(one)), ...some.filter(isType)])),
    ...all.map(section),
  ].join('\n\n') + '\n';
}

process.chdir(resolve(fileURLToPath(import.meta.url), '../..'));
if (!process.argv.includes('--check')) {
  writeFileSync(PAGE, page());
} else if (readFileSync(PAGE, 'utf8') !== page()) {
  console.error(`${PAGE} is not made from ${TYPES} as it is now: run node wasm/api-docs.mjs`);
  process.exitCode = 1;
}
