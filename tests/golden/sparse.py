"""Writes tests/golden/sparse.h: blocks of Q4_24, Q4_48 and Q8_24 and what they stand for, by docs/format.md, in numpy;
and which columns of random weights are worth most. Run by hand: `python3 tests/golden/sparse.py`.
"""
import itertools
import os
import numpy as np

COLS, BLOCKS = 32, 6
STEPS = np.array([0.5, -0.25, 1e-3, -3.75, 0.0123, 60], np.float16)
rng = np.random.default_rng(24)
# The columns that are kept of four, in the order of the patterns' numbers: (0, 1), (0, 2), ... (2, 3).
PATTERNS = list(itertools.combinations(range(4), 2))


def kept_of(of):
    """Random columns of a block that are kept, and the bytes that say so."""
    columns, bits = [], 0
    for at in range(0, COLS, of):
        if of == 4:
            number = int(rng.integers(6))
            columns += [at + c for c in PATTERNS[number]]
            bits |= number << 3 * (at // 4)
        else:
            some = sorted(int(c) for c in rng.choice(of, of // 2, replace=False))
            columns += [at + c for c in some]
            bits |= sum(1 << (at + c) for c in some)
    return columns, bits.to_bytes(3 if of == 4 else 4, 'little')


def block_of(step, of, bits):
    columns, places = kept_of(of)
    low = -8 if bits == 4 else -127
    codes = rng.integers(low, -low, 16)
    codes[rng.integers(16)] = low  # so that a search finds the step
    floats = np.zeros(COLS, np.float32)
    floats[columns] = codes * np.float32(step)
    nibbles = codes + 8
    packed = nibbles[0::2] | nibbles[1::2] << 4 if bits == 4 else codes & 255
    return step.tobytes() + places + packed.astype(np.uint8).tobytes(), floats


def best_of(x, weight, of):
    """A bit for each column that is worth keeping."""
    loss, bits = weight * x * x, 0
    for at in range(0, COLS, of):
        for c in np.argsort(-loss[at:at + of])[:of // 2]:
            bits |= 1 << int(at + c)
    return bits


def hexadecimal(data):
    text = data.hex()
    return '\n'.join(f'    "{text[i:i + 96]}"' for i in range(0, len(text), 96))


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'sparse.h'), 'w') as f:
    f.write('/* Made by sparse.py beside this file. Do not edit. Bytes are hexadecimal, floats are their four bytes,\n'
            ' * little-endian. */\n// clang-format off\n'
            f'enum {{ SPARSE_BLOCKS = {BLOCKS}, SPARSE_COLS = {COLS} }};\n')
    for name, of, bits in (('q4_24', 4, 4), ('q4_48', 8, 4), ('q8_24', 4, 8)):
        made = [block_of(step, of, bits) for step in STEPS]
        f.write(f'static const char sparse_{name}_blocks[] =\n{hexadecimal(b"".join(b for b, _ in made))};\n')
        f.write(f'static const char sparse_{name}_floats[] =\n{hexadecimal(b"".join(x.tobytes() for _, x in made))};\n')
    x = rng.standard_normal((BLOCKS, COLS)).astype(np.float32)
    weight = rng.uniform(0.1, 4, COLS).astype(np.float32)
    f.write(f'static const char sparse_weights[] =\n{hexadecimal(x.tobytes())};\n'
            f'static const char sparse_importance[] =\n{hexadecimal(weight.tobytes())};\n')
    for of in (4, 8):
        f.write(f'static const unsigned sparse_best_{of}[] = {{\n    '
                + ', '.join(f'0x{best_of(row.astype(float), weight.astype(float), of):08x}' for row in x) + '};\n')
