"""Writes tests/golden/formats.h and formats_iq.h: tensor blocks and their floats, and floats and their quantized blocks.

The expected values are computed by the `gguf` package of llama.cpp (PyPI, MIT; gguf/quants.py, numpy), an implementation
independent of this project's. Run by hand: `pip install gguf==0.19.0 && python3 tests/golden/formats.py`.
"""
import os
import numpy as np
from gguf import quants
from gguf.constants import GGMLQuantizationType as T, GGML_QUANT_SIZES

rng = np.random.default_rng(20240814)
READ = ['F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'TQ1_0',
        'TQ2_0', 'MXFP4', 'NVFP4']
READ_IQ = ['IQ1_S', 'IQ1_M', 'IQ2_XXS', 'IQ2_XS', 'IQ2_S', 'IQ3_XXS', 'IQ3_S', 'IQ4_NL', 'IQ4_XS']
HALVES = {'Q4_1': [0, 2], 'Q5_1': [0, 2], 'Q2_K': [80, 82], 'Q3_K': [108], 'Q4_K': [0, 2], 'Q5_K': [0, 2],
          'Q6_K': [208], 'TQ1_0': [52], 'TQ2_0': [64]}  # others: [0]
SCALES = [None, 1e-7, 40, 2e-5, 0]  # of the blocks: ordinary, the smallest subnormal, large, subnormal, none
EXPONENTS = [120, 2, 1, 0, 132, 255]  # of MXFP4
SMALL_FLOATS = [[0x38, 1, 7, 8], [0x7e, 0x7f, 0xff, 0x80], [0, 0x40, 0x81, 0x2d]]  # of NVFP4
WRITE = ['F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1']


def blocks_of(name):
    """Random bytes as blocks, with f16 scales of both signs, one of them subnormal."""
    block, size = GGML_QUANT_SIZES[T[name]]
    if block == 1:
        values = rng.normal(0, 1, 64).astype(np.float32) * 10.0 ** rng.integers(-6, 4, 64)
        return quants.quantize(values.astype(np.float32), T[name]).view(np.uint8)
    n = len(EXPONENTS) if name == 'MXFP4' else len(SCALES) if block == 32 else 3
    data = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for b in range(n):
        if name == 'MXFP4':
            data[b, 0] = EXPONENTS[b]
            continue
        if name == 'NVFP4':
            data[b, :4] = SMALL_FLOATS[b]
            continue
        for at in HALVES.get(name, [0]):
            scale = rng.normal(0, 0.05) if SCALES[b] is None else SCALES[b] * rng.choice([-1, 1])
            half = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
            if name == 'IQ1_M':  # four bits of it in each word of scales
                word = data[b, 48:56].view(np.uint16)
                word[:] = word & 0xfff | np.array([int(half.view(np.uint16)[0]) >> 4 * i & 15 for i in range(4)]) << 12
            else:
                data[b, at:at + 2] = half
    return data.reshape(-1)


def floats_to_quantize():
    """Blocks of 32: gaussian, an outlier, all equal, all zero, tiny, rounding ties."""
    rows = [rng.normal(0, 1, 32), rng.normal(0, 0.02, 32), np.full(32, 0.75), np.zeros(32), rng.normal(0, 1e-6, 32),
            np.arange(32) - 15.5]
    rows[1][7] = -3.5
    return np.concatenate(rows).astype(np.float32)


def literal(data):
    text = np.ascontiguousarray(data).view(np.uint8).tobytes().hex()
    return '\n'.join(f'     "{text[i:i + 96]}"' for i in range(0, len(text), 96))


def entry(name, blocks, floats):
    return f'    {{"{name}", {blocks.nbytes}, {floats.size},\n{literal(blocks)},\n{literal(floats)}}},\n'


HEAD = '''/* Made by formats.py beside this file with the Python package gguf (llama.cpp, MIT). Do not edit.
 * Bytes are hexadecimal, floats are their four bytes, little-endian. */
// clang-format off
'''
STRUCT = '''typedef struct golden_blocks {
    const char *format;
    unsigned n_bytes, n_floats;
    const char *bytes, *floats;
} golden_blocks;

'''


def write(name, text):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), 'w') as f:
        f.write(HEAD + text)


def dequantized(names):
    out = ''
    for name in names:
        data = blocks_of(name)
        floats = quants.dequantize(data.view(np.float16) if name == 'F16' else data, T[name]).astype(np.float32)
        out += entry(name, data, floats.reshape(-1))
    return out


floats = floats_to_quantize()
write('formats.h', STRUCT + 'static const golden_blocks golden_dequantize[] = {\n' + dequantized(READ) +
      '};\n\nstatic const golden_blocks golden_quantize[] = {\n' +
      ''.join(entry(name, quants.quantize(floats, T[name]), floats) for name in WRITE) + '};\n')
write('formats_iq.h', 'static const golden_blocks golden_dequantize_iq[] = {\n' + dequantized(READ_IQ) + '};\n')
