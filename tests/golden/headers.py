"""Digests of GGUF headers for tests/unit/test_gguf.c, read by the independent reader of the PyPI package gguf 0.19.0:

    python headers.py FILE.gguf...

A line per file: metadata pairs, tensors, digest. The digest is 64-bit FNV-1a over a text with a line for each pair,
"key type element-type count value-digest", and for each tensor, "T name type dims... offset bytes". A value's digest is
over its bytes in the file; that of a string over its bytes, of an array of strings over the strings, each followed by a zero.
"""
import sys

import gguf

STRING, ARRAY = 8, 9
START = 14695981039346656037


def fnv(data, h=START):
    for byte in data:
        h = ((h ^ byte) * 1099511628211) & (2**64 - 1)
    return h


def pair(field):
    kind = int(field.types[0])
    element = int(field.types[1]) if kind == ARRAY and len(field.types) > 1 else kind
    parts = [bytes(field.parts[i]) if element == STRING else field.parts[i].tobytes() for i in field.data]
    data = b"".join(part + b"\0" for part in parts) if kind == ARRAY and element == STRING else b"".join(parts)
    return f"{field.name} {kind} {element} {len(parts) if kind == ARRAY else 1} {fnv(data):016x}"


def tensor(t):
    numbers = [int(t.tensor_type), *map(int, t.shape), int(t.data_offset), int(t.n_bytes)]
    return f"T {t.name} {' '.join(map(str, numbers))}"


for path in sys.argv[1:]:
    reader = gguf.GGUFReader(path)
    pairs = [pair(f) for f in reader.fields.values() if not f.name.startswith("GGUF.")]
    lines = pairs + [tensor(t) for t in reader.tensors]
    print(path, len(pairs), len(reader.tensors), f"{fnv(''.join(line + chr(10) for line in lines).encode()):016x}")
