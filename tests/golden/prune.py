"""Writes tests/golden/prune.h: masks and weights of pruned matrices, in NumPy float64. Run by hand:

    python3 tests/golden/prune.py

Written from the papers, not from this project's code: Wanda (arXiv 2306.11695, algorithm 1), SparseGPT (arXiv 2301.00774,
algorithm 1, with blocks of 128 columns), RIA (Zhang et al. 2024, equation 3), magnitude. The data are formulas, which the test
has too. How near scores come to the border between kept and removed, where floats could choose otherwise, is printed.
"""
import os

import numpy as np

ROWS, COLS, TOKENS, BLOCK, SHARE = 17, 160, 400, 128, 0.5
r, c, t = np.arange(ROWS)[:, None], np.arange(COLS)[None], np.arange(TOKENS)[:, None]
weights = (np.sin(0.7 * r * c + 1.3 * r + 0.1 * c) * (1 + r % 3)).astype(np.float32).astype(np.float64)
inputs = (np.sin(0.37 * t * (c + 1) + c) + np.sin(1.1 * t) + 0.3 * np.cos(0.9 * t * (c % 5))) * (1 + c % 4)
norms = np.sqrt(np.sum(inputs ** 2, axis=0))
hessian = inputs.T @ inputs / TOKENS
damped = hessian + 0.003 * np.mean(np.diag(hessian)) * np.eye(COLS)  # the paper has 0.01
upper = np.linalg.cholesky(np.linalg.inv(damped)).T  # H^-1 = U^T U
nearest = np.inf


def least(scores, n):
    """True for the n least of a flat array."""
    global nearest
    order = np.argsort(scores, kind='stable')
    nearest = min(nearest, (scores[order[n]] - scores[order[n - 1]]) / scores[order[n]])
    mask = np.zeros(scores.size, bool)
    mask[order[:n]] = True
    return mask


def by_pattern(scores, keep, of):
    return np.concatenate([np.concatenate([least(row[i:i + of], of - keep) for i in range(0, row.size, of)]) for row in scores]) \
        .reshape(scores.shape)


def masks(scores, rows, pattern):
    if pattern:
        return by_pattern(scores, *pattern)
    if rows:
        return np.array([least(row, int(SHARE * row.size)) for row in scores])
    return least(scores.flatten(), int(SHARE * scores.size)).reshape(scores.shape)


def alone(metric, pattern=None):
    a = np.abs(weights)
    scores = {'magnitude': a, 'wanda': a * norms,
              'ria': (a / a.sum(1, keepdims=True) + a / a.sum(0, keepdims=True)) * np.sqrt(norms)}[metric]
    return np.where(masks(scores, metric == 'wanda', pattern), 0, weights)


def sparsegpt(pattern=None):
    w = weights.copy()
    for i in range(0, COLS, BLOCK):
        end = min(i + BLOCK, COLS)
        errors = np.zeros((ROWS, end - i))
        if not pattern:
            mask = masks(w[:, i:end] ** 2 / np.diag(upper)[i:end] ** 2, False, None)
        else:
            mask = np.zeros((ROWS, end - i), bool)
        for j in range(i, end):
            if pattern and j % pattern[1] == 0:
                to = j + pattern[1]
                mask[:, j - i:to - i] = by_pattern(w[:, j:to] ** 2 / np.diag(upper)[j:to] ** 2, *pattern)
            errors[:, j - i] = np.where(mask[:, j - i], w[:, j], 0) / upper[j, j]
            w[:, j:end] -= errors[:, j - i][:, None] * upper[j, j:end]
            w[mask[:, j - i], j] = 0
        w[:, end:] -= errors @ upper[i:end, end:]
    return w


def surgeon(n_cols, n_keep):
    """The column goes whose loss tr(D H D^T), after a fit of the whole matrix on all others, is least (ZipLM,
    arXiv 2302.04089, section 3.1); each fit is solved anew."""
    global nearest
    h, w, kept = hessian[:n_cols, :n_cols], weights[:, :n_cols], list(range(n_cols))
    h = h + 0.003 * np.mean(np.diag(h)) * np.eye(n_cols)
    fit = lambda k: np.linalg.solve(h[np.ix_(k, k)], h[k] @ w.T).T
    lost = lambda k: np.trace(w @ h @ w.T) - np.trace(fit(k) @ h[k] @ w.T)
    while len(kept) > n_keep:
        order = sorted((lost(kept[:i] + kept[i + 1:]), kept[i]) for i in range(len(kept)))
        nearest = min(nearest, (order[1][0] - order[0][0]) / order[1][0])
        kept.remove(order[0][1])
    return kept, fit(kept)


cases = [(f'{m}{"_2_4" if p else ""}', alone(m, p)) for m in ('magnitude', 'wanda', 'ria') for p in (None, (2, 4))]
cases += [('sparsegpt', sparsegpt()), ('sparsegpt_2_4', sparsegpt((2, 4)))]
lines = ['/* Made by prune.py beside this file, in NumPy float64. Do not edit. */', '// clang-format off', '#include <stdint.h>',
         f'enum {{ PRUNE_ROWS = {ROWS}, PRUNE_COLS = {COLS}, PRUNE_TOKENS = {TOKENS} }};']
for name, w in cases:  # a bit for each weight that is kept, and each row's sum and sum of squares
    words = [sum(1 << i for i in range(32) if w.flatten()[k + i] != 0) for k in range(0, w.size, 32)]
    lines.append(f'static const uint32_t prune_{name}_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {{')
    lines += ['    ' + ' '.join(f'0x{v:08x},' for v in words[i:i + 8]) for i in range(0, len(words), 8)]
    lines += ['};', f'static const double prune_{name}_sums[PRUNE_ROWS][2] = {{']
    lines += ['    ' + ' '.join(f'{{{a:.8g}, {b:.8g}}},' for a, b in zip(w.sum(1)[k:k + 3], (w ** 2).sum(1)[k:k + 3]))
              for k in range(0, ROWS, 3)] + ['};']
kept, fitted = surgeon(48, 30)
lines += [f'enum {{ CHANNELS_COLS = 48, CHANNELS_KEPT = {len(kept)} }};',
          'static const uint32_t channels_kept[CHANNELS_KEPT] = {']
lines += ['    ' + ' '.join(f'{v},' for v in kept[i:i + 20]) for i in range(0, len(kept), 20)]
lines += ['};',
          'static const double channels_fitted[CHANNELS_KEPT] = { // row 5']
lines += ['    ' + ' '.join(f'{v:.8g},' for v in fitted[5][i:i + 8]) for i in range(0, len(kept), 8)] + ['};']
lines.append('// clang-format on')
print('nearest to a border:', nearest)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'prune.h'), 'w') as out:
    out.write('\n'.join(lines) + '\n')
