// The page that makes models smaller. It uses the library as any page would: the global `Nutshell` of
// dist/nutshell.js, and dist/nutshell-compress.mjs, which is fetched when the page opens. This file owns what
// a user sees: choosing a model and a size, progress, the result with its figures, both models side by side.
// Texts of models and files are only put into text nodes, never into HTML.
import {
  $, acceptDrops, announce, button, clearError, durationText, make, named, showError, sizeText, startTheme,
} from '../chat/page.js';

/** @typedef {import('../../dist/nutshell.js').CachedModel} CachedModel */
/** @typedef {import('../../dist/nutshell.js').Model} Model */
/** @typedef {typeof import('../../web/nutshell-compress.js')} Compressing */
/** @typedef {import('../../web/nutshell-compress.js').CompressProgress} CompressProgress */
/** @typedef {import('../../web/nutshell-compress.js').Evaluation} Evaluation */
/** @typedef {{ source: any, name: string, bytes: number }} Choice */

// --- helpers

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const figure = (x) => (Math.abs(x) < 0.01 ? x.toExponential(1) : x.toPrecision(3));

// --- choosing

/** What a file may have for a kind of device: loaded in seconds, with memory left for everything else. */
const DEVICES = [
  { name: 'an old phone: 45 MB', bytes: 45e6 },
  { name: 'a phone: 60 MB', bytes: 60e6 },
  { name: 'a new phone or a tablet: 200 MB', bytes: 200e6 },
  { name: 'a laptop: 600 MB', bytes: 600e6 },
];
const SHARE = 0.6; // of the source, where it is smaller than all of these

const page = {
  /** @type {Choice | null} */ choice: null,
  /** Models that can be chosen. @type {Choice[]} */ choices: [],
  /** While something runs. @type {AbortController | null} */ running: null,
  /** @type {{ choice: Choice, made: import('../../web/nutshell-compress.js').Compressed, name: string } | null} */ result: null,
  /** Those that answer side by side. @type {Model[]} */ models: [],
  /** @type {Promise<Compressing>} */ library: new Promise(() => {}),
};

function showDevices() {
  $('device').replaceChildren(...DEVICES.map(({ name }, i) => make('option', { value: String(i) }, name)),
    make('option', { value: 'share' }, `three fifths of what it is`), make('option', { value: 'own' }, 'the size below'));
}

/** Fills the size in that the device asks for. */
function showSize() {
  const row = DEVICES[Number($('device').value)], bytes = page.choice?.bytes ?? 0;
  if ($('device').value === 'own') return;
  const wanted = row ? row.bytes : SHARE * bytes;
  if (wanted) $('size').value = String(Number((wanted / 1e6).toPrecision(3)));
}

function choose(/** @type {Choice} */ choice) {
  page.choice = choice;
  $('chosen').textContent = `${choice.name}${choice.bytes ? `, ${sizeText(choice.bytes)}` : ''} is chosen.`;
  const fits = DEVICES.findLastIndex(({ bytes }) => bytes < 0.9 * choice.bytes);
  $('device').value = fits >= 0 ? String(Math.min(fits, 1)) : choice.bytes ? 'share' : '1';
  showSize();
}

const modelsUrl = new URL('../../models.json', document.baseURI);

/** Models of the cache, and those of the server that are not in it. */
async function showModels() {
  const [stored, served] = await Promise.all([
    Nutshell.cache.list().catch(() => /** @type {CachedModel[]} */ ([])),
    fetch(modelsUrl).then((reply) => (reply.ok ? reply.json() : []), () => []),
  ]);
  const kept = stored.filter(({ complete }) => complete);
  const urls = new Set(kept.map(({ url }) => url));
  page.choices = [
    ...kept.map(({ id, name, size }) => ({ source: { cached: id }, name: name || id, bytes: size, about: 'in this browser' })),
    ...served.map(({ name, url, bytes }) => ({ source: new URL(url, modelsUrl).href, name, bytes, about: 'on the server' }))
      .filter(({ source }) => !urls.has(source)),
  ];
  $('models').replaceChildren($('models').firstElementChild, ...page.choices.map((/** @type {any} */ choice, i) => {
    const input = make('input', { type: 'radio', name: 'model', id: `model-${i}`, onchange: () => choose(choice) });
    const about = make('span', { className: 'small' }, `${sizeText(choice.bytes)}, ${choice.about}`);
    return make('label', { className: 'card' }, input, make('span', {}, choice.name, about));
  }));
}

