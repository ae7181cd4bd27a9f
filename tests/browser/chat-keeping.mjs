// The chat page, continued: what it keeps of conversations, versions of messages, attached files, Markdown, and axe's
// rules of accessibility. chat-test.mjs runs these in each browser, after its own talking.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, ensure, equal } from './harness.mjs';

/** @typedef {import('./drivers.mjs').Browser} Browser */
/** @typedef {(browser: Browser, what: string, test: (page: any) => boolean) => Promise<any>} Until */

const ROOT = join(import.meta.dirname, '../..');

/** Clicks the first button with this text inside the selector. */
const press = (/** @type {Browser} */ browser, selector, text) => browser.evaluate((selector, text) => {
  const found = [...document.querySelectorAll(`${selector} button`)].find((element) => element.textContent === text);
  if (!found) throw new Error(`no button "${text}" in ${selector}`);
  /** @type {HTMLElement} */ (found).click();
}, selector, text);

const shown = (/** @type {Browser} */ browser) => browser.evaluate(() => ({
  questions: [...document.querySelectorAll('.user .text')].map((element) => element.textContent),
  answers: [...document.querySelectorAll('.answer .text')].map((element) => element.textContent),
  places: [...document.querySelectorAll('.place')].map((element) => element.textContent),
}));

const idle = (until, browser, questions) => until(browser, `an answer to ${questions} questions`,
  (page) => page.questions.length === questions && page.answers.length === questions && page.busy === 0 && !page.stop);

const chatsIn = (/** @type {Browser} */ browser) => browser.evaluate(async () => {
  const { list } = await import(new URL('store.js', document.baseURI).href);
  return list();
});

/** @param {Browser} browser
 *  @param {{ page: string, load: string, until: Until, set: (browser: Browser, values: any) => Promise<void> }} how */
export async function keeping(browser, { page: address, load, until, set }) {
  await check(`${browser.name}: an edited question and an answer written again are versions, which can be shown`, async () => {
    await browser.goto(address);
    await browser.evaluate(async () => { // what earlier cases have said
      const { list, remove } = await import(new URL('store.js', document.baseURI).href);
      for (const { id } of await list()) await remove(id);
    });
    await browser.click(load);
    await until(browser, 'the chat', ({ view }) => view === 'chat');
    await set(browser, { seed: 11, maxTokens: 20, temperature: 0.5 });
    await browser.fill('#prompt', 'Tell me a story about a cat.');
    await browser.press('Enter');
    const first = await idle(until, browser, 1);
    await press(browser, '.user', 'Edit');
    await browser.fill('.user textarea', 'Tell me a story about a dog.');
    await press(browser, '.user', 'Send');
    const second = await until(browser, 'the other answer',
      (page) => page.questions[0] === 'Tell me a story about a dog.' && page.answers[0] && page.busy === 0 && !page.stop);
    ensure(first.answers[0] !== second.answers[0], 'both answers are the same');
    equal((await shown(browser)).places, ['2/2']);
    await browser.click('.user .version');
    equal(await shown(browser), { questions: first.questions, answers: first.answers, places: ['1/2'] });
    await browser.click('.answer .retry');
    await until(browser, 'another version', () => true);
    await idle(until, browser, 1);
    equal((await shown(browser)).places, ['1/2', '2/2']);
    equal((await shown(browser)).answers, first.answers); // the seed is the same
  });
  await check(`${browser.name}: a conversation survives a reload, with its versions`, async () => {
    const before = await shown(browser);
    await browser.goto(address);
    await until(browser, 'the last chat', () => true);
    await browser.waitFor?.('#last button');
    await until(browser, 'the model list', ({ served }) => served.length > 0);
    await browser.click('#last button');
    await until(browser, 'the chat', ({ view }) => view === 'chat');
    equal(await shown(browser), before);
    await browser.fill('#prompt', 'Tell me more.');
    await browser.press('Enter');
    await idle(until, browser, 2);
  });
  await check(`${browser.name}: a new chat leaves the old one in the list; export, import and delete`, async () => {
    await browser.click('#clear');
    const [chat] = await chatsIn(browser);
    equal([chat.messages.length, chat.title], [7, 'Tell me a story about a cat.']);
    const file = join(tmpdir(), `nutshell-chat-${process.pid}.json`);
    writeFileSync(file, JSON.stringify(chat));
    await browser.click('#open-chats');
    await browser.attach('#import-file', file);
    await until(browser, 'the imported chat', ({ announced }) => /was imported/.test(announced));
    rmSync(file); // the page has read it
    const both = await chatsIn(browser);
    equal(both.map(({ messages }) => messages), [chat.messages, chat.messages]);
    for (let left = 2; left > 0; left--) {
      await press(browser, '#chats-list', 'Delete');
      for (const end = Date.now() + 20_000; Date.now() < end && (await chatsIn(browser)).length >= left;);
    }
    equal([await chatsIn(browser), await browser.evaluate('document.querySelectorAll("#chats-list li").length')], [[], 0]);
    await browser.attach('#import-file', join(ROOT, 'package.json'));
    const page = await until(browser, 'a refusal', ({ alert }) => alert !== '');
    ensure(/not a conversation of this page/.test(page.alert), page.alert);
    await press(browser, '#alert', 'Close');
  });
  await check(`${browser.name}: two tabs with one conversation lose nothing`, async () => {
    equal(await browser.evaluate(async () => {
      const [{ list, remove, save }, { Conversation }] = await Promise.all(['store.js', 'conversation.js']
        .map((name) => import(new URL(name, document.baseURI).href)));
      const mine = new Conversation();
      mine.add(null, { role: 'user', content: 'first' });
      await save(mine);
      const theirs = new Conversation((await list())[0]);
      mine.add(mine.path()[0], { role: 'assistant', content: 'mine' });
      theirs.add(theirs.path()[0], { role: 'assistant', content: 'theirs' });
      await save(mine);
      await save(theirs);
      const all = await list();
      await Promise.all(all.map(({ id }) => remove(id)));
      return all.map(({ title, messages }) => [title, messages.at(-1).content]).sort();
    }), [['first (copy)', 'theirs'], ['first', 'mine']]);
  });
  await check(`${browser.name}: system prompts have names, and the user's own can be kept`, async () => {
    const before = await browser.evaluate('document.querySelector("#system").value');
    await browser.click('#open-settings');
    await browser.fill('#system', 'You are a pirate who answers in rhymes.');
    await browser.click('#keep-preset');
    const field = () => browser.evaluate('[document.querySelector("#preset").value, document.querySelector("#system").value]');
    equal(await field(), ['You are a pirate', 'You are a pirate who answers in rhymes.']);
    const choose = (value) => browser.evaluate((value) => {
      const list = /** @type {HTMLSelectElement} */ (document.querySelector('#preset'));
      list.value = value;
      list.dispatchEvent(new Event('change', { bubbles: true }));
    }, value);
    await choose('In brief');
    equal(await field(), ['In brief', 'Answer in one or two short sentences.']);
    await choose('You are a pirate');
    equal((await field())[1], 'You are a pirate who answers in rhymes.');
    await browser.click('#delete-preset');
    equal(await field(), ['', 'You are a pirate who answers in rhymes.']);
    await browser.fill('#system', before);
    await browser.click('#close-settings');
  });
}

