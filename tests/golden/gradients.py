"""Writes tests/golden/gradients.h: gradients of small models by PyTorch's automatic differentiation, in float64. Run by hand:

    python3 tests/golden/gradients.py          (needs torch, numpy and gguf)

The models are those of tests/golden/conformance. Their forward pass is written here from the families' papers (Llama: Touvron et
al. 2023, arXiv 2302.13971; grouped queries: arXiv 2305.13245; OLMo 2's norms behind the blocks: arXiv 2501.00656; Qwen 3's norms
of heads: arXiv 2505.09388), not from this project's code. Two windows of 24 tokens; the loss is the sum of -log p(label).
For each linear: the squared gradients of its output, summed over tokens, of all rows and of its first four rows. For each tensor
of the file: its squared gradients summed up, and the sum of its gradients times cos(i), i counting its numbers as they lie.
"""
import os

import numpy as np
import torch
from gguf import GGUFReader

here = os.path.dirname(os.path.abspath(__file__))
N_WINDOWS, WINDOW = 2, 24
LINEARS = ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down']


def rms_norm(x, w, eps):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * w


def rotate(x, base, adjacent):  # (windows, tokens, heads, dim)
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[1])[:, None] * base ** (-torch.arange(half) / half)
    c, s = torch.cos(angle)[None, :, None], torch.sin(angle)[None, :, None]
    a, b = (x[..., 0::2], x[..., 1::2]) if adjacent else (x[..., :half], x[..., half:])
    a, b = a * c - b * s, a * s + b * c
    return torch.stack((a, b), -1).flatten(-2) if adjacent else torch.cat((a, b), -1)


