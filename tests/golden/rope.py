"""Writes tests/golden/rope.h: heads before and after their rotation, in NumPy float64. Run by hand:

    python3 tests/golden/rope.py

Written from the papers, not from this project's code:
  rotation      Su et al. 2021, arXiv 2104.09864, section 3.4.2: pair i of n_rot / 2 is rotated by position * base^(-2i / n_rot).
                A pair is (2i, 2i + 1), as in the paper and Llama, or (i, i + n_rot / 2), as in GPT-NeoX. What of a head lies
                behind n_rot stays as it is (partial rotary).
  linear        Chen et al. 2023, arXiv 2306.15595: positions are divided by the factor.
  llama3        the scaling of Llama 3.1 (transformers, modeling_rope_utils.py, _compute_llama3_parameters). GGUF files hold
                it as divisors of the frequencies in the tensor rope_freqs.weight.
  yarn          Peng et al. 2023, arXiv 2309.00071, section 3.2 and 3.4, with the whole bounds of the authors' program.
"""
import os

import numpy as np

rng = np.random.default_rng(20261128)


def frequencies(base, n_rot):
    return base ** (-np.arange(0, n_rot, 2, dtype=np.float64) / n_rot)


def linear(freq, factor):
    return freq / factor


def llama3(freq, factor, low, high, n_orig):
    out = []
    for f in freq:
        wavelength = 2 * np.pi / f
        if wavelength < n_orig / high:
            out.append(f)
        elif wavelength > n_orig / low:
            out.append(f / factor)
        else:
            smooth = (n_orig / wavelength - low) / (high - low)
            out.append((1 - smooth) * f / factor + smooth * f)
    return np.array(out)


def yarn(freq, base, n_rot, factor, n_orig, beta_fast, beta_slow):
    def pair_of(rotations):  # the pair that makes so many rotations over n_orig positions
        return n_rot * np.log(n_orig / (rotations * 2 * np.pi)) / (2 * np.log(base))
    first, last = max(np.floor(pair_of(beta_fast)), 0), min(np.ceil(pair_of(beta_slow)), n_rot - 1)
    if first == last:
        last += 0.001
    share = np.clip((np.arange(n_rot // 2) - first) / (last - first), 0, 1)  # of the scaled frequency
    return freq / factor * share + freq * (1 - share)


def rotate(x, freq, position, adjacent, magnitude):
    out, half = x.copy(), len(freq)
    for i, f in enumerate(freq):
        a, b = (2 * i, 2 * i + 1) if adjacent else (i, i + half)
        c, s = magnitude * np.cos(position * f), magnitude * np.sin(position * f)
        out[a], out[b] = x[a] * c - x[b] * s, x[a] * s + x[b] * c
    return out


#         name, adjacent, head size, rotated, base, scaling
CASES = [
    ('all, pairs side by side', True, 64, 64, 10000, {}),
    ('all, halves', False, 64, 64, 10000, {}),
    ('the first 16 of 64, pairs side by side', True, 64, 16, 10000, {}),
    ('the first 48 of 80, halves', False, 80, 48, 1000000, {}),
    ('linear', True, 32, 32, 10000, dict(type='linear', factor=4)),
    ('llama3', True, 64, 64, 500000, dict(type='llama3', factor=8, low=1, high=4, n_orig=8192)),
    ('yarn', True, 64, 64, 10000, dict(type='yarn', factor=4, n_orig=4096, beta_fast=32, beta_slow=1)),
    ('yarn, halves', False, 128, 128, 1000000, dict(type='yarn', factor=8, n_orig=32768, beta_fast=32, beta_slow=1)),
    ('yarn with other bounds', True, 16, 16, 10000, dict(type='yarn', factor=4, n_orig=64, beta_fast=2, beta_slow=0.25)),
]
POSITIONS = [0, 1, 37, 4095, 100000]


def scaled(base, n_rot, s):
    """Frequencies, divisors as a file holds them (or None), and what cosines and sines are multiplied by."""
    freq, kind = frequencies(float(base), n_rot), s.get('type')
    if kind == 'linear':
        return linear(freq, s['factor']), None, 1.0
    if kind == 'llama3':
        out = llama3(freq, s['factor'], s['low'], s['high'], s['n_orig'])
        divisors = np.float32(freq / out)  # as a file holds them: what follows is the function of that file
        return freq / np.float64(divisors), divisors, 1.0
    if kind == 'yarn':
        out = yarn(freq, base, n_rot, s['factor'], s['n_orig'], s['beta_fast'], s['beta_slow'])
        return out, None, 0.1 * np.log(s['factor']) + 1
    return freq, None, 1.0


def numbers(name, values):
    text = [f'{np.float32(v):.9g}' for v in values]
    text = [t + ('f' if '.' in t or 'e' in t else '.0f') for t in text]
    lines, line = [], '   '
    for t in text:
        if len(line) + len(t) > 105:
            lines.append(line)
            line = '   '
        line += f' {t},'
    return f'static const float {name}[] = {{\n' + '\n'.join(lines + [line]) + '\n};\n'


arrays, rows = '', ''
for at, (name, adjacent, dim, n_rot, base, s) in enumerate(CASES):
    freq, divisors, magnitude = scaled(base, n_rot, s)
    x = rng.uniform(-1, 1, dim).astype(np.float32).astype(np.float64)
    arrays += numbers(f'rope_x_{at}', x)
    arrays += numbers(f'rope_y_{at}', np.concatenate([rotate(x, freq, p, adjacent, magnitude) for p in POSITIONS]))
    if divisors is not None:
        arrays += numbers(f'rope_divisors_{at}', divisors)
    kind = {'linear': '"linear"', 'yarn': '"yarn"'}.get(s.get('type'), 'NULL')
    scaling = (f'{kind}, {s["factor"]}, {s.get("n_orig", 0)}, {s.get("beta_fast", 0)}, {s.get("beta_slow", 0)}'
               if kind != 'NULL' else 'NULL, 0, 0, 0, 0')
    rows += (f'    {{"{name}", {str(adjacent).lower()}, {dim}, {n_rot}, {base}, {scaling},\n'
             f'     {f"rope_divisors_{at}" if divisors is not None else "NULL"}, rope_x_{at}, rope_y_{at}}},\n')

out = f'''/* Made by rope.py beside this file, in NumPy float64 after the papers that it names. Do not edit. */
// clang-format off
enum {{ ROPE_N_POSITIONS = {len(POSITIONS)} }};
static const unsigned rope_positions[ROPE_N_POSITIONS] = {{{', '.join(map(str, POSITIONS))}}};

{arrays}
typedef struct rope_case {{
    const char *name;
    bool adjacent; // pairs (2i, 2i + 1), else (i, i + n_rot / 2)
    unsigned head_dim, n_rot;
    float base;
    const char *type; // rope.scaling.type, or NULL
    float factor;
    unsigned n_orig; // yarn
    float beta_fast, beta_slow;
    const float *divisors; // (n_rot / 2) rope_freqs.weight, or NULL
    const float *x;        // (head_dim)
    const float *y;        // (ROPE_N_POSITIONS, head_dim)
}} rope_case;

static const rope_case rope_cases[] = {{
{rows}}};
'''
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'rope.h'), 'w') as f:
    f.write(out)
