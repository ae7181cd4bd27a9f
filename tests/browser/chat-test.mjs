// The chat page in each browser, used as a user would: the committed dist/, the demo's own server, the repository's small
// model, and the real model where it was fetched. The checks compare what a user sees. Screenshots go to
// tests/browser/screenshots/.
//
//   node tests/browser/chat-test.mjs [chromium|firefox|webkit]
//
// With NUT_SCREENSHOT=1, the run of Chromium on the real model also writes demo/chat/screenshot.png, which README shows.
//
// The texts are sampled with a seed and must be the same in all browsers: kernels and threads may not change a token.
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from '../../demo/serve.mjs';
import { starters } from './drivers.mjs';
import { accessible, attaching, formatting, keeping } from './chat-keeping.mjs';
import { check, equal, finish, inBrowser, skip } from './harness.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const SHOTS = join(ROOT, 'tests/browser/screenshots');
const DATA = process.env.NUT_DATA ?? join(ROOT, '../shared/data');
const TINY = '/dist/nutshell-tiny-q8_0.gguf';
const REAL = 'models/SmolLM2-135M-Instruct-Q4_1.gguf';
const NO_TEMPLATE = join(DATA, 'models/stories260K-f32.gguf');
const SYSTEM = 'Answer in short sentences.';
const STORY = 'Tell me a story about a cat.';

function matches(text, pattern) {
  if (!pattern.test(text)) throw new Error(`nothing like ${pattern} in ${JSON.stringify(text)}`);
}

// --- what a user sees -------------------------------------------------------------------------------------------------

const server = await startServer({ port: 0 });
const PAGE = `${server.url}/demo/chat/`;
mkdirSync(SHOTS, { recursive: true });
const htmlFile = join(tmpdir(), `nutshell-page-${process.pid}.gguf`);
writeFileSync(htmlFile, '<!doctype html><html><body>This is a page, not a model.</body></html>'.padEnd(4096));

/** The page's state in one object. */
const look = (browser) => browser.evaluate(() => {
  const text = (selector) => document.querySelector(selector)?.textContent ?? '';
  const shown = (selector) => (document.querySelector(selector)?.getClientRects().length ?? 0) > 0;
  const texts = (selector) => [...document.querySelectorAll(selector)].map((element) => element.textContent);
  return {
    view: document.body.dataset.view, engine: document.body.dataset.engine, alert: text('#alert p'),
    code: document.querySelector('#alert p')?.dataset.code ?? null,
    served: texts('#served .name'), stored: texts('#stored .name'), progress: text('#progress-text'),
    questions: texts('.user .text'), answers: texts('.answer .text'), figures: texts('.answer .figures'),
    busy: document.querySelectorAll('.answer[aria-busy="true"]').length, stop: shown('#stop'), send: shown('#send'),
    focus: document.activeElement?.id ?? '', announced: text('#announcer'), welcome: shown('#welcome'),
    theme: document.documentElement.dataset.theme, overflow: document.documentElement.scrollWidth - innerWidth,
  };
});

/** Waits until the page's state fulfils `test`; the state is returned. */
async function until(browser, what, test, seconds = 90) {
  let state;
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    state = await look(browser);
    if (test(state)) return state;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${what}: not within ${seconds} s; the page is ${JSON.stringify(state)}`);
}
const inChat = (browser) => until(browser, 'the chat', (page) => page.view === 'chat' || page.alert !== '')
  .then((page) => equal([page.alert, page.view], ['', 'chat']));
const idle = (browser, answers) => until(browser, `answer ${answers}`,
  (page) => page.answers.length >= answers && page.busy === 0 && !page.stop);

/** Sets fields of the settings; null empties one. */
async function set(browser, values) {
  await browser.click('#open-settings');
  for (const [id, value] of Object.entries(values)) {
    if (value !== null) await browser.fill(`#${id}`, String(value));
    else await browser.evaluate(empty, id);
  }
  await browser.click('#close-settings');
}
function empty(id) {
  const field = /** @type {HTMLInputElement} */ (document.getElementById(id));
  field.value = '';
  field.dispatchEvent(new Event('input', { bubbles: true }));
}
async function ask(browser, text) {
  await browser.fill('#prompt', text);
  await browser.press('Enter');
}
async function shot(browser, name) {
  await browser.evaluate(() => new Promise((done) => setTimeout(done, 250))); // painted, with all transitions over
  await browser.screenshot(join(SHOTS, `${name}-${browser.name}.png`));
}
const loadButton = (name) => `#served button[aria-label="Load ${name}"]`;
const clickLabelled = (browser, list, label) => browser.click(`#${list} button[aria-label^="${label}"]`);

