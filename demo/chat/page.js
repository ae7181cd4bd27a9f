// What all modules of the chat page share, and the page that compresses in part: the state, making elements, numbers
// as text, what is stored in localStorage, the theme, files that are dropped, messages to screen readers, errors. Text
// of a model or a file is only put into text nodes, never into HTML.

/** @typedef {import('../../dist/nutshell.js').Model} Model */
/** @typedef {import('../../dist/nutshell.js').CachedModel} CachedModel */
/** @typedef {{ name: string, note?: string, url: string, bytes?: number, examples?: string[] }} ServedModel */

/** The state of the page. */
export const page = {
  view: 'models',
  /** @type {Model|null} */ model: null,
  /** @type {any} */ source: null,
  /** @type {any} */ options: {},
  name: '',
  /** Engine settings that the model was loaded with. @type {object} */ loadedWith: {},
  /** While a model is loaded. @type {AbortController|null} */ loading: null,
  /** While text is generated. @type {AbortController|null} */ stopping: null,
  /** @type {ServedModel[]|null} */ served: null,
  /** @type {CachedModel[]} */ stored: [],
};

/** The element with this id. @returns {any} */
export const $ = (id) => document.getElementById(id);

/** A new element: properties are set, children (nodes or text) appended. @returns {any} */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export const button = (text, onclick, className = '') => make('button', { type: 'button', className, onclick }, text);

/** The element, with a name for screen readers. */
export const named = (element, label) => { element.setAttribute('aria-label', label); return element; };

export const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e6 ? 2 : bytes < 99.95e6 ? 1 : 0);

export function sizeText(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${megabytes(bytes)} MB`;
}

export function durationText(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s`;
  return seconds < 3600 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

/** What is stored between visits. Private windows may refuse; then nothing is stored. */
export const kept = {
  get(key) {
    try { return JSON.parse(localStorage.getItem(`nutshell-${key}`) ?? 'null'); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(`nutshell-${key}`, JSON.stringify(value)); } catch { /* it is lost after this visit */ }
  },
};

/** Shows the theme that was chosen, or else the system's, and lets the button switch it. theme.js did the first before
 *  the page was painted. */
export function startTheme() {
  const darkWanted = matchMedia('(prefers-color-scheme: dark)'), root = document.documentElement;
  const showTheme = () => {
    root.dataset.theme = kept.get('theme') ?? (darkWanted.matches ? 'dark' : 'light');
    $('theme').setAttribute('aria-pressed', String(root.dataset.theme === 'dark'));
  };
  $('theme').onclick = () => {
    kept.set('theme', root.dataset.theme === 'dark' ? 'light' : 'dark');
    showTheme();
  };
  darkWanted.onchange = showTheme;
  showTheme();
}

/** Files may be dropped anywhere on the page. @param {(files: File[]) => void} take */
export function acceptDrops(take) {
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
    take([...event.dataTransfer?.files ?? []]);
  });
}

/** Says something to screen readers without moving the focus. */
export function announce(text) {
  $('announcer').textContent = text;
}

/** Where to continue: the message field, or the top of the model list. */
export function focusMainField() {
  (page.view === 'chat' ? $('prompt') : $('main')).focus();
}

/** An error that this page reports by itself: its message says what to do. */
export const pageError = (code, message) => Object.assign(new Error(message), { code });

/** Shows what went wrong and what to do about it, in place of the last message. `actions` are buttons. */
export function showError(error, ...actions) {
  const known = typeof error?.code === 'string';
  const text = known ? error.message : `Something went wrong in this page: ${error?.message ?? error}`;
  const message = make('p', {}, text);
  if (known) message.dataset.code = error.code;
  else console.error(error);
  $('alert').replaceChildren(message, ...actions, button('Close', clearError));
}

export function clearError() {
  if ($('alert').contains(document.activeElement)) focusMainField();
  $('alert').replaceChildren();
}

/** Hands a text to the user as a file. */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the browser reads it after the click
}
