#!/usr/bin/env python3
"""Writes figures.h: divergence, flips and quantiles of tiny logits, by numpy in double precision.

Logits of token t: model 4 sin(0.7 i + t), reference 4 sin(0.7 i + t) + 1.5 cos(1.9 i + 0.3 t), rounded to float32;
the token that comes is (11 t + 3) mod n. Definitions: KL = sum p log(p/q); percentiles as in llama-perplexity (linear between
neighbours), which is numpy's default; flips: p_ref(top of reference) - p_ref(top of model) where they differ.
usage: figures.py > figures.h     (needs numpy)
"""
import numpy as np

n, tokens = 50, 40
i = np.arange(n)
model = [np.float32(4 * np.sin(0.7 * i + t)).astype(np.float64) for t in range(tokens)]
reference = [4 * np.sin(0.7 * i + t) + 1.5 * np.cos(1.9 * i + 0.3 * t) for t in range(tokens)]
reference = [np.float32(r).astype(np.float64) for r in reference]
log_p = lambda x: x - np.log(np.sum(np.exp(x)))
rows = []
for t in range(tokens):
    q, p, came = log_p(model[t]), log_p(reference[t]), (11 * t + 3) % n
    a, b = int(np.argmax(q)), int(np.argmax(p))
    rows.append((-q[came], -p[came], np.sum(np.exp(p) * (p - q)), a == b, np.exp(p[b]) - np.exp(p[a]),
                 np.exp(q[came]) - np.exp(p[came])))
rows = np.array(rows, float)
kl = rows[:, 2]
print('/* Made by figures.py beside this file, with NumPy %s. Do not edit. */\n// clang-format off' % np.__version__)
print('enum { FIGURES_N = %d, FIGURES_TOKENS = %d };' % (n, tokens))
print('static const double figures_golden[FIGURES_TOKENS][6] = {')
print('    // nll, of the reference, kl, same top, flip, change of p')
for r in rows: print('    {' + ', '.join('%.12g' % x for x in r) + '},')
print('};')
print('static const double figures_quantiles[][2] = { // of kl')
for q in (0, 0.5, 0.9, 0.99, 1): print('    {%g, %.12g},' % (q, np.quantile(kl, q)))
print('};')
error = kl.std(ddof=0) / np.sqrt(tokens - 1)
print('static const double figures_mean_kl = %.12g, figures_error_kl = %.12g;' % (kl.mean(), error))