// --- the cases --------------------------------------------------------------------------------------------------------

/** What each browser wrote for the same seed. @type {Record<string, string>} */
const written = {};

async function choosing(browser) {
  await check(`${browser.name}: the page offers the shipped model and the address, file and stored ways`, async () => {
    await browser.goto(PAGE);
    const page = await until(browser, 'the list', ({ served }) => served.some((name) => name.startsWith('Nutshell tiny')));
    equal([page.view, page.alert, page.stored, page.overflow <= 0], ['models', '', [], true]);
    await shot(browser, '1-models');
  });
  await check(`${browser.name}: every control has a name`, async () => {
    equal(await browser.evaluate(() => [...document.querySelectorAll('button, input, textarea, a')].filter((element) => {
      const label = element.getAttribute('aria-label') || element.textContent.trim()
        || [.../** @type {any} */ (element).labels ?? []].map((one) => one.textContent.trim()).join('');
      return !label;
    }).map((element) => element.id || element.outerHTML)), []);
  });
  await check(`${browser.name}: loading shows progress and leads into the chat`, async () => {
    await browser.evaluate(() => {
      window.seen = [];
      const text = document.querySelector('#progress-text');
      const bar = /** @type {HTMLProgressElement} */ (document.querySelector('#progress-bar'));
      new MutationObserver(() => window.seen.push([text.textContent, bar.value, bar.max]))
        .observe(text, { childList: true, characterData: true });
    });
    await browser.click(loadButton('Nutshell tiny'));
    await inChat(browser);
    const size = (await (await fetch(server.url + TINY)).arrayBuffer()).byteLength;
    const seen = (await browser.evaluate('window.seen')).filter(([text]) => text !== '');
    equal(seen.at(-1).slice(1), [size, size]);
    matches(seen.map(([text]) => text).join('\n'), /\d\.\d( of \d\.\d)? MB/);
    equal((await look(browser)).focus, 'prompt');
  });
}

