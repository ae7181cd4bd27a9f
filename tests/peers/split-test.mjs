// Split models between llama.cpp and us. What its llama-gguf-split writes is read here and gives the text of the whole model;
// tests/browser/parts.mjs writes the same bytes, and llama.cpp reads them. The tool is compiled from llama.cpp's source, which
// is in node-llama-cpp as a git bundle, with the libraries of the same package.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { check, ensure, equal, finish } from '../browser/harness.mjs';
import { inParts, partName } from '../browser/parts.mjs';

const PEERS = resolve('.toolchain/peers/node_modules');
const WORK = resolve('build/split-test');
const TOOL = join(WORK, 'llama-gguf-split');
const TINY = 'dist/nutshell-tiny-q8_0.gguf';
const PROMPT = 'Once upon a time';
const SPLITS = [
  ['by tensors', ['--split-max-tensors', '12'], { maxTensors: 12 }],
  ['with metadata alone in the first', ['--split-max-tensors', '20', '--no-tensor-first-split'],
    { maxTensors: 20, emptyFirst: true }],
  ['one', ['--split-max-tensors', '100'], { maxTensors: 100 }],
  ['by size', ['--split-max-size', '1M'], null],
];
rmSync(WORK, { recursive: true, force: true });
mkdirSync(WORK, { recursive: true });

const quiet = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
const nutshell = (...args) => execFileSync('build/native/nutshell', args, quiet);

function buildTool() {
  const source = join(WORK, 'source'), libraries = join(PEERS, '@node-llama-cpp/linux-x64/bins/linux-x64');
  const git = (...args) => execFileSync('git', args, quiet);
  git('clone', '--quiet', '--no-checkout', join(PEERS, 'node-llama-cpp/llama/gitRelease.bundle'), source);
  git('-C', source, 'checkout', '--quiet', 'HEAD', '--', 'include', 'common', 'ggml/include', 'tools/gguf-split');
  const names = readdirSync(libraries).filter((name) => /^lib(llama|ggml)(-common|-base)?(\.v.*)?\.so$/.test(name));
  const headers = ['include', 'common', 'ggml/include'].map((name) => `-I${join(source, name)}`);
  execFileSync('clang++-19', ['-std=c++17', '-O1', ...headers, join(source, 'tools/gguf-split/gguf-split.cpp'), `-L${libraries}`,
    ...names.map((name) => `-l:${name}`), `-Wl,-rpath,${libraries}`, '-o', TOOL], quiet);
}

/** Facts and texts of a model, as the shell prints them, for two seeds. */
function told(path) {
  const { file_bytes: bytes, ...info } = JSON.parse(nutshell('info', path, '--json'));
  ensure(bytes > 10_000, `${bytes} bytes`);
  return [info, ...['1', '2'].map((seed) => JSON.parse(
    nutshell('run', path, PROMPT, '--seed', seed, '--max-tokens', '40', '--ignore-eos', '--json')).ids)];
}

/** Splits with llama.cpp's tool; paths in order. */
function split(model, name, options) {
  const folder = join(WORK, name);
  mkdirSync(folder);
  execFileSync(TOOL, [...options, model, join(folder, 'model')], quiet);
  const files = readdirSync(folder).sort();
  equal(files, files.map((_, i) => partName('model', i, files.length)), 'names:');
  return files.map((file) => join(folder, file));
}

await check('llama-gguf-split compiles', buildTool);

for (const [i, [what, options, same]] of SPLITS.entries()) {
  await check(`llama.cpp's files, ${what}`, () => {
    const paths = split(TINY, `theirs${i}`, options);
    ensure(paths.length > 1 || what === 'one', `${paths.length} files`);
    equal(told(paths[0]), told(TINY), 'the whole model');
    const merged = join(WORK, `merged${i}.gguf`);
    execFileSync(TOOL, ['--merge', paths[0], merged], quiet);
    equal(told(merged), told(TINY), 'merged again');
    if (!same) return;
    const files = inParts(readFileSync(TINY), same);
    equal(files.length, paths.length, 'files');
    files.forEach((bytes, k) => ensure(bytes.equals(readFileSync(paths[k])), `file ${k + 1} of parts.mjs is another`));
  });
}

// Types of our own (docs/format.md), which ggml must not take for its own.
await check('ggml refuses coded tensors by their type', () => {
  const floats = join(WORK, 'floats.gguf'), coded = join(WORK, 'coded.gguf');
  execFileSync('build/native/nutshell', ['quantize', TINY, floats, '--type', 'f32'], quiet);
  execFileSync('build/native/nutshell', ['quantize', floats, coded, '--method', 'coded', '--type', 'coded_4'], quiet);
  const { status, stderr } = spawnSync(TOOL, ['--split', '--split-max-tensors', '20', coded, join(WORK, 'none')],
    { encoding: 'utf8' });
  ensure(status !== 0 && /invalid ggml type 13142149\d\d/.test(stderr), stderr.slice(-500));
});

for (const [family, type] of [['llama', 'q4_k'], ['qwen2', 'f16'], ['qwen3', 'q5_1']]) {
  await check(`llama.cpp's files of a ${family} model in ${type}`, () => {
    const whole = join(WORK, `${family}.gguf`);
    execFileSync('build/native/make_model', [family, type, whole]);
    for (const [i, [what, options]] of SPLITS.slice(0, 2).entries()) {
      const paths = split(whole, `${family}${i}`, options);
      ensure(paths.length > 2, `${paths.length} files`);
      equal(told(paths[0]), told(whole), what);
    }
  });
}

await check('llama.cpp reads files of parts.mjs', async () => {
  const { getLlama, LlamaLogLevel } = await import(pathToFileURL(join(PEERS, 'node-llama-cpp/dist/index.js')).href);
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
  const write = async (path) => {
    const model = await llama.loadModel({ modelPath: resolve(path) });
    const context = await model.createContext({ contextSize: 256, threads: 1 });
    const ids = [model.tokens.bos, ...model.tokenize(PROMPT)], drawn = [], chances = [];
    const answers = context.getSequence()
      .evaluateWithMetadata(ids, { probabilities: true }, { temperature: 0, yieldEogToken: true });
    while (drawn.length < 40) {
      const { value } = await answers.next();
      drawn.push(value.token);
      chances.push([...value.probabilities.values()].slice(0, 10));
    }
    await answers.return();
    await model.dispose();
    return { drawn, chances };
  };
  const expected = await write(TINY);
  equal(new Set(expected.drawn).size > 10, true, 'different tokens:');
  for (const [i, [what, , options]] of SPLITS.slice(0, 3).entries()) {
    const files = inParts(readFileSync(TINY), options);
    const paths = files.map((bytes, k) => {
      const path = join(WORK, partName(`ours${i}`, k, files.length));
      writeFileSync(path, bytes);
      return path;
    });
    equal(await write(paths[0]), expected, what);
  }
});

finish();
process.exit();
