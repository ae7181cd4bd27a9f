#!/usr/bin/env python3
"""Writes tests/golden/pretok.h: texts cut into words by the published regular expressions of pre-tokenizers.

usage: pip install regex && python3 tests/golden/pretok.py > tests/golden/pretok.h

The expressions are from the models' own tokenizer.json (GPT-2, SmolLM2, Llama 3, Qwen2), that of "default" from
llama.cpp; the regex package evaluates them.
"""
import random
import regex

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
STAGES = {
    'default': [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    'gpt-2': [GPT2],
    'smollm': [r"\p{N}", GPT2],
    'llama-bpe': [LLAMA3.replace('DIGITS', '3')],
    'qwen2': [LLAMA3.replace('{1,DIGITS}', '')],
}
ATOMS = [*'aZs\'\'tMdLreVl  \t\n\r 0123!?.,-_+=<^~|`$"', '\u00a0', '\u3000', '\u0085', '\u200b', 'é', '日', 'ह', 'ि',
         '\u0301', '½', 'Ⅷ', '٣', '😀', '«', '…', '\x01', '\x1c', "'s", "'LL", ' the', '123', '\n\n', '  ', 'foo',
         '...']
TEXTS = ['', ' ', 'a', 'Hello  world!!\n\n\n  ok \n', "it's IT'S we'Ll 'x 'dog", '1234567 12 3', '...\r\n\r\n x',
         '\t\tif (x):\n']


def cut(expression, words):
    """Each word is cut into its matches and what stands between them."""
    out = []
    for word in words:
        at = 0
        for match in regex.finditer(expression, word):
            out += [word[at:match.start()], match.group()]
            at = match.end()
        out.append(word[at:])
    return [word for word in out if word]


def literal(data):
    plain = [32 <= b < 127 and chr(b) not in '"\\?' for b in data]
    return '"' + ''.join(chr(b) if ok else f'\\{b:03o}' for b, ok in zip(data, plain)) + '"'


random.seed(1)
texts = TEXTS + [''.join(random.choice(ATOMS) for _ in range(random.randint(3, 14))) for _ in range(120)]
print(f'/* Written by pretok.py, regex package {regex.__version__}. Lengths of words in bytes, as characters. */')
print('// clang-format off')
print('static const struct {\n    const char *pre, *text, *lengths;\n} golden_words[] = {')
for i, text in enumerate(texts):
    for pre in STAGES if i < len(TEXTS) else [list(STAGES)[i % 5], list(STAGES)[(i + 2) % 5]]:
        words = [text]
        for stage in STAGES[pre]:
            words = cut(stage, words)
        lengths = bytes(len(word.encode()) for word in words)
        print(f'    {{"{pre}", {literal(text.encode())},\n     {literal(lengths)}}},')
print('};')
