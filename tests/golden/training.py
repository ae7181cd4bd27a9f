"""Writes tests/golden/training.h: the losses of a run of training by PyTorch, and divergences with their gradients by its
automatic differentiation. Run by hand, from the root of the repository, after `make cli`:

    python3 tests/golden/training.py DATA          (needs torch, numpy and gguf; DATA: the data folder of the tests)

The run: stories260K (DATA/models) in float32, torch.optim.AdamW with decay of matrices alone, torch.nn.utils.clip_grad_norm_,
linear warm-up and a cosine behind it; the order of windows is that of src/train/batches.h, computed here again. Token ids are
those of `nutshell tokenize`, whose own tests compare it with other programs.
"""
import math
import os
import subprocess
import sys

import torch

from gradients import Model, here

torch.set_num_threads(1)
MASK = (1 << 64) - 1
STEPS, BATCH, WINDOW, BYTES, SEED = 200, 2, 64, 100_000, 7
RATE, FINAL, WARMUP, BETAS, DECAY, CLIP = 2e-3, 0.1, 20, (0.9, 0.95), 0.1, 1.0


class Random:
    """xoshiro256** seeded by splitmix64 (Blackman and Vigna 2018, arXiv 1805.01407)."""

    def __init__(self, seed):
        self.s = []
        for _ in range(4):
            seed = (seed + 0x9e3779b97f4a7c15) & MASK
            z = ((seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9) & MASK
            z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & MASK
            self.s.append(z ^ (z >> 31))

    def next(self):
        s, turn = self.s, lambda x, n: ((x << n) | (x >> (64 - n))) & MASK
        out, t = turn((s[1] * 5) & MASK, 7) * 9 & MASK, (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = turn(s[3], 45)
        return out


def order(n, seed):
    """Fisher and Yates' shuffle."""
    r, out = Random(seed), list(range(n))
    for i in range(n - 1, 0, -1):
        k = r.next() % (i + 1)
        out[i], out[k] = out[k], out[i]
    return out


def rate(step):
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    return RATE * (FINAL + (1 - FINAL) * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))))


def curve(data):
    path = os.path.join(data, 'models/stories260K-f32.gguf')
    m = Model(path, torch.float32)
    text = open(os.path.join(data, 'text/tinystories-2MB-cased.txt'), 'rb').read()[:BYTES].decode()
    run = subprocess.run(['build/native/nutshell', 'tokenize', path, text, '--bos'], capture_output=True, text=True, check=True)
    ids = [int(i) for i in run.stdout.replace(',', ' ').split()]
    bos, n = ids[0], (len(ids) - 1) // WINDOW
    matrices = [w for w in m.w.values() if w.dim() > 1]
    vectors = [w for w in m.w.values() if w.dim() == 1]
    optimizer = torch.optim.AdamW([{'params': matrices, 'weight_decay': DECAY}, {'params': vectors, 'weight_decay': 0}],
                                  lr=RATE, betas=BETAS, eps=1e-8)
    losses = []
    for step in range(STEPS):
        which = [order(n, SEED + k // n)[k % n] for k in range(step * BATCH, (step + 1) * BATCH)]
        x = torch.tensor([[bos] + ids[i * WINDOW + 1:(i + 1) * WINDOW] for i in which])
        labels = torch.tensor([ids[i * WINDOW + 1:(i + 1) * WINDOW + 1] for i in which])
        loss = torch.nn.functional.cross_entropy(m.logits(m.w['token_embd.weight'][x]).flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.w.values(), CLIP)
        for group in optimizer.param_groups:
            group['lr'] = rate(step)
        optimizer.step()
        losses.append(loss.item())
    return len(ids), losses


def kl(p, q):
    return (p * (p.log() - q.log())).sum()


DIVERGENCES = {
    'kl': lambda p, q, a: kl(p, q),
    'reverse_kl': lambda p, q, a: kl(q, p),
    'jsd': lambda p, q, a: a * kl(p, a * p + (1 - a) * q) + (1 - a) * kl(q, a * p + (1 - a) * q),
    'skew_kl': lambda p, q, a: kl(p, a * p + (1 - a) * q),
    'skew_reverse_kl': lambda p, q, a: kl(q, (1 - a) * p + a * q),
}
N, A, TEMPERATURE = 9, 0.3, 1.7


def divergence(of):
    """Of fixed logits at a temperature, times its square, and its gradient by the student's logits."""
    at = torch.arange(N, dtype=torch.float64)
    teacher, student = 3 * torch.sin(at * 1.3 + 0.5), (2.5 * torch.sin(at * 0.7 + 2)).requires_grad_()
    value = of(torch.softmax(teacher / TEMPERATURE, 0), torch.softmax(student / TEMPERATURE, 0), A) * TEMPERATURE ** 2
    value.backward()
    return float(value), student.grad.tolist()


n_ids, losses = curve(sys.argv[1])
lines = ['/* Made by training.py beside this file, by PyTorch. Do not edit. */', '// clang-format off',
         f'enum {{ TRAINING_STEPS = {STEPS}, TRAINING_BYTES = {BYTES}, TRAINING_IDS = {n_ids} }};',
         'static const char training_options[] =',
         f'    "\\"steps\\": {STEPS}, \\"batch\\": {BATCH}, \\"window\\": {WINDOW}, \\"seed\\": {SEED}, \\"rate\\": {RATE}, "',
         f'    "\\"final\\": {FINAL}, \\"warmup\\": {WARMUP}, \\"beta1\\": {BETAS[0]}, \\"beta2\\": {BETAS[1]}, "',
         f'    "\\"decay\\": {DECAY}, \\"clip\\": {CLIP}, \\"held_out\\": 0";',
         'static const double training_losses[TRAINING_STEPS] = {']
lines += ['    ' + ', '.join(f'{v:.6g}' for v in losses[i:i + 10]) + ',' for i in range(0, STEPS, 10)]
lines += ['};', f'enum {{ DIVERGENCE_LOGITS = {N} }};',
          f'static const double divergence_a = {A}, divergence_temperature = {TEMPERATURE};',
          'static const struct divergence_of {', '    const char *name;', '    double value, gradient[DIVERGENCE_LOGITS];',
          '} divergences_golden[] = {']
for name, of in DIVERGENCES.items():
    value, gradient = divergence(of)
    lines += [f'    {{"{name}", {value:.12g},', '     {' + ', '.join(f'{g:.9g}' for g in gradient[:5]) + ',',
              '      ' + ', '.join(f'{g:.9g}' for g in gradient[5:]) + '}},']
lines += ['};', '// clang-format on']
with open(os.path.join(here, 'training.h'), 'w') as out:
    out.write('\n'.join(lines) + '\n')