function chooseFile(/** @type {File | undefined} */ file) {
  if (!file) return;
  for (const input of document.querySelectorAll('input[name="model"]')) /** @type {HTMLInputElement} */ (input).checked = false;
  choose({ source: file, name: file.name, bytes: file.size });
  announce(`${file.name} is chosen.`);
}

function chooseUrl() {
  const text = $('url').value.trim();
  if (!text) return true;
  try {
    const address = new URL(text, /^[./]/.test(text) ? document.baseURI : undefined);
    if (!/^https?:$/.test(address.protocol)) throw new TypeError('another protocol');
    choose({ source: address.href, name: decodeURIComponent(address.pathname.split('/').pop() || address.host), bytes: 0 });
    return true;
  } catch {
    showError({ code: 'bad-argument', message: 'Please write the whole address of a GGUF file, such as '
      + 'https://example.org/model.gguf' });
    $('url').focus();
    return false;
  }
}

/** @param {File[]} files */
function takeDropped(files) {
  if (page.running) announce('A model is being made; stop that first.');
  else chooseFile(files[0]);
}

// --- compressing

/** Where something runs: the signal to stop it, and the bar. @template T @param {string} title
 *  @param {(signal: AbortSignal) => Promise<T>} work @returns {Promise<T | null>} */
async function whileRunning(title, work) {
  const controller = page.running = new AbortController();
  clearError();
  $('form').inert = true;
  $('progress').hidden = false;
  $('progress-title').textContent = title;
  $('progress-text').textContent = '';
  $('progress-bar').removeAttribute('value');
  $('progress-title').focus();
  $('progress').scrollIntoView({ block: 'nearest' });
  announce(title);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (controller.signal.aborted) announce('Stopped.');
    else showError(error);
    return null;
  } finally {
    page.running = null;
    $('form').inert = false;
    $('progress').hidden = true;
  }
}

const PHASES = {
  download: 'Downloading', load: 'Loading', check: 'Checking the file', evaluate: 'Reading the text', compress: '',
};

function showProgress(/** @type {CompressProgress} */ { phase, text, done, secondsLeft, resumed }) {
  Object.assign($('progress-bar'), { max: 1, value: done });
  const parts = [PHASES[phase] || text, `${Math.floor(100 * done)} %`];
  if (Number.isFinite(secondsLeft)) parts.push(`${durationText(secondsLeft)} left`);
  if (resumed) parts.push('goes on from the last visit');
  $('progress-text').textContent = parts.join(' · ');
}

async function compress(/** @type {Choice} */ choice, /** @type {any} */ options) {
  const { compress } = await page.library;
  const made = await whileRunning(`Making ${choice.name} smaller`,
    (signal) => compress(choice.source, { ...options, signal, onProgress: showProgress }));
  await Promise.all([showUnfinished(), showModels()]);
  if (made) showResult(choice, made);
  else if ($('alert').firstChild) $('alert').scrollIntoView({ block: 'nearest' });
  else $('start').focus();
}

async function submit(event) {
  event.preventDefault();
  if (page.running) return;
  clearError();
  if (!chooseUrl()) return;
  const megabytes = Number($('size').value);
  if (!page.choice) return showError({ code: 'bad-argument', message: 'Choose a model first.' });
  if (!(megabytes > 0)) {
    showError({ code: 'bad-argument', message: 'Write a size in MB, such as 60.' });
    return $('size').focus();
  }
  const options = { size: Math.floor(megabytes * 1e6), fast: $('fast').checked, cache: $('keep').checked };
  const text = await $('calibration').files[0]?.text();
  compress(page.choice, { ...options, ...(text ? { calibration: text } : {}) });
}

// --- what was not finished

async function showUnfinished() {
  /** @type {any[]} */
  const known = await (await page.library).unfinished().catch(() => []);
  const jobs = known.filter(({ options }) => !options.training);
  $('unfinished-section').hidden = jobs.length === 0;
  $('unfinished').replaceChildren(...jobs.map((job) => {
    const about = `${percent(job.done)} done in ${durationText(job.seconds)}, keeps ${sizeText(job.bytes)}`;
    const isFile = 'files' in job.source;
    const goOn = named(button('Go on', () => resume(job), 'primary'), `Go on with ${job.name}`);
    const drop = named(button('Give up', () => giveUp(job)), `Give up ${job.name}`);
    return make('li', { className: 'card' },
      make('div', { className: 'what' }, make('p', { className: 'name' }, job.name), make('p', { className: 'small' }, about),
        make('p', { className: 'small', hidden: !isFile }, isFile ? `To go on, choose ${job.source.files[0]} again.` : '')),
      make('div', { className: 'acts' }, ...(isFile ? [] : [goOn]), drop));
  }));
}

