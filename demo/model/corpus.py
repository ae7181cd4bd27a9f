"""The training corpus of the demonstration model: an endless, seeded stream of raw stories and of conversations.

`python3 demo/model/corpus.py [COUNT [SEED]]` prints documents, to be read by eye.
"""
import random
import sys

from chat import conversation, describe, draw_kind
from stories import day_out, tell

BOS, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_SHARE = 0.58


def raw_document(rng):
    """A story, some of them without their beginning, or now and then a description in the present tense."""
    draw = rng.random()
    if draw < 0.12:
        return day_out(rng).text()
    if draw < 0.20:
        kind = draw_kind(rng, ("animal", "person", "thing"))
        if kind.does:
            return describe(rng, kind, rng.choice(("the ", "the ", "a~ ")) + kind.kind)
    tale = tell(rng, draw_kind(rng).kind)
    if rng.random() < 0.15:
        del tale.sentences[:rng.randrange(1, 4)]
    return tale.text()


def document(rng):
    """One document as pairs (text, learned): messages of the user and the system are context, not learned.

    It opens with BOS; a raw text closes with END, as each message of a conversation does.
    """
    if rng.random() >= CHAT_SHARE:
        return [(BOS, False), (raw_document(rng) + END, True)]
    parts = [(BOS, False)]
    for role, text in conversation(rng):
        if role == "assistant":
            parts += [(f"{START}assistant\n", False), (text + END, True), ("\n", False)]
        else:
            parts.append((f"{START}{role}\n{text}{END}\n", False))
    return parts


def documents(seed, count):
    """That many documents; the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield document(rng)


if __name__ == "__main__":
    arguments = [int(a) for a in sys.argv[1:]]
    for parts in documents(arguments[1] if len(arguments) > 1 else 1, arguments[0] if arguments else 10):
        print("".join(text for text, _ in parts) + "\n")
