// Text files that go with the next message: read, counted in tokens, listed above the message field.
import { $, announce, button, make, named, page, pageError, plural, showError } from './page.js';

/** @typedef {import('./conversation.js').AttachedFile} AttachedFile */

const MOST_BYTES = 2e6; // far more than a context holds: a mistake, not a text

/** @type {(AttachedFile & { tokens?: number })[]} */
let files = [];

/** The text of a file. Throws what is wrong with it. @param {File} file */
async function readText(file) {
  if (file.size > MOST_BYTES) {
    throw pageError('bad-argument', `${file.name} has ${(file.size / 1e6).toFixed(1)} MB; a message can take text files of up to `
      + `${MOST_BYTES / 1e6} MB. Attach the part that matters.`);
  }
  const refused = pageError('bad-argument', `${file.name} is not a text file in UTF-8. Save it as plain text and attach that.`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    if (!text.includes('\0')) return text;
  } catch (error) {
    if (!(error instanceof TypeError)) throw pageError('bad-argument', `${file.name} cannot be read: ${error.message}`);
  }
  throw refused;
}

function show() {
  const list = $('attached');
  list.hidden = files.length === 0;
  list.replaceChildren(...files.map((file) => {
    const tokens = file.tokens === undefined ? '' : ` · ${plural(file.tokens, 'token')}`;
    const remove = () => {
      files = files.filter((other) => other !== file);
      show();
      $('prompt').focus();
    };
    return make('li', {}, make('span', { className: 'ellipsis' }, file.name), make('span', { className: 'figures' }, tokens),
      named(button('✕', remove, 'quiet'), `Remove ${file.name}`));
  }));
  const total = files.reduce((sum, { tokens = 0 }) => sum + tokens, 0), room = page.model?.info.contextLength ?? Infinity;
  $('attached-note').textContent = total > room
    ? `These files have ${total} tokens, and the context holds ${room}. Attach less, or set a longer context and load the model `
      + 'again.' : '';
}

/** Counts the tokens of files that were not counted for this model. */
export async function countAttached() {
  const { model } = page;
  for (const file of files) {
    const ids = await model?.tokenize(file.text).catch(() => null); // generating reports what is wrong with the model
    if (ids && model === page.model) file.tokens = ids.length;
  }
  show();
}

/** Reads text files and lists them above the message field; they go with the next message. */
export async function attach(/** @type {File[]} */ chosen) {
  for (const file of chosen) {
    try {
      files.push({ name: file.name, text: await readText(file) });
      announce(`${file.name} is attached.`);
    } catch (error) {
      showError(error);
    }
  }
  show();
  await countAttached();
}

/** Whether there are any. */
export const hasAttached = () => files.length > 0;

/** The files for a message that is sent now; none are left. @returns {AttachedFile[]} */
export function takeAttached() {
  const taken = files.map(({ name, text }) => ({ name, text }));
  files = [];
  show();
  return taken;
}

/** Puts files of a message that was not answered back. */
export function giveBack(/** @type {AttachedFile[]} */ taken) {
  files = [...taken, ...files];
  countAttached();
}

export function startAttached() {
  $('attach').onclick = () => $('attach-file').click();
  $('attach-file').onchange = async () => {
    const chosen = [...$('attach-file').files];
    $('attach-file').value = '';
    await attach(chosen);
    $('prompt').focus();
  };
}
