// Proof that the seams of the engine are ones: each folder here adds something of a kind (a model family, a tensor type,
// a compression method, a sampler option, a shell command) to a copy of the tree, builds it and checks that it works.
//
//   node tests/growth/growth-test.mjs [NAME...]
//
// A folder has `files/`, which are added; `rows.patch`, which adds rows to existing files; and `check.mjs`, whose
// default export checks the patched tree. The rule (rule.mjs): nothing is removed, and no existing function changes.
// A patch that does not apply any more has to be made again: edit a clean tree, `git diff -U1 > rows.patch`. What failed
// stays in build/growth/.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { hunksOf, violations } from './rule.mjs';

const HERE = dirname(fileURLToPath(import.meta.url)), ROOT = join(HERE, '../..');
const PATCH = 'rows.patch';
const asked = process.argv.slice(2);
let passed = 0, failed = 0;

async function test(name, fn) {
  try {
    await fn();
    passed++;
  } catch (error) {
    failed++;
    console.log(`failed: ${name}: ${error.stack ?? error}`);
  }
}

function run(command, args, cwd = ROOT, timeout = 600_000) {
  const r = spawnSync(command, args, { cwd, encoding: 'utf8', timeout, maxBuffer: 1 << 26 });
  return { out: r.stdout ?? '', err: r.stderr ?? String(r.error), status: r.status };
}

function must(command, args, cwd, what) {
  const r = run(command, args, cwd);
  assert.equal(r.status, 0, `${what}:\n${(r.out + r.err).trim().split('\n').slice(-25).join('\n')}`);
  return r.out;
}

const make = (tree, ...targets) =>
  must('make', ['-s', `-j${availableParallelism()}`, ...targets], tree, `make ${targets.join(' ')}`);

