"""Adds to tests/golden/families/: tiny models with random weights of the families of our own (OWN_ARCH_LIST of src/model/arch.c),
and what NumPy computes of them in float64.

    pip install numpy gguf
    python3 tests/golden/own.py

Written after the papers: block-sparse attention (Child et al. 2019, arXiv 1904.10509; Beltagy et al. 2020, arXiv 2004.05150;
Zaheer et al. 2020, arXiv 2007.14062, whose random blocks docs/format.md defines) as a mask over all positions, linear
attention (Katharopoulos et al. 2020, arXiv 2006.16236, equations 9 to 20, and the 1e-6 of the authors' code) as sums over all
positions before, positive parts of norms and gates (Mirzadeh et al. 2023, arXiv 2310.04564) behind shifts that are biases. The
files are as families.py writes them; of the logits every eleventh is
kept, as in conformance.py, and
    loss     the mean of -log p of the id behind each, the first one behind the last, for training (test_grad_own.c)
    q8_0     how far this program is off with matrices and their inputs rounded to Q8_0 by the gguf package
"""
import json
from pathlib import Path

import gguf
import numpy as np

TARGET = Path(__file__).parent / 'families'
N_EMBD, N_FF, N_HEAD, N_KV, DIM, N_LAYER, EPS, BASE = 32, 64, 4, 2, 8, 2, 1e-5, 10000.0
N_IDS, N_PROMPT, N_GREEDY, STRIDE, TILE = 250, 200, 24, 11, 64


def bytes_to_unicode():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


TOKENS = [bytes_to_unicode()[b] for b in range(256)] + ['th', '<eos>']


def random_tensors(seed, shift):
    rng = np.random.default_rng(seed)

    def matrix(rows, cols):
        return (rng.standard_normal((rows, cols)) * 1.2 / np.sqrt(cols)).astype(np.float32)

    def norm():
        return (1 + 0.2 * rng.standard_normal(N_EMBD)).astype(np.float32)

    tensors = {'token_embd.weight': rng.standard_normal((len(TOKENS), N_EMBD)).astype(np.float32), 'output_norm.weight': norm(),
               'output.weight': matrix(len(TOKENS), N_EMBD)}
    for i in range(N_LAYER):
        tensors.update({f'blk.{i}.{name}.weight': x for name, x in {
            'attn_norm': norm(), 'attn_q': 2 * matrix(N_HEAD * DIM, N_EMBD), 'attn_k': 2 * matrix(N_KV * DIM, N_EMBD),
            'attn_v': matrix(N_KV * DIM, N_EMBD), 'attn_output': matrix(N_EMBD, N_HEAD * DIM), 'ffn_norm': norm(),
            'ffn_gate': matrix(N_FF, N_EMBD), 'ffn_up': matrix(N_FF, N_EMBD), 'ffn_down': matrix(N_EMBD, N_FF)}.items()})
        if shift:
            tensors.update({f'blk.{i}.{name}.bias': (0.1 * rng.standard_normal(n) - shift).astype(np.float32)
                            for name, n in {'attn_norm': N_EMBD, 'ffn_norm': N_EMBD, 'ffn_gate': N_FF}.items()})
    return tensors


def q8_0(x):
    kind = gguf.GGMLQuantizationType.Q8_0
    return gguf.quants.dequantize(gguf.quants.quantize(np.ascontiguousarray(x, np.float32), kind), kind).astype(np.float64)


def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * weight


def rotate(x, adjacent=False):
    half = DIM // 2
    angle = np.arange(len(x))[:, None] * BASE ** (-np.arange(half) / half)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = (x[..., ::2], x[..., 1::2]) if adjacent else (x[..., :half], x[..., half:])
    parts = [a * c - b * s, a * s + b * c]
    return np.stack(parts, -1).reshape(x.shape) if adjacent else np.concatenate(parts, -1)


def split_mix(seed, tile, i):
    """SplitMix64 (Steele et al. 2014) from that seed on, at step tile * 2^32 + i + 1."""
    x = (seed + (tile * 2**32 + i + 1) * 0x9e3779b97f4a7c15) % 2**64
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 % 2**64
    x = (x ^ x >> 27) * 0x94d049bb133111eb % 2**64
    return x ^ x >> 31


def mask_of(n, local, first=0, stride=0, random=0, seed=0):
    """Which positions each one sees: those of some tiles."""
    pos = np.arange(n)
    own, tile = pos[:, None] // TILE, pos[None] // TILE
    seen = (own - tile < local) | (tile < first)
    if stride:
        seen |= (own - tile) % stride == 0
    for t in range(1, (n - 1) // TILE + 1):
        for i in range(random):
            seen |= (own == t) & (tile == split_mix(seed, t, i) % t)
    return seen & (pos[None] <= pos[:, None])


def attend(q, k, v, seen):
    scores = np.where(seen, np.einsum('ihd,jhd->hij', q, k) / np.sqrt(DIM), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum('hij,jhd->ihd', weights / weights.sum(-1, keepdims=True), v)


def attend_tiles(q, k, v, **tiles):
    return attend(rotate(q), rotate(k), v, mask_of(len(q), **tiles))


def attend_all(q, k, v):
    return attend(rotate(q, True), rotate(k, True), v, np.tri(len(q), dtype=bool))


def attend_linear(q, k, v):
    q, k = (np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))) for x in (q, k))
    similar = np.tril(np.einsum('ihd,jhd->hij', q, k))
    return np.einsum('hij,jhd->ihd', similar / (similar.sum(-1, keepdims=True) + 1e-6), v)


