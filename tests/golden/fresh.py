"""Writes a model of Llama's kind with random weights and the vocabulary of another file, to train from scratch.

    python3 tests/golden/fresh.py SOURCE.gguf OUT.gguf WIDTH FFN LAYERS HEADS [FAMILY [KEY=NUMBER...]]     (needs numpy and gguf)

FAMILY is llama, nutshell-tiles or nutshell-linear; keys are such as attention.tiles.local.

Weights are normal with deviation 0.02, those in front of a residual divided by the root of twice the layers (GPT-2's
initialization, Radford et al. 2019), norms are ones.
"""
import sys

import gguf
import numpy as np

source, out, width, ffn, layers, heads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
family, keys = ([*sys.argv[7:8], 'llama'])[0], sys.argv[8:]
r = gguf.GGUFReader(source)
w = gguf.GGUFWriter(out, family)
for name, f in r.fields.items():
    if name.startswith('tokenizer.'):
        kind = f.types[0]
        value = f.contents()
        if kind == gguf.GGUFValueType.ARRAY:
            w.add_key_value(name, value, kind, f.types[-1])
        else:
            w.add_key_value(name, value, kind)
context = r.fields['llama.context_length'].contents()
w.add_context_length(context)
w.add_embedding_length(width)
w.add_block_count(layers)
w.add_feed_forward_length(ffn)
w.add_head_count(heads)
w.add_head_count_kv(heads)
if family != 'nutshell-linear':
    w.add_rope_dimension_count(width // heads)
w.add_layer_norm_rms_eps(1e-5)
for key, number in (key.split('=') for key in keys):
    w.add_uint32(f'{family}.{key}', int(number))
n_vocab = len(r.fields['tokenizer.ggml.tokens'].contents())
random = np.random.default_rng(1)


def matrix(name, rows, cols, deviation=0.02):
    w.add_tensor(name, (random.standard_normal((rows, cols)) * deviation).astype(np.float32))


def ones(name):
    w.add_tensor(name, np.ones(width, np.float32))


matrix('token_embd.weight', n_vocab, width)
for i in range(layers):
    ones(f'blk.{i}.attn_norm.weight')
    for part in 'qkv':
        matrix(f'blk.{i}.attn_{part}.weight', width, width)
    matrix(f'blk.{i}.attn_output.weight', width, width, 0.02 / (2 * layers) ** 0.5)
    ones(f'blk.{i}.ffn_norm.weight')
    matrix(f'blk.{i}.ffn_gate.weight', ffn, width)
    matrix(f'blk.{i}.ffn_up.weight', ffn, width)
    matrix(f'blk.{i}.ffn_down.weight', width, ffn, 0.02 / (2 * layers) ** 0.5)
ones('output_norm.weight')
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
