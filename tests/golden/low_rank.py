"""Writes tests/golden/low_rank.h: singular values of W R, and the best B A of a rank in the norm of the inputs, in NumPy float64.
Run by hand:

    python3 tests/golden/low_rank.py

Written from SVD-LLM (arXiv 2403.07378, section 3.1), not from this project's code: H = S S^T by Cholesky, the SVD of W S cut off,
and W' = U_r s_r V_r^T S^-1. Any S with S S^T = H gives the same W'. And the columns that OWQ
(arXiv 2306.02272) finds most sensitive. The data are formulas, which the test has too.
"""
import os

import numpy as np

TOKENS, RANK = 300, 8


def wrapped(values, each=4):
    values = list(values)
    return ['    ' + ', '.join(values[i:i + each]) + ',' for i in range(0, len(values), each)]


out = []
for name, rows, cols in (('wide', 24, 40), ('tall', 40, 24)):
    r, c, t = np.arange(rows)[:, None], np.arange(cols)[None], np.arange(TOKENS)[:, None]
    w = (np.sin(0.7 * r * c + 1.3 * r + 0.1 * c) * (1 + r % 3)).astype(np.float32).astype(np.float64)
    x = (np.sin(0.37 * t * (c + 1) + c) + np.sin(1.1 * t) + 0.3 * np.cos(0.9 * t * (c % 5))) * (1 + c % 4)
    h = x.T @ x / TOKENS
    if rows > cols:  # the engine has this where it needs a factor
        h += 0.003 * np.mean(np.diag(h)) * np.eye(cols)
    s = np.linalg.cholesky(h) if rows > cols else np.linalg.cholesky(h + 1e-12 * np.eye(cols))
    u, values, vt = np.linalg.svd(w @ s, full_matrices=False)
    best = u[:, :RANK] * values[:RANK] @ vt[:RANK] @ np.linalg.inv(s)
    plain = np.linalg.svd(w, compute_uv=False)
    out += [f'static const double low_rank_{name}_values[] = {{', *wrapped(f'{v:.10g}' for v in values), '};',
            f'static const double low_rank_{name}_plain[] = {{', *wrapped(f'{v:.10g}' for v in plain), '};',
            '/* Of each row of B A, its sum and the sum of its squares. */',
            f'static const double low_rank_{name}_sums[][2] = {{',
            *wrapped((f'{{{q.sum():.10g}, {(q * q).sum():.10g}}}' for q in best), 3), '};']
    cost = np.mean(x * x, axis=0) * np.sum(w * w, axis=0)
    order = np.argsort(-cost)[:RANK]
    out += ['/* Columns by H_cc |w_c|^2, and what it is. */',
            f'static const double low_rank_{name}_columns[][2] = {{',
            *wrapped((f'{{{c}, {cost[c]:.10g}}}' for c in order), 3), '};']

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'low_rank.h')
with open(path, 'w') as file:
    file.write('/* Written by low_rank.py from NumPy. */\n#ifndef NUT_TESTS_LOW_RANK_H\n#define NUT_TESTS_LOW_RANK_H\n\n'
               f'// clang-format off\nenum {{ LOW_RANK_TOKENS = {TOKENS}, LOW_RANK_RANK = {RANK} }};\n'
               + '\n'.join(out) + '\n// clang-format on\n\n#endif\n')