/** @param {Browser} browser @param {{ until: Until, server: any }} how */
export async function attaching(browser, { until }) {
  const folder = tmpdir(), text = join(folder, `nutshell-notes-${process.pid}.txt`), binary = `${text}.bin`;
  writeFileSync(text, 'The cat is called Mia.\n');
  writeFileSync(binary, Buffer.from([0xff, 0xfe, 0, 1, 2]));
  const name = text.slice(text.lastIndexOf('/') + 1);
  await check(`${browser.name}: a text file is attached with its tokens, and read by the model`, async () => {
    await browser.attach('#attach-file', text);
    const chips = () => browser.evaluate('[...document.querySelectorAll("#attached li")].map((item) => item.textContent)');
    for (const end = Date.now() + 20_000; Date.now() < end && !/token/.test((await chips())[0] ?? ''););
    const [chip] = await chips();
    ensure(chip.startsWith(name) && / · \d+ tokens/.test(chip), chip);
    await browser.fill('#prompt', 'What is the cat called?');
    await browser.press('Enter');
    await idle(until, browser, 1);
    equal(await chips(), []);
    equal(await browser.evaluate('[...document.querySelectorAll(".user .files li")].map((item) => item.textContent)'), [name]);
    const tokens = await browser.evaluate('parseInt(document.querySelector("#context").textContent)');
    ensure(tokens > Number(/ · (\d+)/.exec(chip)?.[1]), `${tokens} tokens in all, ${chip}`);
  });
  await check(`${browser.name}: a file that is no text is refused in words`, async () => {
    await browser.attach('#attach-file', binary);
    const page = await until(browser, 'a refusal', ({ alert }) => alert !== '');
    ensure(/is not a text file/.test(page.alert), page.alert);
    equal(await browser.evaluate('document.querySelectorAll("#attached li").length'), 0);
    await press(browser, '#alert', 'Close');
  });
  rmSync(text);
  rmSync(binary);
}

