// Runs the suites of tests/suites.json and adds up what they counted:
//
//   node tests/run.mjs            all of them
//   node tests/run.mjs NAME...    those whose name contains one of the words
//   node tests/run.mjs --list     their names and what they need
//
// A suite is { name, needs, build?, each?, command, timeout?, use? }. `needs` are parts of wasm/toolchain.sh, installed first.
// `build` is a shell command that must succeed. `command` is run once, or, with `each` (a folder and file pattern like
// tests/unit/test_*.c), once per file with {} replaced by the file's name without folder and extension. Each run prints
// as its last line "N passed, N failed[, N skipped]" and ends with a status other than 0 if something failed.
//
// `use` says what a suite needs of the machine, and so which suites may run at the same time (USES). First come those that
// need it alone, one after the other. Then those that mostly wait (for timers, servers and browsers) run two at a time, and
// beside them, with the lowest priority, the others, one after the other: they compute, on all processors.
//
// A run that prints no such line, counts no case, ends badly or takes longer than its timeout (seconds, see USES)
// counts as a failure, so that a suite cannot pass by not running. Browsers and their drivers stall now and then: a suite that
// waits and takes too long runs once more, which is said; failures that it counts itself stand. After a failure the next suites
// still run. Outputs are stored in build/test-logs/. The last line is the sum; the exit status is 1 if anything failed.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const LOGS = join(ROOT, 'build/test-logs');
const COUNT = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/;
const SHOWN_LINES = 60; // of the output of a suite that failed
const LINES_AT_END = 4; // of it below the table
const SAID = /^\s*(skip|again:)/i; // lines of a suite that are shown though nothing failed
const GRACE = 3000; // ms for a suite's children to end by themselves

/** What a suite needs of the machine: the group that it runs in, how many of its kind run at a time, with which priority, the
 *  seconds after which a command of it hangs, and whether it may stall. Those that compute get what the others leave, which may
 *  be little.
 *  @type {Record<string, { group: number, atOnce: number, nice: number, timeout: number, stalls?: boolean }>} */
const USES = {
  alone: { group: 0, atOnce: 1, nice: 0, timeout: 900 },
  waits: { group: 1, atOnce: 2, nice: 0, timeout: 900, stalls: true },
  computes: { group: 1, atOnce: 1, nice: 19, timeout: 1800 }, // also where `use` is absent
};

/** In the environment of every process of a command, with the command's number, so that processes that are left behind can
 *  be found and ended. */
const MARK = `NUT_TEST_RUN=${randomUUID()}.`;
let begun = 0; // commands

/** Ids of the processes with the mark; not zombies, whose environment is empty. @param {string} mark */
function marked(mark) {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try { return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark); } catch { return false; }
  });
}

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

async function endMarked(mark, grace) {
  for (const end = Date.now() + grace; Date.now() < end && marked(mark).length > 0;) await pause(50);
  if (!marked(mark).length) await pause(20); // a process that becomes another program has no environment for a moment
  const left = marked(mark);
  for (const pid of left) {
    try { process.kill(Number(pid), 'SIGKILL'); } catch { /* it ended meanwhile */ }
  }
  return left.length;
}

/** A shell command with a priority, also among the sessions that Linux groups processes by (sched(7), autogroup). */
const atNice = (command, nice) =>
  nice ? `echo ${nice} 2> /dev/null > /proc/self/autogroup; renice -n ${nice} $$ > /dev/null; ${command}` : command;

/** Runs a shell command; resolves with its output (both streams), exit status, how long it took, and whether that was too
 *  long. */