def forward(tensors, ids, mix, rounded=False):
    t = {name: x.astype(np.float64) for name, x in tensors.items()}

    def mul(x, name):
        return q8_0(x) @ q8_0(t[name]).T if rounded else x @ t[name].T

    def enter(x, name):
        h = norm(x, t[f'{name}.weight'])
        return np.maximum(h + t[f'{name}.bias'], 0) if f'{name}.bias' in t else h

    def activate(gate, at):
        bias = t.get(at + 'ffn_gate.bias')
        return np.maximum(gate + bias, 0) if bias is not None else gate / (1 + np.exp(-gate))

    x = (q8_0(t['token_embd.weight']) if rounded else t['token_embd.weight'])[ids]
    for i in range(N_LAYER):
        at = f'blk.{i}.'
        h = enter(x, at + 'attn_norm')
        q, k, v = (mul(h, f'{at}attn_{part}.weight').reshape(len(ids), -1, DIM) for part in 'qkv')
        k, v = (np.repeat(y, N_HEAD // N_KV, 1) for y in (k, v))
        x = x + mul(mix(q, k, v).reshape(len(ids), -1), at + 'attn_output.weight')
        h = enter(x, at + 'ffn_norm')
        gate = mul(h, at + 'ffn_gate.weight')
        x = x + mul(activate(gate, at) * mul(h, at + 'ffn_up.weight'), at + 'ffn_down.weight')
    return mul(norm(x, t['output_norm.weight']), 'output.weight')


def loss(rows, ids):
    rows = rows - rows.max(1, keepdims=True)
    return float((np.log(np.exp(rows).sum(1)) - rows[np.arange(len(rows)), np.roll(ids, -1)]).mean())


def greedy(tensors, mix):
    """Of some prompts the continuation whose choices are clearest."""
    best = None
    for seed in range(12):
        ids = np.random.default_rng(100 + seed).integers(0, 256, N_PROMPT).tolist()
        prompt, gaps = list(ids), []
        for _ in range(N_GREEDY):
            row = forward(tensors, ids, mix)[-1]
            top = np.argsort(row)[::-1]
            gaps.append(float(row[top[0]] - row[top[1]]))
            ids.append(int(top[0]))
        found = {'prompt_ids': prompt, 'ids': ids[N_PROMPT:], 'gaps': gaps}
        if len(set(ids[N_PROMPT:])) > 3 and (best is None or min(gaps) > min(best['gaps'])):
            best = found
    return best


def write(arch, variant, mix, seed, tiles=None, shift=0):
    name, tensors = f'{arch}-{variant}', random_tensors(seed, shift)
    w = gguf.GGUFWriter(TARGET / f'{name}.gguf', arch)
    for suffix, value in {'context_length': 256, 'embedding_length': N_EMBD, 'block_count': N_LAYER, 'feed_forward_length': N_FF,
                          'attention.head_count': N_HEAD, 'attention.head_count_kv': N_KV,
                          **{f'attention.tiles.{k.replace("first", "global")}': v for k, v in (tiles or {}).items()}}.items():
        w.add_uint32(f'{arch}.{suffix}', value)
    w.add_layer_norm_rms_eps(EPS)
    w.add_tokenizer_model('gpt2')
    w.add_tokenizer_pre('default')
    w.add_token_list(TOKENS)
    w.add_token_types([1] * 257 + [3])
    w.add_token_merges(['t h'])
    w.add_eos_token_id(257)
    w.add_add_bos_token(False)
    for tensor, x in tensors.items():
        w.add_tensor(tensor, x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    ids = np.random.default_rng(seed + 1).integers(0, 256, N_IDS)
    rows = forward(tensors, ids, mix)
    far = np.abs(forward(tensors, ids, mix, True) - rows).max(1) / rows.std()
    kept = [rows[i, j] for i in range(len(rows)) for j in range(rows.shape[1]) if (i + j) % STRIDE == 0]
    np.array(kept, '<f4').tofile(TARGET / f'{name}.f32')
    about = {'arch': arch, 'variant': variant, 'kind': 'causal',
             'source': {'program': 'NumPy', 'numpy': np.__version__, 'reference_dtype': 'float64'},
             'gguf': f'{name}.gguf', 'n_ctx': 256, 'ids': ids.tolist(), 'shape': list(rows.shape), 'std': float(rows.std()),
             'logits': f'{name}.f32', 'stride': STRIDE, 'greedy': greedy(tensors, mix), 'loss': loss(rows, ids),
             'q8_0': float(np.sort(far)[N_IDS // 2])}
    (TARGET / f'{name}.json').write_text(json.dumps(about, indent=1) + '\n')


for seed, (variant, tiles) in {32: ('global', {'local': 2, 'first': 1, 'stride': 0}),
                               31: ('strided', {'local': 1, 'first': 0, 'stride': 2}),
                               33: ('random', {'local': 1, 'random': 1, 'seed': 6})}.items():
    write('nutshell-tiles', variant, lambda q, k, v, tiles=tiles: attend_tiles(q, k, v, **tiles), seed, tiles)
write('nutshell-linear', 'plain', attend_linear, 40)
write('nutshell-relu', 'shifted', attend_all, 50, shift=0.4)
rows = [json.loads(path.read_text()) for path in sorted(TARGET.glob('*-*.json'))]
lines = ',\n'.join(json.dumps({'file': f"{r['arch']}-{r['variant']}.json", 'arch': r['arch'], 'variant': r['variant'],
                               'kind': r['kind']}) for r in rows)
(TARGET / 'index.json').write_text(f'{{"models": [\n{lines}\n]}}\n')
