"""Writes tests/golden/lut.h: blocks of LUT4 and of STEP2 and what they stand for, by docs/format.md, in numpy.

The values of NormalFloat are those of QLoRA (Dettmers et al. 2023, arXiv 2305.14314, appendix E). Run by hand:
`python3 tests/golden/lut.py`.
"""
import os
import numpy as np

NORMAL_FLOAT = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1.0]
rng = np.random.default_rng(4)
normal = np.rint(np.array(NORMAL_FLOAT) * 63).astype(int)
own = np.sort(rng.choice(np.arange(-63, 64), 16, replace=False))
SCALES = [0, 1, 7, 8, 9, 100, 101, 127, 200, 255]  # no number, subnormal ones, the least, ordinary ones, the largest


def scale_of(b):
    e, m = b >> 3, b & 7
    return (1 + m / 8) * 2.0 ** (e - 25) if e else m / 8 * 2.0 ** -24


def floats_of(blocks, table):
    out = []
    for block in blocks:
        low = block[1:].reshape(2, 16)  # byte i of 16 has columns i and i + 16 of 32
        codes = np.concatenate([low & 15, low >> 4], axis=1).reshape(-1)
        out.append(np.array(table)[codes] * scale_of(int(block[0])))
    return np.concatenate(out).astype(np.float32)


blocks = rng.integers(0, 256, (len(SCALES), 33), dtype=np.uint8)
blocks[:, 0] = SCALES


def step2_floats(blocks):
    out = []
    for block in blocks:
        step = float(block[:2].copy().view(np.float16)[0])
        out.append(np.concatenate([(block[2:] >> 2 * k & 3).astype(int) - 2 for k in range(4)]) * step)
    return np.concatenate(out).astype(np.float32)


STEPS = np.array([0.5, -0.25, 0, 1e-7, -3.75, 60, 0.0123], np.float16)
step2 = rng.integers(0, 256, (len(STEPS), 10), dtype=np.uint8)
step2[:, :2] = STEPS.view(np.uint8).reshape(-1, 2)


def hexadecimal(data):
    text = np.ascontiguousarray(data).view(np.uint8).tobytes().hex()
    return '\n'.join(f'    "{text[i:i + 96]}"' for i in range(0, len(text), 96))


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lut.h'), 'w') as f:
    f.write('/* Made by lut.py beside this file. Do not edit. Bytes are hexadecimal, floats are their four bytes,\n'
            ' * little-endian; tables are as the metadata has them. */\n// clang-format off\n'
            f'enum {{ LUT_BLOCKS = {len(SCALES)}, STEP2_BLOCKS = {len(STEPS)} }};\n')
    for name, table in (('normal', normal), ('own', own)):
        f.write(f'static const unsigned char lut_{name}_table[16] = {{\n    {", ".join(str(v + 64) for v in table)}}};\n'
                f'static const char lut_{name}_floats[] =\n{hexadecimal(floats_of(blocks, table))};\n')
    f.write(f'static const char lut_blocks[] =\n{hexadecimal(blocks)};\n')
    f.write(f'static const char step2_blocks[] =\n{hexadecimal(step2)};\n')
    f.write(f'static const char step2_floats[] =\n{hexadecimal(step2_floats(step2))};\n')
