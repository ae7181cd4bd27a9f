// Tests the browser drivers: each call does in each browser what drivers.mjs says, so that a failure in another browser suite
// is a failure of Nutshell and not of the driver. Serves its own page; needs no build output.
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { starters } from './drivers.mjs';

const PAGE = `<!doctype html><title>drivers</title><meta name=viewport content="width=device-width">
<input id=name><input id=file type=file><button id=go>go</button>
<script>
  const one = (selector) => document.querySelector(selector);
  one('#go').addEventListener('click', () => { document.title = 'clicked ' + one('#name').value; });
  addEventListener('keydown', (event) => { window.lastKey = event.key; });
  const db = () => new Promise((done, fail) => {
    const request = indexedDB.open('t', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('s');
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
  const ask = (request) => new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
  window.keep = async (value) => { // until it is on the disk: a browser that ends may lose what it still holds in memory
    const t = (await db()).transaction('s', 'readwrite', { durability: 'strict' });
    t.objectStore('s').put(value, 'k');
    await new Promise((done, failed) => { t.oncomplete = () => done(); t.onabort = failed; });
  };
  window.kept = async () => ask((await db()).transaction('s').objectStore('s').get('k'));
</script>`;

let passed = 0;
let failed = 0;
async function check(name, test) {
  try {
    await test();
    passed++;
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error.message}`);
  }
}
function equal(got, expected) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  if (a !== b) throw new Error(`got ${a}, expected ${b}`);
}
async function rejects(promise, pattern) {
  const error = await promise.then(() => null, (e) => e);
  if (!pattern.test(error?.message)) throw new Error(`expected an error like ${pattern}, got ${error?.message}`);
}

/** Processes with this mark in their environment: those that a driver started and should have ended. */
function running(mark) {
  return readdirSync('/proc').filter((pid) => {
    if (!/^[0-9]+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      const state = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '')[0];
      return state !== 'Z' && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark);
    } catch {
      return false; // it ended meanwhile
    }
  });
}

async function endsAll(mark) {
  for (let tries = 0; tries < 50 && running(mark).length; tries++) {
    await new Promise((done) => setTimeout(done, 100));
  }
  equal(running(mark), []);
}

const temporary = () => readdirSync(tmpdir()).filter((name) => name.startsWith('nutshell-profile-')).sort();

function writeExtension(dir) {
  writeFileSync(join(dir, 'manifest.json'), JSON.stringify({
    manifest_version: 3, name: 'probe', version: '1.0',
    content_security_policy: { extension_pages: "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'" },
  }));
  writeFileSync(join(dir, 'page.html'), '<!doctype html><script src="page.js"></script>');
  writeFileSync(join(dir, 'page.js'), 'document.title = "extension ran";');
  return dir;
}

const out = mkdtempSync(join(tmpdir(), 'nutshell-drivers-'));
process.env.TMPDIR = out; // so that the folders seen by temporary() are those of this run
const server = createServer((_, reply) => {
  reply.writeHead(200, {
    'Content-Type': 'text/html',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
  }).end(PAGE);
});
await new Promise((done) => server.listen(0, '127.0.0.1', () => done(undefined)));
const url = `http://127.0.0.1:${server.address().port}/`;

async function checkCommon(browser, mark) {
  const { name } = browser;
  await check(`${name} goto and evaluate`, async () => {
    await browser.goto(url);
    equal(await browser.evaluate(() => document.title), 'drivers');
    equal(await browser.evaluate('document.querySelectorAll("input").length'), 2);
    equal(await browser.evaluate(async (a, b) => {
      await new Promise((done) => setTimeout(done, 20));
      return { sum: a + b };
    }, 2, 3), { sum: 5 });
    equal(await browser.evaluate('undefined') ?? null, null);
    equal(await browser.evaluate('self.crossOriginIsolated'), true);
  });
  await check(`${name} evaluate passes errors on`, async () => {
    await rejects(browser.evaluate(() => { throw new RangeError('planted'); }), /planted/);
    await rejects(browser.evaluate('notDefinedAnywhere'), /notDefinedAnywhere/);
  });
  await check(`${name} keyboard and pointer`, async () => {
    await browser.fill('#name', 'first');
    await browser.fill('#name', 'nut');
    await browser.click('#go');
    equal(await browser.evaluate('document.title'), 'clicked nut');
    await browser.press('Escape');
    equal(await browser.evaluate('window.lastKey'), 'Escape');
  });
  await check(`${name} file input`, async () => {
    writeFileSync(join(out, 'dropped.txt'), 'kernel');
    await browser.attach('#file', join(out, 'dropped.txt'));
    equal(await browser.evaluate(() => document.querySelector('#file').files[0].text()), 'kernel');
  });
  await check(`${name} viewport and screenshot`, async () => {
    await browser.setViewport(390, 844);
    const width = await browser.evaluate('innerWidth');
    if (Math.abs(width - 390) > 110) throw new Error(`asked for 390 pixels, got ${width}`);
    await browser.screenshot(join(out, `${name}.png`));
    equal(readFileSync(join(out, `${name}.png`)).subarray(1, 4).toString(), 'PNG');
  });
  await check(`${name} IndexedDB outlives a navigation`, async () => {
    await browser.evaluate('keep("shell")');
    await browser.goto(url + 'again');
    equal(await browser.evaluate('kept()'), 'shell');
  });
  if (browser.setOffline) {
    await check(`${name} offline`, async () => {
      await browser.setOffline(true);
      await rejects(browser.evaluate(() => fetch('/x').then((r) => r.status)), /./);
      await browser.setOffline(false);
      equal(await browser.evaluate(() => fetch('/x').then((r) => r.status)), 200);
    });
  }
  await check(`${name} close ends every process and removes the profile`, async () => {
    if (!running(mark).length) throw new Error('no process carries the mark, so this check would see none');
    await browser.close();
    await browser.close();
    await endsAll(mark);
    equal(temporary(), []);
  });
}

const only = process.argv[2];
for (const [name, start] of Object.entries(starters)) {
  if (only && only !== name) continue;
  const mark = process.env.NUT_DRIVER_TEST = `drivers-test-${process.pid}-${name}`;
  await check(`${name} starts`, async () => {
    const browser = await start({ timeout: 60000 });
    console.log(`${name}: ${browser.version}`);
    await checkCommon(browser, mark).finally(() => browser.close());
  });
  await check(`${name} that does not start in time leaves nothing behind`, async () => {
    await rejects(start({ timeout: 1 }), /./);
    await endsAll(mark);
    equal(temporary(), []);
  });
}
await check('chromium evaluate times out', async () => {
  const browser = await starters.chromium({ timeout: 5000 });
  await rejects(browser.evaluate(() => new Promise(() => {})), /no answer within 5000 ms/).finally(() => browser.close());
});
await check('chromium keeps storage between two starts of one profile', async () => {
  const profile = join(out, 'profile');
  for (const step of ['keep("kept for later")', 'kept()']) {
    const browser = await starters.chromium({ profile });
    try {
      await browser.goto(url);
      const value = await browser.evaluate(step);
      if (step === 'kept()') equal(value, 'kept for later');
    } finally { await browser.close(); }
  }
});
await check('chromium loads a Manifest V3 extension, offline', async () => {
  const extension = writeExtension(mkdtempSync(join(out, 'extension-')));
  const browser = await starters.chromium({ extension });
  try {
    await browser.setOffline(true);
    await browser.goto(`chrome-extension://${browser.extensionId}/page.html`);
    equal(await browser.evaluate('document.title'), 'extension ran');
    await rejects(browser.evaluate(() => new Function('return 1')()), /EvalError|unsafe-eval|Refused/);
    equal(await browser.evaluate(() => WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))), true);
  } finally { await browser.close(); }
});
await check('chromium refuses a broken extension', async () => {
  const extension = mkdtempSync(join(out, 'broken-'));
  writeFileSync(join(extension, 'manifest.json'), '{');
  await rejects(starters.chromium({ extension }), /[Mm]anifest/);
});

server.close();
server.closeAllConnections();
rmSync(out, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
