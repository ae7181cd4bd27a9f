// The types of JavaScript, checked by tsc: node tests/lint/types.mjs
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const FOLDERS = ['web', 'demo'];

let failed = 0;
for (const folder of FOLDERS) {
  const { status, stdout, error } = spawnSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', join(ROOT, folder)],
    { encoding: 'utf8' });
  if (status === 0) continue;
  failed++;
  console.log(`FAIL types of ${folder}/: ${error ?? stdout}`);
}
console.log(`${FOLDERS.length - failed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
