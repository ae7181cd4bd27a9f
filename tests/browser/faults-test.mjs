// Every fault of faults.mjs at chunks of a model of 40 chunks. A load ends with the right weights (by the file's SHA-256) or with
// the right error; the next load succeeds; and no more bytes are fetched twice than the fault allows.
// Arguments: browsers; none: Chromium and Firefox. NUT_FULL=1 tries every chunk instead of some. NUT_VERBOSE=1 prints a table.
import { createHash } from 'node:crypto';
import { starters } from './drivers.mjs';
import { FAULTS, otherVersion, plant } from './faults.mjs';
import { check, ensure, equal, finish, inBrowser } from './harness.mjs';
import { PROMPT, model } from './library-setup.mjs';
import { DIST, padded } from './models.mjs';
import { TestServer } from './server.mjs';

const CHUNK = 256 << 10, CHUNKS = 40;
const SOME = [0, 1, 17, CHUNKS - 2, CHUNKS - 1];
const FIRST_PART = 1 << 20; // what the first request asks for
const LOAD = { baseUrl: '/variant/hasty/', threads: 1 };

/** The model with padding between and after its tensors, so that it has the wanted number of chunks. */
function inChunks() {
  const apart = padded(model, 1 << 16);
  ensure(apart.length < CHUNKS * CHUNK, `the padded model has ${apart.length} bytes`);
  return Buffer.concat([apart, Buffer.alloc(CHUNKS * CHUNK - 12345 - apart.length)]);
}

const file = inChunks();
const sums = [file, otherVersion(file)].map((bytes) => createHash('sha256').update(bytes).digest('hex'));
const wanted = process.argv.slice(2);
const server = await TestServer.start({ dist: DIST, model, large: file, isolated: true });

/** One load: the bytes received from the server, and the result.
 *  @returns {Promise<{ received: number, code?: string, message?: string, state?: string, text?: string }>} */
function load(browser, source, options) {
  return browser.evaluate(async ([source, options, prompt]) => {
    let received = 0, before = 0;
    const onProgress = ({ phase, loaded }) => {
      if (phase === 'download') received += loaded < before ? loaded : loaded - before; // less: it started again
      before = loaded;
    };
    try {
      const { info } = await window.load(source, { ...options, onProgress });
      const { text } = await collect(window.model.generate(prompt, { temperature: 0, maxTokens: 8 }));
      return { state: info.cache.state, text, received };
    } catch (error) {
      return { code: error.code ?? error.name, message: error.message, received };
    }
  }, [source, { ...LOAD, ...options }, PROMPT]);
}

/** A fault at a chunk: loads twice; returns how many bytes more than the file's size were received. */
async function meet(browser, fault, chunk, text) {
  const source = `model/big.gguf?${FAULTS.indexOf(fault)}-${chunk}`;
  const sha256 = sums[/version/.test(fault.name) ? 1 : 0];
  server.forget();
  server.etag = sha256 === sums[1] ? 'two' : 'one';
  const at = Math.min(chunk * CHUNK + 1234, file.length - 1);
  server.intercept = plant(fault, at);
  const first = await load(browser, source, { sha256 });
  const due = (chunk * CHUNK < FIRST_PART ? fault.codeAtStart : undefined) ?? fault.code ?? 'none';
  const code = first.code ?? 'none';
  if (!due.split(', ').includes(code)) equal(code, due, `${first.message ?? 'no error'}; code`);
  if (code === 'none') equal(first.text, text, 'text');
  else server.intercept = null;
  const second = await load(browser, source, { sha256 });
  equal([second.code, second.text], [undefined, text], `${second.message}; the next load`);
  const again = first.received + second.received - file.length;
  const allowed = fault.again === 'file' ? 2 * file.length : CHUNK;
  ensure(again <= allowed, `${again} bytes were fetched twice`);
  const third = await load(browser, source, { sha256 });
  equal([third.state, third.text], ['hit', text], 'the load after that');
  return again;
}

/** A fault at some chunks, in a page of its own. @param {import('./drivers.mjs').Browser} browser @param {FAULTS[0]} fault */
async function meetAll(browser, fault) {
  const twice = [];
  server.intercept = null;
  await browser.goto(server.url + '/');
  const { text } = await load(browser, 'model/big.gguf', { cache: false });
  for (const chunk of process.env.NUT_FULL ? Array(CHUNKS).keys() : SOME) {
    await check(`${browser.name}: ${fault.name}, at chunk ${chunk}`, async () => {
      twice.push(await meet(browser, fault, chunk, text));
    });
    server.intercept = null;
    // Between checks. Firefox's database once did not answer for 8 seconds on a busy machine.
    await browser.evaluate(() => Nutshell.cache.clear().catch(() => Nutshell.cache.clear()));
  }
  if (process.env.NUT_VERBOSE) console.log(`${fault.name}: ${twice.length} times, at most ${Math.max(...twice)} bytes twice`);
}

for (const [name, start] of Object.entries(starters)) {
  if (wanted.length ? !wanted.includes(name) : name === 'webkit') continue;
  await inBrowser(start, FAULTS.map((fault) => (browser) => meetAll(browser, fault)));
}
await server.close();
finish();
