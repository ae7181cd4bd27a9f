// The conversation on the page: its articles, generation into them, editing, other versions, the message field.
import {
  $, announce, button, clearError, make, named, page, plural, showError,
} from './page.js';
import { AnswerView } from './answer.js';
import { countAttached, giveBack, hasAttached, takeAttached } from './attached.js';
import { Conversation, textFor } from './conversation.js';
import { numbersOf, settingsAreValid, systemPrompt } from './settings.js';
import { save } from './store.js';

/** @typedef {import('./page.js').Model} Model */
/** @typedef {import('./conversation.js').Message} Message */
/** @typedef {import('../../dist/nutshell.js').GenerationStats} Stats */

const SAVE_EVERY = 1000; // ms, while an answer grows

/** Buttons that may repair an error, by its code; main.js adds what other modules can do.
 *  @type {Record<string, () => HTMLElement>} */
export const remedies = {
  'context-full': () => button('New chat', () => { showConversation(new Conversation()); $('prompt').focus(); }),
};

let conversation = new Conversation();

export const currentConversation = () => conversation;

// --- what is in view

/** Keeps the newest text in view, unless the reader scrolled up. */
const follower = {
  on: true,
  top: 0,
  frame: 0,
  /** After any scrolling. New text below is no reason to stop following: only moving up is. */
  update() {
    const log = $('log');
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (atEnd || log.scrollTop < follower.top) follower.on = atEnd;
    follower.top = log.scrollTop;
    $('to-end').hidden = follower.on;
  },
  /** Once per frame, after that frame's scroll events: a reader's scrolling is seen before it could be undone. */
  follow() {
    follower.frame ||= requestAnimationFrame(() => {
      follower.frame = 0;
      if (follower.on) $('log').scrollTop = $('log').scrollHeight;
    });
  },
  jump() {
    follower.on = true;
    $('to-end').hidden = true;
    follower.follow();
  },
};

// --- articles

function addArticle(className, who) {
  const text = make('div', { className: 'text' });
  const footer = make('footer');
  const article = make('article', { className }, make('h2', { className: 'who' }, who), text, footer);
  $('messages').append(article);
  $('welcome').hidden = true;
  return { article, text, footer };
}

function figuresText(/** @type {Stats|null} */ stats, busy) {
  if (!stats) return busy ? 'starting' : '';
  if (busy && stats.tokens === 0) return `reading ${stats.promptTokensRead} of ${plural(stats.promptTokens, 'token')}`;
  const speed = stats.tokensPerSecond;
  const rate = speed > 0 ? ` · ${speed.toFixed(speed < 99.95 ? 1 : 0)} tokens/s` : '';
  const end = { length: ' · cut off by the limit', aborted: ' · stopped' }[stats.finishReason] ?? '';
  return `${plural(stats.tokens, 'token')}${rate}${busy ? '' : end}`;
}

const makeFigures = (text) => make('p', { className: 'small figures' }, text);

async function copyText(text, source) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a clipboard (a page that is neither https nor local) the text is selected, ready for Ctrl+C.
    getSelection()?.selectAllChildren(source);
    return announce('The text is selected; copy it with Control C.');
  }
  announce('Copied.');
}

/** Buttons that change between the versions of a message; none where there is one. */
function versionButtons(/** @type {Message} */ message) {
  const all = conversation.siblings(message), at = all.indexOf(message);
  if (all.length < 2) return [];
  const turn = (step, label) => {
    const other = all[at + step];
    const made = named(button(step < 0 ? '‹' : '›', () => other && showVersion(other, step), 'quiet version'), label);
    made.disabled = !other;
    return made;
  };
  return [turn(-1, 'The version before'), make('span', { className: 'small place' }, `${at + 1}/${all.length}`),
    turn(1, 'The next version')];
}

function showVersion(/** @type {Message} */ other, step) {
  if (page.stopping) return announce('Stop the answer first.');
  conversation.choose(other);
  render();
  keep();
  const article = $('messages').children[conversation.path().indexOf(other)];
  const [back, forth] = article.querySelectorAll('.version');
  const button = step < 0 ? back : forth;
  (button.disabled ? (step < 0 ? forth : back) : button).focus();
}

