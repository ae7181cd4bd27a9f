// The benchmark page. The first half measures and touches no page: `make bench` calls it too, so that the
// project's figures and a visitor's are measured by the same code. The second half is the page.
//
// Times are taken in the page, not in the engine, so they include messages to the worker.

/** @typedef {import('../../dist/nutshell.js').Model} Model */
/** @typedef {import('../../dist/nutshell.js').ModelSource} ModelSource */

// --- the workload
// -----------------------------------------------------------------------------------------------------

/** Tokens of the measured prompt, tokens measured after the first generated one, and runs per median. */
export const PROMPT_TOKENS = 149;
export const DRAWN_TOKENS = 64;
const RUNS = 3;

/** A short prompt: for the time to the first token, and to replace the measured prompt in the engine's cache.
 */
export const SHORT_PROMPT = 'The first thing that I remember is';

/** Read before anything is counted, so that the browser has compiled the code that is measured. */
export const WARM_UP = 'Seven boats lay in the harbour of a quiet town. '.repeat(8);

/** The measured prompt is cut from this unfinished story, which models seldom end. */
const STORY = `Once upon a time there was an old clockmaker who lived at the end of a long street beside the river. Every morning
he opened the green door of his shop, put the kettle on the stove and looked at the forty clocks on the wall, and no two of
them ever told the same time. People came from far away to ask him why. He would smile, pour them a cup of tea and begin to
tell them a story, and each of the stories was about one of the clocks. The first clock, he said, had been made for a king who
was afraid of the night. The second one had belonged to a sailor who crossed the sea eleven times and never learned to swim. The
third had stood in a school for a hundred years, and the children had taught it to run slowly in the summer. Then he came to the
fourth clock, which was small and made of brass, and he took it down from the wall and held it for a while in his hands before he
went on.`.replace(/\s+/g, ' ');

/** Appended where whole words do not give the right number of tokens. */
const FILLERS = [' a', ' the', '.', ',', 'e', 's', '!', ' 1'];

/**
 * A text of exactly n tokens: words of the story, repeated as often as needed, then fillers.
 * @param {(text: string) => Promise<number>} count  tokens of a text, as a generation would count them
 * @param {number} n
 */
export async function fitPrompt(count, n = PROMPT_TOKENS) {
  const words = Array(Math.ceil(n / PROMPT_TOKENS)).fill(STORY).join(' ').split(' ');
  const textOf = (/** @type {number} */ i) => words.slice(0, i).join(' ');
  let text = '';
  for (let low = 0, high = words.length + 1, i = words.length; high - low > 1;) { // the most words that are not too many
    const have = await count(textOf(i));
    if (have <= n) {
      low = i;
      text = textOf(i);
    } else high = i;
    i = Math.min(Math.max(Math.round(i * n / have), low + 1), high - 1); // n if all words had equally many tokens
  }
  for (let have = await count(text); have !== n; have++) {
    const longer = await firstThat(FILLERS.map((filler) => text + filler),
      async (candidate) => await count(candidate) === have + 1);
    if (longer === undefined) throw new Error(`no text of ${n} tokens was found for this model`);
    text = longer;
  }
  return text;
}

/** @param {string[]} candidates @param {(candidate: string) => Promise<boolean>} fits */
async function firstThat(candidates, fits) {
  for (const candidate of candidates) if (await fits(candidate)) return candidate;
  return undefined;
}

// --- the measurement
// --------------------------------------------------------------------------------------------------

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** Replaces what the model's key/value cache has of the measured prompt. @param {Model} model */
async function forget(model, signal) {
  await model.generate(SHORT_PROMPT, { maxTokens: 1, temperature: 0, signal }).text();
}

/**
 * One generation, timed. `decode` and `prefill` are tokens per second; `drawn` counts the tokens after the
 * first.
 * @param {Model} model @param {string} prompt @param {AbortSignal | undefined} signal
 */
async function timeGeneration(model, prompt, signal) {
  const since = performance.now();
  const generation = model.generate(prompt, { maxTokens: DRAWN_TOKENS + 1, temperature: 0, signal });
  let first = 0, before = 0, last = 0;
  for await (const _ of generation) {
    last = performance.now();
    if (first) continue;
    first = last;
    before = generation.stats?.tokens ?? 0;
  }
  const { promptTokens = 0, tokens = 0 } = generation.stats ?? {};
  const drawn = tokens - before;
  return { prefill: 1000 * promptTokens / (first - since), decode: 1000 * drawn / (last - first), promptTokens, drawn };
}

