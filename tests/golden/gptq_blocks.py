"""Writes tests/golden/gptq_blocks.h: the factor that GPTQ works with, in NumPy float64. Run by hand:

    python3 tests/golden/gptq_blocks.py

The upper Cholesky factor of the inverse of a damped Hessian, as Frantar et al. 2023, arXiv 2210.17323, algorithm 1, has it.
The test rounds column by column as that algorithm says. The inputs are formulas, which the test has too.
"""
import os

import numpy as np

COLS, TOKENS = 64, 300
c, t = np.arange(COLS)[None], np.arange(TOKENS)[:, None]
inputs = (np.sin(0.37 * t * (c + 1) + c) + np.sin(1.1 * t) + 0.3 * np.cos(0.9 * t * (c % 5))) * (1 + c % 4)
inputs[:, 50] = 0  # a column that nothing uses
hessian = inputs.T @ inputs / TOKENS
damped = hessian + 0.003 * np.mean(np.diag(hessian)) * np.eye(COLS)
upper = np.linalg.cholesky(np.linalg.inv(damped)).T  # H^-1 = U^T U
values = [f'{v:.8g}f' if '.' in f'{v:.8g}' else f'{v:.8g}.0f' for v in upper[np.triu_indices(COLS)]]
lines = ['/* Made by gptq_blocks.py beside this file, in NumPy float64. Do not edit. */', '// clang-format off',
         f'enum {{ BLOCKS_COLS = {COLS}, BLOCKS_TOKENS = {TOKENS} }};',
         'static const float blocks_upper[] = { // U, row after row, from the diagonal on']
lines += ['    ' + ' '.join(f'{v},' for v in values[i:i + 6]) for i in range(0, len(values), 6)] + ['};', '// clang-format on']
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'gptq_blocks.h'), 'w') as out:
    out.write('\n'.join(lines) + '\n')
