// Starts the three browsers of the tests, behind one small interface. This file owns everything that is particular to a
// browser (flags, profiles, driver library, ending its processes), so that a test is written once:
//
//   const browser = await startChromium();            // or startFirefox(), startWebKit()
//   try {
//     await browser.goto('http://127.0.0.1:8000/');
//     const title = await browser.evaluate(() => document.title);
//   } finally { await browser.close(); }
//
// Each browser has the library that drives it best: Chromium the DevTools protocol (playwright-core), unpatched Firefox
// WebDriver BiDi (puppeteer-core), WebKitGTK's MiniBrowser WebDriver (selenium-webdriver).
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { BrowserStuck, LIMIT, watched } from './watchdog.mjs';

/**
 * @typedef {object} Browser
 * @property {'chromium'|'firefox'|'webkit'} name
 * @property {string} version  as the browser states it
 * @property {string[]} log    console errors and uncaught page errors; always empty in WebKit, which reports none
 * @property {(url: string) => Promise<void>} goto  resolves at the page's load event
 * @property {(code: Function|string, ...args: any[]) => Promise<any>} evaluate  runs in the page. A function (async
 *   too) is called with args, a string is an expression; the awaited result comes back as JSON. Rejects with the
 *   page's error, or after `timeout`.
 * @property {(selector: string) => Promise<void>} click  a real pointer click, once the element can be clicked
 * @property {(selector: string, text: string) => Promise<void>} fill  replaces a field's text, with input events
 * @property {(key: string) => Promise<void>} press  a key for the focused element: 'Enter', 'Tab', 'Escape', 'a'
 * @property {(selector: string, path: string) => Promise<void>} attach  puts a file into an <input type=file>
 * @property {(width: number, height: number) => Promise<void>} setViewport  in CSS pixels; WebKit as near as it can
 * @property {(path: string) => Promise<void>} screenshot  PNG of the viewport
 * @property {((offline: boolean) => Promise<void>)=} setOffline  absent where the browser cannot do it (WebKit)
 * @property {string=} extensionId  with `extension`: chrome-extension://ID/ or moz-extension://ID/ is its origin
 * @property {(code: Function|string, ...args: any[]) => Promise<any>=} evaluateInChrome  Firefox with `extension`: as evaluate,
 *   in the browser's own window. With it, `setOffline` is the whole browser's, as the menu's "Work Offline" is
 * @property {string=} silent  says which call the driver did not answer; set by watchdog.mjs, which then has ended the browser
 * @property {any} page  the driver library's own page, for what is not above
 * @property {() => Promise<void>} close  ends the browser and all its children; safe to call twice
 *
 * @typedef {object} Options
 * @property {number=} timeout   ms for starting, each goto and each evaluate; default 120000
 * @property {string=} profile   profile folder, kept on close, to start a second time with the same storage (not
 *   WebKit); without it a temporary one is made and removed
 * @property {string=} extension Chromium, Firefox: folder of an unpacked Manifest V3 extension to load
 * @property {Record<string, unknown>=} prefs  Firefox: more preferences
 * @property {string[]=} args    more command line arguments
 * @property {boolean=} dark     Chromium: prefer a dark colour scheme
 */

const DEFAULT_TIMEOUT = 120000;

export const CHROMIUM_FLAGS = [
  '--no-sandbox', // Chromium refuses to sandbox as root, which is what a container runs as
  '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
];

// Firefox talks to its vendor's servers at start unless told not to; tests must not depend on a network.
export const FIREFOX_PREFS = {
  'network.proxy.type': 0,
  'app.update.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'toolkit.telemetry.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'extensions.getAddons.cache.enabled': false,
  'services.settings.server': 'http://127.0.0.1:9/',
};

const PATHS = {
  chromium: ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'],
  firefox: ['/usr/bin/firefox-esr', '/usr/bin/firefox'],
  WebKitWebDriver: ['/usr/bin/WebKitWebDriver'],
  MiniBrowser: [
    '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser',
    '/usr/lib/x86_64-linux-gnu/webkit2gtk-4.0/MiniBrowser',
  ],
  Xvfb: ['/usr/bin/Xvfb'],
};

