// The documents, without running anything that they show: no long lines, no link or path that leads nowhere, a map that names
// each file of src/, and docs/api.md made from the types as they are.
//
//   node tests/lint/docs.mjs
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { check, ensure, equal, finish } from '../browser/harness.mjs';

const WIDEST = 110; // columns, but in tables, and of HTTP headers, which are one line each
const PAGES = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'docs/api.md', 'docs/architecture.md', 'docs/format.md',
  'docs/glossary.md', 'docs/models.md', 'docs/security.md', 'src/README.md', 'demo/model/README.md'];

/** "LINE: text" of the lines that are too long. @param {string} text */
const longLines = (text) => text.replace(/^```http[^]*?^```/gm, (headers) => headers.replace(/[^\n]/g, ''))
  .split('\n').flatMap((line, i) => (line.length > WIDEST && !line.startsWith('|') ? [`${i + 1}: ${line}`] : []));

/** The text without its code. @param {string} text */
const prose = (text) => text.replace(/^```[^]*?^```/gm, '').replace(/`[^`\n]*`/g, 'code');

/** What GitHub calls the headings of a page in addresses. @param {string} text */
function anchors(text) {
  const seen = new Map();
  return [...text.replace(/^```[^]*?^```/gm, '').matchAll(/^#+ (.*)$/gm)].map(([, title]) => {
    const name = title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'), times = seen.get(name) ?? 0;
    seen.set(name, times + 1);
    return times ? `${name}-${times}` : name;
  });
}

/** Links of a page that lead to no file or no heading. @param {string} page @param {string} text */
const deadLinks = (page, text) => [...prose(text).matchAll(/\]\(([^)\s]*)\)/g)].map(([, to]) => to).filter((to) => {
  if (/^[a-z]+:/.test(to)) return false;
  const [path, anchor] = to.split('#'), file = path ? join(dirname(page), path) : page;
  return !existsSync(file) || (anchor && !anchors(path ? readFileSync(file, 'utf8') : text).includes(anchor));
});

/** Files that a page names in code, by their path from the root, and that are not there. @param {string} text */
const deadPaths = (text) => [...text.matchAll(/`((?:src|web|wasm|tests|demo|docs|\.ci|\.github)\/[\w./-]*\w\/?)`/g)]
  .map(([, path]) => path).filter((path) => !/NAME/.test(path) && !existsSync(path));

/** What the map says of a room and what is there: file names without their ends. @param {string} row of its table */
function roomFiles(row) {
  const [, room, , files] = row.split(/(?<!\\)\|/);
  const folder = join('src', room.trim().replaceAll('`', ''));
  const there = existsSync(folder) ? readdirSync(folder).filter((name) => /\.(c|h|inc|py)$/.test(name)) : [];
  const stems = new Set(there.map((name) => name.replace(/\.\w+$/, '')));
  return { folder, named: [...files.matchAll(/`(\w+)`/g)].map(([, name]) => name).sort(), there: [...stems].sort() };
}

export async function checkDocuments() {
  await check('a long line and a dead link would be found', () => {
    equal(longLines(`${'a'.repeat(110)}\n${'a'.repeat(111)}\n| ${'a'.repeat(111)}`), [`2: ${'a'.repeat(111)}`]);
    const text = '# A title\n[1](#a-title) [2](#another) [3](docs/security.md#headers) [4](docs/security.md#feet) [5](none.md)';
    equal(deadLinks('README.md', text), ['#another', 'docs/security.md#feet', 'none.md']);
    equal(deadPaths('`src/nutshell.h` `src/none.c` `tests/` `none.c`'), ['src/none.c']);
  });
  for (const page of PAGES) {
    await check(`${page}: lines and links`, () => {
      const text = readFileSync(page, 'utf8');
      equal([longLines(text), deadLinks(page, text), deadPaths(text)], [[], [], []]);
    });
  }
  await check('the map names each file of each room, and no other', () => {
    const rows = readFileSync('src/README.md', 'utf8').split('\n').filter((line) => /^\| `\w+\/` /.test(line)).map(roomFiles);
    const folders = readdirSync('src', { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const rooms = folders.map(({ name }) => `src/${name}/`);
    equal(rows.map(({ folder }) => folder).sort(), rooms.sort());
    for (const { folder, named, there } of rows) equal(named, there, folder);
  });
  await check('the README has the sizes of dist/ as it is', () => {
    const gzipped = (/** @type {string} */ name) => gzipSync(readFileSync(`dist/nutshell${name}`), { level: 9 }).length;
    const kilobytes = (/** @type {string[]} */ ...names) =>
      Math.round(names.reduce((sum, name) => sum + gzipped(name), 0) / 1000);
    const [relaxed, simd128, script, upkeep] = [kilobytes('-relaxed.wasm'), kilobytes('-simd128.wasm'),
      kilobytes('.js', '-worker.mjs'), kilobytes('-cache.mjs')];
    const readme = readFileSync('README.md', 'utf8');
    for (const row of [`| ${relaxed} kB (relaxed SIMD), ${simd128} kB (SIMD128) |`,
      `| ${script} kB; ${upkeep} kB `]) ensure(readme.includes(row), `it has no "${row}"`);
  });
  await check('docs/api.md is made from the types as they are', () => {
    execFileSync('node', ['wasm/api-docs.mjs', '--check']);
    const types = readFileSync('web/nutshell.d.ts', 'utf8');
    const declared = [...types.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map(([, name]) => name);
    const described = readFileSync('docs/api.md', 'utf8');
    equal(declared.filter((name) => !described.includes(`| \`${name}\` |`)), []);
    ensure(declared.length > 100, `only ${declared.length} members were found`);
  });
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await checkDocuments();
  finish();
}
