"""Writes tests/golden/hqq.h: what HQQ makes of rows of weights, in numpy.

The algorithm is that of the authors' program (mobiusml/hqq, hqq/core/optimize.py, Apache 2.0,
optimize_weights_proximal_legacy: p 0.7, beta 10, kappa 1.01, 20 rounds), on weights in steps of their scale. Scales and
minimums are half floats, as Q4_1 and Q5_1 have them. Run by hand: `python3 tests/golden/hqq.py`.
"""
import os
import numpy as np

GROUPS, COLS = 6, 32


def weights():
    i = np.arange(GROUPS * COLS).reshape(GROUPS, COLS)
    return (np.sin(1.7 * i + 0.3) ** 5 * (1 + i // COLS) + 0.2 * np.cos(0.9 * i) + 0.3).astype(np.float32)


def half(x):
    return float(np.float16(np.float32(x)))


def shrink(x, beta):
    with np.errstate(divide='ignore'):
        return np.sign(x) * np.maximum(np.abs(x) - np.abs(x) ** (0.7 - 1) / beta, 0)


def floats_of(x, most):
    """One group: the weights that its codes 0..most stand for."""
    x = x.astype(float)
    step = half((x.max() - x.min()) / most)
    w, zero, beta, least = x / step, -x.min() / step, 10.0, np.inf
    found = zero
    for _ in range(21):
        codes = np.clip(np.floor(w + zero + 0.5), 0, most)
        r = w - (codes - zero)
        error = np.abs(r).mean()
        if not error < least:
            break
        least, found = error, zero
        zero = (codes - (w - shrink(r, beta))).mean()
        beta *= 1.01
    low = half(-found * step)
    return np.clip(np.floor((x - low) / step + 0.5), 0, most) * step + low


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'hqq.h'), 'w') as f:
    f.write('/* Made by hqq.py beside this file. Do not edit. */\n// clang-format off\n'
            f'enum {{ HQQ_GROUPS = {GROUPS}, HQQ_COLS = {COLS} }};\n')
    for name, most in (('q4_1', 15), ('q5_1', 31)):
        values = np.concatenate([floats_of(row, most) for row in weights()])
        lines = [', '.join(f'{v:.7g}f' if '.' in f'{v:.7g}' else f'{v:.7g}.0f' for v in values[i:i + 8])
                 for i in range(0, len(values), 8)]
        f.write(f'static const float hqq_{name}[] = {{\n    ' + ',\n    '.join(lines) + '};\n')
