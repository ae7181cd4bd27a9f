"""Makes tests/golden/llama2c/: checkpoints as llama2.c's export.py writes them, and what NumPy makes of them.

    pip install numpy
    python3 tests/golden/llama2c.py ../shared/data

v0.bin, v1.bin, v2.bin  a tiny model with random weights in each version, v0 with an output matrix of its own
tokenizer.bin           its vocabulary, as tokenizer.py writes it
v0.f32, v1.f32, v2.f32  the tensors as floats, by their names in a GGUF file, sorted
relu.json               of the ReLU model of the data folder, whose numbers are read here as export.py describes them, and
                        which is computed in float64 as spmodel.py of the authors' repository does (hongyihuang/llama2.c):
                        x + attention(relu(norm(x) - 1)), then x + w2(relu(w1 h - 0.25) * w3 h) with h = relu(norm(x) - 1);
                        ids of a text by the merges of llama2.c's run.c, the mean loss over them, every 97th logit
"""
import json
import struct
import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parent / 'llama2c'
STRIDE, N_IDS = 97, 200


# ---- checkpoints ----

def names(h):
    """Tensors by the name in a GGUF file: shape, and the version's order."""
    kv = h['dim'] // h['n_head'] * h['n_kv']
    layer = {'attn_norm': (h['dim'],), 'attn_q': (h['dim'], h['dim']), 'attn_k': (kv, h['dim']), 'attn_v': (kv, h['dim']),
             'attn_output': (h['dim'], h['dim']), 'ffn_norm': (h['dim'],), 'ffn_gate': (h['hidden'], h['dim']),
             'ffn_down': (h['dim'], h['hidden']), 'ffn_up': (h['hidden'], h['dim'])}
    table = (h['vocab'], h['dim'])
    embd, norm, output = ({name: (None, shape)} for name, shape in
                          (('token_embd', table), ('output_norm', (h['dim'],)), ('output', table)))
    per = {name: {name: (h['layers'], shape)} for name, shape in layer.items()}
    first = ['attn_norm', 'attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_norm', 'ffn_gate', 'ffn_down', 'ffn_up']
    if h['version'] == 0:
        order = [embd, *(per[name] for name in first), norm]
    else:
        order = [per['attn_norm'], per['ffn_norm'], norm, embd, *(per[name] for name in first if 'norm' not in name)]
    if not h['shared']:
        order.append(output)
    return {name: value for part in order for name, value in part.items()}


def each(h):
    for name, (layers, shape) in names(h).items():
        for i in range(layers or 1):
            yield (f'blk.{i}.' if layers else '') + name + '.weight', shape


def header(h):
    sizes = [h['dim'], h['hidden'], h['layers'], h['n_head'], h['n_kv'], h['vocab'], h['ctx']]
    if h['version'] == 0:
        sizes[5] *= 1 if h['shared'] else -1
        return struct.pack('7i', *sizes)
    start = struct.pack('Ii7iB', 0x616b3432, h['version'], *sizes, h['shared'])
    return (start + (struct.pack('i', h['group']) if h['version'] == 2 else b'')).ljust(256, b'\0')


