"""Writes tests/golden/width.h: principal components of what two norms give, and the least squares behind each, in NumPy float64.
Run by hand:

    python3 tests/golden/width.py

Written from SliceGPT (arXiv 2401.15024, section 3.3) and the normal equations, not from this project's code. The data are
formulas, which the test has too. Signs of components are free, so what is compared is the map back to all columns.
"""
import os

import numpy as np

TOKENS, COLS, LEFT = 200, 12, 8


def wrapped(values, each=3):
    values = list(values)
    return ['    ' + ', '.join(values[i:i + each]) + ',' for i in range(0, len(values), each)]


c, t = np.arange(COLS)[None], np.arange(TOKENS)[:, None]
norms = []
for site in range(2):
    x = np.sin(0.37 * t * (c + 1) + c + site) + np.sin(1.1 * t + site) + 0.3 * np.cos(0.9 * t * (c % 5))
    x *= 1 + c % (3 + site)
    x /= np.sqrt(np.mean(x * x, axis=1, keepdims=True))
    norms.append(x)
covariances = [x.T @ x / TOKENS for x in norms]
values, vectors = np.linalg.eigh(sum(covariances))
basis = vectors[:, ::-1][:, :LEFT].T  # rows
part = values[::-1][:LEFT].sum() / values.sum()

gains = [np.sqrt(np.mean(np.sum((x @ basis.T) ** 2, 1)) / LEFT) for x in norms]
out = [f'static const double width_part = {part:.12g};',
       '/* Of each norm its gain, and of each row of the reader times the basis the sum and the sum of squares. */',
       f'static const double width_gains[2] = {{{", ".join(f"{gain:.12g}" for gain in gains)}}};',
       f'static const double width_sums[2][{COLS}][2] = {{']
for x in norms:
    z = x @ basis.T
    # The engine adds to the diagonal: as more rows, of each column alone, which the basis turns as well.
    ridge = np.sqrt(TOKENS * 0.003 * np.mean(z * z))
    more, at = np.vstack([x, ridge * np.eye(COLS)]), np.vstack([z, ridge * basis.T])
    fitted = np.linalg.lstsq(at, more, rcond=None)[0]  # (LEFT, COLS): x from z
    back = fitted.T @ basis
    rows = wrapped(f'{{{r.sum():.10g}, {(r * r).sum():.10g}}}' for r in back)
    out += ['    {', *['    ' + row for row in rows], '    },']
out += ['};']

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'width.h')
with open(path, 'w') as file:
    file.write('/* Written by width.py from NumPy. */\n#ifndef NUT_TESTS_WIDTH_H\n#define NUT_TESTS_WIDTH_H\n\n')
    file.write(f'// clang-format off\nenum {{ WIDTH_TOKENS = {TOKENS}, WIDTH_COLS = {COLS}, WIDTH_LEFT = {LEFT} }};\n')
    file.write('\n'.join(out) + '\n// clang-format on\n\n#endif\n')