/**
 * @typedef {object} Figures
 * @property {string} kernel
 * @property {number} threads           at work
 * @property {number} prefill           tokens per second, median of the runs
 * @property {number} decode
 * @property {number} promptTokens
 * @property {number} drawn             fewer than DRAWN_TOKENS where the model ended its text
 * @property {number} loadSeconds       from load() until the model can be used
 * @property {number} firstTokenSeconds from load() until the first token after SHORT_PROMPT
 * @property {number} modelBytes        weights, key/value cache and buffers
 * @property {boolean} fromCache        whether the weights came from the browser's storage
 *
 * @typedef {object} Options
 * @property {number} threads
 * @property {'relaxed' | 'pairs' | 'simd128' | 'ref'} [kernel]
 * @property {number} [contextLength]
 * @property {string} [prompt]          instead of one that is fitted
 * @property {number} [runs]
 * @property {AbortSignal} [signal]
 * @property {(what: string, done: number) => void} [onStep]  what is being done; share of all that is done, 0 to 1
 */

/**
 * Loads a model, measures it and unloads it.
 * @param {ModelSource} source @param {Options} options @returns {Promise<Figures>}
 */
export async function measure(source, { threads, kernel, contextLength, prompt, runs = RUNS, signal, onStep = () => {} }) {
  const since = performance.now();
  const model = await Nutshell.load(source, {
    threads, kernel, contextLength, signal,
    onProgress: ({ phase, loaded, total }) =>
      onStep(phase === 'download' ? 'downloading' : 'loading', total ? 0.3 * loaded / total : 0),
  });
  try {
    const loadSeconds = (performance.now() - since) / 1000;
    await forget(model, signal);
    const firstTokenSeconds = (performance.now() - since) / 1000;
    onStep('warming up', 0.3);
    await model.generate(WARM_UP, { maxTokens: 16, temperature: 0, signal }).text();
    const text = prompt ?? await fitPrompt(async (t) => (await model.tokenize(t, { addBos: true })).length);
    const timed = [];
    for (let run = 0; run < runs; run++) {
      onStep(`measuring, run ${run + 1} of ${runs}`, 0.4 + 0.6 * run / runs);
      await forget(model, signal);
      timed.push(await timeGeneration(model, text, signal));
    }
    const { info } = model;
    return {
      kernel: info.kernel, threads: info.threads, prefill: median(timed.map((t) => t.prefill)),
      decode: median(timed.map((t) => t.decode)), promptTokens: timed[0].promptTokens, drawn: timed[0].drawn, loadSeconds,
      firstTokenSeconds, modelBytes: info.weightBytes + info.sessionBytes, fromCache: info.cache.state === 'hit',
    };
  } finally {
    await model.unload();
  }
}

// --- the page
// ---------------------------------------------------------------------------------------------------------

const LIST_URL = '../../models.json';
const SHIPPED = { name: 'Nutshell tiny', url: '../../dist/nutshell-tiny-q8_0.gguf', bytes: 0 };
const FROM_URL = 'an address', FROM_FILE = 'a file';

/** @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);

/** @param {string} tag @param {object} properties @param {...(Node | string)} children */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
const seconds = (s) => `${s.toFixed(2)} s`;
const rate = (tokens) => tokens.toFixed(tokens < 100 ? 1 : 0);

/** The server's models, or the one that comes with the library. */
async function listModels() {
  try {
    const models = await (await fetch(LIST_URL)).json();
    return models.length ? models : [SHIPPED];
  } catch {
    return [SHIPPED];
  }
}

async function fillModels() {
  const models = await listModels();
  $('model').append(
    ...models.map(({ name, url, bytes }) => make('option', { value: url }, bytes ? `${name} (${megabytes(bytes)})` : name)),
    make('option', { value: FROM_URL }, 'A model at another address …'),
    make('option', { value: FROM_FILE }, 'A file on this device …'));
}

function fillThreads() {
  const { threads, defaultThreads } = Nutshell.capabilities();
  const all = threads ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  for (const n of new Set([1, 2, defaultThreads, all].filter((count) => count <= all))) {
    const box = make('input', { type: 'checkbox', name: 'threads', value: String(n), checked: true });
    $('threads').append(make('label', {}, box, String(n)));
  }
  if (!threads) {
    $('threads-note').textContent = 'More than one needs a page that is served with the headers Cross-Origin-Opener-Policy: '
      + 'same-origin and Cross-Origin-Embedder-Policy: require-corp.';
  }
}

/** What to load; null where nothing was chosen. @returns {ModelSource | null} */
function chosenSource() {
  const value = $('model').value;
  if (value === FROM_URL) return $('url').value.trim() || null;
  if (value === FROM_FILE) return $('file').files[0] ?? null;
  return new URL(value, document.baseURI).href;
}

/** "Chromium 156" and the like, from the user agent. */
function browserName() {
  const agent = navigator.userAgent;
  const [, name, version] = /(Firefox|Edg|OPR|Chrome|Version)\/([\d.]+)/.exec(agent) ?? [null, agent, ''];
  const known = { Edg: 'Edge', OPR: 'Opera', Version: /Safari/.test(agent) ? 'Safari' : 'WebKit' };
  return `${known[name ?? ''] ?? name} ${version.split('.')[0]}`;
}

