// A conversation as a tree: a question that is edited and an answer that is written again are further children
// of the same message, and nothing that was there is lost. `chosen` says which child is shown. This file knows
// no page: messages go in and out as plain objects.

/** @typedef {{ name: string, text: string }} AttachedFile */
/** @typedef {{ id: number, parent: number, role: 'user'|'assistant', content: string, reasoning?: string,
 *   files?: AttachedFile[], figures?: string, by?: string }} Message */
/** @typedef {{ format: string, id: string, title: string, model: string, source: any, changed: number,
 *   revision: number, messages: Message[], chosen: [number, number][] }} Stored */

export const FORMAT = 'nutshell-conversation-1';
const ROOT = 0; // the parent of the first messages
const TITLE_LENGTH = 60;

export class Conversation {
  constructor(/** @type {Partial<Stored>} */ stored = {}) {
    this.id = stored.id ?? crypto.randomUUID();
    this.title = stored.title ?? '';
    this.model = stored.model ?? '';
    /** What the model was loaded from, where it can be loaded again: an address or an entry of the cache. */
    this.source = stored.source ?? null;
    this.changed = stored.changed ?? 0;
    /** How often it was stored: tells two tabs apart that write the same conversation. */
    this.revision = stored.revision ?? 0;
    /** @type {Map<number, Message>} */
    this.messages = new Map((stored.messages ?? []).map((message) => [message.id, message]));
    /** @type {Map<number, number>} */
    this.chosen = new Map(stored.chosen ?? []);
  }

  get empty() { return this.messages.size === 0; }

  /** The messages that are shown, from the first one on. */
  path() {
    const shown = [];
    for (let at = this.chosen.get(ROOT); at !== undefined; at = this.chosen.get(at)) {
      const message = this.messages.get(at);
      if (!message) break;
      shown.push(message);
    }
    return shown;
  }

  /** The messages that led to one, and itself, the first one first. @returns {Message[]} */
  pathTo(/** @type {Message} */ message) {
    const path = [];
    for (let at = /** @type {Message|undefined} */ (message); at; at = this.messages.get(at.parent)) path.unshift(at);
    return path;
  }

  /** A message and those that could be shown instead of it, in the order in which they were written. */
  siblings(/** @type {Message} */ message) {
    return [...this.messages.values()].filter(({ parent }) => parent === message.parent);
  }

  /** Adds a message after `parent` (null: as the first) and shows it. @param {Omit<Message, 'id'|'parent'>} message */
  add(/** @type {Message|null} */ parent, message) {
    const added = { ...message, id: Math.max(ROOT, ...this.messages.keys()) + 1, parent: parent?.id ?? ROOT };
    this.messages.set(added.id, added);
    this.choose(added);
    if (!this.title && added.role === 'user') this.title = titleOf(added);
    return added;
  }

  choose(/** @type {Message} */ message) { this.chosen.set(message.parent, message.id); }

  /** Takes a message without children away; the one written before it, if any, is shown in its place. */
  remove(/** @type {Message} */ message) {
    this.messages.delete(message.id);
    const last = this.siblings(message).at(-1);
    if (last) this.choose(last);
    else this.chosen.delete(message.parent);
    if (this.empty) this.title = '';
  }

  /** @returns {Stored} */
  toJSON() {
    const { id, title, model, source, changed, revision } = this;
    return { format: FORMAT, id, title, model, source, changed, revision,
      messages: [...this.messages.values()], chosen: [...this.chosen] };
  }

  /** What is shown, as a document. */
  toMarkdown() {
    const parts = this.path().map((message) =>
      `## ${message.role === 'user' ? 'You' : message.by ?? this.model}\n\n${textFor(message)}`);
    return [`# ${this.title}`, ...parts].join('\n\n') + '\n';
  }
}

function titleOf(/** @type {Message} */ { content, files }) {
  const line = content.trim().split('\n')[0] || files?.[0]?.name || '';
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1)}…` : line;
}

/** A fence that the text does not contain. */
function fenceFor(text) {
  const longest = Math.max(2, ...[...text.matchAll(/`{3,}/g)].map(([run]) => run.length));
  return '`'.repeat(longest + 1);
}

/** The text that the model reads for a message: attached files, each between fences, then what was written. */
export function textFor(/** @type {{ content: string, files?: AttachedFile[] }} */ { content, files = [] }) {
  const parts = files.map(({ name, text }) => {
    const fence = fenceFor(text);
    return `${name}:\n${fence}\n${text.replace(/\n$/, '')}\n${fence}`;
  });
  return [...parts, content].filter(Boolean).join('\n\n');
}

const isText = (value) => typeof value === 'string';
const isFile = (file) => isText(file?.name) && isText(file.text);
const isMessage = (message) => Number.isInteger(message?.id) && message.id > ROOT && Number.isInteger(message.parent)
  && ['user', 'assistant'].includes(message.role) && isText(message.content)
  && [message.reasoning, message.figures, message.by].every((value) => value === undefined || isText(value))
  && (message.files === undefined || (Array.isArray(message.files) && message.files.every(isFile)));

/** Reads an exported conversation; it becomes one of its own. Throws an Error whose message says what is wrong. */
export function importConversation(/** @type {string} */ text) {
  /** @type {any} */ let read;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw new Error(`The file is not JSON (${error.message}). Choose one that "Export" has written.`);
  }
  if (read?.format !== FORMAT) {
    throw new Error(`The file is not a conversation of this page: its "format" is not "${FORMAT}".`);
  }
  if (!Array.isArray(read.messages) || !read.messages.every(isMessage)) {
    throw new Error('The conversation is damaged: a message lacks its id, parent, role or content.');
  }
  const ids = new Set(read.messages.map(({ id }) => id));
  // A parent is older than its children, so that no circle can be built.
  if (ids.size !== read.messages.length
    || read.messages.some(({ id, parent }) => parent >= id || (parent !== ROOT && !ids.has(parent)))) {
    throw new Error('The conversation is damaged: a message names a parent that is not before it.');
  }
  const byId = new Map(read.messages.map((message) => [message.id, message]));
  const chosen = (Array.isArray(read.chosen) ? read.chosen : [])
    .filter((pair) => Array.isArray(pair) && byId.get(pair[1])?.parent === pair[0]);
  return new Conversation({
    title: isText(read.title) ? read.title : '', model: isText(read.model) ? read.model : '',
    source: isText(read.source) ? read.source : null, messages: read.messages, chosen,
  });
}
