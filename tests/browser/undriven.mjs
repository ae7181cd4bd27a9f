// Starts the three browsers as a user does, without the protocols of drivers.mjs, which change what is measured: Chromium's
// keeps what a page fetches in the page's own process, WebKit's uses private windows. The page is /undriven of server.mjs; it
// asks this file for tasks and reports their results.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import {
  CHROMIUM_FLAGS, FIREFOX_PREFS, asExpression, fromReply, profileFolder, program, startDisplay, startGroup, webKitSurroundings,
  withTimeout,
} from './drivers.mjs';

const TIMEOUT = 120000; // ms for each evaluate

/**
 * How each is started, and a text in the command line of its page processes.
 * @type {Record<string, { start: (dir: string, url: string) => Promise<ReturnType<typeof startGroup>[]>, pages: string }>}
 */
const BROWSERS = {
  chromium: {
    start: async (dir, url) =>
      [startGroup(program('chromium'), ['--headless=new', ...CHROMIUM_FLAGS, `--user-data-dir=${dir}`, url])],
    pages: '--type=renderer',
  },
  firefox: {
    async start(dir, url) {
      mkdirSync(dir, { recursive: true });
      const prefs = { ...FIREFOX_PREFS, 'browser.shell.checkDefaultBrowser': false, 'browser.aboutwelcome.enabled': false };
      writeFileSync(join(dir, 'user.js'),
        Object.entries(prefs).map((pref) => `user_pref(${pref.map((part) => JSON.stringify(part)).join(', ')});\n`).join(''));
      return [startGroup(program('firefox'), ['--headless', '--no-remote', '--profile', dir, url])];
    },
    pages: '-contentproc',
  },
  webkit: {
    async start(dir, url) {
      const { server, display } = await startDisplay(TIMEOUT);
      return [server, startGroup(program('MiniBrowser'), [url], webKitSurroundings(dir, display))];
    },
    pages: 'WebKitWebProcess',
  },
};

/** Answers the page. @returns a function that takes tasks, and the server */
async function startTelling() {
  /** Responses that wait for a task. @type {((code: string) => void)[]} */
  const asking = [];
  /** Tasks that wait for a request. @type {string[]} */
  const tasks = [];
  /** Callbacks that wait for the result of a task. @type {((reply: string) => void)[]} */
  const waiting = [];
  const meet = () => { if (tasks.length && asking.length) asking.shift()?.(/** @type {string} */ (tasks.shift())); };
  const server = createServer(async (request, reply) => {
    let told = '';
    for await (const piece of request.setEncoding('utf8')) told += piece;
    if (told) waiting.shift()?.(told);
    asking.push((code) => reply.setHeader('Access-Control-Allow-Origin', '*').end(code));
    meet();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', () => done(undefined)));
  const give = (/** @type {string} */ code) => new Promise((resolve) => {
    waiting.push(resolve);
    tasks.push(code);
    meet();
  });
  return { server, give };
}

/**
 * @param {string} name  of BROWSERS
 * @param {string} url   of the server's page /undriven
 * @param {{ profile?: string }} options  as in drivers.mjs
 * @returns {Promise<{ pid: number, pages: string, evaluate: import('./drivers.mjs').Browser['evaluate'],
 *   close: () => Promise<void> }>}  with its first process, and a text that identifies its page processes
 */
export async function startUndriven(name, url, options = {}) {
  const profile = profileFolder(options), { server, give } = await startTelling();
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const groups = await BROWSERS[name].start(profile.dir, `${url}#${port}`);
  const browser = groups[groups.length - 1];
  return {
    pid: /** @type {number} */ (browser.child.pid),
    pages: BROWSERS[name].pages,
    async evaluate(code, ...args) {
      const reply = give(asExpression(code, args));
      return fromReply(await withTimeout(Promise.race([reply, browser.failed]), TIMEOUT, 'evaluate'));
    },
    async close() {
      const ended = new Promise((resolve) => browser.child.once('exit', resolve));
      groups.reverse().forEach((group) => group.end());
      await ended;
      server.closeAllConnections();
      server.close();
      profile.remove();
    },
  };
}