function fillUserFooter(footer, article, message) {
  const change = button('Edit', () => edit(article, message), 'quiet');
  footer.replaceChildren(...versionButtons(message), named(change, 'Edit this message'));
}

function fillAnswerFooter(footer, text, message) {
  const copy = button('Copy', () => copyText(message.content, text), 'quiet');
  footer.replaceChildren(makeFigures(message.figures ?? ''), ...versionButtons(message), ...(message.content ? [copy] : []));
}

function showUser(/** @type {Message} */ message) {
  const { article, text, footer } = addArticle('user', 'You');
  text.textContent = message.content;
  if (message.files?.length) {
    const items = message.files.map(({ name }) => make('li', {}, name));
    article.insertBefore(make('ul', { className: 'files' }, ...items), text);
  }
  fillUserFooter(footer, article, message);
  return article;
}

function showAnswer(/** @type {Message} */ message) {
  const { article, text, footer } = addArticle('answer', message.by ?? page.name);
  new AnswerView(article, text).show({ reasoning: message.reasoning, answer: message.content });
  article.setAttribute('aria-busy', 'false');
  fillAnswerFooter(footer, text, message);
  return article;
}

/** Only the last answer can be written again: the others have the conversation after them. */
function offerRetry() {
  document.querySelectorAll('.retry').forEach((element) => element.remove());
  const last = conversation.path().at(-1);
  const footer = $('messages').lastElementChild?.querySelector('footer');
  if (last?.role !== 'assistant' || !footer || !page.model?.info.chat) return;
  footer.append(button('Try again', () => tryAgain(last), 'quiet retry'));
}

/** Shows the conversation from its first message on. */
function render() {
  $('messages').replaceChildren();
  for (const message of conversation.path()) (message.role === 'user' ? showUser : showAnswer)(message);
  $('welcome').hidden = !conversation.empty;
  offerRetry();
  follower.jump();
}

/** Shows another conversation; what is being written is stopped and stays in its own. */
export function showConversation(/** @type {Conversation} */ other) {
  page.stopping?.abort();
  conversation = other;
  showContext(null);
  clearError();
  render();
}

/** Stores a conversation; that it could not be is said. @param {Conversation} which */
async function keep(which = conversation) {
  if (which.empty) return;
  try {
    await save(which);
  } catch (error) {
    showError(Object.assign(new Error(`The conversation could not be stored in this browser (${error.message}). Export it `
      + 'under "Chats" if it matters.'), { code: 'storage' }));
  }
}

function showContext(/** @type {Stats|null} */ stats) {
  $('context').textContent = stats && page.model
    ? `${stats.promptTokens + stats.tokens} of ${page.model.info.contextLength} context tokens` : '';
}

// --- generating

/**
 * Streams the generation that `begin` gives. Resolves with the error that ended it, if one did.
 * @template {import('../../dist/nutshell.js').Generation} T
 * @param {() => T} begin
 * @param {HTMLElement} article
 * @param {HTMLElement} footer
 * @param {(piece: any, generation: T) => void} show called with each text, or with each part of an answer
 * @param {(stats: import('../../dist/nutshell.js').ChatStats) => string} note what is said after the figures
 */
async function stream(begin, article, footer, show, note = () => '') {
  /** @type {any} */ let failure = null;
  const generation = begin();
  const figures = makeFigures('');
  footer.append(figures);
  article.setAttribute('aria-busy', 'true');
  const showFigures = (busy) => {
    figures.textContent = figuresText(generation.stats, busy) + (generation.stats ? note(generation.stats) : '');
  };
  showFigures(true);
  const timer = setInterval(() => showFigures(true), 200);
  try {
    for await (const piece of /** @type {any} */ (generation).parts?.() ?? generation) {
      show(piece, generation);
      follower.follow();
    }
  } catch (error) {
    failure = error;
  }
  clearInterval(timer);
  showFigures(false);
  if (article.isConnected) showContext(generation.stats);
  return { failure, figures: figures.textContent ?? '' };
}