async function talking(browser) {
  await check(`${browser.name}: an answer streams in, is counted and announced once`, async () => {
    await set(browser, { temperature: 0.5, seed: 11, maxTokens: 60, system: SYSTEM });
    await browser.evaluate(() => {
      window.lengths = [];
      window.said = [];
      const of = (selector, then) => new MutationObserver(then)
        .observe(document.querySelector(selector), { childList: true, characterData: true, subtree: true });
      of('#messages', () => window.lengths.push(document.querySelector('.answer .text')?.textContent.length ?? 0));
      of('#announcer', () => window.said.push(document.querySelector('#announcer').textContent));
    });
    await ask(browser, STORY);
    const page = await idle(browser, 1);
    equal(page.questions, [STORY]);
    matches(page.answers[0], /^[A-Z][^]*[a-z]{2}/);
    matches(page.figures[0], /^\d+ tokens? · (\d\d?\.\d|\d{3,}) tokens\/s/);
    const lengths = [...new Set(await browser.evaluate('window.lengths'))];
    if (lengths.length < 10) throw new Error(`the text came in ${lengths.length} steps: ${lengths}`);
    equal(await browser.evaluate('window.said'), [page.answers[0]]);
    equal([page.send, page.stop, page.focus], [true, false, 'prompt']);
    written[browser.name] = page.answers[0];
    await shot(browser, '2-chat');
  });
  await check(`${browser.name}: a second turn, written again with the same seed`, async () => {
    await ask(browser, 'Tell me another story, please.');
    const first = await idle(browser, 2);
    await browser.click('.answer:last-child .retry');
    await until(browser, 'a new answer', (page) => page.busy === 1 || page.announced === first.answers[1]);
    const again = await idle(browser, 2);
    equal(again.answers, first.answers);
    equal(again.questions.length, 2);
  });
  await check(`${browser.name}: what is written is text and never markup`, async () => {
    const attack = '<img src=x onerror="document.title=1"><b>bold</b>';
    await ask(browser, attack);
    await idle(browser, 3);
    equal((await look(browser)).questions[2], attack);
    equal(await browser.evaluate('document.querySelectorAll("#messages img, #messages b").length'), 0);
  });
  await check(`${browser.name}: the token limit is kept, a setting out of range is refused, settings stay`, async () => {
    await set(browser, { maxTokens: 5 });
    await ask(browser, STORY);
    matches((await idle(browser, 4)).figures[3], /^5 tokens .* cut off by the limit$/);
    await set(browser, { temperature: -1 });
    await ask(browser, 'not sent');
    equal(await browser.evaluate('document.querySelector("#settings").open'), true);
    equal((await look(browser)).questions.length, 4);
    await browser.fill('#temperature', '0.5');
    await browser.fill('#repeatPenalty', '1');
    await shot(browser, '3-settings');
    await browser.click('#close-settings');
  });
  await check(`${browser.name}: the model is told the system prompt`, async () => {
    const used = () => browser.evaluate('parseInt(document.querySelector("#context").textContent)');
    const asked = async (system) => {
      await set(browser, { system, maxTokens: 1 });
      await browser.click('#clear');
      await ask(browser, STORY);
      await idle(browser, 1);
      return used();
    };
    const [short, long] = [await asked('Hi.'), await asked('You are a kind storyteller. '.repeat(6))];
    if (!(long >= short + 24)) throw new Error(`${short} tokens with a short system prompt, ${long} with a long one`);
    await set(browser, { system: 'You are a kind storyteller.' });
    await browser.click('#clear');
  });
  await check(`${browser.name}: the newest text stays in view, but not for a reader who scrolled up`, async () => {
    const distance = () => browser.evaluate(async () => {
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      const log = document.querySelector('#log');
      return [log.scrollTop, log.scrollHeight - log.clientHeight - log.scrollTop, document.querySelector('#to-end').hidden];
    });
    await set(browser, { maxTokens: 100 });
    await browser.setViewport(500, 420);
    await ask(browser, STORY);
    await idle(browser, 1);
    const [, below, hidden] = await distance();
    equal([below < 40, hidden], [true, true]);
    await browser.evaluate(() => new MutationObserver((_, observer) => {
      if (!document.querySelector('.answer:last-child .text')?.textContent) return;
      observer.disconnect();
      document.querySelector('#log').scrollTop = 0;
    }).observe(document.querySelector('#messages'), { childList: true, characterData: true, subtree: true }));
    await ask(browser, STORY);
    await idle(browser, 2);
    const [top, , offered] = await distance();
    equal([top, offered], [0, false]);
    await browser.click('#to-end');
    equal((await distance())[1] < 40, true);
    await browser.setViewport(1000, 700);
  });
  await check(`${browser.name}: clearing the history`, async () => {
    await browser.click('#clear');
    const page = await look(browser);
    equal([page.questions, page.answers, page.welcome, page.focus], [[], [], true, 'prompt']);
    await set(browser, { maxTokens: 60, system: SYSTEM, repeatPenalty: 1.1 });
    await ask(browser, STORY);
    equal((await idle(browser, 1)).answers[0], written[browser.name]); // so the model did not see the earlier messages
  });
}

/** Stops the next answer from inside the page, at its first characters; returns how often its text changed afterwards. */
function armStop(how) {
  return new Promise((done) => {
    let after = -1, shown = '';
    const observer = new MutationObserver(() => {
      const article = document.querySelector('.answer:last-child'), text = article?.querySelector('.text').textContent;
      if (after >= 0) {
        if (text !== shown) after++;
        shown = text;
      } else if (text) {
        after = 0;
        shown = text;
        if (how === 'button') /** @type {HTMLElement} */ (document.querySelector('#stop')).click();
        else document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: how, bubbles: true, cancelable: true }));
      }
      if (after >= 0 && article?.getAttribute('aria-busy') === 'false') { observer.disconnect(); done(after); }
    });
    observer.observe(document.querySelector('#messages'),
      { childList: true, characterData: true, subtree: true, attributes: true, attributeFilter: ['aria-busy'] });
    /** @type {any} */ (document.querySelector('#prompt')).value = 'Tell me a story about a whale.';
    /** @type {any} */ (document.querySelector('#composer')).requestSubmit();
  });
}

