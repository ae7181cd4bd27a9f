"""Writes tests/golden/cache.h: what a cache of 4 bits stores of some keys and values, in pages and of the tile at hand
in 8 bits, by the definitions in src/kernels/cache.h, in NumPy with doubles; the Hadamard matrix is built by Kronecker
products.

Keys and values are small fractions, and centers turn by i + 1 hundredths of a radian a position in pair i, so that C
makes the same inputs. Numbers that lie within 1e-4 of a border between two codes, or scales near the next one, would
depend on how floats round: such inputs are refused here. Run by hand: `python3 tests/golden/cache.py`.
"""
import os
import textwrap
import numpy as np

LEVELS = np.array([-121, -95, -75, -59, -44, -31, -18, -6, 6, 18, 31, 44, 59, 75, 95, 121], float)
BORDERS = (LEVELS[1:] + LEVELS[:-1]) / 2
TILE, BLOCK, N, SHOWN = 64, 128, 130, [0, 1, 63, 64, 65, 127, 128, 129]
CASES = [(64, 40, 16, False), (40, 8, 10, True)]  # columns of keys, of values, pairs that turn, keys have a bias
MEAN = 4


def level_check():
    """The levels are those of Lloyd's algorithm for blocks of 64 normal numbers whose largest magnitude is 127."""
    x = np.random.default_rng(1).standard_normal((20000, 64))
    x = (x * 127 / np.abs(x).max(axis=1, keepdims=True)).reshape(-1)
    level = LEVELS * 0.97
    for _ in range(100):
        at = np.searchsorted((level[1:] + level[:-1]) / 2, x)
        level = np.bincount(at, x, 16) / np.bincount(at, minlength=16)
    assert np.abs(level - LEVELS).max() < 1.5, level


def bias_of(dim):
    return MEAN * (np.arange(dim) % 3 - 1.0)


def inputs(dim, factor):
    pos, col = np.arange(N)[:, None], np.arange(dim)[None, :]
    return ((pos * 7919 + col * 10473 + pos * col * factor + col ** 3 * 9973) % 65521 - 32760) / 16384


def transform_of(dim):
    n, h = dim & -dim, np.ones((1, 1))
    while h.shape[0] < n:
        h = np.kron(np.array([[1, 1], [1, -1]]), h)
    return np.kron(np.eye(dim // n), h / np.sqrt(n))


def turn(x, n_pairs, n):
    angle = (np.arange(n_pairs) + 1) * 0.01 * n
    a, b, c, s = x[:n_pairs], x[n_pairs:2 * n_pairs], np.cos(angle), np.sin(angle)
    return np.concatenate([a * c - b * s, a * s + b * c, x[2 * n_pairs:]])


def stored(x):
    """Codes, the upper halves of the scales, what they stand for, and integers of 8 bits before they are
    rounded, of a transformed key or value."""
    codes, scales, out, integers = [], [], [], []
    for at in range(0, len(x), BLOCK):
        block = x[at:at + BLOCK]
        exact = np.abs(block).max() / 127
        bits = int(np.float32(exact).view(np.uint32))
        assert 8 < bits & 0xffff < 0xffff - 8, 'a scale near the next one'
        scale = float(np.uint32(bits & 0xffff0000).view(np.float32))
        assert np.abs(block[:, None] / scale - BORDERS).min() > 1e-4, 'a number near a border'
        code = np.searchsorted(BORDERS, block / scale)
        codes.append(code), scales.append(bits >> 16), out.append(LEVELS[code] * scale)
        integers.append(block / exact)
    return np.concatenate(codes), scales, np.concatenate(out), np.concatenate(integers)


def packed_keys(keys, n_pairs, bias):
    matrix, center, all_stored, seen = transform_of(keys.shape[1]), bias, [], []
    for pos, key in enumerate(keys):
        if pos % TILE == 0 and pos:
            center = np.mean([turn(k, n_pairs, TILE - n) for n, k in enumerate(seen[-TILE:])], axis=0)
            center = half(center)
        turned = turn(center, n_pairs, pos % TILE)
        codes, scales, rest, integers = stored(matrix @ (key - turned))
        seen.append(matrix @ rest + turned)
        all_stored.append((codes, scales, integers))
    return all_stored


def half(x):
    """Half floats. A number near a border between two is refused."""
    y = x.astype(np.float16).astype(float)
    assert (np.abs(x - y) < np.spacing(np.abs(y).astype(np.float16)).astype(float) * 0.4998).all(), 'near a border'
    return y


def row(numbers):
    return '{' + ', '.join(str(int(n)) for n in numbers) + '}'


def rows_of(kept):
    shown = [kept[pos] for pos in SHOWN]
    integers = np.array([numbers for _, _, numbers in shown])
    assert np.abs(np.abs(integers) % 1 - 0.5).min() > 1e-4, 'a number near a border'
    return (',\n     '.join(row(codes) for codes, _, _ in shown), ', '.join(row(scales) for _, scales, _ in shown),
            ',\n     '.join(map(row, np.rint(integers))))


level_check()
text = ('/* Made by cache.py beside this file. Do not edit. Codes, and integers of 8 bits, are in the order of\n'
        ' * columns, scales the upper halves of floats. */\n// clang-format off\n'
        f'enum {{ CACHE_SHOWN = {len(SHOWN)} }};\nstatic const size_t cache_shown[CACHE_SHOWN] = {row(SHOWN)};\n'
        'static const struct cache_case {\n    size_t k_dim, v_dim, n_pairs;\n    bool biased;\n'
        '    unsigned char k[CACHE_SHOWN][64], v[CACHE_SHOWN][64];\n    unsigned short k_scale[CACHE_SHOWN][2], '
        'v_scale[CACHE_SHOWN][2];\n    signed char k_recent[CACHE_SHOWN][64], v_recent[CACHE_SHOWN][64];\n'
        '} cache_cases[] = {\n')
for k_dim, v_dim, n_pairs, biased in CASES:
    keys = packed_keys(inputs(k_dim, 113) + bias_of(k_dim), n_pairs, bias_of(k_dim) * biased)
    values = inputs(v_dim, 129) @ transform_of(v_dim).T
    k, k_scale, k_recent = rows_of(keys)
    v, v_scale, v_recent = rows_of([(codes, scales, integers) for codes, scales, _, integers in map(stored, values)])
    text += (f'    {{{k_dim}, {v_dim}, {n_pairs}, {str(biased).lower()},\n    {{{k}}},\n    {{{v}}},\n    {{{k_scale}}},\n'
             f'    {{{v_scale}}},\n    {{{k_recent}}},\n    {{{v_recent}}}}},\n')
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'cache.h'), 'w') as f:
    f.write('\n'.join(part for line in text.split('\n') for part in textwrap.wrap(line, 108, subsequent_indent='     ')
                      or ['']) + '};\n')
