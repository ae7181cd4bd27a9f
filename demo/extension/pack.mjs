// Writes the extension to build/extension/: its own files, the library's and the small model. A browser loads
// that folder ("Load unpacked" in Chromium, "Load Temporary Add-on" in Firefox); a store takes it as a zip
// file.
//
//   node demo/extension/pack.mjs [FOLDER]
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../..');
const OWN = ['manifest.json', 'background.js', 'panel.html', 'panel.css', 'panel.js', 'icon128.png'];
const MODEL = 'nutshell-tiny-q8_0.gguf';
/** The script, the worker, what it fetches later, and all engine modules, since the browser decides which one
 * runs. */
const LIBRARY = /^(nutshell\.js|nutshell-(worker|cache|chat)\.mjs|nutshell-(simd128|relaxed|chat).*\.wasm|LICENSES\.txt)$/;

/** Copies the extension to `folder`, which is emptied first; returns its path. */
export function pack(folder = join(ROOT, 'build/extension')) {
  const dist = join(ROOT, 'dist');
  const shipped = existsSync(dist) ? readdirSync(dist).filter((name) => LIBRARY.test(name)) : [];
  for (const name of ['nutshell.js', MODEL]) {
    if (!existsSync(join(dist, name))) throw new Error(`dist/${name} is missing: make dist builds the library`);
  }
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of OWN) copyFileSync(join(ROOT, 'demo/extension', name), join(folder, name));
  for (const name of [...shipped, MODEL]) copyFileSync(join(dist, name), join(folder, name));
  return folder;
}

if (resolve(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) {
  const folder = pack(process.argv[2] && resolve(process.argv[2]));
  console.log(`The extension is in ${relative('.', folder)}: load it unpacked in chrome://extensions.`);
}