/** @param {Figures} f */
const rowOf = (f) => [String(f.threads), `${rate(f.decode)} tokens/s`, `${rate(f.prefill)} tokens/s`,
  f.fromCache ? seconds(f.loadSeconds) : '–', f.fromCache ? seconds(f.firstTokenSeconds) : '–', megabytes(f.modelBytes)];

/** @param {Figures[]} all @param {string} name */
function showResults(all, name) {
  const best = all.reduce((a, b) => (b.decode > a.decode ? b : a));
  const highlight = (number, unit) => make('p', { className: 'card highlight' }, make('b', {}, number), unit);
  $('highlights').replaceChildren(
    highlight(rate(best.decode), 'tokens per second generated'),
    highlight(rate(Math.max(...all.map((f) => f.prefill))), 'tokens per second read'));
  $('rows').replaceChildren(...all.map((f) => {
    const [threads, ...cells] = rowOf(f);
    return make('tr', {}, make('th', { scope: 'row' }, threads), ...cells.map((cell) => make('td', {}, cell)));
  }));
  const short = all.find((f) => f.drawn < DRAWN_TOKENS);
  const facts = [
    ['Model', name], ['Kernels', best.kernel], ['Browser', browserName()],
    ['Processors', String(navigator.hardwareConcurrency || 'unknown')],
    ['Prompt and answer', `${best.promptTokens} and ${best.drawn + 1} tokens${short ? ': the model ended its text' : ''}`],
  ];
  $('facts').replaceChildren(...facts.flatMap(([term, text]) => [make('dt', {}, term), make('dd', {}, text)]));
  $('results').dataset.text = [
    ...facts.map(([term, text]) => `${term}: ${text}`),
    ...all.map((f) => {
      const [threads, writes, reads, ready, first, memory] = rowOf(f);
      return `${threads} thread${threads === '1' ? '' : 's'}: writes ${writes}, reads ${reads}, ready after ${ready}, `
        + `first token ${first}, memory ${memory}`;
    }),
  ].join('\n');
  $('results').hidden = false;
  $('results').focus();
}

/** @param {boolean} running */
function showRunning(running) {
  $('start').disabled = running;
  $('stop').hidden = $('progress').hidden = !running;
  if (running) $('results').hidden = true;
  else $('status').textContent = '';
}

/** Loads the model once, so that the load times are measured from the browser's storage. */
async function intoCache(source, signal, onStep) {
  if (typeof source !== 'string') return;
  const model = await Nutshell.load(source, { threads: 1, signal, onProgress: ({ loaded, total, phase }) => {
    onStep(phase === 'download' ? `downloading ${megabytes(loaded)} of ${megabytes(total)}` : 'loading',
      total ? loaded / total : 0);
  } });
  await model.unload();
}

/** @param {ModelSource} source @param {number[]} counts  of threads @param {AbortSignal} signal */
async function measureAll(source, counts, signal) {
  const say = (/** @type {string} */ text, /** @type {number} */ done) => {
    $('status').textContent = text;
    $('progress').value = done;
  };
  await intoCache(source, signal, say);
  const all = [];
  for (const [i, threads] of counts.entries()) {
    const name = threads === 1 ? 'One thread' : `${threads} threads`;
    const onStep = (/** @type {string} */ what, /** @type {number} */ done) =>
      say(`${name}: ${what}`, (i + done) / counts.length);
    all.push(await measure(source, { threads, signal, onStep }));
  }
  return all;
}

async function start() {
  const source = chosenSource();
  const counts = [...document.querySelectorAll('input[name=threads]:checked')]
    .map((box) => Number(/** @type {any} */ (box).value));
  $('alert').textContent = source === null ? 'Choose a model first.' : counts.length === 0 ? 'Choose a number of threads.' : '';
  if (source === null || counts.length === 0) return;
  const abort = new AbortController();
  $('stop').onclick = () => abort.abort();
  showRunning(true);
  try {
    const all = await measureAll(source, counts, abort.signal);
    showRunning(false);
    showResults(all, source instanceof File ? source.name : decodeURIComponent(String(source).split('/').at(-1) ?? ''));
  } catch (error) {
    showRunning(false);
    if (!abort.signal.aborted) $('alert').textContent = error.message;
  }
}

async function copyResults() {
  try {
    await navigator.clipboard.writeText($('results').dataset.text);
    $('copied').textContent = 'Copied.';
  } catch {
    $('copied').textContent = 'The browser did not allow it: select the table and copy it by hand.';
  }
}

async function startPage() {
  fillThreads();
  await fillModels();
  $('model').onchange = () => {
    $('url-field').hidden = $('model').value !== FROM_URL;
    $('file-field').hidden = $('model').value !== FROM_FILE;
  };
  $('form').onsubmit = (event) => {
    event.preventDefault();
    start();
  };
  $('copy').onclick = copyResults;
}

if (globalThis.document?.getElementById('form')) startPage();
