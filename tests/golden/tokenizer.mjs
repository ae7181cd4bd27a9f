// Writes tests/golden/tokenizer.h: llama.cpp's ids with each pre-tokenizer, on GPT-2's vocabulary with the name of its
// pre-tokenizer replaced. Needs the packages of tests/peers and the vocabularies of the data folder.
//
//   node tests/golden/tokenizer.mjs NODE_MODULES > tests/golden/tokenizer.h
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const modules = resolve(process.argv[2]);
const { getLlama, LlamaLogLevel } = await import(join(modules, 'node-llama-cpp/dist/index.js'));
const { version } = JSON.parse(readFileSync(join(modules, 'node-llama-cpp/package.json'), 'utf8'));
const vocabulary = readFileSync(join(process.env.NUT_DATA ?? '../shared/data', 'vocab/gpt-2.gguf'));
const folder = mkdtempSync(join(tmpdir(), 'tokenizer-'));

const PRETOKS = ['default', 'gpt-2', 'smollm', 'llama-bpe', 'qwen2'];
// The models' own tokenizers bring the text into this form; llama.cpp does not.
const FORM_C = ['qwen2'];
const TEXTS = [
  'Hello, world!  It\'s 2024-05-17; isn\'t it?', ' 3.14159 12 345 6789 1000000', 'x=1234567890;y^=~z|w<<2>>1',
  "'Sword' 'LLama 'Ve don'T we'RE", '  two  spaces\n\n \n lines \r\n\ttabs\t\t.', 'end in spaces   ', '\n\n\n',
  ' \u00a0\u3000wide\u2028line\u0085next', '«Größe» ¿qué? ½ Ⅷ ٣ ² 𝟘', '日本語テキスト、123円。',
  'e\u0301 नमस्ते กำ \u200d👩\u200d👧 🇩🇪!!', '(a+b)*c/[d]{e}\\f"g\'h`i`', '\u0001\u001c\u007f\u200b\u00ad\ufffd',
  '$5.00 #1 @me 50% a_b --- ...', '1a2b33c444d5555',
  'a!!\n\nb ...\r\n c?\n', ' `. ``a` +`+',
];

/** The file with the value of tokenizer.ggml.pre replaced. */
function withPre(name) {
  const key = Buffer.from('tokenizer.ggml.pre');
  const value = vocabulary.indexOf(key) + key.length + 4;
  const old = Number(vocabulary.readBigUInt64LE(value));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(name.length));
  const behind = vocabulary.subarray(value + 8 + old);
  return Buffer.concat([vocabulary.subarray(0, value), length, Buffer.from(name), behind]);
}

/** A byte inside a C string literal; what is not plain becomes an octal escape of three digits, which ends by itself. */
function escaped(byte) {
  const plain = byte >= 0x20 && byte <= 0x7e && !'"\\?'.includes(String.fromCharCode(byte));
  return plain ? String.fromCharCode(byte) : '\\' + byte.toString(8).padStart(3, '0');
}

/** A C string literal in parts, so that lines stay short. */
function literal(text, indent) {
  const lines = [''];
  for (const byte of Buffer.from(text)) {
    if (lines[lines.length - 1].length > 88) lines.push('');
    lines[lines.length - 1] += escaped(byte);
  }
  return lines.map((line) => `"${line}"`).join('\n' + ' '.repeat(indent));
}

const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
const out = [`/* Written by tokenizer.mjs: ids of llama.cpp (node-llama-cpp ${version}) on GPT-2's vocabulary with other names
 * of the pre-tokenizer, without special tokens; for qwen2 of the texts in normalization form C. One string of
 * ids per text. */
// clang-format off
static const char *const golden_texts[] = {
${TEXTS.map((text) => `    ${literal(text, 4)},`).join('\n')}
};

typedef struct golden_pretok_case {
    const char *pre;
    const char *ids[${TEXTS.length}];
} golden_pretok_case;

static const golden_pretok_case golden_pretok[] = {`];
for (const pre of PRETOKS) {
  const file = join(folder, `${pre}.gguf`);
  writeFileSync(file, withPre(pre));
  const model = await llama.loadModel({ modelPath: file, vocabOnly: true });
  const texts = FORM_C.includes(pre) ? TEXTS.map((text) => text.normalize('NFC')) : TEXTS;
  const ids = texts.map((text) => literal(model.tokenize(text, false).join(' '), 8));
  out.push(`    {"${pre}", {`, ...ids.map((line) => `        ${line},`), '    }},');
}
out.push('};');
rmSync(folder, { recursive: true });
process.stdout.write(out.join('\n') + '\n', () => process.exit(0));
