"""Writes tests/golden/mixes.h: the type of each tensor of small models in each of llama.cpp's mixes.

llama.cpp chooses them: llama_model_quantize of libllama (MIT, as npm's node-llama-cpp brings it), without statistics of
inputs, so that the mixes which need those are not here. Run by hand:
`pip install gguf==0.19.0 && python3 tests/golden/mixes.py FOLDER_OF_LIBLLAMA`.
"""
import ctypes
import glob
import os
import sys
import tempfile
import numpy as np
from gguf import GGUFReader, GGUFWriter

# name, general.file_type (llama.h, enum llama_ftype)
MIXES = [('Q8_0', 7), ('Q6_K', 18), ('Q5_K_M', 17), ('Q5_K_S', 16), ('Q5_1', 9), ('Q5_0', 8), ('Q4_K_M', 15), ('Q4_K_S', 14),
         ('Q4_1', 3), ('Q4_0', 2), ('IQ4_NL', 25), ('IQ4_XS', 30), ('Q3_K_L', 13), ('Q3_K_M', 12), ('Q3_K_S', 11),
         ('IQ3_M', 27), ('IQ3_S', 26), ('Q2_K', 10), ('TQ1_0', 36), ('TQ2_0', 37), ('MXFP4_MOE', 38)]
# name, architecture, layers, columns, heads, heads of keys, experts, whether the embeddings are the output too
MODELS = [('apart', 'llama', 17, 256, 4, 4, 0, False), ('shared', 'llama', 16, 256, 8, 2, 0, True),
          ('odd', 'llama', 8, 288, 3, 1, 0, True), ('experts', 'llama', 16, 256, 4, 4, 8, False),
          ('large', 'llama', 80, 256, 8, 1, 0, False), ('falcon', 'falcon', 16, 256, 4, 4, 0, False)]
ROWS = 2


def tensors(arch, layers, experts, tied):
    """Names and which rows are 512 columns long."""
    yield 'token_embd.weight', 1
    if not tied:
        yield 'output.weight', 1
    parts = ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down']
    if arch == 'falcon':
        parts = ['attn_qkv', 'attn_output', 'ffn_up', 'ffn_down']
    for i in range(layers):
        for part in parts:
            stack = experts if part.startswith('ffn') else 0
            yield f'blk.{i}.{part}{"_exps" if stack else ""}.weight', stack or 1


def write(path, arch, layers, cols, heads, kv, experts, tied):
    w = GGUFWriter(path, arch)
    w.add_block_count(layers)
    w.add_context_length(64)
    w.add_embedding_length(cols)
    w.add_feed_forward_length(512)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_layer_norm_eps(1e-5)
    w.add_vocab_size(ROWS)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
    rng = np.random.default_rng(1)
    for name, n in tensors(arch, layers, experts, tied):
        n_cols = 512 if 'ffn_down' in name else cols
        shape = (n, ROWS, n_cols) if n > 1 else (ROWS, n_cols)
        w.add_tensor(name, rng.normal(0, 1, shape).astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class Params(ctypes.Structure):  # llama.h, llama_model_quantize_params
    _fields_ = [('nthread', ctypes.c_int32), ('ftype', ctypes.c_int32), ('output', ctypes.c_int32), ('embd', ctypes.c_int32),
                ('flags', ctypes.c_bool * 8), ('pointers', ctypes.c_void_p * 4)]


def library(folder):
    for part in ('libggml-base', 'libggml.', 'libllama.'):
        for path in glob.glob(os.path.join(folder, part + '*so*')):
            lib = ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    lib.llama_model_quantize_default_params.restype = Params
    lib.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Params)]
    return lib


def types(lib, source, target, file_type):
    params = lib.llama_model_quantize_default_params()
    params.nthread, params.ftype = 1, file_type
    if lib.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)):
        sys.exit(f'llama.cpp refuses file type {file_type}')
    return {t.name: t.tensor_type.name for t in GGUFReader(target).tensors}


def runs(names, of):
    """'12*Q4_K,Q6_K': the types in the order of the names."""
    out = []
    for name in names:
        if out and out[-1][1] == of[name]:
            out[-1][0] += 1
        else:
            out.append([1, of[name]])
    return ','.join(f'{n}*{t}' if n > 1 else t for n, t in out)


lib = library(sys.argv[1])
text = '''/* Made by mixes.py beside this file, with llama.cpp's libllama (MIT). Do not edit. */
// clang-format off
typedef struct mixes_model {
    const char *name, *arch;
    unsigned n_layer, n_cols, n_head, n_head_kv, n_expert;
    int tied;
} mixes_model;

static const mixes_model mixes_models[] = {
'''
rows = ''
with tempfile.TemporaryDirectory() as folder:
    for i, (name, *model) in enumerate(MODELS):
        arch, layers, cols, heads, kv, experts, tied = model
        text += f'    {{"{name}", "{arch}", {layers}, {cols}, {heads}, {kv}, {experts}, {int(tied)}}},\n'
        source, target = os.path.join(folder, 'a.gguf'), os.path.join(folder, 'b.gguf')
        write(source, *model)
        for mix, file_type in MIXES:
            of = types(lib, source, target, file_type)
            names = [n for n, _ in tensors(arch, layers, experts, tied)]
            parts = sorted({n.split('.', 2)[2] if n.startswith('blk') else n for n in names})
            for part in parts:
                mine = [n for n in names if n == part or (n.startswith('blk') and n.split('.', 2)[2] == part)]
                rows += f'    {{{i}, "{mix}", "{part}", "{runs(mine, of)}"}},\n'
text += '''};

/* By model, mix, and tensor without its layer: the types in the order of the layers. "3*Q4_K": three times. */
static const struct {
    int model;
    const char *mix, *part, *types;
} mixes_types[] = {
''' + rows + '};\n'
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'mixes.h'), 'w') as f:
    f.write(text)
