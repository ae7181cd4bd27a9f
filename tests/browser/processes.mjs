// What the processes behind a page use, as Linux tells it: memory and processor time.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';

/** @typedef {import('./drivers.mjs').Browser} Browser */

const TICKS = 100; // of /proc/PID/stat in a second: USER_HZ, the same on all Linux machines of today

/** A file of a process; '' once the process is gone. @param {number} pid @param {string} name */
function read(pid, name) {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return '';
  }
}

/** The fields of stat from the third on: the second, a name, may hold spaces. @param {number} pid */
const stat = (pid) => read(pid, 'stat').split(') ').pop()?.split(' ') ?? [];

/** @param {number} pid */
function descendants(pid) {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = all.map((one) => [one, Number(stat(one)[1])]);
  const found = [pid];
  for (const known of found) found.push(...parents.filter(([, parent]) => parent === known).map(([child]) => child));
  return found.slice(1);
}

/**
 * The processes that may run the page; it is one of them. Empty where the driver does not tell the browser's processes.
 * @param {Browser} browser @returns {Promise<number[]>}
 */
export async function renderers(browser) {
  if (browser.name === 'chromium') {
    const control = await browser.page.context().browser().newBrowserCDPSession();
    const { processInfo } = await control.send('SystemInfo.getProcessInfo');
    return processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
  }
  return browser.name === 'firefox' ? descendants(browser.page.browser().process().pid) : [];
}

/** The processes that run pages. @param {{ pid: number, pages: string }} browser  of undriven.mjs */
export const renderersOf = ({ pid, pages }) => descendants(pid).filter((one) => read(one, 'cmdline').includes(pages));

/** @param {number} pid @param {'VmRSS' | 'VmHWM'} field */
const bytes = (pid, field) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(read(pid, 'status'))?.[1] ?? 0);

/** What a process holds now, and held at most. @param {number} pid */
export const memory = (pid) => ({ now: bytes(pid, 'VmRSS'), peak: bytes(pid, 'VmHWM') });

/** Lets the peak be counted from now on, unless the process is gone. @param {number} pid */
export function forgetPeak(pid) {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch (error) {
    if (read(pid, 'status')) throw error;
  }
}

/** Seconds that all threads of these processes have worked. @param {number[]} pids */
export const cpuSeconds = (pids) =>
  pids.reduce((sum, pid) => sum + (Number(stat(pid)[11] ?? 0) + Number(stat(pid)[12] ?? 0)) / TICKS, 0);
