// The library as pages use it: the files of dist/, in Chromium, Firefox and WebKit, with a server that can misbehave.
// Arguments: browsers; none: all three. NUT_ONLY=TEXT runs only the sections whose name contains it.
import { starters } from './drivers.mjs';
import { check, finish, inBrowser } from './harness.mjs';
import * as cost from './library-cost.mjs';
import * as load from './library-load.mjs';
import * as places from './library-places.mjs';
import * as room from './library-room.mjs';
import * as sessions from './library-sessions.mjs';
import { startServers } from './library-setup.mjs';
import * as store from './library-store.mjs';
import * as use from './library-use.mjs';

const only = process.env.NUT_ONLY ?? '';
const wanted = process.argv.slice(2);
const all = { ...load, ...store, ...room, ...use, ...sessions, ...places, ...cost };
const sections = Object.entries(all).filter(([title]) => title.includes(only));
const servers = await startServers();
const texts = new Map(); // by browser and surroundings; all the same

for (const [name, start] of Object.entries(starters)) {
  if (wanted.length && !wanted.includes(name)) continue;
  await inBrowser(start, sections.map(([title, section]) => async (browser) => {
    const work = section(browser, servers, texts);
    await work.catch((error) => check(`${name}: ${title}`, () => { throw error; }));
  }));
}
for (const server of Object.values(servers)) await server.close();
finish();
