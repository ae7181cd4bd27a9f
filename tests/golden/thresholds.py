"""Thresholds of a cascade by brute force, for web/dynamic/threshold.js: numpy, over all thresholds that tell the examples apart
(FrugalGPT, arXiv 2305.05176, section 3). Writes thresholds.json: examples, and the best mean reward for each mean cost, and the
least cost for each mean reward.

    python3 tests/golden/thresholds.py
"""
import itertools
import json
import pathlib

import numpy as np

rng = np.random.default_rng(7)


def made(n, models):
    """Questions of unlike difficulty; surer models are right more often, and larger ones cost more."""
    difficulty = rng.random(n)
    skill = np.linspace(0.5, 0.95, models)
    rewards = (rng.random((n, models)) < 1 - difficulty[:, None] * (1 - skill)).astype(float)
    scores = -difficulty[:, None] * 2 - rng.random((n, models - 1)) * 0.8 + rewards[:, :-1] * 0.5
    costs = np.broadcast_to(4.0 ** np.arange(models), (n, models)) * (0.5 + rng.random((n, 1)))
    return scores, rewards, costs


def outcomes(scores, rewards, costs):
    """Mean reward and mean cost of every choice of thresholds: each score may be the least that is accepted, or none."""
    n, k = scores.shape
    found = []
    for cut in itertools.product(*[[*np.unique(scores[:, j]), np.inf] for j in range(k)]):
        accepted = np.concatenate([scores >= np.array(cut), np.ones((n, 1), bool)], axis=1)
        by = accepted.argmax(axis=1)  # the first that is accepted
        paid = np.where(np.arange(k + 1) <= by[:, None], costs, 0).sum(axis=1)
        found.append((rewards[np.arange(n), by].mean(), paid.mean()))
    return np.array(found)


cases = []
for n, models in ((40, 2), (30, 3)):
    scores, rewards, costs = (np.round(x, 4) for x in made(n, models))
    reward, cost = outcomes(scores, rewards, costs).T
    limits = np.round(np.quantile(cost, [0.1, 0.3, 0.6, 1.0]), 6)
    goals = np.round(np.quantile(reward, [0.3, 0.7, 1.0]) - 1e-9, 6)
    cases.append({
        "examples": [{"scores": s.tolist(), "rewards": r.tolist(), "costs": c.tolist()}
                     for s, r, c in zip(scores, rewards, costs)],
        "costs": [[float(most), float(reward[cost <= most + 1e-12].max())] for most in limits],
        "rewards": [[float(least), float(cost[reward >= least].min())] for least in goals],
    })
made_by = {"origin": "tests/golden/thresholds.py", "cases": cases}
pathlib.Path(__file__).with_name("thresholds.json").write_text(json.dumps(made_by))
