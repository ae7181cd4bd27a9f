// The panel of the extension, which shows the text of a packaged model, offline. The library's files are
// beside this one, so that nothing but the extension itself is loaded; pack.mjs puts them there.
'use strict';

const PACKAGED = 'nutshell-tiny-q8_0.gguf';
const MAX_TOKENS = 400;

/** The element with this id. @returns {any} */
const $ = (id) => document.getElementById(id);

/** @type {import('../../dist/nutshell.js').Model|null} */
let model = null;
/** While a model is loaded. @type {AbortController|null} */
let loading = null;
/** While text is generated. @type {AbortController|null} */
let running = null;

function showError(error) {
  $('alert').textContent = error.message;
  $('status').textContent = model ? 'Ready' : 'No model is loaded';
}

/** The model in the package. The page reads it and not the library's worker, because workers of an offline
 * Firefox fetch
 *  nothing, not even an extension's own files. */
async function packaged() {
  return new File([await (await fetch(PACKAGED)).blob()], PACKAGED);
}

async function loadModel(/** @type {File|Promise<File>} */ source) {
  running?.abort();
  loading?.abort();
  const { signal } = loading = new AbortController();
  $('go').disabled = true;
  $('alert').textContent = '';
  try {
    await model?.unload();
    model = null;
    model = await Nutshell.load(await source, {
      signal,
      cache: false, // the packaged model is on the disk already
      onProgress: ({ loaded, total }) => {
        $('status').textContent = `Loading the model${total ? `, ${Math.round(100 * loaded / total)} %` : ''}`;
      },
    });
    const { threads, kernel, fileName } = model.info;
    $('status').textContent = `${fileName} · ${threads} thread${threads === 1 ? '' : 's'} · ${kernel}`;
    $('go').disabled = false;
  } catch (error) {
    if (!signal.aborted) showError(error); // aborted: another model is being loaded instead
  }
}

function showRunning(/** @type {boolean} */ on) {
  $('go').hidden = on;
  $('stop').hidden = !on;
  $('output').setAttribute('aria-busy', String(on));
}

async function write(/** @type {import('../../dist/nutshell.js').Model} */ writer, text, signal) {
  const options = { maxTokens: MAX_TOKENS, temperature: 0.6, signal };
  const { chat } = writer.info;
  const generation = chat ? writer.chat([{ role: 'user', content: text }], options) : writer.generate(text, options);
  const place = document.createTextNode(chat ? '' : text);
  $('output').replaceChildren(place);
  for await (const piece of generation) {
    const output = $('output');
    const follows = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
    place.appendData(piece);
    if (follows) output.scrollTop = output.scrollHeight;
  }
  return generation.stats;
}

/** Generates one text: buttons, figures, errors. */
async function run() {
  const text = $('prompt').value;
  if (!model || running || !text.trim()) return;
  const { signal } = running = new AbortController();
  $('alert').textContent = '';
  showRunning(true);
  try {
    const stats = await write(model, text, signal);
    $('status').textContent = `${stats?.tokens} tokens · ${stats?.tokensPerSecond.toFixed(1)} tokens/s`;
  } catch (error) {
    if (signal.aborted) $('status').textContent = 'Stopped';
    else showError(error);
  }
  running = null;
  showRunning(false);
}

$('form').onsubmit = (event) => { event.preventDefault(); run(); };
$('stop').onclick = () => running?.abort();
$('file').onchange = () => { if ($('file').files[0]) loadModel($('file').files[0]); };
$('prompt').onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  run();
};
addEventListener('keydown', (event) => { if (event.key === 'Escape') running?.abort(); });
loadModel(packaged());
