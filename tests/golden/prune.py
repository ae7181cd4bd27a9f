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
errors = np.sin(0.3 * t * (np.arange(ROWS)[None] + 1) + 0.2 * t)  # what a layer is to give beside its results
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


def surgeon(n_cols, n_keep, unit=1):
    """The part (`unit` columns) goes whose loss tr(D H D^T), after a fit of the whole matrix on all others, is least (ZipLM,
    arXiv 2302.04089, section 3.1); each fit is solved anew."""
    global nearest
    h, w, kept = hessian[:n_cols, :n_cols], weights[:, :n_cols], list(range(n_cols // unit))
    h = h + 0.003 * np.mean(np.diag(h)) * np.eye(n_cols)
    columns = lambda parts: [p * unit + i for p in parts for i in range(unit)]
    solved = lambda k: np.linalg.solve(h[np.ix_(k, k)], h[k] @ w.T).T
    fit = lambda parts: solved(columns(parts))
    lost = lambda parts: np.trace(w @ h @ w.T) - np.trace(fit(parts) @ h[columns(parts)] @ w.T)
    losses = [0.0]
    while len(kept) > n_keep:
        order = sorted((lost(kept[:i] + kept[i + 1:]), kept[i]) for i in range(len(kept)))
        nearest = min(nearest, (order[1][0] - order[0][0]) / order[1][0])
        kept.remove(order[0][1])
        losses.append(lost(kept))
    # what the inputs that are left can give of errors: E[e x^T] (E[x x^T])^-1, on what was not seen by the fit
    k = columns(kept)
    return kept, fit(kept), losses, fit(kept) + np.linalg.solve(h[np.ix_(k, k)], (errors.T @ inputs[:, k] / TOKENS).T).T


def refitted(masked, rounds=20, rho=1, added=0.1):
    """Boza (arXiv 2401.02938), algorithm 1, on the mask of another method."""
    mask, scale = masked != 0, np.sqrt(np.diag(hessian))
    h = hessian / np.outer(scale, scale) + added * np.eye(COLS)
    inverse, w0, u = np.linalg.inv(h + rho * np.eye(COLS)), weights * scale, np.zeros_like(weights)
    w = w0
    for _ in range(rounds):
        z = mask * (w + u)
        u = u + w - z
        w = (w0 @ h + rho * (z - u)) @ inverse
    return mask * (w + u) / scale


def revised(masked, of=None, rounds=50, enough=0.1):
    """DSnoT (Zhang et al. 2024, arXiv 2310.08915), algorithm 1: in each row weights come back, and others go, until it lacks
    no more than `enough` in the mean."""
    global nearest
    mean, var, out = inputs.mean(0), inputs.var(0), masked.copy()
    for row, w in zip(out, weights):
        for _ in range(rounds):
            keeps = row != 0
            e = np.sum(w[~keeps] * mean[~keeps])
            s = np.sign(e)
            nearest = min(nearest, abs(abs(e) - enough) / enough)
            if abs(e) <= enough:
                break
            score = np.where(keeps, -np.inf, s * w * mean / var)
            back = int(np.argmax(score))
            order = np.sort(score)
            nearest = min(nearest, (order[-1] - order[-2]) / abs(order[-1]))
            block = np.arange(COLS) // of == back // of if of else np.ones(COLS, bool)
            cost = np.where(keeps & block & (s * w * mean < 0), np.abs(w) * norms, np.inf)
            gone = int(np.argmin(cost))
            if score[back] <= 0 or not np.isfinite(cost[gone]):
                break
            after = e - w[back] * mean[back] + w[gone] * mean[gone]
            if np.sign(after) != s:
                break
            row[back], row[gone] = w[back], 0
    return out


def owl(layers, share, m=5, apart=0.08):
    """OWL (arXiv 2310.05175): shares of layers by how many of |w| |x| are m times the mean."""
    scores = [np.abs(w) * np.sqrt(np.mean(inputs ** 2, axis=0)) for w in layers]
    d = np.array([np.mean(a > m * a.mean()) for a in scores])
    keep = (d - d.min()) / (d.max() - d.min()) * 2 * apart
    return 1 - (keep - keep.mean() + 1 - share)


cases = [(f'{m}{"_2_4" if p else ""}', alone(m, p)) for m in ('magnitude', 'wanda', 'ria') for p in (None, (2, 4))]
cases += [('sparsegpt', sparsegpt()), ('sparsegpt_2_4', sparsegpt((2, 4)))]
cases += [('refit', refitted(alone('wanda')))]
cases += [('revised', revised(alone('wanda'))), ('revised_2_4', revised(alone('wanda', (2, 4)), 4))]
lines = ['/* Made by prune.py beside this file, in NumPy float64. Do not edit. */', '// clang-format off', '#include <stdint.h>',
         f'enum {{ PRUNE_ROWS = {ROWS}, PRUNE_COLS = {COLS}, PRUNE_TOKENS = {TOKENS} }};']
for name, w in cases:  # a bit for each weight that is kept, and each row's sum and sum of squares
    words = [sum(1 << i for i in range(32) if w.flatten()[k + i] != 0) for k in range(0, w.size, 32)]
    lines.append(f'static const uint32_t prune_{name}_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {{')
    lines += ['    ' + ' '.join(f'0x{v:08x},' for v in words[i:i + 8]) for i in range(0, len(words), 8)]
    lines += ['};', f'static const double prune_{name}_sums[PRUNE_ROWS][2] = {{']
    lines += ['    ' + ' '.join(f'{{{a:.8g}, {b:.8g}}},' for a, b in zip(w.sum(1)[k:k + 3], (w ** 2).sum(1)[k:k + 3]))
              for k in range(0, ROWS, 3)] + ['};']
kept, fitted, losses, with_errors = surgeon(48, 30)
lines += [f'enum {{ CHANNELS_COLS = 48, CHANNELS_KEPT = {len(kept)} }};',
          'static const uint32_t channels_kept[CHANNELS_KEPT] = {']
lines += ['    ' + ' '.join(f'{v},' for v in kept[i:i + 20]) for i in range(0, len(kept), 20)]
lines += ['};',
          'static const double channels_fitted[CHANNELS_KEPT] = { // row 5']
lines += ['    ' + ' '.join(f'{v:.8g},' for v in fitted[5][i:i + 8]) for i in range(0, len(kept), 8)] + ['};']
for name, values in (('channels_with_errors[CHANNELS_KEPT]', with_errors[5]),
                     ('channels_losses_of[CHANNELS_COLS - CHANNELS_KEPT + 1]', losses)):
    lines += [f'static const double {name} = {{']
    lines += ['    ' + ' '.join(f'{v:.8g},' for v in values[i:i + 8]) for i in range(0, len(values), 8)] + ['};']
kept, fitted, losses, _ = surgeon(48, 5, 6)
lines += [f'enum {{ GROUP_COLS = 6, GROUPS_KEPT = {len(kept)} }};',
          f'static const uint32_t groups_kept[GROUPS_KEPT] = {{{", ".join(str(v) for v in kept)}}};']
for name, values in (('groups_fitted[GROUPS_KEPT * GROUP_COLS]', fitted[5]),  # row 5
                     ('groups_losses_of[CHANNELS_COLS / GROUP_COLS - GROUPS_KEPT + 1]', losses)):
    lines += [f'static const double {name} = {{']
    lines += ['    ' + ' '.join(f'{v:.8g},' for v in values[i:i + 8]) for i in range(0, len(values), 8)] + ['};']
ria = np.abs(weights)
ria = (ria / ria.sum(1, keepdims=True) + ria / ria.sum(0, keepdims=True)) * np.sqrt(norms)
ranks, order = np.argsort(-ria.sum(0), kind='stable'), np.zeros(COLS, int)  # dealt out to groups of four, there and back
for i, column in enumerate(ranks):
    turn, at = divmod(i, COLS // 4)
    order[(COLS // 4 - 1 - at if turn % 2 else at) * 4 + turn] = column
lines += ['static const uint32_t permute_order_of[PRUNE_COLS] = {']
lines += ['    ' + ' '.join(f'{v},' for v in order[i:i + 20]) for i in range(0, COLS, 20)] + ['};']
few = np.arange(COLS)[None] % 37 == 0
shares = owl([weights, weights * np.where(few, 30, 1), weights ** 3], 0.6)
lines += ['static const double owl_shares_of[3] = {' + ', '.join(f'{v:.10g}' for v in shares) + '};']
lines.append('// clang-format on')
print('nearest to a border:', nearest)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'prune.h'), 'w') as out:
    out.write('\n'.join(lines) + '\n')
