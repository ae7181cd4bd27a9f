// Choosing and loading a model: the lists of the server's and of the stored models, addresses, files, progress.
import {
  $, acceptDrops, announce, button, clearError, durationText, make, megabytes, named, page, showError, sizeText,
} from './page.js';
import { numbersOf, settingsAreValid, showFacts } from './settings.js';

/** @typedef {import('./page.js').Model} Model */
/** @typedef {import('./page.js').CachedModel} CachedModel */
/** @typedef {import('./page.js').ServedModel} ServedModel */
/** @typedef {import('../../dist/nutshell.js').Progress} Progress */

/** What the page does around a load; main.js sets it. */
export const around = {
  /** A model is loaded: shows the chat with it. @type {(model: Model, name: string) => void} */ loaded() {},
  /** Files that are no models were dropped onto the chat. @type {(files: File[]) => void} */ otherFiles() {},
};

export const LIST_URL = new URL('../../models.json', document.baseURI);
const SHIPPED = { name: 'Nutshell tiny', note: 'A toy that fits anywhere.', url: 'dist/nutshell-tiny-q8_0.gguf' };

export function show(view) {
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

export async function showModels() {
  prepareEngine();
  await showServed(await showStored());
}

/** Engine options of Nutshell.load and Nutshell.prepare. */
function engineOptions() {
  const { threads } = numbersOf('engine');
  return threads && Nutshell.capabilities().threads ? { threads } : {};
}

/** Fetches the engine while a model is being chosen, so that a stored model loads and chats without a network. */
export function prepareEngine() {
  if (page.view !== 'models' || page.loading) return;
  Nutshell.prepare({ ...engineOptions(), chat: true }).then(() => { document.body.dataset.engine = 'ready'; })
    .catch(() => {}); // Nutshell.load reports it again, when the user waits for it
}

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

/** Loads a model and shows the chat. `source` is what Nutshell.load takes, `name` is shown on the page. */
export async function loadModel(source, name, options = {}) {
  if (page.loading || !settingsAreValid()) return;
  const controller = page.loading = new AbortController();
  const { contextLength } = numbersOf('engine');
  beginProgress(name);
  try {
    await closeModel();
    const model = await Nutshell.load(source, {
      ...engineOptions(), contextLength, ...options, signal: controller.signal, onProgress: showProgress,
    });
    Object.assign(page, { model, source, name, options, loadedWith: numbersOf('engine') });
    around.loaded(model, name);
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

const looksLikeModel = (/** @type {File} */ { name }) => /\.gguf$/i.test(name);

/** Takes files that were dropped: a model to load, or texts for the chat. @param {File[]} files */
function takeDropped(files) {
  if (page.loading) announce('A model is being loaded; cancel that first.');
  else if (page.view === 'chat' && files.length > 0 && !files.some(looksLikeModel)) around.otherFiles(files);
  else loadFile(files.find(looksLikeModel) ?? files[0]);
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


export function startModels() {
  $('url-form').onsubmit = submitUrl;
  $('file').onchange = () => { loadFile($('file').files[0]); $('file').value = ''; };
  $('cancel').onclick = () => page.loading?.abort();
  acceptDrops(takeDropped);
}