/** What surrounds one generation: buttons, Stop, the error, the focus. `work` gets the signal; it resolves with what is
 *  announced and the error. @param {(signal: AbortSignal) => Promise<{ said: string, failure: any }>} work */
async function whileRunning(work) {
  const controller = page.stopping = new AbortController();
  clearError();
  $('send').hidden = true;
  $('stop').hidden = false;
  follower.jump();
  const { said, failure } = await work(controller.signal);
  follower.follow();
  const hadFocus = document.activeElement === $('stop') || document.activeElement === document.body;
  if (page.stopping === controller) page.stopping = null;
  $('send').hidden = false;
  $('stop').hidden = true;
  if (hadFocus && page.view === 'chat') $('prompt').focus();
  if (failure && !controller.signal.aborted) showError(failure, ...(remedies[failure.code] ? [remedies[failure.code]()] : []));
  else announce(controller.signal.aborted ? 'Stopped.' : said);
}

/** Saves now and then while an answer grows, and at its end. */
function saver(/** @type {Conversation} */ which) {
  let last = Date.now(), busy = Promise.resolve();
  return (force = false) => {
    if (!force && Date.now() - last < SAVE_EVERY) return busy;
    last = Date.now();
    busy = busy.then(() => keep(which));
    return busy;
  };
}

/** Answers a question, which is the last message in view. */
function answerQuestion(/** @type {Model} */ model, /** @type {Message} */ question) {
  return whileRunning(async (signal) => {
    document.querySelectorAll('.retry').forEach((element) => element.remove());
    const within = conversation;
    const saveNow = saver(within);
    const { article, text, footer } = addArticle('answer', page.name);
    const view = new AnswerView(article, text);
    const shown = { answer: '', reasoning: '' };
    /** @type {Message|null} */ let message = null;
    const begin = () => {
      saveNow(true);
      const content = systemPrompt();
      const history = within.pathTo(question).map((one) => ({ role: one.role, content: textFor(one) }));
      const messages = [...(content ? [{ role: 'system', content }] : []), ...history];
      return model.chat(messages, { ...numbersOf('sampling'), overflow: 'trim', signal });
    };
    /** @param {import('../../dist/nutshell.js').AnswerPart} part @param {import('../../dist/nutshell.js').Answer} generation */
    const show = (part, generation) => {
      const { content, reasoning_content: reasoning = '' } = generation.message;
      Object.assign(shown, { answer: content, reasoning });
      view.show({ ...shown, thinking: part.kind === 'reasoning' });
      message ??= within.add(question, { role: 'assistant', content: '', by: page.name });
      Object.assign(message, { content, ...(reasoning ? { reasoning } : {}) });
      saveNow();
    };
    /** @param {import('../../dist/nutshell.js').ChatStats} stats */
    const note = ({ dropped = [] }) => (dropped.length ? ` · without the oldest ${dropped.length} messages` : '');
    const { failure, figures } = await stream(begin, article, footer, show, note);
    if (!message && !failure) message = within.add(question, { role: 'assistant', content: '', by: page.name }); // stopped
    const ended = /** @type {Message|null} */ (message);
    if (ended) ended.figures = figures;
    view.show(shown);
    if (ended) saveNow(true);
    if (within === conversation) {
      if (ended) fillAnswerFooter(footer, text, ended);
      else withdraw(question);
      offerRetry();
    }
    article.setAttribute('aria-busy', 'false');
    return { said: shown.answer, failure };
  });
}

/** After an answer that failed before its first token: the question goes back into the field, or, where it has other
 *  answers, they are shown again. */
function withdraw(/** @type {Message} */ question) {
  if (![...conversation.messages.values()].some(({ parent }) => parent === question.id)) {
    conversation.remove(question);
    if (!$('prompt').value) $('prompt').value = question.content;
    if (question.files) giveBack(question.files);
    growPrompt();
  }
  render();
}

