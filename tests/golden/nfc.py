#!/usr/bin/env python3
"""Writes tests/golden/nfc.txt: texts and their normalization form C, by unicodedata2, in hexadecimal UTF-8; first the xxHash32
of the forms of all code points, one after another, each with an x behind it.

usage: pip install unicodedata2==15.1.0 xxhash && python3 tests/golden/nfc.py > tests/golden/nfc.txt
"""
import random
import unicodedata2 as unicodedata
import xxhash

h = xxhash.xxh32(seed=0)
for c in range(1, 0x110000):
    if not 0xD800 <= c < 0xE000:
        h.update((unicodedata.normalize('NFC', chr(c)) + 'x').encode())
print(f'{h.intdigest():08x}')

r = random.Random(5)
marks = [chr(c) for c in range(0x300, 0x20000) if unicodedata.combining(chr(c)) or unicodedata.normalize('NFC', chr(c)) != chr(c)]
letters = [chr(c) for c in range(0x41, 0x20000) if unicodedata.decomposition(chr(c)) and not 0xD800 <= c < 0xE000]
jamo = [chr(c) for c in (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A7, 0x11C3), 0xAC00, 0xAC01, 0xD7A3)]
latin = [*'aAeEoOuUzZ Ωωα\u05d0日'] + [chr(c) for c in range(0x300, 0x330)]
for atoms in [marks + letters, latin, jamo, [*'abc \n'] + latin + jamo, letters + latin]:
    for _ in range(80):
        text = ''.join(r.choice(atoms) for _ in range(r.randrange(1, 14)))
        print(text.encode().hex(), unicodedata.normalize('NFC', text).encode().hex())
