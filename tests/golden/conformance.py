"""Copies models of a conformance suite (its README says how they were made) into tests/golden/conformance/:

    python3 tests/golden/conformance.py FOLDER ARCH-VARIANT...

The models are tiny, with random weights; the JSON beside each says which program computed its logits. A model and its
JSON are copied as they are, but for "stride": of the expected logits every eleventh is kept, so that all stay below
4 MiB together. Row i keeps the logits of tokens j with (i + j) % 11 == 0: every position and every token is compared.
index.json lists what is there.
"""
import json
import shutil
import struct
import sys
from pathlib import Path

STRIDE = 11
source = Path(sys.argv[1])
target = Path(__file__).parent / 'conformance'
shutil.rmtree(target, ignore_errors=True)
target.mkdir()
rows = []
for name in sorted(sys.argv[2:]):
    about = json.loads((source / f'{name}.json').read_text())
    n_rows, n_vocab = about['shape']
    values = struct.unpack(f'<{n_rows * n_vocab}f', (source / about['logits']).read_bytes())
    kept = [values[i * n_vocab + j] for i in range(n_rows) for j in range(n_vocab) if (i + j) % STRIDE == 0]
    (target / about['logits']).write_bytes(struct.pack(f'<{len(kept)}f', *kept))
    (target / f'{name}.json').write_text(json.dumps({**about, 'stride': STRIDE}) + '\n')
    shutil.copyfile(source / about['gguf'], target / about['gguf'])
    rows.append({'file': f'{name}.json', 'arch': about['arch'], 'variant': about['variant'], 'kind': about['kind']})
lines = ',\n'.join(json.dumps(row) for row in rows)
(target / 'index.json').write_text(f'{{"models": [\n{lines}\n]}}\n')
total = sum(file.stat().st_size for file in target.iterdir())
print(len(rows), 'models,', total, 'bytes')
if total > 4 << 20:
    sys.exit('more than 4 MiB')
