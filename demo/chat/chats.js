// The dialog of stored conversations: open, export, import, delete; and the way back into the last one after a reload.
import { $, announce, button, clearError, download, make, named, page, pageError, plural, showError } from './page.js';
import { Conversation, importConversation } from './conversation.js';
import { currentConversation, showConversation } from './messages.js';
import { loadModel, show } from './models.js';
import { isLasting, list, remove, save } from './store.js';

/** @typedef {import('./conversation.js').Stored} Stored */

const MOST_IMPORTED_BYTES = 50e6;

const dateText = (time) => new Date(time).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const fileName = (title, ending) => `${title.replace(/[^\p{L}\p{N} _-]+/gu, '').trim().slice(0, 50) || 'conversation'}.${ending}`;

/** Shows a stored conversation; loads the model that it was held with, if none is loaded. */
function open(/** @type {Stored} */ stored) {
  $('chats').close();
  const conversation = new Conversation(stored);
  showConversation(conversation);
  if (page.model?.info.chat) {
    show('chat');
    $('prompt').focus();
  } else if (conversation.source) loadModel(conversation.source, conversation.model);
  else {
    const message = `Choose a model to go on with "${conversation.title}". It was held with ${conversation.model}, which this `
      + 'browser cannot load by itself.';
    showError(pageError('no-model', message));
  }
}

async function deleteChat(/** @type {Stored} */ stored) {
  await remove(stored.id);
  if (currentConversation().id === stored.id) showConversation(new Conversation());
  announce(`${stored.title} was deleted.`);
  await fillChats();
  $('chats-title').focus();
}

function describe(/** @type {Stored} */ { title, model, messages, changed }) {
  const about = [model, plural(messages.length, 'message'), dateText(changed)].filter(Boolean).join(' · ');
  return make('div', { className: 'what' },
    make('p', { className: 'name' }, title), make('p', { className: 'small figures' }, about));
}

function row(/** @type {Stored} */ stored) {
  const exporting = (ending, label, text, type) => {
    const made = button(label, () => download(fileName(stored.title, ending), text(), type), 'quiet');
    return named(made, `Export ${stored.title} as ${label}`);
  };
  return make('li', { className: 'card' }, describe(stored),
    make('div', { className: 'acts' },
      named(button('Open', () => open(stored), 'primary'), `Open ${stored.title}`),
      exporting('json', 'JSON', () => JSON.stringify(stored, null, 1), 'application/json'),
      exporting('md', 'Markdown', () => new Conversation(stored).toMarkdown(), 'text/markdown'),
      named(button('Delete', () => deleteChat(stored).catch(showError), 'quiet'), `Delete ${stored.title}`)));
}

async function fillChats() {
  const all = await list();
  $('chats-list').replaceChildren(...all.map(row));
  $('chats-note').textContent = !(await isLasting())
    ? 'This browser keeps nothing for this page (a private window?): conversations last until it is closed. Export what matters.'
    : all.length === 0 ? 'None yet. What is said in a chat is stored in this browser and nowhere else.' : '';
}

async function importFile(/** @type {File|undefined} */ file) {
  if (!file) return;
  try {
    if (file.size > MOST_IMPORTED_BYTES) throw new Error(`${file.name} is too large to be a conversation.`);
    const conversation = importConversation(await file.text());
    await save(conversation);
    await fillChats();
    announce(`${conversation.title} was imported.`);
  } catch (error) {
    $('chats').close();
    showError(pageError('bad-argument', error.message));
  }
}

/** Offers the last conversation of the last visit. */
async function offerLast() {
  const [last] = await list();
  if (!last || page.view !== 'models') return;
  $('last').replaceChildren(describe(last), button('Go on', () => open(last), 'primary'));
  $('last-section').hidden = false;
}

export function startChats() {
  $('open-chats').onclick = () => {
    clearError();
    $('chats').showModal();
    fillChats().catch(showError);
  };
  $('close-chats').onclick = () => $('chats').close();
  $('chats').onclick = (event) => { if (event.target === $('chats')) $('chats').close(); };
  $('import-chat').onclick = () => $('import-file').click();
  $('import-file').onchange = () => {
    const [file] = $('import-file').files;
    $('import-file').value = '';
    importFile(file);
  };
  offerLast().catch(() => {}); // the dialog reports it
}
