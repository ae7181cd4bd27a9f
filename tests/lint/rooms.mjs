// Room lint: holds the arrows of src/README.md between the rooms and the rules for how files are written. First it
// plants a violation of each rule in a temporary tree and fails if one is not found, then it reads the real tree.
//
//   node tests/lint/rooms.mjs [FOLDER]
//
// A rule is a function from the tree (a map from path to text) to violations "path:line: what is wrong". The tables
// below are the contract: a new room, file kind or outside dependency is a new row here.
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

// --- the contract -----------------------------------------------------------------------------------------------------

const BOUNDARY = 'src/nutshell.h';
const MAKING = 'src/nutshell_compress.h'; // the boundary's part for making and judging models
const TRAINING = 'src/nutshell_train.h'; // the boundary's part for training
const DYNAMIC = 'src/nutshell_dynamic.h'; // the boundary's part for doing less work
const STORED = 'src/nutshell_store.h'; // the boundary's part for models larger than memory
const HOUSE = ['src/run', 'src/model', 'src/kernels', 'src/base'];

/** Which rooms and files a room's C files may include, besides their own room. */
const C_ARROWS = {
  [BOUNDARY]: [],
  [MAKING]: [BOUNDARY],
  [TRAINING]: [BOUNDARY],
  [DYNAMIC]: [BOUNDARY],
  [STORED]: [BOUNDARY],
  'src/base': [BOUNDARY], // all these rooms together implement the boundary
  'src/kernels': [BOUNDARY, ...HOUSE.slice(3)],
  'src/model': [BOUNDARY, ...HOUSE.slice(2)],
  'src/run': [BOUNDARY, DYNAMIC, STORED, ...HOUSE.slice(1)],
  'src/chat': [BOUNDARY, ...HOUSE],
  'src/evaluate': [BOUNDARY, MAKING, DYNAMIC, ...HOUSE],
  'src/compress': [BOUNDARY, MAKING, 'src/evaluate', 'src/train', ...HOUSE],
  'src/train': [BOUNDARY, MAKING, TRAINING, 'src/evaluate', ...HOUSE],
  'src/cli': [BOUNDARY, MAKING, TRAINING, DYNAMIC, STORED],
  wasm: [BOUNDARY, MAKING, TRAINING, STORED],
};

/** The C library is the engine's only dependency; SIMD intrinsics and the compilers' own headers come on top. */
const SYSTEM_HEADERS = new Set(`assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal
  stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string threads time uchar wchar wctype
  fcntl pthread unistd sys/stat sys/types sys/time sys/mman sys/resource sched wasm_simd128`
  .split(/\s+/).map((name) => name + '.h'));
const MORE_SYSTEM_HEADERS = [
  { room: 'src/kernels', pattern: /^(immintrin|arm_neon)\.h$/ },
  { room: 'src/cli', pattern: /^(termios|sys\/ioctl)\.h$/ }, // the terminal
  { room: 'wasm', pattern: /^emscripten(\.h|\/.*)$/ },
];

/** Folders that a room's JavaScript may import from, and packages. Not listed rooms (tests, wasm) may import anything. */
const JS_ARROWS = {
  demo: { rooms: ['demo', 'dist'], packages: [] },
  web: { rooms: ['web', 'wasm'], packages: ['@noble/hashes', 'idb'] },
};

/** What prints or ends the process; only src/cli may. */
const FORBIDDEN_CALLS = `printf vprintf fprintf vfprintf dprintf puts fputs putchar putc fputc perror exit _exit _Exit
  quick_exit abort assert`.split(/\s+/);

/** What takes memory past the allocator hook, glibc's qsort among it; only src/cli and base/mem.c may. */
const MEMORY_CALLS = 'malloc calloc realloc free aligned_alloc posix_memalign strdup strndup asprintf qsort'.split(' ');

