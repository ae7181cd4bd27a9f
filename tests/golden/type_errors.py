"""Writes tests/golden/type_errors.h: weights, how much the error of each counts, and the error that llama.cpp's quantizers leave.

The errors are those of ggml_quantize_chunk (libggml-base of llama.cpp, MIT, as npm's node-llama-cpp brings it), read back
by the `gguf` package. Run by hand: `pip install gguf==0.19.0 && python3 tests/golden/type_errors.py LIBGGML_BASE.so`.
"""
import ctypes
import os
import sys
import numpy as np
from gguf import quants
from gguf.constants import GGMLQuantizationType as T, GGML_QUANT_SIZES

NAMES = ['Q8_0', 'Q4_0', 'Q4_1', 'IQ3_S', 'IQ3_XXS', 'IQ2_S', 'IQ2_XS', 'IQ2_XXS', 'IQ1_S', 'IQ1_M', 'Q5_0', 'Q5_1',
         'IQ4_NL', 'MXFP4', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'IQ4_XS', 'TQ1_0', 'TQ2_0']
ROWS, COLS = 6, 256
rng = np.random.default_rng(20261129)


def weights():
    """Rows: gaussian, heavy tails, an outlier in each 32, all positive, groups of other sizes, one block of zeros and ties."""
    x = rng.normal(0, 0.02, (ROWS, COLS))
    x[1] = rng.standard_t(3, COLS) * 0.02
    x[2, ::32] = 0.3
    x[3] = np.abs(x[3]) + 0.01
    x[4] *= np.repeat(np.exp(rng.normal(0, 1, 16)), 16)
    x[5] = np.concatenate([np.zeros(128), (np.arange(128) % 15 - 7) * 0.5])
    return np.ascontiguousarray(x.astype(np.float32))


lib = ctypes.CDLL(sys.argv[1])
lib.ggml_quantize_chunk.restype = ctypes.c_size_t
lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]


def errors(name, x, importance):
    block, size = GGML_QUANT_SIZES[T[name]]
    out = np.zeros(x.size // block * size, np.uint8)
    if importance is None and name.startswith(('IQ1', 'IQ2', 'IQ3')):
        importance = np.ones(COLS, np.float32)  # those refuse to do without
    given = importance.ctypes.data if importance is not None else None
    lib.ggml_quantize_chunk(int(T[name]), x.ctypes.data, out.ctypes.data, 0, ROWS, COLS, given)
    back = quants.dequantize(out.reshape(1, -1), T[name]).reshape(x.shape).astype(np.float64)
    each = (back - x) ** 2 * (importance if importance is not None else 1)
    return ', '.join(f'{e:.9g}' for e in each.sum(axis=1))


def literal(name, sizes, data):
    items = [f'{v:.9g}' + ('f' if '.' in f'{v:.9g}' or 'e' in f'{v:.9g}' else '.0f') for v in data.reshape(-1)]
    lines = ',\n'.join('    ' + ', '.join(items[i:i + 5]) for i in range(0, len(items), 5))
    return f'static const float {name}{sizes} = {{\n{lines}}};\n\n'


x, importance = weights(), np.exp(rng.normal(0, 1, COLS)).astype(np.float32)
text = '''/* Made by type_errors.py beside this file with llama.cpp's quantizers and the Python package gguf (MIT).
 * Do not edit. */
// clang-format off
enum { TYPES_ROWS = %d, TYPES_COLS = %d };

''' % (ROWS, COLS)
text += literal('types_weights', '[TYPES_ROWS * TYPES_COLS]', x) + literal('types_importance', '[TYPES_COLS]', importance)
text += '''/* Sum of squared differences of each row, alone and weighted. */
static const struct {
    const char *name;
    double alone[TYPES_ROWS], weighted[TYPES_ROWS];
} types_errors[] = {
'''
for name in NAMES:
    text += f'    {{"{name}", {{{errors(name, x, None)}}},\n     {{{errors(name, x, importance)}}}}},\n'
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'type_errors.h'), 'w') as f:
    f.write(text + '};\n')