def write(h, rng):
    data, found = header(h), {}
    for name, shape in each(h):
        x = rng.standard_normal(shape).astype(np.float32)
        if h['version'] == 2 and len(shape) > 1:
            groups = x.reshape(-1, h['group'])
            scale = (np.abs(groups).max(1) / 127).astype(np.float32)
            q = np.round(groups / scale[:, None]).astype(np.int8)
            data += q.tobytes() + scale.tobytes()
            x = q.astype(np.float32) * scale[:, None]
        else:
            if name == 'output.weight' and h['version'] == 0:
                data += np.zeros(h['ctx'] * (h['dim'] // h['n_head']), '<f4').tobytes() # cosines and sines
            data += x.tobytes()
        found[name] = x.astype('<f4').tobytes()
    (TARGET / f"v{h['version']}.bin").write_bytes(data)
    (TARGET / f"v{h['version']}.f32").write_bytes(b''.join(found[name] for name in sorted(found)))


def write_tokenizer(texts):
    data = struct.pack('I', max(map(len, texts)))
    for i, text in enumerate(texts):
        data += struct.pack('<fI', -i / 2, len(text)) + text
    (TARGET / 'tokenizer.bin').write_bytes(data)


def read(path):
    raw = path.read_bytes()
    magic, version, dim, hidden, layers, n_head, n_kv, vocab, ctx, shared, group = struct.unpack('<Ii7iBi', raw[:41])
    assert magic == 0x616b3432 and version == 2
    h = {'version': version, 'dim': dim, 'hidden': hidden, 'layers': layers, 'n_head': n_head, 'n_kv': n_kv, 'vocab': vocab,
         'ctx': ctx, 'shared': shared, 'group': group}
    at, tensors = 256, {}
    for name, shape in each(h):
        n = int(np.prod(shape))
        if len(shape) == 1:
            tensors[name] = np.frombuffer(raw, '<f4', n, at).astype(np.float64)
            at += 4 * n
            continue
        q, scale = np.frombuffer(raw, np.int8, n, at), np.frombuffer(raw, '<f4', n // group, at + n)
        tensors[name] = (q.reshape(-1, group).astype(np.float32) * scale[:, None]).reshape(shape).astype(np.float64)
        at += n + 4 * (n // group)
    assert at == len(raw)
    return h, tensors


# ---- the text ----

def read_tokenizer(path, n):
    raw, at, tokens = path.read_bytes(), 4, []
    for _ in range(n):
        score, length = struct.unpack_from('<fI', raw, at)
        tokens.append((raw[at + 8:at + 8 + length], score))
        at += 8 + length
    return tokens


def encode(text, tokens):
    """run.c: a space in front, characters or bytes, then the merge with the best score until there is none."""
    find = {text: i for i, (text, _) in enumerate(tokens)}
    ids = []
    for c in ' ' + text:
        c = c.encode()
        ids += [find[c]] if c in find else [b + 3 for b in c]
    while True:
        pairs = [(tokens[find[m]][1], -i) for i in range(len(ids) - 1)
                 if (m := tokens[ids[i]][0] + tokens[ids[i + 1]][0]) in find]
        if not pairs:
            return [1] + ids
        i = -max(pairs)[1]
        ids[i:i + 2] = [find[tokens[ids[i]][0] + tokens[ids[i + 1]][0]]]


# ---- the model ----

def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def rotate(x):
    dim = x.shape[-1]
    angle = np.arange(len(x))[:, None] * 10000.0 ** (-np.arange(0, dim, 2) / dim)
    turned = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)[:, None]
    return np.stack([turned.real, turned.imag], -1).reshape(x.shape)


def forward(h, t, ids):
    x = t['token_embd.weight'][ids]
    n, dim = len(ids), h['dim'] // h['n_head']
    for i in range(h['layers']):
        w = {name: t[f'blk.{i}.{name}.weight'] for name in ('attn_norm', 'attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_norm',
                                                            'ffn_gate', 'ffn_up', 'ffn_down')}
        a = np.maximum(norm(x, w['attn_norm']) - 1, 0)
        q, k, v = ((a @ w['attn_' + part].T).reshape(n, -1, dim) for part in 'qkv')
        scores = np.einsum('ihd,jhd->hij', rotate(q), rotate(k)) / np.sqrt(dim)
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        x = x + np.einsum('hij,jhd->ihd', p / p.sum(-1, keepdims=True), v).reshape(n, -1) @ w['attn_output'].T
        a = np.maximum(norm(x, w['ffn_norm']) - 1, 0)
        x = x + (np.maximum(a @ w['ffn_gate'].T - 0.25, 0) * (a @ w['ffn_up'].T)) @ w['ffn_down'].T
    return norm(x, t['output_norm.weight']) @ t['token_embd.weight'].T


def relu(data):
    h, t = read(data / 'models/relu/out2Msp-model_qint80.bin')
    text = (data / 'text/tinystories-2MB-cased.txt').read_text()[:1000]
    ids = encode(text, read_tokenizer(data / 'models/relu/tok4096.bin', h['vocab']))[:N_IDS]
    logits = forward(h, t, ids)
    top = logits.max(-1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    loss = -np.mean([log_p[i, ids[i + 1]] for i in range(N_IDS - 1)])
    about = {'source': {'program': 'NumPy', 'numpy': np.__version__, 'dtype': 'float64'}, 'n_text': len(text.encode()),
             'ids': ids, 'loss': float(loss), 'std': float(logits.std()), 'stride': STRIDE,
             'logits': [round(float(x), 6) for x in logits.reshape(-1)[::STRIDE]][:2000]}
    (TARGET / 'relu.json').write_text(json.dumps(about) + '\n')
    print('loss', loss)


rng = np.random.default_rng(7)
TARGET.mkdir(exist_ok=True)
SIZES = {'dim': 16, 'hidden': 24, 'layers': 2, 'n_head': 4, 'n_kv': 2, 'vocab': 9, 'ctx': 8, 'group': 8}
for version in range(3):
    write({**SIZES, 'version': version, 'shared': int(version > 0)}, rng)
write_tokenizer([b'<unk>', b'\n<s>\n', b'\n</s>\n', b'<0x0A>', b'a', b' ', b'b', b' a', b'<0xAZ'])
relu(Path(sys.argv[1]))