const MAX_LINE = { c: 109, other: 130 }; // characters
const MAX_FILE = 800;
// Of any length.
const TABLES = ['tests/unit/answers.h', 'src/model/unicode_tables.h', 'src/evaluate/calibration_text.c', 'demo/model/words.py',
  'tests/golden/mixes.h'];
const MEDIAN_FUNCTION = 15; // lines of body; the median of all C functions is below
const LONG_FUNCTION = 40; // and nearly all (SHORT_SHARE) are below this
const SHORT_SHARE = 0.95;

const SKIPPED_FOLDERS = ['.git', '.toolchain', 'models', 'node_modules', 'build', 'dist'];
const SKIPPED_FILES = ['demo/chat/vendor.mjs']; // built, as dist/ is
const CODE = /\.(c|h|inc|js|mjs|ts|css|html|sh|py)$|(^|\/)(Makefile|\.ci\/run)$/;
const C_FILE = /^(src|wasm|tests)\/.*\.(c|h|inc)$/;
const JS_FILE = /\.(js|mjs)$/;

// Written in pieces, so that this file does not hold the words that it looks for.
const UNFINISHED = new RegExp('\\b(' + ['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|') + ')\\b');
const MACHINE_PATHS = new RegExp('/(' + ['wo' + 'rk', 'fa' + 'rm', 'ro' + 'ot', 'ho' + 'me'].join('|') + ')/[a-z.]');
const REGISTRIES = new RegExp(
  ['registry\\.npm' + 'js', 'registry\\.yarn' + 'pkg', 'py' + 'pi\\.org', 'python' + 'hosted', 'deb\\.' + 'debian\\.org']
    .join('|'));

// --- reading ----------------------------------------------------------------------------------------------------------

/** @typedef {Map<string, string>} Tree  path relative to the root, with slashes -> text */

/** @returns {Tree} */
function readTree(root, folder = '', tree = new Map()) {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory() && !SKIPPED_FOLDERS.includes(path) && entry.name !== '__pycache__') {
      readTree(root, path, tree);
    } else if (entry.isFile() && !SKIPPED_FILES.includes(path)) {
      const bytes = readFileSync(join(root, path));
      if (!bytes.subarray(0, 8000).includes(0)) tree.set(path, bytes.toString());
    }
  }
  return tree;
}

