"""Writes tests/golden/gptq.h: integers of GPTQ without clamping, in NumPy float64. Run by hand:

    python3 tests/golden/gptq.py

Written from Frantar et al. 2023, arXiv 2210.17323, algorithm 1 (one column at a time, with the upper Cholesky factor of the
inverse Hessian), not from this project's code. Values may be shrunk before they are rounded to the nearest integer. The data
are formulas, which the test has too. How near values come to a border, where floats could round otherwise, is printed.
"""
import os

import numpy as np

ROWS, COLS, TOKENS = 21, 150, 400
r, c, t = np.arange(ROWS)[:, None], np.arange(COLS)[None], np.arange(TOKENS)[:, None]
weights = (np.sin(0.7 * r * c + 1.3 * r + 0.1 * c) * (1 + r % 3)).astype(np.float32).astype(np.float64)
inputs = (np.sin(0.37 * t * (c + 1) + c) + np.sin(1.1 * t) + 0.3 * np.cos(0.9 * t * (c % 5))) * (1 + c % 4)
inputs[:, 77] = 0  # a column that nothing uses
hessian = (inputs.T @ inputs / TOKENS).astype(np.float32).astype(np.float64)
row_scale = 0.2713 * 2.0 ** (np.arange(ROWS) % 4)
damped = hessian + 0.003 * np.mean(np.diag(hessian)) * np.eye(COLS)
upper = np.linalg.cholesky(np.linalg.inv(damped)).T  # H^-1 = U^T U
col_scale = 2.0 ** np.round(np.log2(np.diag(upper)))
nearest = 1.0


def quantize(shrink, feedback):
    global nearest
    w, z = weights.copy(), np.zeros((ROWS, COLS), int)
    for j in range(COLS):
        x = shrink * w[:, j] / (row_scale * col_scale[j])
        size = np.abs(x) + 0.5
        nearest = min(nearest, np.min(np.abs(size - np.round(size))))
        z[:, j] = np.sign(x) * np.floor(size)
        if feedback:
            error = (w[:, j] - z[:, j] * row_scale * col_scale[j]) / upper[j, j]
            w[:, j:] -= error[:, None] * upper[j, j:]
    return z


shrink = 0.9 - 0.01 * np.arange(ROWS)
cases = [('gptq_nearest', quantize(1, True)), ('gptq_shrunk', quantize(shrink, True)), ('gptq_alone', quantize(1, False))]
print('nearest to a border:', nearest)
lines = ['/* Made by gptq.py beside this file, in NumPy float64. Do not edit. */', '// clang-format off',
         '#include <stdint.h>', f'enum {{ GPTQ_ROWS = {ROWS}, GPTQ_COLS = {COLS}, GPTQ_TOKENS = {TOKENS} }};']
wrap = lambda values, n: ['    ' + ' '.join(f'{v},' for v in values[i:i + n]) for i in range(0, len(values), n)]
spread = [f'{v:.8g}' for v in np.diag(upper)]
lines += ['static const double gptq_spread[GPTQ_COLS] = { // U_jj', *wrap(spread, 8), '};']
for name, z in cases:
    lines.append(f'static const int16_t {name}[GPTQ_ROWS * GPTQ_COLS] = {{')
    lines += wrap(z.flatten(), 25)
    lines.append('};')
lines.append('// clang-format on')
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'gptq.h'), 'w') as out:
    out.write('\n'.join(lines) + '\n')
