// llama.cpp without AMX. Some servers have this matrix unit; browsers and most laptops cannot use it, and with it llama.cpp
// reads prompts several times as fast as with AVX-512 VNNI. For a fair comparison this makes a second copy of the same package
// without the library that has the AMX code; llama.cpp then picks the best library that is left.
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const COPIED = ['node-llama-cpp', '@node-llama-cpp/linux-x64']; // they find each other by where they are; the rest is linked
const LEFT_OUT = ['libggml-cpu-sapphirerapids.so', 'gitRelease.bundle']; // the AMX code; 34 MB of sources

/** Whether llama.cpp would use AMX on this machine. */
export function hasAmx() {
  try {
    return /\bamx_int8\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}

/**
 * @param {string} packages  folder of the installed packages
 * @param {string} folder    of the copy, which replaces an older one
 * @returns {string} folder of the copied packages
 */
export function layOutWithoutAmx(packages, folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(packages)) {
    if (!COPIED.some((copied) => copied.split('/')[0] === name)) symlinkSync(join(packages, name), join(folder, name));
  }
  for (const name of COPIED) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    cpSync(join(packages, name), join(folder, name), { recursive: true, filter: (path) => !LEFT_OUT.includes(basename(path)) });
  }
  return folder;
}
