#!/usr/bin/env python3
"""Writes tests/golden/vocab/: small vocabularies of kinds that the data folder has none of, each with texts (NAME.inp) and
the ids that the original program makes of them (NAME.out), in the format of llama.cpp's vocabulary tests.

    pip install sentencepiece tokenizers gguf
    python3 tests/golden/vocab.py RWKV     (the folder rwkv of the package of that name)

The vocabularies are trained here on the data folder's text, so that all options can be had; which program made the ids is
said at each. The file of RWKV's is every eighth token of its own.
"""
import os
import random
import sys
import tempfile

import gguf
import sentencepiece
import tokenizers

DATA = os.environ.get('NUT_DATA', '../shared/data')
OUT = 'tests/golden/vocab'
MARK = '\u2581'
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
SEPARATOR = '\n__ggml_vocab_test__\n'

TEXTS = [
    '', ' ', '  ', 'Hello world', ' Hello  world ', '\tHello\n\nworld\n', 'the game of the series', '3.14159 12 345',
    "It's not 'the' end; is it?", 'ｆｕｌｌ　ｗｉｄｔｈ ﬁ ﬀ ½ ² Ⅷ ㌔', 'e\u0301 E\u0302\u0301 \u1ea5 \u0344 a\u0323\u0301',
    '한국어 조선 \u1112\u1161\u11ab',
    '日本語テキスト、123円。ｶﾞ', '👩\u200d👧 🇩🇪!!', '\u00a0nbsp\u2003em\u200bzero\u00adsoft', 'a\u0301\u0301b ﷺ', '¡¿«»…—',
    'x' * 70, ' ' * 30, '▁under ▁▁ mark', 'unknown ☃☃☃ ☃ x☃', '<unk> <s> </s> <0x41>', 'The quick brown fox jumped over',
]
MORE = ['\x00', '\x01\x02', '\x7f', '\r\n', 'ẞß', 'ǅ', '\u0958', '\ufb1d', 'Ω Å', '\U0001d400', '\uffff', '\u2581']


def random_texts(n):
    r = random.Random(7)
    words = 'the of and in to was is that he as for on with his at by it from were an be this which or are'.split()
    atoms = [w + ' ' for w in words] + [' ', '  ', '\n', '.', ',', '-', 'é', 'e\u0301', 'ﬁ', '日', '한', 'Ａ', '½', '☃', '\u00a0']
    return [''.join(r.choice(atoms) for _ in range(r.randrange(1, 30))) for _ in range(n)]


def corpus():
    with open(f'{DATA}/text/wiki.test.raw', encoding='utf-8') as f:
        return f.read()[:300000].replace(' @-@ ', '-').replace(' @,@ ', ',').replace(' @.@ ', '.')


def write_cases(name, texts, ids):
    with open(f'{OUT}/{name}.inp', 'wb') as f:
        for text in texts:
            f.write((text if isinstance(text, bytes) else text.encode()) + SEPARATOR.encode())
    with open(f'{OUT}/{name}.out', 'w') as f:
        f.writelines(''.join(f' {i}' for i in ids(text)) + '\n' for text in texts)


