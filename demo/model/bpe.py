"""A byte-level byte-pair encoding in GPT-2's form: learning the merges, encoding, decoding.

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (arXiv 1508.07909); the split into words and the
printable stand-ins for bytes are those of GPT-2's tokenizer, which GGUF calls model "gpt2", pre-tokenizer "gpt-2". The split is
written for ASCII, which is all that the corpus holds.
"""
import collections
import re

WORDS = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def byte_symbols():
    """The printable character that stands for each byte value in GPT-2's vocabulary files."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols, spare = [], 256
    for byte in range(256):
        if byte in printable:
            symbols.append(chr(byte))
        else:
            symbols.append(chr(spare))
            spare += 1
    return symbols


SYMBOLS = byte_symbols()
BYTES = {symbol: byte for byte, symbol in enumerate(SYMBOLS)}


def symbols_of(word):
    return tuple(SYMBOLS[b] for b in word.encode("utf-8"))


def merged(parts, pair):
    """The parts with every occurrence of the pair merged, from the left."""
    out, i = [], 0
    while i < len(parts):
        if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return tuple(out)


def learn_merges(texts, count):
    """The `count` most useful merges over these texts, in the order in which they apply."""
    words = collections.Counter(w for text in texts for w in WORDS.findall(text))
    parts = {w: symbols_of(w) for w in words}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, times in words.items():
            for pair in zip(parts[word], parts[word][1:]):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        parts = {w: merged(p, best) for w, p in parts.items()}
    return merges


class Tokenizer:
    """Tokens: the special ones, the 256 bytes, then one for each merge, so that ids follow from the merges alone."""

    def __init__(self, specials, merges):
        self.specials, self.merges = list(specials), [tuple(m) for m in merges]
        self.tokens = self.specials + SYMBOLS + [a + b for a, b in self.merges]
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self.ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self.cache = {}
        self.split = re.compile("(" + "|".join(map(re.escape, self.specials)) + ")")

    def word_ids(self, word):
        parts = symbols_of(word)
        while len(parts) > 1:
            pair = min(zip(parts, parts[1:]), key=lambda p: self.ranks.get(p, len(self.ranks)))
            if pair not in self.ranks:
                break
            parts = merged(parts, pair)
        return [self.ids[p] for p in parts]

    def encode(self, text):
        """The ids of a text in which special tokens may be written out."""
        out = []
        for piece in self.split.split(text):
            if piece in self.specials:
                out.append(self.ids[piece])
                continue
            for word in WORDS.findall(piece):
                if word not in self.cache:
                    self.cache[word] = self.word_ids(word)
                out += self.cache[word]
        return out

    def decode(self, ids):
        """The text of these ids; special tokens are written out."""
        data = b""
        for i in ids:
            token = self.tokens[i]
            data += token.encode() if i < len(self.specials) else bytes(BYTES[c] for c in token)
        return data.decode("utf-8", "replace")
