// Fails when a browser module exports anything but what wasm/exports.txt lists, so that the page's surface cannot
// grow unseen. Arguments: the modules' .mjs files; the .wasm beside each is read.
import { readFileSync } from 'node:fs';

const PAGE_LIMIT = 30;

/** Names by section. */
function readList(path) {
  const sections = {};
  let names = null;
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const section = /^\[(\w+)\]/.exec(line);
    if (section) names = sections[section[1]] = [];
    else if (line && !line.startsWith('#')) names.push(line.trim());
  }
  return sections;
}

const { page, single, threads } = readList(new URL('exports.txt', import.meta.url));
if (page.length > PAGE_LIMIT) throw new Error(`exports.txt lists ${page.length} functions for the page, more than ${PAGE_LIMIT}`);

let wrong = 0;
for (const glue of process.argv.slice(2)) {
  const bytes = readFileSync(glue.replace(/\.mjs$/, '.wasm'));
  const found = WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map((e) => e.name);
  const listed = [...page, ...(glue.includes('-mt') ? threads : single)];
  const extra = found.filter((name) => !listed.includes(name));
  const missing = listed.filter((name) => !found.includes(name));
  if (extra.length || missing.length) {
    console.error(`${glue}: not in wasm/exports.txt: ${extra.join(' ') || '-'}; listed but missing: ${missing.join(' ') || '-'}`);
    wrong++;
  }
}
process.exitCode = wrong ? 1 : 0;
