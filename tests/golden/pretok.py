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
QWEN35 = LLAMA3.replace('{1,DIGITS}', '').replace(r'?\p{L}+', r'?[\p{L}\p{M}]+').replace(r'\p{L}\p{N}]+[', r'\p{L}\p{M}\p{N}]+[')
UP, LOW = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]', r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{UP}*{LOW}+SUFFIX|[^\r\n\p{{L}}\p{{N}}]?{UP}+{LOW}*SUFFIX|\p{{N}}DIGITS|"
         r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
            r"\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r' ?[^(\s|.,!?…。，、।۔،)]+'
STAGES = {
    'default': [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    'gpt-2': [GPT2],
    'smollm': [r"\p{N}", GPT2],
    'llama-bpe': [LLAMA3.replace('DIGITS', '3')],
    'qwen2': [LLAMA3.replace('{1,DIGITS}', '')],
}
MORE_STAGES = {
    'qwen35': [QWEN35],
    'seed-coder': [LLAMA3.replace('{1,DIGITS}', '').replace(r'\p{N}]+[\r\n]*', r'\p{N}\r\n]+')],
    'tekken': [CASED.replace('SUFFIX', '').replace('DIGITS', '')],
    'gpt-4o': [CASED.replace('SUFFIX', SUFFIX).replace('DIGITS', '{1,3}')],
    'deepseek-coder': [r'[\r\n]', r'\s?\p{L}+', r'\s?\p{P}+', '[一-龥ࠀ-一가-\ud7ff]+', r'\p{N}'],
    'deepseek-v3': [r'\p{N}{1,3}', '[一-龥\u3040-ゟ゠-ヿ]+', DEEPSEEK],
    'falcon': [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"],
    'bloom': [BLOOM],
    'viking': [BLOOM, r'\p{N}'],
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
    """A C text, in lines of at most 80 characters."""
    rows = ['']
    for b in data:
        c = chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f'\\{b:03o}'
        if len(rows[-1]) + len(c) > 80:
            rows.append('')
        rows[-1] += c
    return '\n     '.join(f'"{row}"' for row in rows)


def write(name, cases, stages):
    print(f'static const golden_word {name}[] = {{')
    for text, pres in cases:
        for pre in pres:
            words = [text]
            for stage in stages[pre]:
                words = cut(stage, words)
            lengths = bytes(len(word.encode()) for word in words)
            print(f'    {{"{pre}", {literal(text.encode())},\n     {literal(lengths)}}},')
    print('};')


random.seed(1)
texts = TEXTS + [''.join(random.choice(ATOMS) for _ in range(random.randint(3, 14))) for _ in range(120)]
print(f'/* Written by pretok.py, regex package {regex.__version__}. Lengths of words in bytes, as characters. */')
print('// clang-format off')
print('typedef struct golden_word {\n    const char *pre, *text, *lengths;\n} golden_word;\n')
names, more = list(STAGES), list(MORE_STAGES)
write('golden_words', [(text, names if i < len(TEXTS) else [names[i % 5], names[(i + 2) % 5]])
                       for i, text in enumerate(texts)], STAGES)
ATOMS += ['A', 'Bc', '\u01c5', '\u02b0', '中', '文', 'の', 'ा', '\u0903', '/', "'Ve", '(', '#a', '한', '，', '।', 'ǅ']
texts = TEXTS + [''.join(random.choice(ATOMS) for _ in range(random.randint(3, 20))) for _ in range(34)]
print()
write('golden_more_words', [(text, more if i < 3 else [more[i % 9], more[(i + 2) % 9]]) for i, text in enumerate(texts)],
      MORE_STAGES)