async function stopping(browser) {
  await set(browser, { maxTokens: null });
  for (const how of ['button', 'Escape']) {
    await check(`${browser.name}: ${how} stops within one token`, async () => {
      const after = await browser.evaluate(armStop, how);
      if (after > 1) throw new Error(`${after} more pieces came`);
      const page = await idle(browser, 1);
      matches(page.figures.at(-1), /^\d tokens?.* stopped$/);
      equal([page.alert, page.send, page.announced], ['', true, 'Stopped.']);
      await ask(browser, STORY); // and the model is still usable
      matches((await idle(browser, page.answers.length + 1)).figures.at(-1), /tokens\/s$/);
    });
  }
}

async function looks(browser) {
  await check(`${browser.name}: the theme can be changed and is remembered`, async () => {
    const before = (await look(browser)).theme;
    await browser.click('#theme');
    const other = before === 'dark' ? 'light' : 'dark';
    equal((await look(browser)).theme, other);
    await shot(browser, `4-${other}`);
    await browser.goto(PAGE);
    equal((await look(browser)).theme, other);
    await browser.click('#theme');
  });
  await check(`${browser.name}: settings are remembered`, async () => {
    equal(await browser.evaluate('["seed", "temperature"].map((id) => document.getElementById(id).value)'), ['11', '0.5']);
  });
}

async function comingBack(browser) {
  const cut = browser.setOffline ? 'the model routes off and the network offline' : 'the model routes off';
  await check(`${browser.name}: a second visit works with ${cut}`, async () => {
    server.models = false;
    await browser.goto(PAGE);
    await until(browser, 'the stored list', ({ stored }) => stored.length === 1);
    equal((await look(browser)).served, []);
    await until(browser, 'the engine', ({ engine }) => engine === 'ready');
    await browser.setOffline?.(true);
    await clickLabelled(browser, 'stored', 'Load');
    await inChat(browser);
    await set(browser, { maxTokens: 60 });
    await ask(browser, STORY);
    equal((await idle(browser, 1)).answers[0], written[browser.name]);
  });
  await browser.setOffline?.(false);
  server.models = true;
  await check(`${browser.name}: a stored model can be deleted`, async () => {
    await browser.goto(PAGE);
    await until(browser, 'the stored list', ({ stored }) => stored.length === 1);
    await clickLabelled(browser, 'stored', 'Delete');
    await until(browser, 'the empty list', ({ stored }) => stored.length === 0);
    equal(await browser.evaluate('Nutshell.cache.list()'), []);
  });
}

