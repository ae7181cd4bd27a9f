"""Makes the demonstration model from nothing: corpus, tokenizer, training, export. See README.md.

`python3 demo/model/train.py` writes build/model/tiny.npz (weights in F32), build/model/tokenizer.json and, through export.py,
dist/nutshell-tiny-q8_0.gguf. It needs PyTorch and NumPy; every seed is fixed.
"""
import argparse
import array
import json
import math
import pathlib
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

import export
from bpe import Tokenizer, learn_merges
from corpus import BOS, END, START, documents
from network import Llama, Shape

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPECIALS = (BOS, START, END)
SEED_VOCAB, SEED_TRAIN, SEED_VALID, SEED_ROWS = 11, 21, 31, 41
LEARNING_RATE, WARMUP, WEIGHT_DECAY, CLIP = 4e-3, 100, 0.1, 1.0
TOKENS_A_STEP = 4096
MICRO_TOKENS = 2048  # what one forward pass takes: small enough to stay near the cache
LONG_SHARE = 0.1     # the last steps are trained on rows of the whole context


def build_tokenizer(n_vocab):
    """Learns the merges on documents that the model is not trained on."""
    texts = [text for parts in documents(SEED_VOCAB, 12000) for text, _ in parts]
    plain = [piece for text in texts for piece in Tokenizer(SPECIALS, ()).split.split(text) if piece not in SPECIALS]
    return Tokenizer(SPECIALS, learn_merges(plain, n_vocab - 256 - len(SPECIALS)))


class Stream:
    """Documents as one run of tokens: `tokens`, whether each is `learned`, and where documents start."""

    def __init__(self, tokenizer, seed, count):
        tokens, learned, starts = array.array("i"), array.array("b"), []
        for parts in documents(seed, count):
            starts.append(len(tokens))
            for text, learn in parts:
                ids = tokenizer.encode(text)
                tokens.extend(ids)
                learned.extend([learn] * len(ids))
        self.tokens, self.learned = np.array(tokens, np.int64), np.array(learned, bool)
        self.starts = starts

    def row(self, start, length):
        """Inputs and targets of `length` tokens from there; -100 marks a target that is not learned."""
        run = self.tokens[start:start + length + 1]
        target = np.where(self.learned[start + 1:start + length + 1], run[1:], -100)
        return run[:-1], target

    def draw(self, rng, n_row, length):
        """Rows that each start with a document; one in five without its BOS, as a caller may leave it out."""
        rows = []
        while len(rows) < n_row:
            start = rng.choice(self.starts) + (rng.random() < 0.2)
            if start + length < len(self.tokens):
                rows.append(self.row(start, length))
        return tuple(torch.from_numpy(np.stack(part)) for part in zip(*rows))


def loss_sum(model, inputs, targets):
    """The summed negative log-likelihood of the learned targets."""
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")


def validation_loss(model, stream, length=256, n_row=64):
    rng, total, count = random.Random(SEED_VALID), 0.0, 0
    with torch.no_grad():
        for _ in range(n_row // 8):
            inputs, targets = stream.draw(rng, 8, length)
            total += loss_sum(model, inputs, targets).item()
            count += (targets != -100).sum().item()
    return total / count


def learning_rate(step, n_step):
    """Linear warm-up, then a cosine down to one fiftieth."""
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / WARMUP
    along = (step - WARMUP) / max(1, n_step - WARMUP)
    return LEARNING_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * along)))


def train_step(model, optimizer, stream, rng, length):
    """One optimizer step over TOKENS_A_STEP tokens; gives the mean loss of its learned targets."""
    batches = [stream.draw(rng, MICRO_TOKENS // length, length) for _ in range(TOKENS_A_STEP // MICRO_TOKENS)]
    count = sum((targets != -100).sum().item() for _, targets in batches)
    total = 0.0
    for inputs, targets in batches:
        loss = loss_sum(model, inputs, targets) / count
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    optimizer.zero_grad()
    return total


def train(model, stream, valid, n_step):
    """AdamW (arXiv 1711.05101) with a cosine schedule; prints the loss as it falls."""
    matrices = [p for p in model.params if p.dim() == 2]
    vectors = [p for p in model.params if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": WEIGHT_DECAY},
                                   {"params": vectors, "weight_decay": 0.0}], lr=LEARNING_RATE, betas=(0.9, 0.95))
    rng, began, recent = random.Random(SEED_ROWS), time.time(), []
    for step in range(n_step):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, n_step)
        length = model.shape.n_ctx if step >= n_step * (1 - LONG_SHARE) else 256
        recent.append(train_step(model, optimizer, stream, rng, length))
        if (step + 1) % 100 == 0 or step + 1 == n_step:
            minutes = (time.time() - began) / 60
            print(f"step {step + 1}/{n_step}  loss {sum(recent) / len(recent):.4f}  "
                  f"valid {validation_loss(model, valid):.4f}  {minutes:.1f} min", flush=True)
            recent = []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--documents", type=int, default=60000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "model")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "dist" / "nutshell-tiny-q8_0.gguf")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    args.work.mkdir(parents=True, exist_ok=True)

    shape = Shape()
    tokenizer = build_tokenizer(shape.n_vocab)
    stream, valid = Stream(tokenizer, SEED_TRAIN, args.documents), Stream(tokenizer, SEED_VALID, 400)
    model = Llama(shape)
    print(f"{sum(p.numel() for p in model.params)} parameters, {len(stream.tokens)} tokens in {args.documents} documents, "
          f"{stream.learned.mean():.0%} of them learned", flush=True)
    train(model, stream, valid, args.steps)

    with open(args.work / "tokenizer.json", "w", encoding="utf-8") as file:
        json.dump({"specials": SPECIALS, "merges": tokenizer.merges}, file)
    np.savez(args.work / "tiny.npz", **{name: p.detach().numpy() for name, p in model.weights().items()})
    export.export(args.work, args.out)


if __name__ == "__main__":
    main()