/** Copies the files of the working tree, committed or not, and the objects that were built of them. */
function copyTree(tree) {
  rmSync(tree, { recursive: true, force: true });
  const files = must('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], ROOT, 'git ls-files');
  for (const file of new Set(files.split('\0'))) {
    const from = join(ROOT, file);
    if (!file || file.startsWith('tests/growth/') || !existsSync(from) || !statSync(from).isFile()) continue;
    mkdirSync(dirname(join(tree, file)), { recursive: true });
    cpSync(from, join(tree, file), { preserveTimestamps: true });
  }
  if (existsSync(join(ROOT, '.toolchain'))) symlinkSync(join(ROOT, '.toolchain'), join(tree, '.toolchain'));
  const objects = join(ROOT, 'build/native/src');
  cpSync(objects, join(tree, 'build/native/src'), { recursive: true, preserveTimestamps: true });
}

/** Applies a patch; the path is relative to the repository, since git looks for its own folder. */
function apply(patch, tree) {
  const r = run('git', ['apply', `--directory=${tree.slice(ROOT.length + 1)}`, patch]);
  assert.equal(r.status, 0, `${patch} does not apply any more; make it again:\n${r.err}`);
}

/** Removes a tree, or, to keep it, what the Makefile would read of it when it looks for dependencies in build/. */
function discard(tree, keep) {
  if (!keep) return rmSync(tree, { recursive: true, force: true });
  for (const file of filesOf(tree)) if (file.endsWith('.d')) rmSync(join(tree, file));
}

const filesOf = (folder) => existsSync(folder)
  ? readdirSync(folder, { recursive: true }).filter((file) => statSync(join(folder, file)).isFile()) : [];

async function grow(name) {
  const folder = join(HERE, name), tree = join(ROOT, 'build/growth', name), begun = Date.now();
  const patch = readFileSync(join(folder, PATCH), 'utf8'), added = filesOf(join(folder, 'files'));
  copyTree(tree);
  await test(`${name}: adds files and rows alone`, () => {
    for (const file of added) assert.ok(!existsSync(join(tree, file)), `${file} exists already`);
    apply(`tests/growth/${name}/${PATCH}`, tree);
    assert.deepEqual(violations(patch, (file) => readFileSync(join(tree, file), 'utf8')), []);
  });
  if (failed) return;
  if (added.length) cpSync(join(folder, 'files'), tree, { recursive: true });
  const tools = {
    tree, test: (what, fn) => test(`${name}: ${what}`, fn), make: (...targets) => make(tree, ...targets),
    run: (command, ...args) => run(command, args, tree),
    must: (command, ...args) => must(command, args, tree, [command, ...args].join(' ')),
    /** Runs a unit test of the patched tree, which must pass. */
    unit: (unit, ...args) => {
      make(tree, `build/native/${unit}`);
      const { out, err, status } = run(join(tree, 'build/native', unit), args, tree);
      assert.equal(status, 0, (out + err).split('\n').slice(-30).join('\n'));
      assert.match(out, /^[1-9]\d* passed, 0 failed/m);
      return out;
    },
  };
  await test(`${name}: keeps to the rules of the room lint`, () => {
    const { out } = run('node', ['tests/lint/rooms.mjs'], tree);
    assert.match(out, /^\d+ passed/m);
    for (const file of [...added, ...hunksOf(patch).map((hunk) => hunk.file)]) assert.ok(!out.includes(` ${file}:`), out);
  });
  await (await import(pathToFileURL(join(folder, 'check.mjs')).href)).default(tools);
  const hunks = hunksOf(patch), n = new Set(hunks.map((hunk) => hunk.file)).size;
  const built = added.filter((file) => !file.startsWith('tests/')).length;
  console.log(`${name}: ${hunks.length} places in ${n} files, ${built} files of the engine and ${added.length - built} `
    + `of tests added; ${((Date.now() - begun) / 1000).toFixed(0)} s`);
}

// ---- the rule itself ----------------------------------------------------------------------------------------------
const SAMPLE = `/* a list { */
#define LIST(X) \\
    X(one)      \\
    X(two)

#define BODY(x)  \\
    f(x);        \\
    g(x)

extern "C" {
static const int table[] = {
    1,
    2,
};
typedef struct pair {
    int a, b;
} pair;

LIST(NUT_X)

static int add(int a,
               int b) {
    const pair p = {a, b};
    return p.a + p.b; // }
}

enum { LAST };
}
`;

/** A patch of the sample that adds `text` behind line `at` (from 1), or removes that line where text is null. */
function samplePatch(at, text) {
  const lines = SAMPLE.split('\n');
  const patched = lines.toSpliced(text === null ? at - 1 : at, text === null ? 1 : 0, ...(text === null ? [] : [text]));
  const body = text === null ? `@@ -${at} +${at},0 @@\n-${lines[at - 1]}\n` : `@@ -${at},0 +${at + 1} @@\n+${text}\n`;
  return { patch: `--- a/sample.c\n+++ b/sample.c\n${body}`, text: patched.join('\n') };
}

await test('the rule allows rows of lists, tables, structs and declarations', () => {
  const rows = [[2, '    X(more) \\'], [12, '    3,'], [15, '    int c;'], [18, 'int more;'], [25, '#include "more.h"']];
  for (const [at, text] of rows) {
    const sample = samplePatch(at, text);
    assert.deepEqual(violations(sample.patch, () => sample.text), [], text);
  }
});

await test('the rule refuses a removed line', () => {
  for (const at of [3, 12, 22]) {
    const sample = samplePatch(at, null);
    assert.match(violations(sample.patch, () => sample.text).join(), /removes a line/, `line ${at}`);
  }
});

await test('the rule refuses lines in functions and in macros that are no lists', () => {
  for (const [at, text, what] of [[22, '    a++;', 'function'], [23, '    a++;', 'function'], [6, '    h(x); \\', 'macro'],
    [18, 'static int one(void) { return 1; }', 'function']]) {
    const sample = samplePatch(at, text);
    assert.match(violations(sample.patch, () => sample.text).join(), new RegExp(`adds a line to a ${what}`), text);
  }
});

await test('the rule refuses rows of other files, and files added by the patch', () => {
  assert.match(violations('--- a/x.js\n+++ b/x.js\n@@ -1,0 +1 @@\n+x\n', () => '').join(), /neither C/);
  assert.match(violations('new file mode 100644\n--- /dev/null\n+++ b/x.c\n@@ -0,0 +1 @@\n+x\n', () => 'x').join(), /new file/);
});

// ---- the patches --------------------------------------------------------------------------------------------------
rmSync(join(ROOT, 'build/growth'), { recursive: true, force: true });
make(ROOT, 'build/native/nutshell'); // whose objects the copies begin with
const names = readdirSync(HERE).filter((name) => existsSync(join(HERE, name, PATCH)));
for (const name of names) {
  if (asked.length && !asked.includes(name)) continue;
  const before = failed;
  failed = 0;
  await test(name, () => grow(name));
  discard(join(ROOT, 'build/growth', name), failed > 0);
  failed += before;
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
