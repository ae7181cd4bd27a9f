// All C is formatted by clang-format as .clang-format says: node tests/lint/format.mjs
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

const files = ['src', 'tests', 'wasm']
  .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true }).map((name) => join(folder, String(name))))
  .filter((name) => /\.[ch]$/.test(name));
const { status, stderr, error } = spawnSync('clang-format-19', ['--dry-run', '-Werror', ...files],
  { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 });
const wrong = new Set([...(stderr ?? '').matchAll(/^([^\s:]+):\d+:\d+: error/gm)].map(([, file]) => file));
for (const file of wrong) console.log(`FAIL ${file} is not formatted: run make format`);
if (error || (status !== 0 && wrong.size === 0)) {
  console.log(`clang-format-19 did not run: ${error ?? stderr}`);
  console.log(`0 passed, ${files.length} failed`);
} else {
  console.log(`${files.length - wrong.size} passed, ${wrong.size} failed`);
}
process.exitCode = error || status !== 0 ? 1 : 0;
