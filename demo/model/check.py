"""Reads the exported model back and runs it in float64 NumPy, independently of PyTorch and of the engine.

`python3 demo/model/check.py samples|figures|logits [MODEL.gguf]`: texts to be read by eye; how often an answer is about what was
asked; or, as JSON, the greedy continuations and logits of the prompts in golden_prompts.json, for tests/golden/tiny.json.
"""
import json
import pathlib
import random
import struct
import sys

import numpy as np

import words
from bpe import Tokenizer
from cast import draw_name, with_articles
from chat import conversation, draw_kind

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "dist" / "nutshell-tiny-q8_0.gguf"
SCALARS = {4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q"}
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


class Reader:
    """The header of a GGUF file, field by field."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        found = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return found[0] if len(found) == 1 else found

    def string(self):
        size = self.take("<Q")
        self.at += size
        return self.data[self.at - size:self.at].decode("utf-8")

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            inner, count = self.take("<I"), self.take("<Q")
            return [self.value(inner) for _ in range(count)]
        return self.take(SCALARS[kind])


def dequantized(data, kind, sizes):
    """A tensor of F32 (0) or Q8_0 (8) as float64, in (rows, row length)."""
    count = int(np.prod(sizes))
    if kind == 0:
        return np.frombuffer(data, "<f4", count).astype(np.float64).reshape(sizes[::-1])
    blocks = np.frombuffer(data, np.dtype([("d", "<f2"), ("q", "i1", 32)]), count // 32)
    return (blocks["d"].astype(np.float64)[:, None] * blocks["q"]).reshape(sizes[::-1])


def read_gguf(path):
    """(metadata, {tensor name: float64 array})."""
    data = path.read_bytes()
    reader = Reader(data)
    magic, version = reader.take("<4sI")
    assert magic == b"GGUF" and version == 3
    n_tensor, n_key = reader.take("<QQ")
    meta = {}
    for _ in range(n_key):
        key = reader.string()
        meta[key] = reader.value(reader.take("<I"))
    infos = []
    for _ in range(n_tensor):
        name, n_dim = reader.string(), reader.take("<I")
        sizes = [reader.take("<Q") for _ in range(n_dim)]
        infos.append((name, sizes, *reader.take("<IQ")))
    base = reader.at + -reader.at % 32
    return meta, {name: dequantized(data[base + offset:], kind, sizes) for name, sizes, kind, offset in infos}


class Model:
    """A forward pass, token by token, with a cache of keys and values."""

    def __init__(self, path):
        self.meta, self.w = read_gguf(path)
        get = lambda key: self.meta["llama." + key]
        self.n_layer, self.n_head = get("block_count"), get("attention.head_count")
        self.n_head_kv, self.eps = get("attention.head_count_kv"), float(get("attention.layer_norm_rms_epsilon"))
        self.dim = get("embedding_length") // self.n_head
        self.freq = get("rope.freq_base") ** (-np.arange(self.dim // 2) / (self.dim / 2))
        merges = [tuple(m.split(" ")) for m in self.meta["tokenizer.ggml.merges"]]
        types = self.meta["tokenizer.ggml.token_type"]
        specials = [t for t, kind in zip(self.meta["tokenizer.ggml.tokens"], types) if kind == 3]
        self.tokenizer = Tokenizer(specials, merges)
        assert self.tokenizer.tokens == self.meta["tokenizer.ggml.tokens"]
        self.bos, self.eos = self.meta["tokenizer.ggml.bos_token_id"], self.meta["tokenizer.ggml.eos_token_id"]
        self.clear()

    def clear(self):
        self.cache = [([], []) for _ in range(self.n_layer)]

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean() + self.eps) * self.w[name + ".weight"]

    def rotate(self, x, position):
        """Rotates the pairs (0, 1), (2, 3), ... of each head: (heads, dim)."""
        cos, sin = np.cos(position * self.freq), np.sin(position * self.freq)
        a, b, out = x[:, 0::2], x[:, 1::2], np.empty_like(x)
        out[:, 0::2], out[:, 1::2] = a * cos - b * sin, a * sin + b * cos
        return out

    def attention(self, i, x):
        heads = lambda part, n: (self.w[f"blk.{i}.attn_{part}.weight"] @ x).reshape(n, self.dim)
        keys, values = self.cache[i]
        q = self.rotate(heads("q", self.n_head), len(keys))
        keys.append(self.rotate(heads("k", self.n_head_kv), len(keys)))
        values.append(heads("v", self.n_head_kv))
        group = self.n_head // self.n_head_kv
        k, v = np.repeat(np.stack(keys), group, 1), np.repeat(np.stack(values), group, 1)  # (tokens, n_head, dim)
        score = np.einsum("hd,thd->ht", q, k) / np.sqrt(self.dim)
        score = np.exp(score - score.max(1, keepdims=True))
        mixed = np.einsum("ht,thd->hd", score / score.sum(1, keepdims=True), v)
        return self.w[f"blk.{i}.attn_output.weight"] @ mixed.reshape(-1)

    def step(self, token):
        """The logits after one more token."""
        x = self.w["token_embd.weight"][token]
        for i in range(self.n_layer):
            x = x + self.attention(i, self.norm(x, f"blk.{i}.attn_norm"))
            h = self.norm(x, f"blk.{i}.ffn_norm")
            gate = self.w[f"blk.{i}.ffn_gate.weight"] @ h
            x = x + self.w[f"blk.{i}.ffn_down.weight"] @ (gate / (1 + np.exp(-gate)) * (self.w[f"blk.{i}.ffn_up.weight"] @ h))
        return self.w["token_embd.weight"] @ self.norm(x, "output_norm")

    def prefill(self, prompt):
        """The token ids of a prompt, BOS first, and the logits after them."""
        self.clear()
        ids = [self.bos] + self.tokenizer.encode(prompt)
        for token in ids:
            logits = self.step(token)
        return ids, logits

    def generate(self, prompt, count=200, temperature=0.0, rng=None):
        """(ids, gaps): up to `count` tokens until EOS; a gap is the margin between the two best logits."""
        _, logits = self.prefill(prompt)
        out, gaps = [], []
        while len(out) < count:
            best = np.sort(logits)[-2:]
            token = int(logits.argmax())
            if temperature > 0:
                p = np.exp((logits - logits.max()) / temperature)
                token = int(np.searchsorted(np.cumsum(p / p.sum()), rng.random()))
            if token == self.eos:
                break
            out.append(token)
            gaps.append(best[1] - best[0])
            logits = self.step(token)
        return out, gaps

    def text(self, prompt, **options):
        return self.tokenizer.decode(self.generate(prompt, **options)[0])


def samples(model):
    """Prints greedy and sampled texts."""
    rng = random.Random(7)
    prompts = ["", "Once upon a time", "The little dog", "Lily and Tom went to the park."] + [CHAT.format(q) for q in (
        "Tell me a story about a cat.", "What does the dog do?", "tell me a story about a king and a mouse", "Hello!",
        "A story about a penguin named Pip, please.", "What is the capital of France?", "What does a cow say?",
        "Tell me a story about a zebra.", "Write a story about the moon.", "Who are you?", "Where do owls live?")]
    for prompt in prompts:
        print(f"\n## {prompt!r}")
        if prompt:
            print("greedy:", model.text(prompt))
        print("t=0.8:", model.text(prompt, temperature=0.8, rng=rng))


def share(results):
    return f"{sum(results)}/{len(results)}"


def subject_share(model, rng, subjects):
    """In how many answers to "Tell me a story about ..." at temperature 0.8 all the wanted words occur, and which fail."""
    hits = []
    for asked, wanted in subjects:
        reply = model.text(CHAT.format(with_articles(f"Tell me a story about {asked}.")), temperature=0.8, rng=rng)
        hits.append(all(word in reply for word in wanted))
    return share(hits)


def recall(model, rng, count):
    """How often the greedy answer to a question about a story just told is the right one, over unseen conversations."""
    hits = []
    while len(hits) < count:
        chat = conversation(rng)
        turns = [i for i in range(3, len(chat)) if len(chat[i - 2][1]) > 200 and chat[i][0] == "assistant"
                 and chat[i - 1][1].lower().startswith(("wh", "was"))]
        if not turns or "next" in chat[turns[0] - 1][1] or "then" in chat[turns[0] - 1][1]:
            continue
        prompt = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in chat[:turns[0]])
        reply = model.text(prompt + "<|im_start|>assistant\n")
        hits.append(key_words(reply) == key_words(chat[turns[0]][1]))
    return share(hits)


def key_words(reply):
    """What an answer says, whichever of its two wordings it takes."""
    same = {"loved": "liked", "was": "", "called": "", "the": "", "name": "", "of": "", "tiny": "small", "little": "small"}
    return sorted(w for w in (same.get(w, w) for w in reply.lower().replace(".", "").split()) if w)


def figures(model):
    """Prints the shares of answers that are about what was asked."""
    rng = random.Random(99)
    kinds = [draw_kind(rng) for _ in range(100)]
    print("kind:", subject_share(model, rng, [("a~ " + k.kind, [k.kind]) for k in kinds]))
    names = [draw_name(rng, k.sex or "n")[0] for k in kinds]
    print("kind and name:", subject_share(model, rng, [(f"a~ {k.kind} named {n}", [k.kind, n]) for k, n in zip(kinds, names)]))
    pairs = [(draw_kind(rng, ("animal",)), draw_kind(rng, ("animal",))) for _ in range(100)]
    pairs = [(a, b) for a, b in pairs if a.realm == b.realm == "land" and a is not b]
    print("two kinds:", subject_share(model, rng, [(f"a~ {a.kind} and a~ {b.kind}", [a.kind, b.kind]) for a, b in pairs]))
    held_out = [("a~ " + k, [k]) for k in words.HELD_OUT_KINDS for _ in range(5)]
    print("kind that no training text holds:", subject_share(model, rng, held_out))
    print("fact of the story, greedy:", recall(model, rng, 100))


def golden(model):
    """Prints the float64 part of the golden file."""
    runs = []
    for prompt in json.loads((HERE / "golden_prompts.json").read_text(encoding="utf-8"))["runs"]:
        ids, logits = model.prefill(prompt)
        order = np.argsort(-logits)[:10]
        out, gaps = model.generate(prompt, 64)
        runs.append({"prompt": prompt, "ids": ids, "top10": [[int(i), round(float(logits[i]), 5)] for i in order],
                     "logsumexp": round(float(np.logaddexp.reduce(logits)), 5), "greedy": out,
                     "gap": [round(float(g), 4) for g in gaps]})
    print(json.dumps(runs))


if __name__ == "__main__":
    loaded = Model(pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else MODEL)
    {"samples": samples, "figures": figures, "logits": golden}[sys.argv[1]](loaded)
