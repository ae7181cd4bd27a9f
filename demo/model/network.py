"""The demonstration model: a Llama-architecture transformer in PyTorch, small enough to train on one CPU core.

RMSNorm, rotary embeddings over neighbouring pairs (the order that GGUF's "llama" architecture has, so that the exported
weights need no permutation), grouped-query attention, SwiGLU, output tied to the embedding. Tensor names are GGUF's.
Letters: B rows, T tokens, C n_embd, H heads, G key/value heads, D head size.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    n_vocab: int = 1024
    n_ctx: int = 512
    n_embd: int = 128
    n_layer: int = 6
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 320
    eps: float = 1e-5
    rope_base: float = 10000.0


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def rope_tables(shape):
    """Cosines and sines of every position's angles: (n_ctx, D / 2) each."""
    half = shape.n_embd // shape.n_head // 2
    freq = shape.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(shape.n_ctx, dtype=torch.float64)[:, None] * freq[None]
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """Rotates the pairs (0, 1), (2, 3), ... of x: (B, heads, T, D)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Llama(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = s = shape
        kv = s.n_embd // s.n_head * s.n_head_kv
        sizes = {"token_embd": (s.n_vocab, s.n_embd)}
        for i in range(s.n_layer):
            sizes.update({
                f"blk.{i}.attn_q": (s.n_embd, s.n_embd), f"blk.{i}.attn_k": (kv, s.n_embd),
                f"blk.{i}.attn_v": (kv, s.n_embd), f"blk.{i}.attn_output": (s.n_embd, s.n_embd),
                f"blk.{i}.ffn_gate": (s.n_ff, s.n_embd), f"blk.{i}.ffn_up": (s.n_ff, s.n_embd),
                f"blk.{i}.ffn_down": (s.n_embd, s.n_ff)})
        self.names, self.params = [], nn.ParameterList()
        for name, size in sizes.items():
            into_stream = name.endswith(("attn_output", "ffn_down"))
            std = 0.05 / math.sqrt(2 * s.n_layer) if into_stream else 0.05
            self.add(name, torch.randn(size) * std)
        for i in range(s.n_layer):
            self.add(f"blk.{i}.attn_norm", torch.ones(s.n_embd))
            self.add(f"blk.{i}.ffn_norm", torch.ones(s.n_embd))
        self.add("output_norm", torch.ones(s.n_embd))
        self.cos, self.sin = rope_tables(s)

    def add(self, name, value):
        self.names.append(name)
        self.params.append(nn.Parameter(value))

    def weights(self):
        return dict(zip(self.names, self.params))

    def attention(self, w, i, x):
        """x: (B, T, C), normed."""
        s, (n_row, n_tok, _) = self.shape, x.shape
        dim, group = s.n_embd // s.n_head, s.n_head // s.n_head_kv
        cos, sin = self.cos[:n_tok], self.sin[:n_tok]
        q = F.linear(x, w[f"blk.{i}.attn_q"]).view(n_row, n_tok, s.n_head, dim).transpose(1, 2)
        k = F.linear(x, w[f"blk.{i}.attn_k"]).view(n_row, n_tok, s.n_head_kv, dim).transpose(1, 2)
        v = F.linear(x, w[f"blk.{i}.attn_v"]).view(n_row, n_tok, s.n_head_kv, dim).transpose(1, 2)
        q, k = rotate(q, cos, sin) / math.sqrt(dim), rotate(k, cos, sin)
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        later = torch.full((n_tok, n_tok), -math.inf).triu(1)
        scores = (q @ k.transpose(-1, -2) + later).softmax(-1)  # (B, H, T, T)
        mixed = (scores @ v).transpose(1, 2).reshape(n_row, n_tok, s.n_embd)
        return F.linear(mixed, w[f"blk.{i}.attn_output"])

    def forward(self, tokens):
        """tokens: (B, T) -> logits (B, T, n_vocab)."""
        s, w = self.shape, self.weights()
        x = F.embedding(tokens, w["token_embd"])
        for i in range(s.n_layer):
            x = x + self.attention(w, i, rms_norm(x, w[f"blk.{i}.attn_norm"], s.eps))
            h = rms_norm(x, w[f"blk.{i}.ffn_norm"], s.eps)
            gate = F.silu(F.linear(h, w[f"blk.{i}.ffn_gate"]))
            x = x + F.linear(gate * F.linear(h, w[f"blk.{i}.ffn_up"]), w[f"blk.{i}.ffn_down"])
        return F.linear(rms_norm(x, w["output_norm"], s.eps), w["token_embd"])