class Model:
    """A GGUF file of a Llama-like family: its weights w (name -> tensor), which can be learned, and what it computes."""

    def __init__(self, path, dtype=torch.float64):
        reader = GGUFReader(path)
        self.field = lambda key, missing=None: reader.fields[key].contents() if key in reader.fields else missing
        self.arch = self.field('general.architecture')
        shaped = lambda t: np.asarray(t.data, np.float64).reshape([int(n) for n in reversed(t.shape)])
        self.w = {t.name: torch.tensor(shaped(t), dtype=dtype).requires_grad_() for t in reader.tensors}
        self.outputs = {}

    def of(self, key, missing=None):
        return self.field(f'{self.arch}.{key}', missing)

    def linear(self, name, x):
        y = x @ self.w[name + '.weight'].T
        if name + '.bias' in self.w:
            y = y + self.w[name + '.bias']
        self.outputs[name] = y
        return y

    def norm(self, name, x):
        weight = self.w.get(name + '.weight')
        return x if weight is None else rms_norm(x, weight, self.of('attention.layer_norm_rms_epsilon'))

    def heads(self, x, n, norm):
        weight = self.w.get(norm + '.weight')
        if weight is not None and len(weight) == x.shape[-1]:  # all heads together
            x = self.norm(norm, x)
        x = x.reshape(*x.shape[:2], n, -1)
        if weight is not None and len(weight) == x.shape[-1]:  # each head
            x = self.norm(norm, x)
        return x

    def attention(self, b, x):
        n_head, n_kv, base = self.of('attention.head_count'), self.of('attention.head_count_kv'), self.of('rope.freq_base', 1e4)
        q = rotate(self.heads(self.linear(b + 'attn_q', x), n_head, b + 'attn_q_norm'), base, self.arch == 'llama')
        k = rotate(self.heads(self.linear(b + 'attn_k', x), n_kv, b + 'attn_k_norm'), base, self.arch == 'llama')
        v = self.linear(b + 'attn_v', x).reshape(*x.shape[:2], n_kv, -1)
        k, v = (t.repeat_interleave(n_head // n_kv, 2) for t in (k, v))
        score = torch.einsum('wthd,wshd->whts', q, k) / q.shape[-1] ** 0.5
        score = score.masked_fill(torch.triu(torch.ones(x.shape[1], x.shape[1]), 1).bool(), float('-inf'))
        y = torch.einsum('whts,wshd->wthd', torch.softmax(score, -1), v)
        return self.linear(b + 'attn_output', y.flatten(2))

    def ffn(self, b, x):
        gate, up = self.linear(b + 'ffn_gate', x), self.linear(b + 'ffn_up', x)
        return self.linear(b + 'ffn_down', torch.nn.functional.silu(gate) * up)

    def logits(self, x):
        """From embeddings (windows, tokens, n_embd)."""
        for i in range(self.of('block_count')):
            b = f'blk.{i}.'
            x = x + self.norm(b + 'post_attention_norm', self.attention(b, self.norm(b + 'attn_norm', x)))
            x = x + self.norm(b + 'post_ffw_norm', self.ffn(b, self.norm(b + 'ffn_norm', x)))
        return self.norm('output_norm', x) @ self.w.get('output.weight', self.w['token_embd.weight']).T


def gradients(name):
    m = Model(os.path.join(here, 'conformance', name + '.gguf'))
    w, of = m.w, m.of
    n_vocab = w['token_embd.weight'].shape[0]
    at = torch.arange(N_WINDOWS * WINDOW)
    ids, labels = (at * 37 + 5) % n_vocab, (at * 101 + 11) % n_vocab
    embedded = w['token_embd.weight'][ids].reshape(N_WINDOWS, WINDOW, -1)
    embedded.retain_grad()
    logits = m.logits(embedded)
    for y in m.outputs.values():
        y.retain_grad()
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels, reduction='sum')
    loss.backward()
    sums = lambda g: [float((g * g).sum())] + [float(v) for v in (g * g).flatten(0, 1).sum(0)[:4]]
    rows = [sums(m.outputs[f'blk.{i}.{name}'].grad) for i in range(of('block_count')) for name in LINEARS]
    along = lambda g: float((g.flatten() * torch.cos(torch.arange(g.numel()))).sum())
    weights = [(name, float((t.grad * t.grad).sum()), along(t.grad)) for name, t in w.items()]
    return float(loss.detach()), sums(embedded.grad), rows, weights


if __name__ == '__main__':
    torch.set_default_dtype(torch.float64)
    lines = ['/* Made by gradients.py beside this file, by PyTorch in float64. Do not edit. */', '// clang-format off',
             f'enum {{ GRADIENTS_N_WINDOWS = {N_WINDOWS}, GRADIENTS_WINDOW = {WINDOW} }};',
             'enum { GRADIENTS_LAYERS = 2, GRADIENTS_LINEARS = 7, GRADIENTS_TENSORS = 32 };',
             'static const struct gradients_of {', '    const char *file;', '    double loss;',
             '    double embedded[5];                                     // of the embeddings',
             '    double linears[GRADIENTS_LAYERS][GRADIENTS_LINEARS][5]; // q, k, v, output, gate, up, down',
             '    struct {',
             '        const char *name; // NULL behind the last',
             '        double squares, along;',
             '    } weights[GRADIENTS_TENSORS];',
             '} gradients_golden[] = {']
    for name in ['llama-mistral', 'olmo2-post-norm', 'qwen2-tied', 'qwen3-tied']:
        loss, embedded, rows, weights = gradients(name)
        text = lambda row: '{' + ', '.join(f'{v:.9g}' for v in row) + '}'
        lines.append(f'    {{"{name}.gguf", {loss:.12g}, {text(embedded)}, {{')
        for i in range(2):
            lines.append('        {' + ',\n         '.join(text(row) for row in rows[7 * i:7 * i + 7]) + '},')
        lines.append('    }, {')
        lines += [f'        {{"{tensor}", {squares:.9g}, {along:.9g}}},' for tensor, squares, along in weights]
        lines.append('    }},')
    lines += ['};', '// clang-format on']
    with open(os.path.join(here, 'gradients.h'), 'w') as out:
        out.write('\n'.join(lines) + '\n')
