// docs/models.md, of what the tests find: the families of the architecture table, and how far each model of the conformance set
// is from the values of another implementation.
//
//   node tests/models-doc.mjs           checks that the page lists every family, and that no model is further off than it says
//   node tests/models-doc.mjs --write   writes the page
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { check, ensure, equal, finish, skip } from './browser/harness.mjs';

const PAGE = 'docs/models.md', DATA = `${process.env.NUT_DATA ?? '../shared/data'}/conformance`;
const OWN = ['tests/golden/conformance', 'tests/golden/families'];

const families = [...readFileSync('src/model/arch.c', 'utf8').matchAll(/^ {4}X\("([^"]+)"/gm)].map((m) => m[1]);

/** The family of a model of the set: its JSON says it. @param {string} model */
function aboutModel(model) {
  const folder = [DATA, ...OWN].find((path) => existsSync(`${path}/${model}.json`));
  return JSON.parse(readFileSync(`${folder}/${model}.json`, 'utf8').replace(/\bInfinity\b/g, '1e999'));
}

/** What test_conformance finds: how far each model is off on each path, over the deviation of its values. */
function measure() {
  const out = execFileSync('build/native/test_conformance', ['-v'], { encoding: 'utf8', maxBuffer: 1 << 24 });
  const rows = [...out.matchAll(/^(\S+) +reference (\S+), fast (\S+), q8_0 (\S+)$/gm)]
    .map(([, model, ...far]) => ({ model, far: far.map(Number) }));
  return new Map(rows.map((row) => [row.model, row])); // a model of both folders: the whole one, which comes last
}

/** The next larger of 1, 2 and 5 times a power of ten, so that another machine's rounding does not change the page. */
function bound(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 5, 10].map((n) => n * power).find((limit) => 1.25 * x <= limit) ?? 20 * power;
}
const text = (x) => bound(x).toExponential(0);

const HEAD = `# Models

Which families of models run, and how that was verified. Made by \`tests/models-doc.mjs\` of what
\`tests/unit/test_conformance.c\` finds; do not edit.

A family is \`general.architecture\` of a file. Each model of the conformance set is tiny and has random
weights; another implementation computed its logits, or its rows where it is an encoder, and the scores of a
reranker, in float64 (families.py: \`tests/golden/families.py\`, after the authors' code). The largest
difference of all positions, divided by the deviation of the expected values, is below what the table says: on
the reference path (\`--reference\`, floats) and on the fast one (SIMD kernels, integers in the cache). The same
holds id by id, in odd batches, after a rewind, and with two sequences in one step; greedy tokens are equal.

With matrices rounded to Q8_0 and kernels of 8-bit integers the median of the positions is given: what it may
be is 0.1, or what llama.cpp, which rounds alike, has with the same file (\`tests/golden/q8_0.mjs\`).
The same test runs natively, under wasmtime and in Chromium.

Models like these with other sizes and options (\`tests/peers/variants-test.mjs\`) have the probabilities that
llama.cpp gives. Every family, also one without such a model, is run with odd sizes by
\`tests/unit/test_families.c\`: the same bits in one batch, token by token and after a rewind. Families whose
names begin with \`nutshell\` are our own ([format.md](format.md#families-of-our-own)).

| family | model | values by | reference path | fast path | Q8_0 |
|---|---|---|---|---|---|
`;

/** @param {string} family @param {any[]} rows those of its models */
function lines(family, rows) {
  if (!rows.length) return [`| ${family} | – | – | – | – | – |`];
  return rows.map(({ about, far }) => {
    const [program] = String(about.source.program ?? about.source).split(/[,;(]/);
    return `| ${family} | ${about.variant} | ${program.trim()} | ${far.map(text).join(' | ')} |`;
  });
}

function page(measured) {
  const rows = [...measured.values()].map((row) => ({ ...row, about: aboutModel(row.model) }));
  const of = (family) => rows.filter((row) => row.about.arch === family).sort((a, b) => (a.model < b.model ? -1 : 1));
  return HEAD + families.flatMap((family) => lines(family, of(family))).join('\n') + '\n';
}

const measured = measure();
if (process.argv.includes('--write')) {
  ensure(existsSync(DATA), `${DATA} is missing`);
  writeFileSync(PAGE, page(measured));
} else {
  const rows = [...readFileSync(PAGE, 'utf8').matchAll(/^\| (\S+) \| (\S+) \| [^|]* \| (\S+) \| (\S+) \| (\S+) \|$/gm)];
  await check('every family is listed', () => {
    const listed = new Set(rows.map((row) => row[1]));
    equal(families.filter((family) => !listed.has(family)), [], 'families that are missing:');
  });
  await check('models are as near as the page says', () => {
    const said = new Map(rows.map(([, family, variant, ...figures]) => [`${family}-${variant}`, figures.map(Number)]));
    for (const { model, far } of measured.values()) {
      const limits = said.get(model);
      ensure(limits && far.every((x, i) => x <= limits[i]), `${model}: ${far}`);
    }
  });
  if (!existsSync(DATA)) skip('the whole conformance set', `${DATA} is missing`);
  finish();
}
