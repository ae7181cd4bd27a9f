// What a teacher gives to a smaller model: students of a half and a quarter of stories260K's parameters learn from
// stories, by each kind of distillation at as many steps, and from the text alone; docs/training.md has the table.
//
//   node tests/bench/students.mjs [--steps 300] [--only 'NAME;NAME']
//
// The students are the teacher without three layers, and without four and 40 % of the last one's channels. Needs
// build/native/nutshell and the data folder ($NUT_DATA or ../shared/data). A row takes seconds to half a minute of one core.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const DATA = process.env.NUT_DATA ?? '../shared/data', WORK = 'build/students';
const TEACHER = join(DATA, 'models/stories260K-f32.gguf'), TEXT = join(DATA, 'text/tinystories-2MB-cased.txt');

const STUDENTS = [
  { name: 'half', recipe: [{ step: 'layers', remove: 3 }] },
  { name: 'quarter', recipe: [{ step: 'layers', remove: 4 }, { step: 'channels', share: 0.4 }] },
];

/** Options of training, beside those that all have. @type {Record<string, object>} */
const WAYS = {
  text: {},
  kl: { divergence: 'kl' },
  token_kl: { divergence: 'token_kl' },
  reverse_kl: { divergence: 'reverse_kl' },
  jsd: { divergence: 'jsd' },
  'kl, hidden': { divergence: 'kl', hint: 'hidden', hint_weight: 0.3 },
  'kl, attention': { divergence: 'kl', hint: 'attention', hint_weight: 0.3 },
  'kl, relations': { divergence: 'kl', hint: 'relations', hint_weight: 0.3 },
  'kl, on policy': { divergence: 'kl', on_policy: 0.25 },
  minillm: { divergence: 'minillm', on_policy: 0.25 },
  'jsd, on policy': { divergence: 'jsd', on_policy: 0.25 },
};

const at = (name) => join(WORK, name);

/** What the shell says beside its results. @param {string[]} args */
function nutshell(...args) {
  const run = spawnSync('build/native/nutshell', args, { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(run.stderr.slice(-600));
  return run.stderr;
}

/** A student's file. @param {{ name: string, recipe: object[] }} student */
function makeStudent({ name, recipe }) {
  const out = at(`${name}.gguf`);
  writeFileSync(at(`${name}.json`), JSON.stringify(recipe));
  if (!existsSync(out)) nutshell('compress', TEACHER, out, '--recipe', at(`${name}.json`));
  return out;
}

/** Nats a token of what is held out, before and after. @param {string} model @param {object} options @param {number} steps */
function train(model, options, steps) {
  const recipe = { model, text: TEXT, output: at('run.gguf'), steps, batch: 4, window: 128, rate: 0.003, held_out: 0.01,
    evaluate: steps, checkpoint: steps, ...(Object.keys(options).length ? { teacher: TEACHER } : {}), ...options };
  writeFileSync(at('run.json'), JSON.stringify(recipe));
  rmSync(at('run.gguf.state'), { force: true });
  const began = Date.now(), said = /([\d.]+) nats a token before, ([\d.]+) after/.exec(nutshell('train', at('run.json')));
  if (!said) throw new Error('training says no result');
  return { before: said[1], after: said[2], seconds: ((Date.now() - began) / 1000).toFixed(1) };
}

const { values } = parseArgs({ options: { steps: { type: 'string', default: '300' }, only: { type: 'string' } } });
const ways = Object.keys(WAYS).filter((way) => !values.only || values.only.split(';').includes(way));
mkdirSync(WORK, { recursive: true });
console.log('student,way,before,after,seconds');
for (const student of STUDENTS) {
  const model = makeStudent(student);
  for (const way of ways) {
    const { before, after, seconds } = train(model, WAYS[way], Number(values.steps));
    console.log(`${student.name},"${way}",${before},${after},${seconds}`);
  }
}
