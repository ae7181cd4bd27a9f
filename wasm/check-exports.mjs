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

/**
 * Names in a module's export section (WebAssembly core specification, 5.5.10). Read from the bytes, since Node.js 20
 * cannot compile relaxed SIMD.
 */
function exportNames(bytes) {
  const EXPORT_SECTION = 7;
  let at = 8;
  const number = () => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const section = bytes[at++];
    const end = number() + at;
    if (section !== EXPORT_SECTION) {
      at = end;
      continue;
    }
    return Array.from({ length: number() }, () => {
      const length = number();
      const name = bytes.toString('utf8', at, at += length);
      at++; // kind
      number(); // index
      return name;
    });
  }
  return [];
}

const { page, single, threads } = readList(new URL('exports.txt', import.meta.url));
if (page.length > PAGE_LIMIT) throw new Error(`exports.txt has ${page.length} functions for the page, over ${PAGE_LIMIT}`);

let wrong = 0;
for (const path of process.argv.slice(2)) {
  const found = exportNames(readFileSync(path));
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
