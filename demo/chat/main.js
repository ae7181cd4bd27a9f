// The chat page. It uses the library as any page would, through the global `Nutshell` of dist/nutshell.js. This file
// joins the page's parts: page (what they share), settings, models (choosing and loading), messages (the
// conversation), chats (stored conversations), attached (files), and keeps the page for visits without a network.
import { $, announce, button, page, plural, showError, startTheme } from './page.js';
import { attach, startAttached } from './attached.js';
import { startChats } from './chats.js';
import { Conversation } from './conversation.js';
import { modelLoaded, remedies, send, showConversation, startMessages } from './messages.js';
import { LIST_URL, around, loadModel, prepareEngine, show, showModels, startModels } from './models.js';
import { showFacts, showReload, startSettings } from './settings.js';

/** Shows the chat with the loaded model. */
function enterChat(/** @type {import('./page.js').Model} */ model, name) {
  const { info } = model;
  $('model-name').textContent = name;
  $('prompt-label').textContent = info.chat ? 'Message' : 'Text to continue';
  $('prompt').placeholder = info.chat ? 'Write a message' : 'Once upon a time';
  $('welcome-text').textContent = info.chat ? 'Ask something.'
    : 'This model has no chat template: it does not answer, it continues your text.';
  $('system').disabled = $('preset').disabled = !info.chat;
  $('system-hint').textContent = info.chat ? 'Tells the model who it is and how to answer.'
    : 'Not used: this model has no chat template, so it only continues text.';
  const served = (page.served ?? []).find(({ url }) => new URL(url, LIST_URL).pathname.endsWith(`/${info.fileName}`));
  const examples = served?.examples ?? (info.chat ? ['What is the capital of France?', 'Why is the sky blue?']
    : ['Once upon a time', 'The little dog']);
  $('examples').replaceChildren(...examples.map((text) => button(text, () => send(text))));
  modelLoaded(model);
  showFacts();
  showReload();
  show('chat');
  $('prompt').focus();
}

function reloadModel() {
  $('settings').close();
  if (page.source) loadModel(page.source, page.name, page.options);
}

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
  $('change-model').onclick = () => { show('models'); $('back').focus(); showModels(); };
  $('back').onclick = () => { show('chat'); $('prompt').focus(); };
  $('clear').onclick = () => {
    showConversation(new Conversation());
    announce('A new chat. The one before is under Chats.');
    $('prompt').focus();
  };
  $('reload').onclick = reloadModel;
  Object.assign(around, { loaded: enterChat, otherFiles: attach });
  const reloading = () => button('Load the model again', reloadModel);
  Object.assign(remedies, { 'engine-crashed': reloading, unloaded: reloading });
}

/** Stores the page for visits without a network: see sw.js. A new version takes over at once while no model was
 *  loaded, else with the next visit. */
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

startTheme();
if (typeof Nutshell === 'undefined') {
  const message = 'dist/nutshell.js could not be loaded. Serve the repository\'s folder with: make demo';
  showError({ code: 'engine-missing', message });
} else {
  startSettings(prepareEngine);
  startModels();
  startMessages();
  startAttached();
  startChats();
  listen();
  showEngine();
  showModels();
  keepPage();
}