/** The C text with comments and the contents of strings blanked; lines keep their numbers. */
function bareC(text) {
  const token = /\/\/[^\n]*|\/\*[^]*?\*\/|"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'/g;
  return text.replace(token, (found) => found.replace(/[^\n"']/g, ' '));
}

/** The script without comments. Strings stay: import paths are strings. */
const bareJs = (text) => text.replace(/^\s*\/\/[^\n]*$|\/\*[^]*?\*\//gm, (found) => found.replace(/[^\n]/g, ' '));

const lineOf = (text, index) => text.slice(0, index).split('\n').length;

const roomOf = (path, rooms) => rooms.find((room) => path === room || path.startsWith(room + '/'));

/** Calls visit(path, line number, line) for each line of the files whose path matches. */
function eachLine(tree, pattern, visit) {
  for (const [path, text] of tree) {
    if (pattern.test(path)) text.split('\n').forEach((line, i) => visit(path, i + 1, line));
  }
}

/** All #include lines of C files under src/ and wasm/: { path, line, name, target }; target is undefined for <...>. */
function includes(tree) {
  const found = [];
  eachLine(tree, /^(src|wasm)\/.*\.(c|h|inc)$/, (path, line, text) => {
    const match = /^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)/.exec(text);
    if (!match) return;
    const [, quoted, system] = match;
    const places = quoted ? [posix.join(posix.dirname(path), quoted), posix.join('src', quoted)] : [];
    const target = quoted ? places.find((place) => tree.has(place)) ?? places[1] : undefined;
    found.push({ path, line, name: quoted ?? system, target });
  });
  return found;
}

/** All module paths that scripts of demo/ and web/ import: { path, line, name, target }; target undefined for packages. */
function imports(tree) {
  const found = [];
  const pattern = /\b(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g;
  for (const [path, text] of tree) {
    if (!JS_FILE.test(path)) continue;
    const code = bareJs(text);
    for (const match of code.matchAll(pattern)) {
      const name = match[1] ?? match[2];
      const target = name.startsWith('.') ? posix.join(posix.dirname(path), name) : undefined;
      found.push({ path, line: lineOf(code, match.index), name, target });
    }
  }
  return found;
}

/** Cycles in a graph of files, each reported once: "a -> b -> a". */
function cycles(edges) {
  const next = new Map();
  for (const { path, target } of edges) if (target) next.set(path, [...(next.get(path) ?? []), target]);
  const found = [];
  const state = new Map(); // 1: on the way, 2: done
  const walk = (node, way) => {
    if (state.get(node) === 2) return;
    if (state.get(node) === 1) {
      found.push([...way.slice(way.indexOf(node)), node].join(' -> '));
      return;
    }
    state.set(node, 1);
    for (const target of next.get(node) ?? []) walk(target, [...way, node]);
    state.set(node, 2);
  };
  for (const node of next.keys()) walk(node, []);
  return found;
}

/** Bodies of C functions: { path, line, lines }. Relies on the layout: a body ends with } in the first column. */
function functions(tree) {
  const found = [];
  for (const [path, text] of tree) {
    if (!/^(src|wasm)\/.*\.(c|inc)$/.test(path) || TABLES.includes(path)) continue;
    const lines = bareC(text).split('\n');
    for (let start = 0; start < lines.length; start++) {
      if (!/\)\s*\{.*$/.test(lines[start]) || /=\s*\{/.test(lines[start])) continue;
      const head = lines[start];
      if (/^\s/.test(head) && !/^[A-Za-z]/.test(lines[start - 1] ?? '')) continue;
      if (/\}\s*$/.test(head)) {
        if (/^[A-Za-z]/.test(head)) found.push({ path, line: start + 1, lines: 1 });
        continue;
      }
      const end = lines.findIndex((line, i) => i > start && line.startsWith('}'));
      if (end < 0) break;
      found.push({ path, line: start + 1, lines: end - start - 1 });
      start = end;
    }
  }
  return found;
}

/** What matches in the C of src/, but for files whose path matches `allowed`, comments and strings. */
function calls(tree, allowed, pattern) {
  const found = [];
  for (const [path, text] of tree) {
    if (!/^src\/.*\.(c|h|inc)$/.test(path) || allowed.test(path)) continue;
    bareC(text).split('\n').forEach((line, i) => {
      const match = pattern.exec(line);
      if (match) found.push(`${path}:${i + 1}: ${match[1] ?? match[2]}`);
    });
  }
  return found;
}

// --- the rules --------------------------------------------------------------------------------------------------------

/** @type {Record<string, (tree: Tree) => string[]>} */
const RULES = {
  'C files include along the arrows only': (tree) => includes(tree).flatMap(({ path, line, name, target }) => {
    const room = roomOf(path, Object.keys(C_ARROWS));
    if (!room) return [`${path}:${line}: belongs to no room of C_ARROWS`];
    if (!target) return [];
    if (!tree.has(target)) return [`${path}:${line}: "${name}" does not exist`];
    const allowed = [room, ...C_ARROWS[room]];
    return roomOf(target, allowed) ? [] : [`${path}:${line}: ${room} may not include ${target}`];
  }),

  'C files depend on the C library only': (tree) => includes(tree)
    .filter(({ path, name, target }) => !target && !SYSTEM_HEADERS.has(name) &&
      !MORE_SYSTEM_HEADERS.some(({ room, pattern }) => path.startsWith(room + '/') && pattern.test(name)))
    .map(({ path, line, name }) => `${path}:${line}: <${name}> is not of the C library`),

  'no include goes in a circle': (tree) => cycles(includes(tree)),

  'scripts import along the arrows only': (tree) => imports(tree).flatMap(({ path, line, name, target }) => {
    const room = roomOf(path, Object.keys(JS_ARROWS));
    if (!room) return [];
    const { rooms, packages } = JS_ARROWS[room];
    const tool = path.endsWith('.mjs') && room === 'demo'; // the demo's server and fetcher run in Node
    const isListed = packages.some((one) => name === one || name.startsWith(`${one}/`));
    if (target ? roomOf(target, rooms) : isListed || (tool && name.startsWith('node:'))) return [];
    return [`${path}:${line}: ${room} may not import ${name}`];
  }),

  'no import goes in a circle': (tree) => cycles(imports(tree)),

  'pages load nothing from elsewhere': (tree) => {
    const found = [];
    eachLine(tree, /^demo\/.*\.html$/, (path, line, text) => {
      if (/<(script|link|img|iframe)\b[^>]*\b(src|href)\s*=\s*["']?(https?:)?\/\//i.test(text)) {
        found.push(`${path}:${line}: loads from another origin`);
      }
    });
    return found;
  },

  'only src/cli prints or ends the process': (tree) =>
    calls(tree, /^src\/cli\//, new RegExp(`(?<![\\w.>])(${FORBIDDEN_CALLS.join('|')})\\s*\\(|\\b(stdout|stderr)\\b`)),

  'memory comes through the allocator hook': (tree) =>
    calls(tree, /^src\/(cli\/|base\/mem\.c$)/, new RegExp(`(?<![\\w.>])(${MEMORY_CALLS.join('|')})\\s*\\(`)),

  'lines are short': (tree) => {
    const found = [];
    eachLine(tree, CODE, (path, line, text) => {
      const length = TABLES.includes(path) ? 0 : [...text].length;
      if (length > (C_FILE.test(path) ? MAX_LINE.c : MAX_LINE.other)) found.push(`${path}:${line}: ${length} characters`);
    });
    return found;
  },

  'no tab in C, no space at a line\'s end': (tree) => {
    const found = [];
    eachLine(tree, CODE, (path, line, text) => {
      if (C_FILE.test(path) && text.includes('\t')) found.push(`${path}:${line}: tab`);
      if (/[ \t\r]$/.test(text)) found.push(`${path}:${line}: space at the end of the line`);
    });
    return found;
  },

  'files are not long': (tree) => [...tree]
    .filter(([path, text]) => CODE.test(path) && !TABLES.includes(path) && text.split('\n').length - 1 > MAX_FILE)
    .map(([path, text]) => `${path}: ${text.split('\n').length - 1} lines`),

  'functions are short': (tree) => {
    const found = functions(tree).sort((a, b) => a.lines - b.lines);
    if (found.length === 0) return [];
    const median = found[found.length >> 1].lines;
    const long = found.filter(({ lines }) => lines >= LONG_FUNCTION);
    const problems = [];
    if (median >= MEDIAN_FUNCTION) problems.push(`the median function has ${median} lines`);
    if (long.length > found.length * (1 - SHORT_SHARE)) {
      problems.push(...long.map(({ path, line, lines }) => `${path}:${line}: function of ${lines} lines`));
    }
    return problems;
  },

  'C files open with a comment that says what they own': (tree) => [...tree]
    .filter(([path, text]) => C_FILE.test(path) && !/^(\/\/|\/\*)/.test(text))
    .map(([path]) => `${path}: does not begin with a comment`),

  'nothing is marked as unfinished': (tree) => textMatches(tree, UNFINISHED),
  'no path of a machine': (tree) => textMatches(tree, MACHINE_PATHS),
  'no host name of a package registry': (tree) => textMatches(tree, REGISTRIES),
};

function textMatches(tree, pattern) {
  const found = [];
  eachLine(tree, /./, (path, line, text) => {
    const match = pattern.exec(text);
    if (match) found.push(`${path}:${line}: ${match[0]}`);
  });
  return found;
}

// --- planted violations -----------------------------------------------------------------------------------------------

/** A small tree that keeps every rule. */
const CLEAN = {
  'src/nutshell.h': '// The boundary: printf(1) in a comment is fine.\n#include <stddef.h>\n',
  'src/base/error.h': '// Errors.\n#include "nutshell.h"\n',
  'src/base/error.c': '// Errors.\n#include "base/error.h"\nint f(void) {\n    return snprintf(0, 0, "exit(1)");\n}\n',
  'src/kernels/ref.c': '// Oracle.\n#include <wasm_simd128.h>\n#include "base/error.h"\n',
  'src/run/session.c': '// Session.\n#include "nutshell.h"\n#include "kernels/../base/error.h"\n',
  'src/cli/main.c': '// Tool.\n#include <stdio.h>\n#include "nutshell.h"\nint main(void) { puts("hi"); return 0; }\n',
  'wasm/exports.c': '// Exports.\n#include <emscripten.h>\n#include "nutshell.h"\n',
  'web/api.js': "// API.\nimport { openDB } from 'idb';\nimport { a } from './b.js';\nconst w = await import('./b.js');\n",
  'web/b.js': 'export const a = 1; // 1\n',
  'demo/chat/chat.js': "import { load } from '../../dist/nutshell.mjs';\n",
  'demo/serve.mjs': "import { createServer } from 'node:http';\n",
  'demo/chat/index.html': '<script src="../../dist/nutshell.js"></script><a href="https://example.org/">more</a>\n',
};

const long = (n) => `// Long.\nint f(int a) {\n${'    a++;\n'.repeat(n)}    return a;\n}\n`;

/** @type {[rule: string, files: Record<string, string>][]} each must be found by its rule and by no other */
const PLANTED = [
  ['C files include along the arrows only', { 'wasm/a.c': '// A.\n#include "run/session.h"\n', 'src/run/session.h': '// S.\n' }],
  ['C files include along the arrows only', { 'src/base/a.c': '// A.\n#include "../kernels/k.h"\n', 'src/kernels/k.h': '//\n' }],
  ['C files include along the arrows only', { 'src/kernels/a.c': '// A.\n  #  include "model/m.h"\n', 'src/model/m.h': '//\n' }],
  ['C files include along the arrows only', { 'src/kernels/a.inc': '// A.\n#include "model/m.h"\n', 'src/model/m.h': '//\n' }],
  ['C files include along the arrows only', { 'src/nutshell.h': '// N.\n#include "base/a.h"\n', 'src/base/a.h': '// A.\n' }],
  ['C files include along the arrows only', { 'src/cli/a.c': '// A.\n#include "base/error.h"\n' }],
  ['C files include along the arrows only', { 'src/train/a.c': '// A.\n#include "compress/c.h"\n', 'src/compress/c.h': '//\n' }],
  ['C files include along the arrows only', { 'src/evaluate/a.c': '// A.\n#include "train/t.h"\n', 'src/train/t.h': '//\n' }],
  ['C files include along the arrows only', { 'src/run/a.c': '// A.\n#include "run/missing.h"\n' }],
  ['C files include along the arrows only', { 'src/other/a.c': '// A.\n#include "nutshell.h"\n' }],
  ['C files depend on the C library only', { 'src/model/a.c': '// A.\n#include <zlib.h>\n' }],
  ['C files depend on the C library only', { 'src/run/a.c': '// A.\n#include <immintrin.h>\n' }],
  ['no include goes in a circle', { 'src/run/a.h': '// A.\n#include "run/b.h"\n', 'src/run/b.h': '// B.\n#include "a.h"\n' }],
  ['scripts import along the arrows only', { 'demo/a.js': "import { load } from '../web/api.js';\n" }],
  ['scripts import along the arrows only', { 'demo/a.js': "import fs from 'node:fs';\n" }],
  ['scripts import along the arrows only', { 'web/a.js': "export {\n  x,\n} from '../demo/x.js';\n" }],
  ['scripts import along the arrows only', { 'web/a.js': "const t = await import('../tests/t.mjs');\n" }],
  ['scripts import along the arrows only', { 'web/a.js': "import 'left-pad';\n" }],
  ['no import goes in a circle', { 'web/c.js': "import './d.js';\n", 'web/d.js': "import './c.js';\n" }],
  ['pages load nothing from elsewhere', { 'demo/a.html': '<script src="https://example.org/a.js"></script>\n' }],
  ['only src/cli prints or ends the process', { 'src/run/a.c': '// A.\nvoid f(void) { printf("x"); }\n' }],
  ['only src/cli prints or ends the process', { 'src/base/a.c': '// A.\nvoid f(void) { exit (1); }\n' }],
  ['only src/cli prints or ends the process', { 'src/model/a.h': '// A.\n#define CHECK(x) assert(x)\n' }],
  ['only src/cli prints or ends the process', { 'src/train/a.c': '// A.\nvoid f(void) { g(stderr); }\n' }],
  ['memory comes through the allocator hook', { 'src/run/a.c': '// A.\nvoid f(void *p) { free(p); }\n' }],
  ['memory comes through the allocator hook', { 'src/model/a.c': '// A.\nvoid f(void) { qsort (p, n, 4, compare); }\n' }],
  ['lines are short', { 'src/run/a.c': `// ${'a'.repeat(107)}\n` }],
  ['lines are short', { 'web/a.js': `// ${'a'.repeat(128)}\n` }],
  ['no tab in C, no space at a line\'s end', { 'src/run/a.c': '// A.\n\tint a;\n' }],
  ['no tab in C, no space at a line\'s end', { 'web/a.js': 'let a; \n' }],
  ['files are not long', { 'src/run/a.c': '// A.\n' + 'int a;\n'.repeat(800) }],
  ['functions are short', { 'src/run/a.c': long(45) }],
  ['functions are short', Object.fromEntries([1, 2, 3].map((i) => [`src/run/a${i}.c`, long(20)]))],
  ['C files open with a comment that says what they own', { 'src/run/a.c': 'int a;\n' }],
  ['nothing is marked as unfinished', { 'README.md': 'TO' + 'DO: write\n' }],
  ['no path of a machine', { 'wasm/a.sh': 'cd /wo' + 'rk/main\n' }],
  ['no host name of a package registry', { 'package-lock.json': '"https://registry.npm' + 'js.org/idb"\n' }],
];

/** Writes the clean tree and these files into a new folder, reads it back and removes it. */
function treeOf(files) {
  const root = mkdtempSync(join(tmpdir(), 'nutshell-lint-'));
  try {
    for (const [path, text] of Object.entries({ ...CLEAN, ...files })) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return readTree(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** Names of the rules that a tree breaks. */
const broken = (tree) => Object.keys(RULES).filter((rule) => RULES[rule](tree).length > 0);

// --- the run ----------------------------------------------------------------------------------------------------------

let passed = 0;
let failed = 0;
function report(name, problems) {
  if (problems.length === 0) passed++;
  else failed++;
  if (problems.length > 0) console.log(`FAIL ${name}`);
  for (const problem of problems) console.log(`  ${problem}`);
}

report('a clean tree breaks no rule', broken(treeOf({})));
for (const [rule, files] of PLANTED) {
  const found = broken(treeOf(files));
  const right = found.length === 1 && found[0] === rule;
  report(`planted: ${rule}`, right ? [] : [`${JSON.stringify(files)} broke: ${found.join(', ') || 'nothing'}`]);
}
for (const rule of Object.keys(RULES)) {
  if (!PLANTED.some(([planted]) => planted === rule)) report(rule, ['no violation of this rule is planted']);
}

const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '../..'));
const tree = readTree(root);
for (const [name, rule] of Object.entries(RULES)) report(name, rule(tree));
for (const [room, pattern] of [['src', /^src\/.*\.c$/], ['web', /^web\/.*\.js$/]]) {
  const files = [...tree.keys()].filter((path) => pattern.test(path)).length;
  if (files === 0) report(`${room} is read`, [`no source file found in ${relative('.', join(root, room)) || room}`]);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
