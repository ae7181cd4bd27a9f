// One chat everywhere: the shell natively, the shell under wasmtime, and a page in Chromium, with threads and without, and
// without relaxed SIMD, must answer with the same texts for the same seed. Two turns, the second with the first one's answer.
//
// SmolLM2 where it was fetched, Gemma 3 where NUT_GEMMA3 names a file, and always the small model of dist/, as it is and in
// each type of our own, in one kind of page.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { starters } from './drivers.mjs';
import { check, ensure, equal, finish, inBrowser, skip } from './harness.mjs';
import { TestServer } from './server.mjs';

const NATIVE = ['build/native/nutshell'];
/** wasmtime, which shows the program the folder of the model as "models". @param {string} path */
const wasmtime = (path) => ['.toolchain/bin/wasmtime', 'run', '--dir', `${realpathSync(dirname(path))}::models`,
  'build/wasi/nutshell.wasm'];
const MODELS = {
  tiny: 'dist/nutshell-tiny-q8_0.gguf',
  SmolLM2: 'models/SmolLM2-135M-Instruct-Q4_1.gguf',
  'Gemma 3': process.env.NUT_GEMMA3 ?? '',
};
const OWN_TYPES = ['lut4', 'step2', 'q4_24', 'q4_48', 'q8_24'];
const QUESTIONS = ['Name three colours of the sky, and <|im_end|> say why.', 'And at night?'];
const TOKENS = 24, SEED = 7, CONTEXT = 512;

/** The conversation, and the answer to each question. @param {(messages: object[]) => Promise<string> | string} ask */
async function converse(ask) {
  const messages = [], answers = [];
  for (const content of QUESTIONS) {
    messages.push({ role: 'user', content });
    const answer = await ask(messages);
    messages.push({ role: 'assistant', content: answer });
    answers.push(answer);
  }
  return answers;
}

/** @param {string[]} command @param {string} path @param {object[]} messages */
function askShell(command, path, messages) {
  const options = ['--json', '--seed', `${SEED}`, '--max-tokens', `${TOKENS}`, '--context', `${CONTEXT}`];
  const { stdout, stderr, status } = spawnSync(command[0], [...command.slice(1), 'chat', path, ...options],
    { encoding: 'utf8', input: JSON.stringify(messages) });
  ensure(status === 0, stderr);
  return JSON.parse(stdout).content;
}

/** In a page: loads the model; how it runs. @param {import('./drivers.mjs').Browser} browser @param {object} options */
const load = (browser, options) => browser.evaluate(async (options) => {
  const page = /** @type {any} */ (window), { load } = page.Nutshell;
  page.model = await load('/model/model.gguf', options);
  return `${page.model.info.kernel}, ${page.model.info.threads}`;
}, options);

/** @param {import('./drivers.mjs').Browser} browser @param {object[]} messages */
const askPage = (browser, messages) => browser.evaluate((messages, maxTokens, seed) =>
  /** @type {any} */ (window).model.chat(messages, { maxTokens, seed }).text(), messages, TOKENS, SEED);

/** Pages: whether memory can be shared, and the set of kernels. @type {[boolean, string][]} */
const PAGES = [[true, 'relaxed'], [false, 'relaxed'], [false, 'simd128']];

/** Files of our own types, by what they are. @returns {Record<string, string>} */
function ownTypes() {
  mkdirSync('build/own-types', { recursive: true });
  return Object.fromEntries(OWN_TYPES.map((type) => {
    const path = `build/own-types/${type}.gguf`;
    const { status, stderr } = spawnSync(NATIVE[0], ['quantize', MODELS.tiny, path, '--type', type], { encoding: 'utf8' });
    ensure(status === 0, stderr);
    return [`tiny as ${type}`, path];
  }));
}

for (const [name, path] of Object.entries({ ...MODELS, ...ownTypes() })) {
  if (!existsSync(path)) {
    skip(name, path ? `${path} is missing` : 'NUT_GEMMA3 names no file');
    continue;
  }
  const want = await converse((messages) => askShell(NATIVE, path, messages));
  await check(`${name}: ${JSON.stringify(want[0])}`, () => ensure(want.every((text) => text.length > 10), want.join('|')));
  await check(`${name}: wasmtime`, async () =>
    equal(await converse((messages) => askShell(wasmtime(path), `models/${basename(path)}`, messages)), want));
  for (const [isolated, kernel] of name in MODELS ? PAGES : PAGES.slice(0, 1)) {
    const server = await TestServer.start({ dist: 'dist', model: readFileSync(path), isolated });
    await inBrowser(starters.chromium, [async (browser) => {
      await browser.goto(server.url);
      const kind = await load(browser, { kernel, contextLength: CONTEXT, cache: false, threads: isolated ? 2 : 1 });
      await check(`${name}: a page with ${kind} threads`, async () =>
        equal(await converse((messages) => askPage(browser, messages)), want));
    }]);
    await server.close();
  }
}
finish();