function run(command, seconds, nice = 0) {
  return new Promise((done) => {
    const began = Date.now();
    const mark = `${MARK}${++begun}.`, [key, value] = mark.split('=');
    const child = spawn('bash', ['-c', atNice(command, nice)], {
      cwd: ROOT, detached: true, stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env, PATH: `${join(ROOT, '.toolchain/bin')}:${process.env.PATH}`,
        MAKEFLAGS: `-j${availableParallelism()}`, [key]: value,
      },
    });
    const chunks = [];
    let late = false;
    let timer = setTimeout(() => {
      late = true;
      try { process.kill(-Number(child.pid), 'SIGTERM'); } catch { /* it ended meanwhile */ }
      timer = setTimeout(() => endMarked(mark, 0), GRACE); // cleared at the end, or it would end the next suite
    }, seconds * 1000);
    child.stdout.on('data', (chunk) => chunks.push(chunk));
    child.stderr.on('data', (chunk) => chunks.push(chunk));
    child.on('error', (error) => chunks.push(Buffer.from(String(error))));
    // 'exit' instead of 'close': a child that is left behind may hold the pipes open.
    const closed = new Promise((close) => { child.on('close', close); });
    child.on('exit', async (status, signal) => {
      clearTimeout(timer);
      const left = await endMarked(mark, GRACE);
      // What was printed last may still be on its way.
      await Promise.race([closed, new Promise((later) => { setTimeout(later, GRACE).unref(); })]);
      if (left > 0) chunks.push(Buffer.from(`\n(ended ${left} processes that were left running)\n`));
      const output = Buffer.concat(chunks).toString();
      done({ output, status: status ?? signal, late, seconds: (Date.now() - began) / 1000 });
    });
  });
}

/** The counts of one run; `wrong` says why it counts as a failure. */
function counts(result, seconds) {
  const line = result.output.trimEnd().split('\n').reverse().map((text) => COUNT.exec(text.trim())).find(Boolean);
  const [passed, failed, skipped] = (line ?? []).slice(1).map((text) => Number(text ?? 0));
  const reason = result.late ? `took longer than ${seconds} s`
    : !line ? `printed no count (exit status ${result.status})`
      : passed + failed + skipped === 0 ? 'counted no case'
        : result.status !== 0 && failed === 0 ? `counted no failure but ended with status ${result.status}`
          : result.status === 0 && failed > 0 ? 'counted failures but ended with status 0' : '';
  const tally = { passed: passed ?? 0, failed: failed ?? 0, skipped: skipped ?? 0, wrong: reason };
  if (reason && tally.failed === 0) tally.failed = 1;
  return tally;
}

/** A command, and once more what stalled though it has nothing to compute. @param {string} command */
async function runOnceMore(command, seconds, { nice, stalls }) {
  const result = await run(command, seconds, nice);
  if (!stalls || !result.late) return result;
  console.log(`again: ${command} took longer than ${seconds} s; its output ended with:`);
  console.log(result.output.trimEnd().split('\n').slice(-LINES_AT_END).map((line) => '    ' + line).join('\n'));
  return run(command, seconds, nice);
}

/** Commands of a suite: one, or one per file that matches `each`. */
function commandsOf(suite) {
  if (!suite.each) return [suite.command];
  const pattern = new RegExp('^' + basename(suite.each).replaceAll('.', '\\.').replaceAll('*', '.*') + '$');
  const files = readdirSync(join(ROOT, dirname(suite.each))).filter((name) => pattern.test(name)).sort();
  return files.map((name) => suite.command.replaceAll('{}', name.replace(/\.[^.]*$/, '')));
}

let building = Promise.resolve();

/** One build at a time: two makes would write the same files.
 *  @template T @param {() => Promise<T>} build @returns {Promise<T>} */
function inTurn(build) {
  const built = building.then(build);
  building = built.then(() => {});
  return built;
}

/** Runs commands, as many at a time as there are processors. @returns their results, in order */
async function runAll(commands, seconds, use) {
  const results = [], left = commands.entries();
  const work = async () => { for (const [i, command] of left) results[i] = await runOnceMore(command, seconds, use); };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return results;
}

function show(title, output) {
  const lines = output.trimEnd().split('\n');
  console.log(`--- ${title}`);
  if (lines.length > SHOWN_LINES) console.log(`    ... ${lines.length - SHOWN_LINES} lines before`);
  console.log(lines.slice(-SHOWN_LINES).map((line) => '    ' + line).join('\n'));
}

/** @param {{ name: string, use?: string }} suite */
function usesOf({ name, use = 'computes' }) {
  if (!USES[use]) throw new Error(`${name}: "use" is ${use}, not one of ${Object.keys(USES).join(', ')}`);
  return USES[use];
}