function resume(job) {
  const { cached, urls } = job.source;
  const known = page.choices.find(({ source }) => (cached ? source.cached === cached : source === urls[0]));
  const choice = known ?? { source: cached ? { cached } : urls.length > 1 ? urls : urls[0], name: job.name, bytes: 0 };
  compress(choice, { ...job.options, name: job.name, cache: $('keep').checked });
}

async function giveUp(job) {
  await (await page.library).discard(job.id);
  announce(`${job.name} was given up.`);
  await showUnfinished();
  $('main').focus();
}

// --- the result

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
function shape(tag, attributes, text = '') {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}

/** Bars with their names and values. @param {string} title
 *  @param {{ name: string, share: number, value: string, isNew?: boolean }[]} bars */
function chart(title, bars) {
  const row = 40, width = 420;
  const svg = shape('svg', { viewBox: `0 0 ${width} ${row * bars.length}`, role: 'img' });
  svg.setAttribute('aria-label', `${title}: ${bars.map(({ name, value }) => `${name} ${value}`).join(', ')}`);
  for (const [i, { name, share, value, isNew }] of bars.entries()) {
    svg.append(
      shape('text', { x: 0, y: row * i + 14 }, name),
      shape('text', { x: width, y: row * i + 14, 'text-anchor': 'end', class: 'value' }, value),
      shape('rect', { x: 0, y: row * i + 20, height: 10, rx: 3, width: Math.max(2, width * Math.min(share, 1)),
        class: isNew ? 'new' : '' }),
    );
  }
  return svg;
}

const rows = (facts) => Object.entries(facts).flatMap(([name, text]) => [make('dt', {}, name), make('dd', {}, text)]);

function showResult(/** @type {Choice} */ choice, /** @type {any} */ made) {
  const name = made.cached?.name ?? `${choice.name.replace(/\.gguf$/i, '')}-small.gguf`;
  page.result = { choice, made, name };
  $('result').hidden = false;
  $('report').hidden = true;
  $('answers').replaceChildren();
  $('result-title').textContent = `${name} is ready`;
  const before = made.sourceBytes;
  $('sizes').replaceChildren(chart('Sizes', [
    { name: 'before', share: before / Math.max(before, made.file.size), value: sizeText(before) },
    { name: 'now', share: made.file.size / Math.max(before, made.file.size), value: sizeText(made.file.size), isNew: true },
  ]));
  $('facts').replaceChildren(...rows({
    Size: `${sizeText(made.file.size)}, ${percent(made.file.size / before)} of what it was`, Time: durationText(made.seconds),
    Kept: made.cached ? 'in this browser; the chat page lists it' : 'not in this browser',
  }));
  $('notes').replaceChildren(...made.notes.map((note) => make('li', {}, note)));
  $('result-title').focus();
  announce(`${name} is ready: ${sizeText(made.file.size)}.`);
}

