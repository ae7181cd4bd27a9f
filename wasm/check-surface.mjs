// Fails when a browser module exports or imports anything but what wasm/surface.txt lists. Arguments: .wasm
// files.
import { readFileSync } from 'node:fs';

const PAGE_LIMIT = 30;
const IMPORT_SECTION = 2, EXPORT_SECTION = 7; // WebAssembly core specification, 5.5.5 and 5.5.10
const FUNCTION = 0, MEMORY = 2;

/** Reads a module's bytes. The specification's encoding, since Node.js 20 cannot compile relaxed SIMD. */
class Reader {
  at = 8; // after magic and version
  constructor(bytes) {
    this.bytes = bytes;
  }

  number() {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = this.bytes[this.at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  }

  name() {
    const length = this.number();
    return this.bytes.toString('utf8', this.at, (this.at += length));
  }

  /** Content of the section, read by `entry`, or nothing. */
  section(wanted, entry) {
    for (this.at = 8; this.at < this.bytes.length;) {
      const section = this.bytes[this.at++];
      const size = this.number();
      if (section === wanted) return Array.from({ length: this.number() }, () => entry());
      this.at += size;
    }
    return [];
  }

  exports() {
    return this.section(EXPORT_SECTION, () => {
      const name = this.name();
      this.at++; // kind
      this.number(); // index
      return name;
    });
  }

  imports() {
    return this.section(IMPORT_SECTION, () => {
      this.name(); // module
      const name = this.name();
      const kind = this.bytes[this.at++];
      if (kind === FUNCTION) this.number(); // type
      else if (kind === MEMORY) for (let limits = this.bytes[this.at++] & 1 ? 2 : 1; limits > 0; limits--) this.number();
      else throw new Error(`the import ${name} is neither a function nor memory`);
      return name;
    });
  }
}

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

let wrong = 0;
function compare(path, what, found, listed) {
  const extra = found.filter((name) => !listed.includes(name));
  const missing = listed.filter((name) => !found.includes(name));
  if (!extra.length && !missing.length) return;
  const names = (list) => list.join(' ') || '-';
  console.error(`${path} ${what}: not in wasm/surface.txt: ${names(extra)}; listed but missing: ${names(missing)}`);
  wrong++;
}

const { page, more, more_added, compress, chat, single, threads, imports, thread_imports, more_imports, compress_imports,
  chat_imports } = readList(new URL('surface.txt', import.meta.url));
for (const list of [[...page, ...more], compress, chat]) {
  if (list.length > PAGE_LIMIT) throw new Error(`surface.txt lists ${list.length} functions of one module, over ${PAGE_LIMIT}`);
}

/** What a module must export and import, by its name. */
function listed(path) {
  if (path.includes('-compress')) return { exports: [...compress, ...single], imports: compress_imports };
  if (path.includes('-chat')) return { exports: [...chat, ...single], imports: chat_imports };
  const [own, needs] = path.includes('-more')
    ? [[...page, ...more, ...more_added], [...imports, ...more_imports]] : [page, imports];
  if (path.includes('-mt')) return { exports: [...own, ...threads], imports: [...needs, ...thread_imports] };
  return { exports: [...own, ...single], imports: needs };
}

for (const path of process.argv.slice(2)) {
  const module = new Reader(readFileSync(path));
  const lists = listed(path);
  compare(path, 'exports', module.exports(), lists.exports);
  compare(path, 'imports', module.imports(), lists.imports);
}
process.exitCode = wrong ? 1 : 0;