/** Markdown, and the elements that it becomes: what CommonMark 0.31 and GitHub's extensions say, but that HTML stays
 *  text, images are links and addresses other than of the web are none. */
const MARKDOWN = [
  ['one\ntwo', '<p>one<br>two</p>'],
  ['a **b** *c* ~~d~~ `e<f`', '<p>a <strong>b</strong> <em>c</em> <del>d</del> <code>e&lt;f</code></p>'],
  ['# t', '<h3>t</h3>'],
  ['- a\n- b', '<ul><li>a</li><li>b</li></ul>'],
  ['3. a\n4. b', '<ol start="3"><li>a</li><li>b</li></ol>'],
  ['> q', '<blockquote><p>q</p></blockquote>'],
  ['---', '<hr>'],
  ['&lt;b&gt; &amp; &#65;', '<p>&lt;b&gt; &amp; A</p>'],
  ['<img src=x onerror=alert(1)>', '<p>&lt;img src=x onerror=alert(1)&gt;</p>'],
  ['a <b>c</b>', '<p>a &lt;b&gt;c&lt;/b&gt;</p>'],
  ['[a](javascript:alert(1))', '<p>a</p>'],
  ['[a](https://e.org/)', '<p><a href="https://e.org/" target="_blank" rel="noopener noreferrer">a</a></p>'],
  ['![a](https://e.org/i)', '<p><a href="https://e.org/i" target="_blank" rel="noopener noreferrer">a</a></p>'],
];

export async function formatting(/** @type {Browser} */ browser) {
  const show = (steps) => browser.evaluate(async (steps) => {
    const { MarkdownView } = await import(new URL('markdown.js', document.baseURI).href);
    const place = document.createElement('div'), view = new MarkdownView(place);
    const seen = new Set();
    for (const text of steps) {
      view.show(text);
      if (text.includes('\n\n')) seen.add(place.firstChild);
    }
    return { html: place.innerHTML, made: seen.size };
  }, steps);
  await check(`${browser.name}: Markdown becomes elements, HTML stays text`, async () => {
    for (const [text, html] of MARKDOWN) equal((await show([text])).html, html, text);
    const { html } = await show(['```js\n<a>\n```']);
    ensure(/<span>js<\/span>.*<code>&lt;a&gt;<\/code>/.test(html), html);
    const table = (await show(['|a|b|\n|-|:-:|\n|1|2|'])).html;
    ensure(/<th>a<\/th><th data-align="center">b<\/th>.*<td>1<\/td><td data-align="center">2<\/td>/.test(table), table);
  });
  await check(`${browser.name}: blocks that stand are not made again while a text grows`, async () => {
    const text = 'first block\n\nsecond **block**\n\n```\ncode', steps = [...text].map((_, i) => text.slice(0, i + 1));
    const { html, made } = await show(steps);
    equal(html, (await show([text])).html);
    ensure(made <= 2, `the first block was made ${made} times after its end`); // once more when the blank line comes
  });
  await check(`${browser.name}: very deep and very long Markdown ends`, async () => {
    for (const text of ['> '.repeat(20_000), '['.repeat(20_000), '*a '.repeat(20_000), '- '.repeat(5_000), '`'.repeat(20_001)]) {
      ensure((await show([text])).html.length > 0, text.slice(0, 8));
    }
  });
}

/** axe-core's rules on each view, in the browser whose driver can inject it past the page's content policy. */
export async function accessible(/** @type {Browser} */ browser) {
  if (browser.name !== 'chromium') return;
  const source = readFileSync(join(ROOT, 'node_modules/axe-core/axe.min.js'), 'utf8');
  const violations = async (view) => {
    await browser.evaluate(`(() => { ${source}; })()`);
    // Colors change over a moment, in which they have less contrast.
    await browser.evaluate(`Promise.all(document.getAnimations().filter((one) => one instanceof CSSTransition)
      .map((one) => one.finished.catch(() => {})))`);
    const found = await browser.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
      violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ target }) => target).join(' ')))`);
    equal(found, [], view);
  };
  await check(`${browser.name}: axe finds no violation in the chat, the dialogs, both themes and the model list`, async () => {
    await violations('chat');
    await browser.click('#theme');
    await violations('chat in the other theme');
    await browser.click('#theme');
    for (const dialog of ['settings', 'chats']) {
      await browser.click(`#open-${dialog}`);
      await violations(dialog);
      await browser.click(`#close-${dialog}`);
    }
    await browser.click('#change-model');
    await violations('models');
    await browser.click('#back');
  });
}