function tryAgain(/** @type {Message} */ answer) {
  const question = conversation.messages.get(answer.parent);
  if (page.stopping || !page.model || !question) return;
  $('messages').lastElementChild.remove();
  $('prompt').focus();
  answerQuestion(page.model, question);
}

/** Lets the user write a question anew; it becomes another version, answered in turn. */
function edit(/** @type {HTMLElement} */ article, /** @type {Message} */ message) {
  if (page.stopping) return announce('Stop the answer first.');
  const [text, footer] = ['.text', 'footer'].map((selector) => /** @type {HTMLElement} */ (article.querySelector(selector)));
  const field = named(make('textarea', { value: message.content, rows: 3 }), 'Your message');
  const submit = () => {
    const { model } = page;
    if (!model || page.stopping || !settingsAreValid() || !(field.value.trim() || message.files?.length)) return;
    const parent = conversation.messages.get(message.parent) ?? null;
    const files = message.files ? { files: message.files } : {};
    const question = conversation.add(parent, { role: 'user', content: field.value, ...files });
    render();
    $('prompt').focus();
    answerQuestion(model, question);
  };
  const cancel = () => { render(); $('prompt').focus(); };
  field.onkeydown = (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
    if (event.key === 'Escape') { event.preventDefault(); event.stopPropagation(); cancel(); }
  };
  article.classList.add('edited');
  text.replaceChildren(field);
  footer.replaceChildren(button('Cancel', cancel, 'quiet'), button('Send', submit, 'primary'));
  field.focus();
}

/** Continues a text, for models that do not chat. It is not stored. */
function continueText(/** @type {Model} */ model, given) {
  return whileRunning(async (signal) => {
    document.querySelectorAll('.retry').forEach((element) => element.remove());
    const { article, text, footer } = addArticle('answer', page.name);
    const node = document.createTextNode('');
    text.append(make('span', { className: 'given' }, given), node);
    const begin = () => model.generate(given, { ...numbersOf('sampling'), signal });
    let written = '';
    const { failure } = await stream(begin, article, footer, (piece) => { node.data = written += piece; }, () => '');
    const goOn = () => { if (!page.stopping && page.model) continueText(page.model, given + written); };
    footer.append(button('Copy', () => copyText(given + written, text), 'quiet'), button('Go on', goOn, 'quiet retry'));
    article.setAttribute('aria-busy', 'false');
    return { said: written, failure };
  });
}

// --- the message field

export function send(text) {
  if (!(text.trim() || hasAttached()) || page.stopping || !page.model || !settingsAreValid()) return;
  $('prompt').value = '';
  growPrompt();
  if (!page.model.info.chat) return continueText(page.model, text);
  const files = takeAttached();
  const question = conversation.add(conversation.path().at(-1) ?? null,
    { role: 'user', content: text, ...(files.length ? { files } : {}) });
  conversation.model = page.name;
  conversation.source = typeof page.source === 'string' || page.source?.cached ? page.source : null;
  showUser(question);
  return answerQuestion(page.model, question);
}

/** Makes the field as high as its text, up to the limit of the style sheet. */
function growPrompt() {
  const field = $('prompt');
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight + 2}px`;
}

function onPromptKey(/** @type {KeyboardEvent} */ event) {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send($('prompt').value);
}

/** Shows the conversation with a model that was loaded: a chat goes on, other models begin anew. */
export function modelLoaded(/** @type {Model} */ { info }) {
  if (info.chat) render();
  else showConversation(new Conversation());
  $('attach').hidden = !info.chat;
  countAttached();
}

export function startMessages() {
  $('composer').onsubmit = (event) => { event.preventDefault(); send($('prompt').value); };
  $('stop').onclick = () => page.stopping?.abort();
  $('prompt').onkeydown = onPromptKey;
  $('prompt').oninput = growPrompt;
  $('log').onscroll = follower.update;
  $('to-end').onclick = () => { follower.jump(); $('prompt').focus(); };
  addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !page.stopping || document.querySelector('dialog[open]')) return;
    event.preventDefault();
    page.stopping.abort();
  });
}
