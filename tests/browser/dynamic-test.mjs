// dist/nutshell-dynamic.mjs in browsers: cascades with a server that fails in all ways, answers and beginnings of prompts that
// are remembered, and predictions of speed.
//
//   node tests/browser/dynamic-test.mjs [chromium|firefox|webkit]
//
// NUT_ONLY=TEXT runs only the sections whose name contains it. NUT_MINILM names a folder with all-MiniLM-L6's files
// (tests/peers/minilm-test.mjs): then the questions of tests/browser/questions.json are compared by meaning.
import { starters } from './drivers.mjs';
import { DIST } from './models.mjs';
import { cascading } from './dynamic-cascade.mjs';
import { remembering, sure } from './dynamic-caches.mjs';
import { predicting } from './dynamic-recommend.mjs';
import { setUp } from './dynamic-setup.mjs';
import { finish, inBrowser } from './harness.mjs';

const servers = await setUp(DIST);
const wanted = process.argv.slice(2);
const sections = [sure, cascading, remembering, predicting].filter(({ name }) => name.includes(process.env.NUT_ONLY ?? ''));
for (const [name, start] of Object.entries(starters)) {
  if (wanted.length && !wanted.includes(name)) continue;
  await inBrowser(start, sections.map((section) => (browser) => section(browser, servers)));
}
await servers.close();
finish();
