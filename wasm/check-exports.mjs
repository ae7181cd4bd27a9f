// Fails when a browser module exports anything but what wasm/exports.txt lists, so that the page's surface cannot
// grow unseen. Arguments: the modules' .wasm files.
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
if (page.length > PAGE_LIMIT) throw new Error(`exports.txt has ${page.length} functions for the page, over ${PAGE_LIMIT}`);

let wrong = 0;
for (const path of process.argv.slice(2)) {
  const found = WebAssembly.Module.exports(new WebAssembly.Module(readFileSync(path))).map((e) => e.name);
  const listed = [...page, ...(path.includes('-mt') ? threads : single)];
  const extra = found.filter((name) => !listed.includes(name));
  const missing = listed.filter((name) => !found.includes(name));
  if (extra.length || missing.length) {
    const names = (list) => list.join(' ') || '-';
    console.error(`${path}: not in wasm/exports.txt: ${names(extra)}; listed but missing: ${names(missing)}`);
    wrong++;
  }
}
process.exitCode = wrong ? 1 : 0;