async function runSuite(suite) {
  const use = usesOf(suite), seconds = suite.timeout ?? use.timeout;
  const sum = { name: suite.name, passed: 0, failed: 0, skipped: 0, seconds: 0, failures: [] };
  const started = Date.now();
  const log = [];
  const fail = (title, output) => {
    show(title, output);
    sum.failures.push({ title, output });
  };
  const built = suite.build ? await inTurn(() => run(suite.build, seconds, use.nice)) : { output: '', status: 0, seconds: 0 };
  log.push(`$ ${suite.build ?? ':'} # ${built.seconds.toFixed(1)} s\n${built.output}`);
  const commands = commandsOf(suite);
  if (built.status !== 0) {
    sum.failed++;
    fail(`${suite.name}: does not build: ${suite.build}`, built.output);
  } else if (commands.length === 0) {
    sum.failed++;
    fail(`${suite.name}: no file matches ${suite.each}`, '');
  } else {
    for (const [i, result] of (await runAll(commands, seconds, use)).entries()) {
      const command = commands[i], tally = counts(result, seconds);
      log.push(`$ ${command} # ${result.seconds.toFixed(1)} s\n${result.output}`);
      for (const key of /** @type {const} */ (['passed', 'failed', 'skipped'])) sum[key] += tally[key];
      if (tally.failed > 0) fail(`${suite.name}: ${command}${tally.wrong ? `: ${tally.wrong}` : ''}`, result.output);
      else {
        const said = result.output.split('\n').filter((line) => SAID.test(line));
        if (said.length > 0) show(`${suite.name}: ${command}: ${tally.skipped} skipped`, said.join('\n'));
      }
    }
  }
  sum.seconds = (Date.now() - started) / 1000;
  writeFileSync(join(LOGS, suite.name.replace(/\W+/g, '-') + '.log'), log.join('\n'));
  return sum;
}

/** Runs the suites of each group, kind by kind at the same time. @returns {Promise<any[]>} their sums, in the table's order */
async function runSuites(suites) {
  const sums = [];
  for (const group of [...new Set(Object.values(USES).map(({ group }) => group))]) {
    await Promise.all(Object.values(USES).filter((use) => use.group === group).flatMap((use) => {
      const left = [...suites.entries()].filter(([, suite]) => usesOf(suite) === use).values();
      const work = async () => { for (const [i, suite] of left) sums[i] = await runSuite(suite); };
      return Array.from({ length: use.atOnce }, work);
    }));
  }
  return sums;
}

function printTable(sums) {
  const width = Math.max(5, ...sums.map((sum) => sum.name.length));
  const row = (name, ...cells) =>
    console.log(name.padEnd(width) + cells.map((cell) => String(cell).padStart(9)).join(''));
  console.log('');
  row('suite', 'passed', 'failed', 'skipped', 'seconds');
  for (const { name, passed, failed, skipped, seconds } of sums) row(name, passed, failed, skipped, seconds.toFixed(1));
  console.log('');
}

/** Failures once more below the table: who sees only the end of a long output must see what failed. */
function printFailures(sums) {
  for (const { title, output } of sums.flatMap(({ failures }) => failures)) {
    console.log(`failed: ${title}`);
    const lines = output.trimEnd().split('\n');
    const told = lines.filter((line) => /fail|error/i.test(line) && !COUNT.test(line.trim()));
    for (const line of (told.length ? told : lines).slice(-LINES_AT_END)) console.log('    ' + line);
  }
}

async function main(words) {
  const all = JSON.parse(readFileSync(process.env.NUT_SUITES ?? join(ROOT, 'tests/suites.json'), 'utf8'));
  if (words[0] === '--list') {
    for (const { name, needs } of all) console.log(`${name}${needs.length ? ` (${needs.join(', ')})` : ''}`);
    return 0;
  }
  const suites = all.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
  mkdirSync(LOGS, { recursive: true });
  const parts = [...new Set(suites.flatMap((suite) => suite.needs))];
  if (parts.length > 0) {
    const setUp = await run(`wasm/toolchain.sh ${parts.join(' ')}`, 1800);
    if (setUp.output) console.log(setUp.output.trimEnd());
    if (setUp.status !== 0) console.log('The set-up failed: suites that need what is missing will fail.');
  }
  const started = Date.now(), sums = await runSuites(suites);
  printTable(sums);
  printFailures(sums);
  console.log(`all in ${((Date.now() - started) / 60000).toFixed(1)} minutes`);
  const total = (key) => sums.reduce((sum, suite) => sum + suite[key], 0);
  const [passed, failed, skipped] = [total('passed'), total('failed'), total('skipped')];
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
  return failed > 0 || passed + skipped === 0 ? 1 : 0;
}

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => endMarked(MARK, 0).then(() => process.exit(1)));
}
process.exitCode = await main(process.argv.slice(2));