/** Path of a program: NUT_<NAME> from the environment if set, else the first that exists. */
export function program(/** @type {keyof typeof PATHS} */ name) {
  const variable = 'NUT_' + name.toUpperCase();
  const found = process.env[variable] ?? PATHS[name].find((path) => existsSync(path));
  if (!found) throw new Error(`${name} is not installed: run wasm/toolchain.sh browsers, or set ${variable}`);
  return found;
}

export function withTimeout(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One expression for evaluate(), the same in all browsers: a promise of the result, or of the error, as JSON text. */
export function asExpression(code, args) {
  const call = typeof code === 'function' ? `(${code})(...${JSON.stringify(args)})` : `(${code})`;
  return `(async () => {
    try {
      return JSON.stringify({ value: await ${call} });
    } catch (e) {
      return JSON.stringify({ error: String(e), stack: e && e.stack, code: e && e.code });
    }
  })()`;
}

export function fromReply(text) {
  const reply = JSON.parse(text);
  if (reply.error === undefined) return reply.value;
  throw Object.assign(new Error(`in the page: ${reply.error}`), { code: reply.code, pageStack: reply.stack });
}

/** @type {Set<() => void>} what is still to be undone when this process ends in any way it can see */
const cleanups = new Set();

/** Registers an action that runs once: by the returned function, or when the process ends. */
function atEnd(/** @type {() => void} */ action) {
  if (cleanups.size === 0 && process.listenerCount('exit', runCleanups) === 0) watchForTheEnd();
  const once = () => { if (cleanups.delete(once)) action(); };
  cleanups.add(once);
  return once;
}

function runCleanups() {
  for (const cleanup of [...cleanups].reverse()) {
    try { cleanup(); } catch { /* the others still have to run */ }
  }
}

function watchForTheEnd() {
  process.on('exit', runCleanups);
  for (const [signal, status] of /** @type {const} */ ([['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]])) {
    process.on(signal, () => process.exit(status));
  }
}

/** Kills all processes with this folder on their command line, and waits (at most 2 s) until they have ended. */
function endUsersOf(dir) {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let tries = 0; tries < 100; tries++) {
    const users = readdirSync('/proc').filter((pid) => {
      try { return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dir); } catch { return false; }
    });
    if (users.length === 0) return;
    for (const pid of users) {
      try { process.kill(Number(pid), 'SIGKILL'); } catch { /* it ended meanwhile */ }
    }
    Atomics.wait(pause, 0, 0, 20);
  }
}

/**
 * The browser's profile: the caller's own folder, or a temporary one that remove() deletes. The temporary one's name
 * also identifies our processes: a driver library whose start times out may leave its browser running.
 */
export function profileFolder(/** @type {Options} */ options) {
  if (options.profile) return { dir: resolve(options.profile), remove: () => {}, giveUp: async () => {} };
  const dir = mkdtempSync(join(tmpdir(), 'nutshell-profile-'));
  const clear = () => {
    endUsersOf(dir);
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  };
  const remove = atEnd(clear);
  /** After a start that failed: the library may be starting the browser just then, which makes the folder again. */
  const giveUp = async () => {
    remove();
    for (let looks = 0; looks < 10; looks++) {
      await new Promise((done) => setTimeout(done, 100));
      if (existsSync(dir)) clear();
    }
  };
  return { dir, remove, giveUp };
}

// --- Chromium --------------------------------------------------------------------------------------------

/** @param {Options} options  @returns {Promise<Browser>} */
export async function startChromium(options = {}) {
  const { chromium } = await import('playwright-core');
  const timeout = options.timeout ?? DEFAULT_TIMEOUT;
  const profile = profileFolder(options);
  const args = [...CHROMIUM_FLAGS, ...(options.args ?? [])];
  if (options.extension) args.push('--enable-unsafe-extension-debugging');
  let context;
  try {
    context = await chromium.launchPersistentContext(profile.dir, {
      executablePath: program('chromium'), headless: true, args, timeout,
      ignoreDefaultArgs: options.extension ? ['--disable-extensions'] : [],
      colorScheme: options.dark ? 'dark' : 'light',
    });
  } catch (error) {
    await profile.giveUp();
    throw error;
  }
  const page = context.pages()[0] ?? await context.newPage();
  const log = [];
  page.on('console', (message) => { if (message.type() === 'error') log.push(message.text()); });
  page.on('pageerror', (error) => log.push(String(error)));
  page.setDefaultTimeout(timeout);
  // The DevTools call instead of page.evaluate: the page's content policy stays in force, as an extension needs.
  const devtools = await context.newCDPSession(page);
  const evaluate = async (code, ...values) => {
    const call = devtools.send('Runtime.evaluate', {
      expression: asExpression(code, values), awaitPromise: true, returnByValue: true, userGesture: true,
      allowUnsafeEvalBlockedByCSP: false,
    });
    const reply = await withTimeout(call, timeout, 'evaluate');
    if (reply.exceptionDetails) throw new Error('in the page: ' + JSON.stringify(reply.exceptionDetails));
    return fromReply(reply.result.value);
  };
  const { userAgent, product } = await devtools.send('Browser.getVersion');
  /** @type {Browser} */
  const browser = {
    name: 'chromium', version: product || userAgent, log, page, evaluate,
    goto: async (url) => { await page.goto(url, { waitUntil: 'load', timeout }); },
    click: (selector) => page.click(selector),
    fill: (selector, text) => page.fill(selector, text),
    press: (key) => page.keyboard.press(key),
    attach: (selector, path) => page.setInputFiles(selector, path),
    setViewport: (width, height) => page.setViewportSize({ width, height }),
    screenshot: async (path) => { await page.screenshot({ path }); },
    setOffline: (offline) => context.setOffline(offline),
    close: async () => { await context.close().catch(() => {}); profile.remove(); },
  };
  if (options.extension) {
    try {
      // By DevTools instead of --load-extension, because it returns the id or what is wrong in the manifest.
      const control = await context.browser().newBrowserCDPSession();
      browser.extensionId = (await control.send('Extensions.loadUnpacked', { path: resolve(options.extension) })).id;
    } catch (error) {
      await browser.close();
      throw error;
    }
  }
  return browser;
}

// --- Firefox ---------------------------------------------------------------------------------------------

/** @param {Options} options  @returns {Promise<Browser>} */
export async function startFirefox(options = {}) {
  const { launch, TimeoutError } = await import('puppeteer-core');
  const timeout = options.timeout ?? DEFAULT_TIMEOUT;
  const profile = profileFolder(options);
  const args = ['--no-remote', ...(options.args ?? [])];
  if (options.extension) args.push('-remote-allow-system-access'); // else the protocol does not reach extension pages
  let firefox, page, version;
  try {
    firefox = await launch({
      browser: 'firefox', executablePath: program('firefox'), headless: true, timeout: Math.min(timeout, LIMIT),
      protocolTimeout: timeout, userDataDir: profile.dir, extraPrefsFirefox: { ...FIREFOX_PREFS, ...options.prefs }, args,
    });
    page = await withTimeout(firefox.pages().then(([first]) => first ?? firefox.newPage()), LIMIT, 'the first page');
    version = await withTimeout(firefox.version(), LIMIT, 'version');
  } catch (error) {
    await profile.giveUp();
    const stuck = error instanceof TimeoutError || /no answer within/.test(String(error));
    throw stuck ? new BrowserStuck(`firefox did not start: ${error.message}`) : error;
  }
  const log = [];
  page.on('console', (message) => { if (message.type() === 'error') log.push(message.text()); });
  page.on('pageerror', (error) => log.push(String(error)));
  page.setDefaultTimeout(timeout);
  const running = firefox.process();
  /** @type {Browser} */
  const browser = {
    name: 'firefox', version, log, page,
    goto: async (url) => { await page.goto(url, { waitUntil: 'load', timeout }); },
    evaluate: async (code, ...values) =>
      fromReply(await withTimeout(page.evaluate(asExpression(code, values)), timeout, 'evaluate')),
    click: (selector) => page.locator(selector).click(),
    fill: (selector, text) => page.locator(selector).fill(text),
    press: (key) => page.keyboard.press(/** @type {any} */ (key)),
    attach: async (selector, path) => { await (await page.waitForSelector(selector)).uploadFile(resolve(path)); },
    setViewport: (width, height) => page.setViewport({ width, height }),
    screenshot: async (path) => { await page.screenshot({ path: /** @type {any} */ (path) }); },
    setOffline: (offline) => page.setOfflineMode(offline),
    close: async () => {
      if (!browser.silent) await withTimeout(firefox.close(), 10000, 'close').catch(() => running?.kill('SIGKILL'));
      profile.remove();
    },
  };
  if (options.extension) {
    try {
      await addExtension(browser, firefox, options.extension, timeout);
    } catch (error) {
      await browser.close();
      throw error;
    }
  }
  return watched(browser, () => running?.kill('SIGKILL'));
}

/** Installs a temporary extension and adds what a test of it needs to the browser. */
async function addExtension(browser, firefox, folder, timeout) {
  const { connection } = firefox; // WebDriver BiDi without the library, which cannot reach the window and extensions' pages
  const id = await firefox.installExtension(resolve(folder));
  const { result: { contexts: [{ context }] } } = await connection.send('browsingContext.getTree', { 'moz:scope': 'chrome' });
  browser.evaluateInChrome = async (code, ...values) => {
    const call = connection.send('script.evaluate',
      { expression: asExpression(code, values), target: { context }, awaitPromise: true });
    const { result } = await withTimeout(call, timeout, 'evaluate');
    if (result.type !== 'success') throw new Error('in the window: ' + JSON.stringify(result));
    return fromReply(result.result.value);
  };
  browser.extensionId = await browser.evaluateInChrome(`WebExtensionPolicy.getByID(${JSON.stringify(id)}).mozExtensionHostname`);
  browser.setOffline = (offline) => browser.evaluateInChrome(`Services.io.offline = ${offline}`);
  // The protocol's own navigation never ends for such a page.
  const goto = browser.goto;
  browser.goto = async (url) => {
    if (!url.startsWith('moz-extension:')) return goto(url);
    await browser.evaluateInChrome(`gBrowser.selectedBrowser.fixupAndLoadURIString(${JSON.stringify(url)},
      { triggeringPrincipal: Services.scriptSecurityManager.getSystemPrincipal() }) && 0`);
    for (const end = Date.now() + timeout; Date.now() < end;) {
      if (await browser.evaluate('document.readyState + location').catch(() => '') === `complete${url}`) return;
      await new Promise((done) => setTimeout(done, 20));
    }
    throw new Error(`${url} did not open within ${timeout} ms`);
  };
}

// --- WebKitGTK -------------------------------------------------------------------------------------------

/** Starts a program as the leader of its own process group; end() ends it together with all its children. */
export function startGroup(path, args, env = {}) {
  const child = spawn(path, args, {
    detached: true, stdio: ['ignore', 'ignore', 'ignore', 'pipe'], env: { ...process.env, ...env },
  });
  const failed = new Promise((_, fail) => {
    child.once('error', fail);
    child.once('exit', (status) => fail(new Error(`${path} ended with status ${status}`)));
  });
  failed.catch(() => {});
  const end = atEnd(() => { if (child.pid) process.kill(-child.pid, 'SIGKILL'); });
  return { child, failed, end };
}

/** Xvfb takes a free display by itself and says which one on the descriptor that -displayfd names. */
export async function startDisplay(timeout) {
  const server = startGroup(program('Xvfb'), ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp']);
  const number = new Promise((done) => {
    /** @type {import('node:stream').Readable} */ (server.child.stdio[3]).once('data', (data) => done(String(data).trim()));
  });
  try {
    return { server, display: ':' + await withTimeout(Promise.race([number, server.failed]), timeout, 'Xvfb') };
  } catch (error) {
    server.end();
    throw error;
  }
}

/** The environment of WebKitGTK. @param {string} folder for all its files @param {string} display */
export const webKitSurroundings = (folder, display) => ({
  DISPLAY: display, HOME: folder, GDK_BACKEND: 'x11', NO_AT_BRIDGE: '1', no_proxy: '*',
  XDG_CACHE_HOME: join(folder, 'cache'), XDG_DATA_HOME: join(folder, 'data'), XDG_CONFIG_HOME: join(folder, 'config'),
  XDG_RUNTIME_DIR: folder,
  WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1', // its bubblewrap sandbox cannot start in a container
});

/** A port of this machine that is free now. */
function freePort() {
  return new Promise((done, fail) => {
    const probe = createServer().once('error', fail);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (probe.address());
      probe.close(() => done(port));
    });
  });
}

async function untilAnswers(url, timeout) {
  for (const end = Date.now() + timeout; ;) {
    try { if ((await fetch(url)).ok) return; } catch { /* not listening yet */ }
    if (Date.now() > end) throw new Error(`${url}: no answer within ${timeout} ms`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** @param {Options} options  @returns {Promise<Browser>} */
export async function startWebKit(options = {}) {
  const { Builder, By, Capabilities, Key, until } = await import('selenium-webdriver');
  const timeout = options.timeout ?? DEFAULT_TIMEOUT;
  const started = [];
  const profile = profileFolder({});
  const end = () => { started.reverse().forEach((group) => group.end()); profile.remove(); };
  let driver;
  try {
    const { server, display } = await startDisplay(timeout);
    started.push(server);
    const port = await freePort();
    started.push(startGroup(program('WebKitWebDriver'), ['--host=127.0.0.1', `--port=${port}`],
      webKitSurroundings(profile.dir, display)));
    await untilAnswers(`http://127.0.0.1:${port}/status`, timeout);
    const capabilities = new Capabilities({
      browserName: 'MiniBrowser',
      'webkitgtk:browserOptions': { binary: program('MiniBrowser'), args: ['--automation', ...(options.args ?? [])] },
    });
    const building = new Builder().usingServer(`http://127.0.0.1:${port}`).withCapabilities(capabilities).build();
    driver = await withTimeout(Promise.resolve(building), timeout, 'WebKit session');
    await driver.manage().setTimeouts({ script: timeout, pageLoad: timeout, implicit: 0 });
  } catch (error) {
    end();
    throw error;
  }
  const ready = async (selector) => {
    const element = await driver.wait(until.elementLocated(By.css(selector)), timeout);
    await driver.wait(until.elementIsVisible(element), timeout);
    await driver.wait(until.elementIsEnabled(element), timeout);
    return element;
  };
  const info = await driver.getCapabilities();
  const run = 'const done = arguments[arguments.length - 1]; ';
  return {
    name: 'webkit', version: `${info.getBrowserName()} ${info.getBrowserVersion()}`, log: [], page: driver,
    goto: (url) => withTimeout(driver.get(url), timeout, `goto ${url}`),
    evaluate: async (code, ...values) => fromReply(
      await withTimeout(driver.executeAsyncScript(`${run}${asExpression(code, values)}.then(done)`), timeout, 'evaluate')),
    click: async (selector) => { await (await ready(selector)).click(); },
    fill: async (selector, text) => {
      const element = await ready(selector);
      await element.clear();
      await element.sendKeys(text);
    },
    press: async (key) => {
      const name = key.replace(/([a-z])([A-Z])/g, '$1_$2').toUpperCase();
      await driver.switchTo().activeElement().sendKeys(Key[name] ?? key);
    },
    attach: async (selector, path) => {
      await (await driver.wait(until.elementLocated(By.css(selector)), timeout)).sendKeys(resolve(path));
    },
    setViewport: async (width, height) => {
      const outer = await driver.manage().window().getRect();
      const inner = await driver.executeScript('return [innerWidth, innerHeight]');
      await driver.manage().window().setRect({
        width: width + outer.width - inner[0], height: height + outer.height - inner[1],
      });
    },
    screenshot: async (path) => writeFileSync(path, await driver.takeScreenshot(), 'base64'),
    close: async () => {
      await withTimeout(driver.quit(), 5000, 'close').catch(() => {});
      end();
    },
  };
}

/** The three starters by name, for suites that run the same cases in each browser. */
export const starters = { chromium: startChromium, firefox: startFirefox, webkit: startWebKit };