def write_vocab(name, model, tokens, types, scores=None, merges=None, **more):
    w = gguf.GGUFWriter(f'{OUT}/{name}.gguf', 'llama')
    w.add_tokenizer_model(model)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if scores is not None:
        w.add_token_scores(scores)
    if merges is not None:
        w.add_token_merges(merges)
    for key, value in more.items():
        getattr(w, f'add_{key}')(value)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def unigram(name, **options):
    """Ids by sentencepiece."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f'{folder}/text', 'w', encoding='utf-8') as f:
            f.write('\n'.join(line for line in corpus().split('\n') if line.strip()))
        sentencepiece.SentencePieceTrainer.train(
            input=f'{folder}/text', model_prefix=f'{folder}/m', model_type='unigram', num_threads=1,
            max_sentence_length=100000, minloglevel=2, **options)
        sp = sentencepiece.SentencePieceProcessor(model_file=f'{folder}/m.model')
    from sentencepiece import sentencepiece_model_pb2 as pb
    proto = pb.ModelProto()
    proto.ParseFromString(sp.serialized_model_proto())
    norm = proto.normalizer_spec
    write_vocab(name, 't5', [p.piece for p in proto.pieces], [p.type for p in proto.pieces], [p.score for p in proto.pieces],
                add_space_prefix=norm.add_dummy_prefix, remove_extra_whitespaces=norm.remove_extra_whitespaces,
                unk_token_id=sp.unk_id(), eos_token_id=sp.eos_id(), bos_token_id=sp.bos_id(),
                **({'precompiled_charsmap': norm.precompiled_charsmap} if norm.precompiled_charsmap else {}))
    write_cases(name, [t for t in TEXTS + MORE + random_texts(60) if '\x00' not in t], sp.encode)


def gemma4(name):
    """Byte pairs over marked spaces with byte tokens, as in Gemma 4's tokenizer.json; ids by tokenizers."""
    specials = ['<pad>', '<eos>', '<bos>', '<unk>']
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=1200, special_tokens=specials, show_progress=False)
    t = tokenizers.Tokenizer(tokenizers.models.BPE())
    t.normalizer = tokenizers.normalizers.Replace(' ', MARK)
    t.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(f'\n+|{MARK}*[^{MARK}\n]+|{MARK}+'), 'isolated')
    t.train_from_iterator([corpus()], trainer)
    import json
    model = json.loads(t.to_str())['model']
    tokens = [w for w, _ in sorted(model['vocab'].items(), key=lambda kv: kv[1])]
    tokens += [f'<0x{b:02X}>' for b in range(256)]
    merges = [m if isinstance(m, str) else ' '.join(m) for m in model['merges']]
    bpe = tokenizers.models.BPE({w: i for i, w in enumerate(tokens)}, [tuple(m.split(' ')) for m in merges],
                                unk_token='<unk>', fuse_unk=True, byte_fallback=True)
    t = tokenizers.Tokenizer(bpe)
    t.normalizer = tokenizers.normalizers.Replace(' ', MARK)
    types = [CONTROL] * 3 + [UNKNOWN] + [NORMAL] * (len(tokens) - 260) + [BYTE] * 256
    write_vocab(name, 'gemma4', tokens, types, merges=merges, bos_token_id=2, eos_token_id=1, unk_token_id=3,
                add_space_prefix=False)
    texts = TEXTS + MORE + random_texts(60)
    write_cases(name, [t for t in texts if '<' not in t], lambda text: t.encode(text).ids)


def rwkv(name, folder):
    """Ids by the package's own tokenizer."""
    sys.path.insert(0, folder)
    from rwkv_tokenizer import TRIE_TOKENIZER
    with open(f'{folder}/rwkv_vocab_v20230424.txt', encoding='utf-8') as f:
        lines = f.read().split('\n')
    words = [eval(line[line.index(' '):line.rindex(' ')]) for line in lines if line]
    words = [w.encode() if isinstance(w, str) else w for w in words]
    words = words[:256] + words[256::8]
    with tempfile.NamedTemporaryFile('w', suffix='.txt', encoding='utf-8') as f:
        f.writelines(f'{i + 1} {w!r} {len(w)}\n' for i, w in enumerate(words))
        f.flush()
        t = TRIE_TOKENIZER(f.name)
    write_vocab(name, 'rwkv', ['<s>'] + [repr(w)[2:-1] for w in words], [CONTROL] + [NORMAL] * len(words))
    r = random.Random(3)
    texts = [t.encode() for t in TEXTS + MORE + random_texts(60)]
    texts += [bytes(r.randrange(256) for _ in range(40)) for _ in range(20)]
    write_cases(name, texts, lambda text: t.encodeBytes(text))


unigram('unigram-nfkc', vocab_size=1500)
unigram('unigram-bytes', vocab_size=1500, byte_fallback=True, normalization_rule_name='identity', add_dummy_prefix=False,
        remove_extra_whitespaces=False, split_by_whitespace=False)
unigram('unigram-spaces', vocab_size=800, normalization_rule_name='identity', remove_extra_whitespaces=False,
        unk_id=3, bos_id=0, eos_id=2, pad_id=1)
unigram('unigram-plain', vocab_size=800, normalization_rule_name='identity', add_dummy_prefix=False)
gemma4('gemma4')
rwkv('rwkv', sys.argv[1])
