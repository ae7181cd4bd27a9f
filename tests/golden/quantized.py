"""Digests of quantized weights for tests/unit/test_quantize.c, computed by the PyPI package gguf 0.19.0 (numpy):

    python quantized.py FILE.gguf

A line per type: the 64-bit FNV-1a of all tensors' bytes in the order of the table, with every two-dimensional tensor
whose name ends in "weight" and whose rows are whole blocks quantized, the others as they are in the file. The
output matrix ("output.weight", or "token_embd.weight" where there is none) is always Q8_0.
"""
import sys

import gguf


def fnv(data, h=14695981039346656037):
    for byte in data:
        h = ((h ^ byte) * 1099511628211) & (2**64 - 1)
    return h


tensors = gguf.GGUFReader(sys.argv[1]).tensors
output = "output.weight" if any(t.name == "output.weight" for t in tensors) else "token_embd.weight"
for name in ("Q8_0", "Q4_0", "Q4_1"):
    kind = gguf.GGMLQuantizationType[name]
    h = fnv(b"")
    for t in tensors:
        matrix = len(t.shape) == 2 and t.name.endswith("weight") and int(t.shape[0]) % 32 == 0
        to = gguf.GGMLQuantizationType.Q8_0 if t.name == output else kind
        h = fnv((gguf.quants.quantize(t.data, to) if matrix else t.data).tobytes(), h)
    print(name, f"{h:016x}")
