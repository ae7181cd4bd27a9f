"""Writes the trained weights as a GGUF v3 file in Q8_0: `python3 demo/model/export.py [WORK_DIR [OUT.gguf]]`.

Matrices are Q8_0: blocks of 32 weights with one F16 scale d = max|x| / 127, each weight round(x / d). Norms stay F32. The writer
knows only what this one model needs.
"""
import json
import pathlib
import struct
import sys

import numpy as np

from bpe import Tokenizer
from network import Shape

ALIGNMENT = 32
F32, Q8_0 = 0, 8                          # GGML tensor types
FILE_TYPE_Q8_0 = 7                        # general.file_type
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # GGUF value types
NORMAL, CONTROL = 1, 3                    # token types
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
DESCRIPTION = "A 1M-parameter model of short English stories, trained from scratch on a generated corpus"


def quantize_q8_0(x):
    """(rows, n) float32, n a multiple of 32 -> the bytes of Q8_0 blocks."""
    blocks = np.ascontiguousarray(x, np.float32).reshape(-1, 32)
    scale = np.abs(blocks).max(1) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    q = np.rint(blocks * inverse[:, None]).astype(np.int8)
    out = np.zeros(len(blocks), np.dtype([("d", "<f2"), ("q", "i1", 32)]))
    out["d"], out["q"] = scale, q
    return out.tobytes()


def string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def value(kind, item):
    """One metadata value without its type."""
    if kind == STRING:
        return string(item)
    return struct.pack({U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}[kind], item)


def pair(key, kind, item):
    """A key with a scalar, or with an array where `item` is a list."""
    if isinstance(item, list):
        return string(key) + struct.pack("<IIQ", ARRAY, kind, len(item)) + b"".join(value(kind, v) for v in item)
    return string(key) + struct.pack("<I", kind) + value(kind, item)


def metadata(shape, tokenizer):
    """Every key of the file, in order."""
    n_special = len(tokenizer.specials)
    return [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "Nutshell Tiny"),
        ("general.description", STRING, DESCRIPTION),
        ("general.license", STRING, "mit"),
        ("general.file_type", U32, FILE_TYPE_Q8_0),
        ("general.quantization_version", U32, 2),
        ("llama.vocab_size", U32, shape.n_vocab),
        ("llama.context_length", U32, shape.n_ctx),
        ("llama.embedding_length", U32, shape.n_embd),
        ("llama.block_count", U32, shape.n_layer),
        ("llama.feed_forward_length", U32, shape.n_ff),
        ("llama.attention.head_count", U32, shape.n_head),
        ("llama.attention.head_count_kv", U32, shape.n_head_kv),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT, shape.eps),
        ("llama.rope.dimension_count", U32, shape.n_embd // shape.n_head),
        ("llama.rope.freq_base", FLOAT, shape.rope_base),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", STRING, tokenizer.tokens),
        ("tokenizer.ggml.token_type", I32, [CONTROL] * n_special + [NORMAL] * (len(tokenizer.tokens) - n_special)),
        ("tokenizer.ggml.merges", STRING, [f"{a} {b}" for a, b in tokenizer.merges]),
        ("tokenizer.ggml.bos_token_id", U32, tokenizer.ids["<|endoftext|>"]),
        ("tokenizer.ggml.eos_token_id", U32, tokenizer.ids["<|im_end|>"]),
        ("tokenizer.ggml.padding_token_id", U32, tokenizer.ids["<|endoftext|>"]),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_eos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]


def padding(length):
    return b"\0" * (-length % ALIGNMENT)


def gguf(shape, tokenizer, weights):
    """The bytes of the whole file."""
    keys = metadata(shape, tokenizer)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(keys)) + b"".join(pair(*k) for k in keys)
    data = b""
    for name, x in weights.items():
        kind, payload = (Q8_0, quantize_q8_0(x)) if x.ndim == 2 else (F32, x.astype("<f4").tobytes())
        sizes = x.shape[::-1]  # GGUF names the row length first
        head += string(name + ".weight") + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, len(data))
        data += payload + padding(len(payload))
    return head + padding(len(head)) + data


def export(work, out):
    """Reads tiny.npz and tokenizer.json from `work` and writes the model to `out`."""
    with open(work / "tokenizer.json", encoding="utf-8") as file:
        saved = json.load(file)
    weights = dict(np.load(work / "tiny.npz"))
    data = gguf(Shape(), Tokenizer(saved["specials"], saved["merges"]), weights)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(data)
    print(f"{out}: {len(data)} bytes")


if __name__ == "__main__":
    root = pathlib.Path(__file__).resolve().parents[2]
    defaults = [root / "build" / "model", root / "dist" / "nutshell-tiny-q8_0.gguf"]
    given = [pathlib.Path(a) for a in sys.argv[1:]]
    export(*(given + defaults[len(given):]))
