// Memory and processor time of the processes behind a page, from Linux.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';

/** @typedef {import('./drivers.mjs').Browser} Browser */

const TICKS = 100; // of /proc/PID/stat per second: USER_HZ, the same on all current Linux machines

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
 * The processes of which one runs the page. Empty where the driver does not know the browser's processes.
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

/** Current and peak memory of a process. @param {number} pid */
export const memory = (pid) => ({ now: bytes(pid, 'VmRSS'), peak: bytes(pid, 'VmHWM') });

/** Resets the peak, unless the process is gone. @param {number} pid */
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
