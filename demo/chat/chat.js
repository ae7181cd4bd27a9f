// The chat page. It uses the library as any page would, through the global `Nutshell` of dist/nutshell.js.
// This file owns what a user sees: choosing and loading a model, the conversation, settings, error messages.
// The text of a model is only put into text nodes, never into HTML.
//
// The script runs before the page is painted, so that the colour theme is right from the start; everything
// else waits for the document. Sections: helpers, theme, errors, settings, models, chat, start.
'use strict';

/** @typedef {import('../../dist/nutshell.js').Model} Model */
/** @typedef {import('../../dist/nutshell.js').CachedModel} CachedModel */
/** @typedef {import('../../dist/nutshell.js').Progress} Progress */
/** @typedef {import('../../dist/nutshell.js').GenerationStats} Stats */
/** @typedef {{ name: string, note?: string, url: string, bytes?: number, examples?: string[] }} ServedModel */

// --- helpers
// ----------------------------------------------------------------------------------------------------------

/** The element with this id. @returns {any} */
const $ = (id) => document.getElementById(id);

/** A new element: properties are set, children (nodes or text) appended. @returns {any} */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const button = (text, onclick, className = '') => make('button', { type: 'button', className, onclick }, text);

const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 99.95e6 ? 1 : 0);

function sizeText(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${megabytes(bytes)} MB`;
}

function durationText(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s`;
  return seconds < 3600 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

/** What is stored between visits. Private windows may refuse; then nothing is stored. */
const kept = {
  get(key) {
    try { return JSON.parse(localStorage.getItem(`nutshell-${key}`) ?? 'null'); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(`nutshell-${key}`, JSON.stringify(value)); } catch { /* it is lost after this visit */ }
  },
};

/** Says something to screen readers without moving the focus. */
function announce(text) {
  $('announcer').textContent = text;
}

// --- theme
// ------------------------------------------------------------------------------------------------------------

const darkWanted = matchMedia('(prefers-color-scheme: dark)');

function showTheme() {
  const theme = kept.get('theme') ?? (darkWanted.matches ? 'dark' : 'light');
  document.documentElement.dataset.theme = theme;
  $('theme')?.setAttribute('aria-pressed', String(theme === 'dark'));
}

function switchTheme() {
  kept.set('theme', document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
  showTheme();
}

// --- errors
// -----------------------------------------------------------------------------------------------------------

/** Shows what went wrong and what to do about it, in place of the last message. `actions` are buttons. */
function showError(error, ...actions) {
  const known = typeof error?.code === 'string';
  const text = known ? error.message : `Something went wrong in this page: ${error?.message ?? error}`;
  const message = make('p', {}, text);
  if (known) message.dataset.code = error.code;
  else console.error(error);
  $('alert').replaceChildren(message, ...actions, button('Close', clearError));
}

function clearError() {
  if ($('alert').contains(document.activeElement)) focusMainField();
  $('alert').replaceChildren();
}

/** Where to continue: the message field, or the top of the model list. */
function focusMainField() {
  (page.view === 'chat' ? $('prompt') : $('main')).focus();
}

// --- settings
// ---------------------------------------------------------------------------------------------------------

/**
 * One row per number: its group, its limits, and the default (null: the library's). Temperature and repeat
 * penalty are set for small models, which lose the subject or repeat themselves sooner than large ones.
 */
const SETTINGS = [
  { key: 'temperature', group: 'sampling', label: 'Temperature', min: 0, max: 5, step: 0.05, value: 0.3,
    hint: '0: always the likeliest token' },
  { key: 'maxTokens', group: 'sampling', label: 'Longest answer', min: 1, max: 1e6, step: 1, value: 512,
    hint: 'in tokens' },
  { key: 'topK', group: 'sampling', label: 'Top-k', min: 0, max: 1e6, step: 1, value: 40,
    hint: 'tokens to sample from; 0: all' },
  { key: 'topP', group: 'sampling', label: 'Top-p', min: 0, max: 1, step: 0.01, value: 0.95,
    hint: 'share of probability; 1: all' },
  { key: 'minP', group: 'sampling', label: 'Min-p', min: 0, max: 1, step: 0.01, value: 0.05,
    hint: 'share of the likeliest token; 0: all' },
  { key: 'repeatPenalty', group: 'sampling', label: 'Repeat penalty', min: 0.5, max: 5, step: 0.01, value: 1.1,
    hint: '1: off' },
  { key: 'seed', group: 'sampling', label: 'Seed', min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, value: null,
    placeholder: 'random', hint: 'the same seed, the same text' },
  { key: 'threads', group: 'engine', label: 'Threads', min: 1, max: 64, step: 1, value: null,
    placeholder: 'automatic', hint: '' },
  { key: 'contextLength', group: 'engine', label: 'Context length', min: 16, max: 1e6, step: 1, value: null,
    placeholder: 'automatic', hint: 'tokens of the whole conversation' },
];

/** Small models answer better with a system prompt. */
const SYSTEM = 'Give clear, helpful answers in plain English.';

function makeField({ key, label, min, max, step, placeholder = '', hint }) {
  const input = make('input', { type: 'number', id: key, min, max, step, placeholder, inputMode: 'decimal' });
  input.autocomplete = 'off';
  const about = make('p', { id: `${key}-hint`, className: 'small' }, hint);
  input.setAttribute('aria-describedby', about.id);
  return make('div', {}, make('label', { htmlFor: key }, label), input, about);
}

/** Fills the fields with stored values or the defaults. */
function fillSettings(values) {
  for (const { key, value } of SETTINGS) $(key).value = values?.[key] ?? (values && key in values ? '' : value ?? '');
  $('system').value = values?.system ?? SYSTEM;
}

/** The numbers of a group that are set: { temperature: 0.6, … }. */
function numbersOf(group) {
  const rows = SETTINGS.filter((row) => row.group === group && $(row.key).value !== '');
  return Object.fromEntries(rows.map(({ key }) => [key, Number($(key).value)]));
}

function keepSettings() {
  if (!$('settings-form').checkValidity()) return;
  kept.set('settings', {
    system: $('system').value,
    ...Object.fromEntries(SETTINGS.map(({ key }) => [key, $(key).value === '' ? null : Number($(key).value)])),
  });
  showReload();
  prepareEngine();
}

/** Offers to load the model again when its engine settings have changed. */
function showReload() {
  const differs = page.model && JSON.stringify(numbersOf('engine')) !== JSON.stringify(page.loadedWith);
  $('reload').hidden = !differs;
}

/** Whether all settings are valid; if not, shows the first that is not. */
function settingsAreValid() {
  if ($('settings-form').checkValidity()) return true;
  if (!$('settings').open) $('settings').showModal();
  $('settings-form').reportValidity();
  return false;
}

function showFacts() {
  const info = page.model?.info;
  $('about').hidden = !info;
  if (!info) return;
  const { name, architecture, n_params } = info.model;
  const facts = {
    Name: name, File: info.fileName, Size: sizeText(info.fileBytes), Architecture: architecture,
    Parameters: `${(n_params / 1e6).toPrecision(3)} million`,
    Weights: `${sizeText(info.weightBytes)} in memory`, Session: `${sizeText(info.sessionBytes)} in memory`,
    Context: plural(info.contextLength, 'token'), Kernels: info.kernel, Threads: String(info.threads),
  };
  $('facts').replaceChildren(...Object.entries(facts).filter(([, text]) => text)
    .flatMap(([name, text]) => [make('dt', {}, name), make('dd', {}, text)]));
}

// --- models: the lists
// ------------------------------------------------------------------------------------------------

const LIST_URL = new URL('../../models.json', document.baseURI);
const SHIPPED = { name: 'Nutshell tiny', note: 'A toy that fits anywhere.', url: 'dist/nutshell-tiny-q8_0.gguf' };

function show(view) {
  page.view = view;
  document.body.dataset.view = view;
  $('models-view').hidden = view !== 'models';
  $('chat-view').hidden = view !== 'chat';
  $('back').hidden = !page.model;
  $('change-model').hidden = $('clear').hidden = view !== 'chat';
}

/** `id` is the model that the buttons act on. */
function modelRow(id, name, badge, about, ...buttons) {
  const title = make('p', { className: 'name' }, name);
  if (badge) title.append(make('span', { className: 'badge' }, badge));
  const row = make('li', { className: 'card' },
    make('div', { className: 'what' }, title, make('p', { className: 'small figures' }, about)),
    make('div', { className: 'acts' }, ...buttons));
  row.dataset.model = id;
  return row;
}

/** Puts rows into a list, unless they are there already, so that no button disappears under the pointer. */
function fill(list, rows) {
  const text = (all) => [...all].map((row) => row.outerHTML).join();
  if (text(list.children) !== text(rows)) list.replaceChildren(...rows);
}

const named = (element, label) => { element.setAttribute('aria-label', label); return element; };

/** The models of the server; null without an answer. A plain file server has the model that comes with the
 * library. */
async function servedModels() {
  try {
    const reply = await fetch(LIST_URL);
    return reply.ok ? await reply.json() : reply.status === 404 ? [SHIPPED] : null;
  } catch {
    return null;
  }
}

async function showServed(/** @type {CachedModel[]} */ stored) {
  const served = await servedModels();
  page.served = served ?? page.served;
  const complete = new Set(stored.filter((model) => model.complete).map((model) => model.url));
  const rows = (served ?? []).map((/** @type {ServedModel} */ { name, note = '', url, bytes = 0 }) => {
    const address = new URL(url, LIST_URL).href;
    const about = [bytes ? sizeText(bytes) : '', note].filter(Boolean).join(' · ');
    const load = named(button('Load', () => loadModel(address, name), 'primary'), `Load ${name}`);
    return modelRow(address, name, complete.has(address) ? 'stored' : '', about, load);
  });
  fill($('served'), rows);
  $('served-note').textContent = served === null ? 'The server does not answer. The models stored below still work.'
    : served.length === 0 ? 'The server has no model. Load one from an address or from a file.' : '';
}

async function deleteModel(/** @type {CachedModel} */ model) {
  try {
    await Nutshell.cache.delete(model.id);
    announce(`${model.name} was deleted from this browser.`);
  } catch (error) {
    showError(error);
  }
  await showModels();
  $('stored-title').tabIndex = -1;
  $('stored-title').focus();
}

function storedRow(/** @type {CachedModel} */ model) {
  const name = model.name || model.url || 'Unnamed model';
  const about = model.complete ? sizeText(model.stored)
    : `${sizeText(model.stored)}${model.size ? ` of ${sizeText(model.size)}` : ''} so far`;
  const remove = named(button('Delete', () => deleteModel(model)), `Delete ${name}`);
  if (!model.complete && !model.url) return modelRow(model.id, name, 'unfinished', about, remove);
  const source = model.complete ? { cached: model.id } : model.url;
  const word = model.complete ? 'Load' : 'Resume';
  const load = named(button(word, () => loadModel(source, name), 'primary'), `${word} ${name}, stored in this browser`);
  return modelRow(model.id, name, model.complete ? '' : 'unfinished', about, load, remove);
}

async function showStored() {
  try {
    const [stored, usage] = await Promise.all([Nutshell.cache.list(), Nutshell.cache.usage()]);
    fill($('stored'), stored.map(storedRow));
    const limit = usage.quota ? ` The browser allows ${sizeText(usage.quota)} for this page.` : '';
    $('stored-note').textContent = stored.length === 0
      ? 'Nothing yet. A model that is loaded from an address is stored here and then works offline.'
      : `${sizeText(usage.models)} in all.${limit}`;
    page.stored = stored;
  } catch (error) {
    // Offline the list may be unreadable; the last one is still right.
    if (page.stored.length === 0) $('stored-note').textContent = `The stored models cannot be listed: ${error.message}`;
  }
  return page.stored;
}

async function showModels() {
  prepareEngine();
  await showServed(await showStored());
}

/** Engine options of Nutshell.load and Nutshell.prepare. */
function engineOptions() {
  const { threads } = numbersOf('engine');
  return threads && Nutshell.capabilities().threads ? { threads } : {};
}

/** Fetches the engine while a model is being chosen, so that a stored model loads without a network. */
function prepareEngine() {
  if (page.view !== 'models' || page.loading) return;
  Nutshell.prepare(engineOptions()).then(() => { document.body.dataset.engine = 'ready'; })
    .catch(() => {}); // Nutshell.load reports it again, when the user waits for it
}

// --- models: loading
// --------------------------------------------------------------------------------------------------

function showProgress(/** @type {Progress} */ { phase, loaded, total, bytesPerSecond, secondsLeft, fromCache }) {
  const bar = $('progress-bar');
  if (total > 0) Object.assign(bar, { max: total, value: loaded });
  const parts = [];
  if (phase === 'engine') parts.push('Starting the engine');
  else if (phase === 'ready' || (total > 0 && loaded === total)) parts.push(`${sizeText(loaded)}, getting ready`);
  else {
    parts.push(total > 0 ? `${megabytes(loaded)} of ${megabytes(total)} MB` : sizeText(loaded));
    if (bytesPerSecond > 0) parts.push(`${megabytes(bytesPerSecond)} MB/s`);
    if (Number.isFinite(secondsLeft)) parts.push(`${durationText(secondsLeft)} left`);
    if (fromCache) parts.push('from this browser');
  }
  $('progress-text').textContent = parts.join(' · ');
}

function beginProgress(name) {
  clearError();
  $('progress').hidden = false;
  $('chooser').inert = true;
  $('progress-title').textContent = `Loading ${name}`;
  $('progress-text').textContent = '';
  $('progress-bar').removeAttribute('value');
  show('models');
  $('models-view').scrollTop = 0;
  $('progress-title').focus();
  announce(`Loading ${name}.`);
}

async function closeModel() {
  page.stopping?.abort();
  const { model } = page;
  page.model = null;
  showFacts();
  await model?.unload();
}

/** Shows the chat with the loaded model. */
function enterChat(/** @type {Model} */ { info }, name) {
  $('model-name').textContent = name;
  $('prompt-label').textContent = info.chat ? 'Message' : 'Text to continue';
  $('prompt').placeholder = info.chat ? 'Write a message' : 'Once upon a time';
  $('welcome-text').textContent = info.chat ? 'Ask something.'
    : 'This model has no chat template: it does not answer, it continues your text.';
  $('system').disabled = !info.chat;
  $('system-hint').textContent = info.chat ? 'Tells the model who it is and how to answer.'
    : 'Not used: this model has no chat template, so it only continues text.';
  const served = (page.served ?? []).find((model) => new URL(model.url, LIST_URL).pathname.endsWith(`/${info.fileName}`));
  const examples = served?.examples ?? (info.chat ? ['What is the capital of France?', 'Why is the sky blue?']
    : ['Once upon a time', 'The little dog']);
  $('examples').replaceChildren(...examples.map((text) => button(text, () => send(text))));
  showFacts();
  showReload();
  show('chat');
  $('prompt').focus();
}

/** Loads a model and shows the chat. `source` is what Nutshell.load takes, `name` is shown on the page. */
async function loadModel(source, name, options = {}) {
  if (page.loading || !settingsAreValid()) return;
  const controller = page.loading = new AbortController();
  const { contextLength } = numbersOf('engine');
  const wasChat = page.model?.info.chat;
  beginProgress(name);
  try {
    await closeModel();
    const model = await Nutshell.load(source, {
      ...engineOptions(), contextLength, ...options, signal: controller.signal, onProgress: showProgress,
    });
    Object.assign(page, { model, source, name, options, loadedWith: numbersOf('engine') });
    if (!(wasChat && model.info.chat)) clearHistory();
    enterChat(model, name);
    announce(`${name} is ready.`);
    if (model.info.cache.state === 'failed') showError(notKept(model.info.cache.error));
  } catch (error) {
    if (controller.signal.aborted) {
      announce('Loading was cancelled. What was downloaded is stored; the next load continues from there.');
    } else showError(error);
  } finally {
    page.loading = null;
    $('progress').hidden = true;
    $('chooser').inert = false;
    if (page.view === 'models') show('models');
    showModels();
  }
}

const notKept = (/** @type {any} */ error) =>
  Object.assign(new Error(`The model runs, but it could not be stored for the next visit. ${error?.message ?? ''}`),
    { code: error?.code ?? 'storage' });

function loadFile(/** @type {File|undefined} */ file) {
  if (file) loadModel(file, file.name, { cache: $('keep-file').checked });
}

/** A file from the disk may be dropped anywhere on the page. */
function acceptDrops() {
  let inside = 0; // elements entered minus elements left
  const carriesFiles = (event) => [...event.dataTransfer?.types ?? []].includes('Files');
  const count = (change) => { inside = Math.max(0, inside + change); $('drop').hidden = inside === 0; };
  addEventListener('dragenter', (event) => { if (carriesFiles(event)) count(1); });
  addEventListener('dragleave', (event) => { if (carriesFiles(event)) count(-1); });
  addEventListener('dragover', (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener('drop', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    count(-inside);
    if (page.loading) announce('A model is being loaded; cancel that first.');
    else loadFile(event.dataTransfer?.files[0]);
  });
}

function submitUrl(event) {
  event.preventDefault();
  const field = $('url');
  const text = field.value.trim();
  /** @type {URL|null} */ let address = null;
  try { address = new URL(text, /^[./]/.test(text) ? document.baseURI : undefined); } catch { /* said below */ }
  if (!address || !/^https?:$/.test(address.protocol)) {
    const message = 'Please write the whole address of a GGUF file, such as https://example.org/model.gguf';
    showError({ code: 'bad-argument', message });
    field.focus();
    return;
  }
  loadModel(address.href, decodeURIComponent(address.pathname.split('/').pop() || address.host));
}

// --- the chat
// ---------------------------------------------------------------------------------------------------------

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
  /** Once per frame, after that frame's scroll events: a reader's scrolling is seen before it could be
   * undone. */
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

function addArticle(className, who) {
  const text = make('div', { className: 'text' });
  const article = make('article', { className }, make('h2', { className: 'who' }, who), text);
  $('messages').append(article);
  $('welcome').hidden = true;
  return { article, text };
}

function figuresText(/** @type {Stats|null} */ stats, busy) {
  if (!stats) return busy ? 'starting' : '';
  if (busy && stats.tokens === 0) return `reading ${stats.promptTokensRead} of ${plural(stats.promptTokens, 'token')}`;
  const speed = stats.tokensPerSecond;
  const rate = speed > 0 ? ` · ${speed.toFixed(speed < 99.95 ? 1 : 0)} tokens/s` : '';
  const end = { length: ' · cut off by the limit', aborted: ' · stopped' }[stats.finishReason] ?? '';
  return `${plural(stats.tokens, 'token')}${rate}${busy ? '' : end}`;
}

function showContext(/** @type {Stats|null} */ stats) {
  $('context').textContent = stats && page.model
    ? `${stats.promptTokens + stats.tokens} of ${page.model.info.contextLength} context tokens` : '';
}

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

/**
 * Streams the generation that `begin` gives into an article. Resolves with the text and the error that ended
 * it, if one did.
 * @param {() => Promise<import('../../dist/nutshell.js').Generation>} begin
 * @param {{ article: HTMLElement, text: HTMLElement, given?: string, note?: () => string }} place
 */
async function stream(begin, { article, text, given = '', note = () => '' }) {
  /** @type {import('../../dist/nutshell.js').Generation|null} */ let generation = null;
  const node = document.createTextNode('');
  const figures = make('p', { className: 'small figures' });
  const footer = make('footer', {}, figures);
  text.append(node);
  article.append(footer);
  article.setAttribute('aria-busy', 'true');
  const showFigures = (busy) => { figures.textContent = figuresText(generation?.stats ?? null, busy) + note(); };
  showFigures(true);
  const timer = setInterval(() => showFigures(true), 200);
  /** @type {any} */ let failure = null;
  try {
    generation = await begin();
    for await (const piece of generation) {
      node.appendData(piece);
      follower.follow();
    }
  } catch (error) {
    failure = error;
  }
  clearInterval(timer);
  showFigures(false);
  if (article.isConnected) showContext(generation?.stats ?? null);
  article.setAttribute('aria-busy', 'false');
  const copy = button('Copy', () => copyText(given + node.data, text), 'quiet');
  if (given + node.data) footer.append(copy);
  return { answer: node.data, failure, footer };
}

/** What surrounds one generation: buttons, Stop, the error, the focus. `work` gets the signal. */
async function whileRunning(work) {
  const controller = page.stopping = new AbortController();
  clearError();
  $('send').hidden = true;
  $('stop').hidden = false;
  follower.jump();
  const { answer, failure } = await work(controller.signal);
  follower.follow();
  const hadFocus = document.activeElement === $('stop') || document.activeElement === document.body;
  if (page.stopping === controller) page.stopping = null;
  $('send').hidden = false;
  $('stop').hidden = true;
  if (hadFocus && page.view === 'chat') $('prompt').focus();
  if (failure && !controller.signal.aborted) showError(failure, ...remedies(failure.code));
  else announce(controller.signal.aborted ? 'Stopped.' : answer);
}

/** Buttons that may repair an error. */
function remedies(code) {
  if (code === 'context-full') return [button('Clear the history', clearHistory)];
  if (['engine-crashed', 'unloaded'].includes(code)) return [button('Load the model again', reloadModel)];
  return [];
}

const dropLast = () => document.querySelectorAll('.retry').forEach((element) => element.remove());

/**
 * The messages that fit into the context with an answer: the system prompt and the newest of the
 * conversation. The last question is always one of them.
 * @param {Model} model
 * @param {{ role: string, content: string }[]} conversation
 */
async function fitting(model, conversation) {
  const { contextLength } = model.info;
  const room = contextLength - Math.min(numbersOf('sampling').maxTokens ?? contextLength, contextLength >> 2);
  const content = $('system').value.trim();
  for (let leftOut = 0; ; leftOut += 2) { // a question with its answer
    const messages = [...(content ? [{ role: 'system', content }] : []), ...conversation.slice(leftOut)];
    if (leftOut + 2 >= conversation.length) return { messages, leftOut };
    const tokens = await model.tokenize(await model.renderChat(messages), { parseSpecial: true });
    if (tokens.length <= room) return { messages, leftOut };
  }
}

/** Answers the conversation as it stands. */
function answerChat(/** @type {Model} */ model) {
  return whileRunning(async (signal) => {
    dropLast();
    const conversation = page.messages;
    const turn = conversation.length;
    const place = addArticle('answer', page.name);
    let leftOut = 0;
    const begin = async () => {
      const fit = await fitting(model, conversation);
      leftOut = fit.leftOut;
      return model.chat(fit.messages, { ...numbersOf('sampling'), signal });
    };
    const note = () => (leftOut ? ` · without the oldest ${leftOut} messages` : '');
    const result = await stream(begin, { ...place, note });
    if (page.messages !== conversation) return result; // the history was cleared meanwhile
    page.messages[turn] = { role: 'assistant', content: result.answer };
    result.footer.append(button('Try again', () => tryAgain(turn, place.article), 'quiet retry'));
    if (result.failure && !result.answer) withdraw(turn, place.article);
    return result;
  });
}

/** Removes an answer that failed before its first token, and puts the question back into the field. */
function withdraw(turn, article) {
  const question = page.messages[turn - 1];
  page.messages.length = turn - 1;
  article.previousElementSibling?.remove();
  article.remove();
  if (!$('prompt').value) $('prompt').value = question.content;
  $('welcome').hidden = page.messages.length > 0;
  growPrompt();
}

function tryAgain(turn, article) {
  if (page.stopping || !page.model) return;
  page.messages.length = turn;
  article.remove();
  $('prompt').focus();
  answerChat(page.model);
}

/** Continues a text, for models that do not chat. */
function continueText(/** @type {Model} */ model, given) {
  return whileRunning(async (signal) => {
    dropLast();
    const place = addArticle('answer', page.name);
    place.text.append(make('span', { className: 'given' }, given));
    const begin = async () => model.generate(given, { ...numbersOf('sampling'), signal });
    const result = await stream(begin, { ...place, given });
    const goOn = () => { if (!page.stopping && page.model) continueText(page.model, given + result.answer); };
    result.footer.append(button('Go on', goOn, 'quiet retry'));
    return result;
  });
}

function send(text) {
  if (!text.trim() || page.stopping || !page.model || !settingsAreValid()) return;
  $('prompt').value = '';
  growPrompt();
  if (!page.model.info.chat) return continueText(page.model, text);
  addArticle('user', 'You').text.textContent = text;
  page.messages.push({ role: 'user', content: text });
  return answerChat(page.model);
}

function clearHistory() {
  page.stopping?.abort();
  page.messages = [];
  $('messages').replaceChildren();
  $('welcome').hidden = false;
  showContext(null);
  clearError();
}

function reloadModel() {
  $('settings').close();
  if (page.source) loadModel(page.source, page.name, page.options);
}

/** Makes the field as high as its text, up to the limit of the style sheet. */
function growPrompt() {
  const field = $('prompt');
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight + 2}px`;
}

function onKey(/** @type {KeyboardEvent} */ event) {
  if (event.key === 'Escape' && page.stopping && !$('settings').open) {
    event.preventDefault();
    page.stopping.abort();
  }
}

function onPromptKey(/** @type {KeyboardEvent} */ event) {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send($('prompt').value);
}

// --- start
// ------------------------------------------------------------------------------------------------------------

/** The state of the page. */
const page = {
  view: 'models',
  /** @type {Model|null} */ model: null,
  /** @type {any} */ source: null,
  /** @type {any} */ options: {},
  name: '',
  /** Engine settings that the model was loaded with. @type {object} */ loadedWith: {},
  /** While a model is loaded. @type {AbortController|null} */ loading: null,
  /** While text is generated. @type {AbortController|null} */ stopping: null,
  /** @type {{ role: string, content: string }[]} */ messages: [],
  /** @type {ServedModel[]|null} */ served: null,
  /** @type {CachedModel[]} */ stored: [],
};

function showEngine() {
  const { simd, threads, defaultThreads } = Nutshell.capabilities();
  if (!simd) {
    showError({ code: 'no-simd', message: 'This browser lacks WebAssembly SIMD, which the engine needs. Please use a newer one: '
      + 'Chrome or Edge 91, Firefox 114, Safari 16.4 or later.' });
  }
  $('threads').disabled = !threads;
  $('threads').placeholder = threads ? String(defaultThreads) : '1';
  $('threads-hint').textContent = threads ? '' : 'This page is not cross-origin isolated, so one thread runs.';
  $('engine-note').textContent = `Nutshell ${Nutshell.version}: WebAssembly on this device's processor, `
    + `${plural(threads ? defaultThreads : 1, 'thread')}.`;
}

function listen() {
  $('theme').onclick = switchTheme;
  darkWanted.onchange = showTheme;
  $('url-form').onsubmit = submitUrl;
  $('file').onchange = () => { loadFile($('file').files[0]); $('file').value = ''; };
  $('cancel').onclick = () => page.loading?.abort();
  $('change-model').onclick = () => { show('models'); $('back').focus(); showModels(); };
  $('back').onclick = () => { show('chat'); $('prompt').focus(); };
  $('clear').onclick = () => { clearHistory(); announce('The history is cleared.'); $('prompt').focus(); };
  $('open-settings').onclick = () => { showReload(); $('settings').showModal(); };
  $('close-settings').onclick = () => $('settings').close();
  $('settings').onclick = (event) => { if (event.target === $('settings')) $('settings').close(); };
  $('settings-form').onsubmit = (event) => event.preventDefault();
  $('settings-form').oninput = keepSettings;
  $('reset').onclick = () => { fillSettings(null); keepSettings(); announce('All settings are back at their defaults.'); };
  $('reload').onclick = reloadModel;
  $('composer').onsubmit = (event) => { event.preventDefault(); send($('prompt').value); };
  $('stop').onclick = () => page.stopping?.abort();
  $('prompt').onkeydown = onPromptKey;
  $('prompt').oninput = growPrompt;
  $('log').onscroll = follower.update;
  $('to-end').onclick = () => { follower.jump(); $('prompt').focus(); };
  addEventListener('keydown', onKey);
  acceptDrops();
}

/** Stores the page for visits without a network: see sw.js. A new version takes over at once while no model
 * was loaded, else
 *  with the next visit. */
async function keepPage() {
  const workers = navigator.serviceWorker;
  if (!workers) return;
  const unused = () => !page.model && !page.loading;
  if (workers.controller) workers.oncontrollerchange = () => { if (unused()) location.reload(); };
  try {
    const registration = await workers.register('sw.js', { scope: '../../' });
    // Asked again, ever more rarely: the page that this one replaces may still be open, and the worker waits
    // for the last one.
    const takeOver = (again = 250) => {
      if (!unused() || !registration.waiting) return;
      registration.waiting.postMessage('take over');
      setTimeout(takeOver, again, 2 * again);
    };
    registration.onupdatefound = () => { if (registration.installing) registration.installing.onstatechange = () => takeOver(); };
    takeOver();
  } catch { /* the page works without, but needs the network to open */ }
}

function start() {
  for (const row of SETTINGS) $(row.group).append(makeField(row));
  fillSettings(kept.get('settings'));
  showTheme();
  if (typeof Nutshell === 'undefined') {
    const message = 'dist/nutshell.js could not be loaded. Serve the repository\'s folder with: make demo';
    showError({ code: 'engine-missing', message });
    return;
  }
  listen();
  showEngine();
  showModels();
  keepPage();
}

showTheme();
addEventListener('DOMContentLoaded', start);
