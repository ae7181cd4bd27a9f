// Writes tests/golden/special.h: which tokens llama.cpp takes for special by their texts. Each case is a byte-pair vocabulary:
// a token for each byte, and behind them tokens of one type. Needs the packages of tests/peers.
//
//   node tests/golden/special.mjs NODE_MODULES > tests/golden/special.h
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const modules = resolve(process.argv[2]);
const { getLlama, LlamaLogLevel } = await import(join(modules, 'node-llama-cpp/dist/index.js'));
const { version } = JSON.parse(readFileSync(join(modules, 'node-llama-cpp/package.json'), 'utf8'));
const { release } = JSON.parse(
  readFileSync(join(modules, 'node-llama-cpp/llama/binariesGithubRelease.json'), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'special-'));

const NORMAL = 1, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5; // tokenizer.ggml.token_type
const TEXTS = ['<|eot_id|>', '<|eom_id|>', '<|im_end|>', '<|end|>', '<|endoftext|>', '<|end_of_text|>', '<end_of_turn>',
  '<end_of_utterance>', '<turn|>', '<|tool_response>', '<|return|>', '<|call|>', '<|calls|>', '<|flush|>',
  '<｜end▁of▁sentence｜>', '</s>', '<eos>', '[EOS]', '[EOT]', '[e~[', '<EOT>', '_<EOT>',
  '<|fim_prefix|>', '<fim-prefix>', '<fim_prefix>', '<｜fim▁begin｜>', '<PRE>', '▁<PRE>', '<|code_prefix|>', '<|prefix|>',
  '<|fim_suffix|>', '<fim-suffix>', '<fim_suffix>', '<｜fim▁hole｜>', '<SUF>', '▁<SUF>', '<|code_suffix|>', '<|suffix|>',
  '<|fim_middle|>', '<fim-middle>', '<fim_middle>', '<｜fim▁end｜>', '<MID>', '▁<MID>', '<|code_middle|>', '<|middle|>',
  '<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]',
  '<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>', '<|file_sep|>',
  '<|channel|>', '<|message|>', '<|start|>', '<|constrain|>',
  '<s>', '<unk>', '<|im_start|>', '<start_of_turn>', '<|user|>', '[INST]', '<|other|>'];
/** @type {[number, string[]][]} */
const CASES = [
  ...TEXTS.map((text) => [NORMAL, [text]]),
  ...['<|im_end|>', '<|fim_prefix|>', '<|channel|>', '<s>'].flatMap((text) =>
    [CONTROL, USER_DEFINED, UNUSED].map((type) => [type, [text]])),
  [NORMAL, ['<|end|>', '<|return|>', '<|call|>']],
  [NORMAL, ['<|end|>', '<|calls|>', '<|flush|>']],
  [NORMAL, ['<|end|>', '<|call|>', '<|flush|>']],
  [NORMAL, ['<|end|>', '<|call|>', '<|calls|>']],
  [CONTROL, ['<|end|>', '<|return|>']],
  [NORMAL, ['</s>', '<|tool_response>']],
  [CONTROL, ['</s>', '<eos>']],
];

const number = (value, size) => {
  const bytes = Buffer.alloc(size);
  bytes.writeUIntLE(value, 0, Math.min(size, 6));
  return bytes;
};
const text = (s) => Buffer.concat([number(Buffer.byteLength(s), 8), Buffer.from(s)]);
const U32 = 4, I32 = 5, STRING = 8, ARRAY = 9;
const entry = (key, type, ...value) => Buffer.concat([text(key), number(type, 4), ...value]);
const array = (key, type, list) => entry(key, ARRAY, number(type, 4), number(list.length, 8), ...list);

/** GPT-2's characters of all bytes. */
function byteCharacters() {
  const printable = (b) => (b > 32 && b < 127) || (b > 160 && b !== 173);
  let shifted = 0;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : 256 + shifted++));
}

function vocabulary(type, texts) {
  const tokens = [...byteCharacters(), ...texts];
  const entries = [
    entry('general.architecture', STRING, text('llama')), entry('tokenizer.ggml.model', STRING, text('gpt2')),
    entry('tokenizer.ggml.pre', STRING, text('gpt-2')), array('tokenizer.ggml.tokens', STRING, tokens.map(text)),
    array('tokenizer.ggml.token_type', I32, tokens.map((_, i) => number(i < 256 ? NORMAL : type, 4))),
    array('tokenizer.ggml.merges', STRING, [text('a b')]), entry('tokenizer.ggml.eos_token_id', U32, number(0, 4)),
  ];
  return Buffer.concat([Buffer.from('GGUF'), number(3, 4), number(0, 8), number(entries.length, 8), ...entries]);
}

/** What llama.cpp says of a token: E it ends a generation, C it is a control token, U it is user-defined. */
function said(model, id) {
  const { control, userDefined } = model.getTokenAttributes(id);
  return (model._model.isEogToken(id) ? 'E' : '') + (control ? 'C' : userDefined ? 'U' : '');
}

const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.disabled });
const list = (strings) => `{${strings.map((s) => `"${s}"`).join(', ')}}`;
const out = [`/* Written by special.mjs: which tokens llama.cpp ${release} (node-llama-cpp ${version}) takes for special
 * by their texts. E: ends a generation; C: control token; U: user-defined. */
// clang-format off
typedef struct golden_special_case {
    int type; // of all the texts in the file
    const char *texts[3], *said[3];
} golden_special_case;

static const golden_special_case golden_special[] = {`];
for (const [i, [type, texts]] of CASES.entries()) {
  const file = join(folder, `${i}.gguf`);
  writeFileSync(file, vocabulary(type, texts));
  const model = await llama.loadModel({ modelPath: file, vocabOnly: true });
  out.push(`    {${type}, ${list(texts)}, ${list(texts.map((_, k) => said(model, 256 + k)))}},`);
}
out.push('};');
rmSync(folder, { recursive: true });
process.stdout.write(out.join('\n') + '\n', () => process.exit(0));