function save() {
  if (!page.result) return;
  const url = URL.createObjectURL(page.result.made.file);
  const link = make('a', { href: url, download: page.result.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000); // the download has begun by then
}

/** Where the model that was made is. */
const madeSource = () => (page.result?.made.cached ? { cached: page.result.made.cached.id } : page.result?.made.file);

async function measure() {
  const { result } = page;
  if (!result || page.running) return;
  const { evaluate } = await page.library;
  const found = await whileRunning('Measuring what was lost', (signal) => evaluate(/** @type {any} */ (madeSource()),
    { reference: result.choice.source, text: $('text').value, window: 256, signal, onProgress: showProgress }));
  if (found) showReport(found);
}

function showReport(/** @type {Evaluation} */ { perplexity, bitsPerByte, tokens, comparison }) {
  if (!comparison) return;
  const { referencePerplexity, kl, klError, klMedian, kl90, kl99, klMax, sameTop, sameTopLow, sameTopHigh } = comparison;
  const length = (x) => Math.max(0, (Math.log10(Math.max(x, 1e-4)) + 4) / 5); // from 0.0001 to 10
  $('report').hidden = false;
  $('report').replaceChildren(
    make('p', {}, `At ${percent(sameTop)} of ${tokens} places both find the same word likeliest.`),
    make('div', { className: 'chart' }, chart('Places where both agree', [
      { name: 'same likeliest word', share: sameTop, value: percent(sameTop), isNew: true }])),
    make('p', {}, 'How far the probabilities moved, in nats of Kullback-Leibler divergence; each tenth of a bar more is '
      + 'about three times as much:'),
    make('div', { className: 'chart' }, chart('Divergence', Object.entries({ 'half of the places': klMedian, 'mean': kl,
      '90 % of them': kl90, '99 % of them': kl99, 'the worst': klMax })
      .map(([name, x]) => ({ name, share: length(x), value: figure(x), isNew: true })))),
    make('dl', {}, ...rows({
      'Perplexity': `${figure(perplexity)}, before ${figure(referencePerplexity)}`, 'Bits per byte': figure(bitsPerByte),
      'Divergence': `${figure(kl)} ± ${figure(klError)}`, 'Agreement': `${percent(sameTopLow)} to ${percent(sameTopHigh)}`,
    })));
  announce(`At ${percent(sameTop)} of the places both find the same word likeliest.`);
}

// --- side by side

async function closeModels() {
  const { models } = page;
  page.models = [];
  await Promise.all(models.map((model) => model.unload()));
}

/** One model's answer, as it comes. */
async function answer(/** @type {any} */ source, name, question, place, signal) {
  const text = make('p', { className: 'text' });
  const figures = make('p', { className: 'small figures' }, 'loading');
  const article = make('article', { className: 'card' }, make('h4', {}, name), text, figures);
  article.setAttribute('aria-busy', 'true');
  place.append(article);
  const model = await Nutshell.load(source, { signal });
  page.models.push(model);
  const options = { temperature: 0, maxTokens: 120, signal };
  const messages = [{ role: 'user', content: question }];
  const generation = model.info.chat ? model.chat(messages, options) : model.generate(question, options);
  for await (const piece of generation) text.append(piece);
  figures.textContent = `${sizeText(model.info.fileBytes)} · ${(generation.stats?.tokensPerSecond ?? 0).toFixed(1)} tokens/s`;
  article.setAttribute('aria-busy', 'false');
}

async function ask() {
  const { result } = page, question = $('prompt').value.trim();
  if (!result || page.running || !question) return;
  $('answers').replaceChildren();
  await whileRunning('Asking both', async (signal) => {
    try { // one after the other, so that each has the whole processor
      await answer(result.choice.source, `Before: ${result.choice.name}`, question, $('answers'), signal);
      await answer(madeSource(), `Now: ${result.name}`, question, $('answers'), signal);
    } finally {
      await closeModels();
    }
  });
  announce([...document.querySelectorAll('#answers .text')].map((text) => text.textContent).join(' — '));
}

// --- start

/** Stores the page for visits without a network: the chat page's service worker does. */
async function keepPage() {
  try {
    const types = /** @type {any} */ (window).trustedTypes?.createPolicy('page', { createScriptURL: (url) => url });
    const script = '../chat/sw.js'; // the policy of this page wants to be told that it is a script's address
    await navigator.serviceWorker?.register(types?.createScriptURL(script) ?? script, { scope: '../../' });
    (await navigator.serviceWorker?.ready)?.active?.postMessage('keep compress');
  } catch { /* the page works without, but needs the network to open */ }
}

function listen() {
  $('device').onchange = showSize;
  $('size').oninput = () => { $('device').value = 'own'; };
  $('file').onchange = () => { chooseFile($('file').files[0]); };
  $('form').onsubmit = submit;
  $('stop').onclick = () => page.running?.abort();
  $('save').onclick = save;
  $('again').onclick = () => { $('result').hidden = true; $('main').focus(); $('form').scrollIntoView(); };
  $('measure').onclick = measure;
  $('ask').onclick = ask;
  addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && page.running) {
      event.preventDefault();
      page.running.abort();
    }
  });
  acceptDrops(takeDropped);
}

async function start() {
  startTheme();
  if (typeof Nutshell === 'undefined') {
    return showError({ code: 'engine-missing', message: 'dist/nutshell.js could not be loaded. Serve the repository\'s folder '
      + 'with: make demo' });
  }
  const address = new URL('../../dist/nutshell-compress.mjs', document.baseURI).href;
  page.library = import(address);
  showDevices();
  listen();
  keepPage();
  fetch('sample.txt').then((reply) => reply.text()).then((text) => { $('text').value ||= text; }, () => {});
  try {
    await Promise.all([showModels(), showUnfinished()]);
    document.body.dataset.ready = 'yes';
  } catch (error) {
    showError(error);
  }
}

start();