/** Drops a file onto the page, as the pointer would. */
function drop(text, name) {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  for (const type of ['dragenter', 'dragover', 'drop']) {
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}

async function failing(browser) {
  const says = (pattern, code) => until(browser, `an error ${code}`, (page) => page.alert !== '').then((page) => {
    matches(page.alert, pattern);
    equal([page.code, page.view], [code, 'models']);
  });
  await check(`${browser.name}: an address that is none, and one without a file`, async () => {
    await browser.goto(PAGE);
    await browser.evaluate('Nutshell.cache.clear()');
    await browser.fill('#url', 'not an address');
    await browser.press('Enter');
    await says(/whole address/, 'bad-argument');
    await browser.fill('#url', `${server.url}/models/nothing.gguf`);
    await browser.press('Enter');
    await until(browser, 'the other error', ({ code }) => code !== 'bad-argument');
    await says(/404.*check the address/i, 'http-404');
    await shot(browser, '5-error');
  });
  await check(`${browser.name}: an address that no one answers`, async () => {
    await browser.fill('#url', 'http://127.0.0.1:9/model.gguf');
    await browser.press('Enter');
    await until(browser, 'the other error', ({ code }) => code !== 'http-404');
    await says(/check the connection/, 'network');
  });
  await check(`${browser.name}: an HTML page instead of a model, dropped, chosen and by address`, async () => {
    await browser.evaluate(drop, '<!doctype html><html>'.padEnd(4096), 'model.gguf');
    await until(browser, 'the other error', ({ code }) => code !== 'network');
    await says(/GGUF/, 'not-gguf');
    await browser.click('#alert button');
    await browser.attach('#file', htmlFile);
    await says(/GGUF/, 'not-gguf');
    await browser.click('#alert button');
    await browser.fill('#url', `${server.url}/demo/chat/index.html`);
    await browser.press('Enter');
    await says(/HTML page/, 'not-gguf');
  });
  await check(`${browser.name}: after all that a model loads, and nothing useless was kept`, async () => {
    equal(await browser.evaluate('Nutshell.cache.list()'), []);
    await browser.click(loadButton('Nutshell tiny'));
    await inChat(browser);
    equal((await look(browser)).alert, '');
  });
  await check(`${browser.name}: a conversation that no longer fits says what to do`, async () => {
    await set(browser, { contextLength: 64 });
    await browser.click('#open-settings');
    await browser.click('#reload');
    await inChat(browser);
    const question = 'Tell me a long story about a cat and a dog and a fox and a king. '.repeat(8);
    await ask(browser, question);
    const page = await until(browser, 'the error', ({ alert }) => alert !== '');
    equal([page.code, page.answers, page.questions], ['context-full', [], []]);
    equal(await browser.evaluate('document.querySelector("#prompt").value'), question); // it can be shortened
  });
  await check(`${browser.name}: a long conversation goes on without its oldest messages, and says so`, async () => {
    await set(browser, { contextLength: 200, maxTokens: 40 });
    await browser.click('#open-settings');
    await browser.click('#reload');
    await inChat(browser);
    for (let turn = 1; turn <= 4; turn++) {
      await ask(browser, STORY);
      const page = await idle(browser, turn);
      equal([page.alert, page.answers.length], ['', turn]);
    }
    matches((await look(browser)).figures.at(-1), / without the oldest [246] messages$/);
    matches((await look(browser)).figures[0], /^(?!.*without)/);
    await set(browser, { contextLength: null });
  });
}

async function completing(browser) {
  const name = `${browser.name}: a model without a chat template continues text`;
  if (!existsSync(NO_TEMPLATE)) return skip(name, `${NO_TEMPLATE} is not there`);
  await check(name, async () => {
    await browser.goto(PAGE);
    await set(browser, { maxTokens: 30, temperature: 0 });
    await browser.attach('#file', NO_TEMPLATE);
    await inChat(browser);
    matches(await browser.evaluate('document.querySelector("#welcome").textContent'), /no chat template/);
    await ask(browser, 'Once upon a time');
    const page = await idle(browser, 1);
    matches(page.answers[0], /^Once upon a time, there was a /); // how this model's stories begin
    equal(await browser.evaluate('document.querySelector(".given").textContent'), 'Once upon a time');
    await browser.click('.retry');
    const more = await until(browser, 'more', ({ answers, busy }) => answers.length === 2 && busy === 0);
    equal(more.answers[1].startsWith(page.answers[0]), true);
  });
}

async function onPhone(browser) {
  await check(`${browser.name}: a phone-sized screen`, async () => {
    await browser.setViewport(360, 640);
    await browser.goto(PAGE);
    await until(browser, 'the list', ({ served }) => served.length > 0);
    const width = await browser.evaluate('innerWidth');
    await shot(browser, '6-phone-models');
    const models = await look(browser);
    await browser.click(loadButton('Nutshell tiny'));
    await inChat(browser);
    await ask(browser, STORY);
    const chat = await idle(browser, 1);
    await shot(browser, '7-phone-chat');
    equal([models.overflow <= 0, chat.overflow <= 0], [true, true]);
    const small = await browser.evaluate(() => [...document.querySelectorAll('button')].filter((element) => {
      const { width, height } = element.getBoundingClientRect();
      return width > 0 && (width < 24 || height < 24); // WCAG 2.2, 2.5.8
    }).map((element) => element.outerHTML));
    equal(small, []);
    const field = await browser.evaluate(() => {
      const { left, right, bottom } = document.querySelector('#prompt').getBoundingClientRect();
      return left >= 0 && right <= innerWidth && bottom <= innerHeight;
    });
    equal(field, true);
    if (width > 400) console.log(`note: ${browser.name} did not become narrower than ${width} pixels`);
  });
}

/** Presses the focused button. In Firefox keys press buttons only in an active window, and the driver's never is. */
const pressButton = (browser) => (browser.name === 'firefox'
  ? browser.evaluate('document.activeElement.click()') : browser.press('Enter'));

async function byKeyboard(browser) {
  await check(`${browser.name}: by keyboard alone`, async () => {
    await browser.setViewport(1000, 700);
    await browser.goto(PAGE);
    await until(browser, 'the list', ({ served }) => served.length > 0);
    const label = () => browser.evaluate('document.activeElement.getAttribute("aria-label") ?? document.activeElement.id');
    for (let i = 0; i < 20 && await label() !== 'Load Nutshell tiny'; i++) await browser.press('Tab');
    equal(await label(), 'Load Nutshell tiny');
    await pressButton(browser);
    await inChat(browser);
    for (const key of 'Hi.') await browser.press(key);
    await browser.press('Enter');
    const page = await idle(browser, 1);
    equal([page.questions, page.focus], [['Hi.'], 'prompt']);
    for (let i = 0; i < 20 && await label() !== 'open-settings'; i++) await browser.press('Tab');
    await pressButton(browser);
    equal(await browser.evaluate('document.querySelector("#settings").open'), true);
    await browser.press('Escape');
    equal([await browser.evaluate('document.querySelector("#settings").open'), await label()], [false, 'open-settings']);
  });
}

async function realModel(browser) {
  const name = `${browser.name}: SmolLM2 knows the capital of France, and Escape stops it`;
  if (!existsSync(join(ROOT, REAL))) return skip(name, `${REAL} is not there: python3 demo/fetch_model.py`);
  await check(name, async () => {
    await browser.goto(PAGE);
    await browser.click('#open-settings');
    await browser.click('#reset');
    await browser.click('#close-settings');
    await set(browser, { temperature: 0, maxTokens: 40 });
    await browser.click(loadButton('SmolLM2 135M Instruct'));
    await inChat(browser);
    await ask(browser, 'What is the capital of France?');
    matches((await idle(browser, 1)).answers[0], /The capital of France is Paris/);
    await shot(browser, '8-smollm2');
    if (process.env.NUT_SCREENSHOT && browser.name === 'chromium') {
      await browser.setViewport(960, 620);
      await set(browser, { maxTokens: 120 });
      await ask(browser, 'Why is the sky blue?');
      await idle(browser, 2);
      await browser.page.mouse.move(480, 520); // off the buttons
      await shot(browser, '9-readme');
      copyFileSync(join(SHOTS, '9-readme-chromium.png'), join(ROOT, 'demo/chat/screenshot.png'));
      await browser.click('#clear');
      await ask(browser, 'What is the capital of France?');
      await idle(browser, 1);
    }
    await set(browser, { maxTokens: 400, temperature: 0.8 });
    await ask(browser, 'Write a long story about a ship.');
    await until(browser, 'some text', ({ answers }) => (answers[1] ?? '').length > 20);
    await browser.press('Escape');
    matches((await idle(browser, 2)).figures[1], / stopped$/);
  });
}

async function visit(browser) {
  const kept = (/** @type {any} */ one) => keeping(one, { page: PAGE, load: loadButton('Nutshell tiny'), until, set });
  const attached = (/** @type {any} */ one) => attaching(one, { until, server });
  for (const part of [choosing, talking, stopping, looks, formatting, kept, attached, accessible, comingBack, failing, completing,
    onPhone, byKeyboard, realModel]) {
    await part(browser);
  }
  // The browser itself reports failed requests; anything else is an error of the page.
  equal(browser.log.filter((line) => !/Failed to load resource|Cross-Origin Request Blocked|NetworkError/.test(line)), []);
}

const only = process.argv[2];
for (const [name, start] of Object.entries(starters)) {
  if (!only || only === name) await check(`${name}: the whole visit`, () => inBrowser(start, [visit]));
}
if (!only || only === 'chromium') {
  await check('chromium: a dark desktop gives a dark page', async () => {
    const browser = await starters.chromium({ dark: true });
    try {
      await browser.goto(PAGE);
      equal((await look(browser)).theme, 'dark');
    } finally {
      await browser.close();
    }
  });
}
if (!only) await check('the same seed gives the same text in all browsers', async () => {
  equal(Object.keys(written), Object.keys(starters));
  equal(new Set(Object.values(written)).size, 1);
});

await server.close();
rmSync(htmlFile);
finish();
