"""Makes tests/golden/families/: tiny models with random weights of families that the conformance suite lacks, and what
other programs compute of them in float64.

    pip install torch transformers gguf
    python3 tests/golden/families.py [ARCH-VARIANT...]

transformers runs the rerankers and Gemma 3n. The Jina encoders are not in it: they are written here after the authors'
modeling_bert.py (jina-bert-v2: JinaBertSelfAttention, JinaBertGLUMLP, JinaBertEncoder.rebuild_alibi_tensor) and
modeling_xlm_roberta.py (jina-embeddings-v3 without its adapters). The tokenizers package encodes the pairs of texts.
Names of keys and tensors are those of llama.cpp's converter. The files are as the conformance suite's (conformance.py),
and a reranker's JSON also has
    pair     a query and a document, whose ids are the test's
    scores   what the head gives
and Gemma 3n's
    q8_0     how far transformers is off with matrices and their inputs rounded to Q8_0 by the gguf package: the median
             over the rows of the largest |difference| / std, as in q8_0.json
"""
import json
import math
import sys
from pathlib import Path

import gguf
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

TARGET = Path(__file__).parent / 'families'
F = torch.nn.functional
N_IDS, N_GREEDY = 24, 24
PAIR = {'query': 'which animal can fly', 'document': 'a bat is the only mammal that is able to fly'}


# ---- random weights ----

def random_(shape, seed, kind='matrix'):
    """Norms near 1, small biases, matrices that keep the size of their input."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32).double()
    if kind == 'norm':
        return 1 + 0.2 * x
    if kind == 'bias':
        return 0.2 * x
    return x * (1.2 / math.sqrt(shape[-1]))


def kind_of(name, shape):
    if len(shape) > 1:
        return 'matrix'
    return 'norm' if 'norm' in name.lower() and name.endswith('weight') else 'bias'


def randomize(model, seed):
    """Weights of any module, in the order of their names; they are float32 numbers."""
    with torch.no_grad():
        for i, (name, p) in enumerate(sorted(model.named_parameters())):
            kind = 'norm' if name.endswith('correct_output_scale') else kind_of(name, p.shape)
            p.copy_(random_(tuple(p.shape), 1000 * seed + i, kind))
            if 'modality_router' in name: # its input is divided by the width: let it matter
                p.mul_(20)
    return model.double().eval()


# ---- vocabularies ----

def bytes_to_unicode():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def byte_vocabulary(w, special, pre='qwen2'):
    """Byte-level BPE of single bytes, one merge, and special tokens; its encoder."""
    tokens = [bytes_to_unicode()[b] for b in range(256)] + ['th']
    bpe = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [('t', 'h')]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(special)
    w.add_tokenizer_model('gpt2')
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens + special)
    w.add_token_types([1] * len(tokens) + [3] * len(special))
    w.add_token_merges(['t h'])
    w.add_eos_token_id(len(tokens))
    w.add_add_bos_token(False)
    return bpe


LETTERS = 'abcdefghijklmnopqrstuvwxyz'


def word_pieces(w):
    """WordPiece of single letters; its encoder."""
    tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] + list(LETTERS) + ['##' + c for c in LETTERS] + ['fly', '##at']
    ids = {t: i for i, t in enumerate(tokens)}
    pieces = Tokenizer(models.WordPiece(ids, unk_token='[UNK]'))
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.BertProcessing(('[SEP]', 3), ('[CLS]', 2))
    w.add_tokenizer_model('bert')
    w.add_tokenizer_pre('default')
    w.add_token_list([t[2:] if t[:2] == '##' else t if t[0] == '[' else '\u2581' + t for t in tokens])
    w.add_token_types([3] * 5 + [1] * (len(tokens) - 5))
    w.add_token_type_count(2)
    for name in ('bos', 'eos', 'sep', 'unk', 'pad'):
        getattr(w, f'add_{name}_token_id')({'bos': 2, 'eos': 3, 'sep': 3, 'unk': 1, 'pad': 0}[name])
    w.add_add_bos_token(True)
    w.add_add_eos_token(True)
    w.add_add_sep_token(False)
    return pieces


def unigram(w):
    """XLM-RoBERTa's kind of vocabulary: letters, some of which begin words; its encoder."""
    tokens = [('<s>', 0.0), ('<pad>', 0.0), ('</s>', 0.0), ('<unk>', 0.0), ('\u2581', -3.0)]
    tokens += [(c, -4.0 - i / 10) for i, c in enumerate(LETTERS)] + [('\u2581the', -2.5), ('at', -3.5), ('\u2581fly', -2.7)]
    pieces = Tokenizer(models.Unigram(tokens, 3))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0), trim_offsets=False, add_prefix_space=False)
    w.add_tokenizer_model('t5')
    w.add_tokenizer_pre('default')
    w.add_token_list([t for t, _ in tokens])
    w.add_token_scores([score for _, score in tokens])
    w.add_token_types([3, 3, 3, 2] + [1] * (len(tokens) - 4))
    w.add_token_type_count(1)
    w.add_add_space_prefix(True)
    w.add_remove_extra_whitespaces(True)
    w.add_bos_token_id(0)
    w.add_eos_token_id(2)
    w.add_unk_token_id(3)
    w.add_sep_token_id(2)
    w.add_add_bos_token(True)
    w.add_add_eos_token(True)
    w.add_add_sep_token(True)
    return pieces


# ---- files ----

def put(w, tensors):
    for name, x in tensors.items():
        w.add_tensor(name, x.detach().float().numpy().copy())


def begin(arch, variant):
    return gguf.GGUFWriter(TARGET / f'{arch}-{variant}.gguf', arch)


def end(w, arch, variant, kind, ids, rows, source, pooled=None, **more):
    """Writes the model, its rows (n_ids, width), the pooled row, and the JSON."""
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    name = f'{arch}-{variant}'
    about = {'arch': arch, 'variant': variant, 'kind': kind, 'source': source, 'gguf': f'{name}.gguf',
             'n_ctx': max(64, len(ids)), 'ids': [int(i) for i in ids], 'shape': list(rows.shape),
             'std': rows.std(correction=0).item(),
             ('logits' if kind == 'causal' else 'hidden'): f'{name}.f32', **more}
    rows.detach().float().numpy().astype('<f4').tofile(TARGET / f'{name}.f32')
    if pooled is not None:
        about['pooled'] = f'{name}.pooled.f32'
        (pooled / pooled.norm()).detach().float().numpy().astype('<f4').tofile(TARGET / about['pooled'])
    (TARGET / f'{name}.json').write_text(json.dumps(about, indent=1) + '\n')


def by_transformers(name):
    return {'program': 'transformers', 'class': name, 'transformers': transformers.__version__, 'torch': torch.__version__,
            'reference_dtype': 'float64'}


def as_words(scores):
    return [float(s) for s in scores.flatten()]


# ---- rerankers ----

def bert_layer(state, theirs, ours):
    names = {'attention.self.query': 'attn_q', 'attention.self.key': 'attn_k', 'attention.self.value': 'attn_v',
             'attention.output.dense': 'attn_output', 'attention.output.LayerNorm': 'attn_output_norm',
             'intermediate.dense': 'ffn_up', 'output.dense': 'ffn_down', 'output.LayerNorm': 'layer_output_norm'}
    return {f'{ours}.{b}.{part}': state[f'{theirs}.{a}.{part}'] for a, b in names.items() for part in ('weight', 'bias')}


def bert_reranker():
    """XLM-RoBERTa with RoBERTa's head, as bge-reranker-v2-m3."""
    w = begin('bert', 'reranker')
    pieces = unigram(w)
    config = transformers.XLMRobertaConfig(
        vocab_size=pieces.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=130, type_vocab_size=1, num_labels=1, attn_implementation='eager')
    model = randomize(transformers.XLMRobertaForSequenceClassification(config), 1)
    ids = pieces.encode(PAIR['query'], PAIR['document']).ids
    x = torch.tensor([ids])
    hidden = model.roberta(x).last_hidden_state[0]
    w.add_context_length(128)
    w.add_embedding_length(32)
    w.add_block_count(2)
    w.add_feed_forward_length(48)
    w.add_head_count(4)
    w.add_layer_norm_eps(config.layer_norm_eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.RANK)
    s = model.state_dict()
    e = 'roberta.embeddings.'
    put(w, {'token_embd.weight': s[e + 'word_embeddings.weight'],
            'position_embd.weight': s[e + 'position_embeddings.weight'][config.pad_token_id + 1:],
            'token_types.weight': s[e + 'token_type_embeddings.weight'],
            'token_embd_norm.weight': s[e + 'LayerNorm.weight'], 'token_embd_norm.bias': s[e + 'LayerNorm.bias'],
            **{k: v for i in range(2) for k, v in bert_layer(s, f'roberta.encoder.layer.{i}', f'blk.{i}').items()},
            'cls.weight': s['classifier.dense.weight'], 'cls.bias': s['classifier.dense.bias'],
            'cls.output.weight': s['classifier.out_proj.weight'], 'cls.output.bias': s['classifier.out_proj.bias']})
    end(w, 'bert', 'reranker', 'reranker', ids, hidden, by_transformers('XLMRobertaForSequenceClassification'),
        hidden[0], pair=PAIR, scores=as_words(model(x).logits))


def modern_bert_reranker():
    """ModernBERT that pools by the mean, as gte-reranker-modernbert-base; three labels."""
    w = begin('modern-bert', 'reranker')
    pieces = word_pieces(w)
    config = transformers.ModernBertConfig(
        vocab_size=pieces.get_vocab_size(), hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=128, local_attention=8, global_attn_every_n_layers=3, classifier_pooling='mean', num_labels=3,
        pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3, attn_implementation='eager')
    model = randomize(transformers.ModernBertForSequenceClassification(config), 2)
    ids = pieces.encode(PAIR['query'], PAIR['document']).ids
    x = torch.tensor([ids])
    hidden = model.model(x).last_hidden_state[0]
    w.add_context_length(128)
    w.add_embedding_length(32)
    w.add_block_count(4)
    w.add_feed_forward_length(40)
    w.add_head_count(4)
    w.add_layer_norm_eps(config.norm_eps)
    w.add_causal_attention(False)
    w.add_sliding_window(8)
    w.add_sliding_window_pattern(3)
    w.add_rope_freq_base(160000.0)
    w.add_key_value('modern-bert.rope.freq_base_swa', 10000.0, gguf.GGUFValueType.FLOAT32)
    w.add_pooling_type(gguf.PoolingType.RANK)
    w.add_classifier_output_labels(['no', 'maybe', 'yes'])
    s = model.state_dict()
    tensors = {'token_embd.weight': s['model.embeddings.tok_embeddings.weight'],
               'token_embd_norm.weight': s['model.embeddings.norm.weight'], 'output_norm.weight': s['model.final_norm.weight'],
               'cls.weight': s['head.dense.weight'], 'cls.norm.weight': s['head.norm.weight'],
               'cls.output.weight': s['classifier.weight'], 'cls.output.bias': s['classifier.bias']}
    for i in range(4):
        names = {'attn_norm': 'attn_norm', 'attn.Wqkv': 'attn_qkv', 'attn.Wo': 'attn_output', 'mlp_norm': 'ffn_norm',
                 'mlp.Wi': 'ffn_up', 'mlp.Wo': 'ffn_down'}
        for theirs, ours in names.items():
            if f'model.layers.{i}.{theirs}.weight' in s:
                tensors[f'blk.{i}.{ours}.weight'] = s[f'model.layers.{i}.{theirs}.weight']
    put(w, tensors)
    end(w, 'modern-bert', 'reranker', 'reranker', ids, hidden, by_transformers('ModernBertForSequenceClassification'),
        hidden.mean(0), pair=PAIR, scores=as_words(model(x).logits))


RERANK = ('<|im_start|>system\nJudge whether the Document meets the requirements.<|im_end|>\n<|im_start|>user\n'
          '<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n')


def qwen3_reranker():
    """Qwen3-Reranker: of the logits behind the prompt those of two tokens, as probabilities."""
    w = begin('qwen3', 'reranker')
    bpe = byte_vocabulary(w, ['<|im_end|>', '<|im_start|>'])
    config = transformers.Qwen3Config(
        vocab_size=bpe.get_vocab_size(), hidden_size=24, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
        head_dim=16, intermediate_size=32, max_position_embeddings=512, rope_theta=1e6, tie_word_embeddings=True,
        attn_implementation='eager')
    model = randomize(transformers.Qwen3ForCausalLM(config), 3)
    ids = bpe.encode(RERANK.replace('{query}', PAIR['query']).replace('{document}', PAIR['document'])).ids
    x = torch.tensor([ids])
    hidden = model.model(x).last_hidden_state[0]
    yes, no = bpe.token_to_id('y'), bpe.token_to_id('n')
    w.add_chat_template([{'name': 'default', 'template': '{{ messages[0].content }}'}, {'name': 'rerank', 'template': RERANK}])
    w.add_context_length(512)
    w.add_embedding_length(24)
    w.add_block_count(2)
    w.add_feed_forward_length(32)
    w.add_head_count(3)
    w.add_head_count_kv(1)
    w.add_key_length(16)
    w.add_value_length(16)
    w.add_rope_freq_base(model.model.rotary_emb.config.rope_parameters['rope_theta'])
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_pooling_type(gguf.PoolingType.RANK)
    w.add_classifier_output_labels(['yes', 'no'])
    s = model.state_dict()
    embd = s['model.embed_tokens.weight']
    put(w, {'token_embd.weight': embd, 'output_norm.weight': s['model.norm.weight'], 'cls.output.weight': embd[[yes, no]],
            **{k: v for i in range(2) for k, v in decoder_layer(s, i).items()}})
    scores = model(x).logits[0, -1, [yes, no]].softmax(0)
    end(w, 'qwen3', 'reranker', 'reranker', ids, hidden, by_transformers('Qwen3ForCausalLM'), hidden[-1], pair=PAIR,
        scores=as_words(scores))


def decoder_layer(s, i, prefix='model.layers'):
    names = {'input_layernorm': 'attn_norm', 'self_attn.q_proj': 'attn_q', 'self_attn.k_proj': 'attn_k',
             'self_attn.v_proj': 'attn_v', 'self_attn.o_proj': 'attn_output', 'self_attn.q_norm': 'attn_q_norm',
             'self_attn.k_norm': 'attn_k_norm', 'post_attention_layernorm': 'ffn_norm', 'mlp.gate_proj': 'ffn_gate',
             'mlp.up_proj': 'ffn_up', 'mlp.down_proj': 'ffn_down'}
    return {f'blk.{i}.{b}.weight': s[f'{prefix}.{i}.{a}.weight'] for a, b in names.items() if f'{prefix}.{i}.{a}.weight' in s}


# ---- Jina's encoders ----

class Weights(dict):
    """Tensors by llama.cpp's names, made when they are asked for."""

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def get(self, name, *shape):
        if name not in self:
            self.seed += 1
            self[name] = random_(shape, self.seed, kind_of(name, shape))
        return self[name]

    def linear(self, x, name, n_out, bias=True):
        b = self.get(f'{name}.bias', n_out) if bias else None
        return F.linear(x, self.get(f'{name}.weight', n_out, x.shape[-1]), b)

    def norm(self, x, name, eps):
        n = x.shape[-1]
        return F.layer_norm(x, (n,), self.get(f'{name}.weight', n), self.get(f'{name}.bias', n), eps)


def alibi_slopes(n):
    """JinaBertEncoder.rebuild_alibi_tensor."""
    def power_of_2(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start ** i for i in range(n)]
    if math.log2(n).is_integer():
        return power_of_2(n)
    closest = 2 ** math.floor(math.log2(n))
    return power_of_2(closest) + alibi_slopes(2 * closest)[0::2][:n - closest]


def attend(q, k, v, n_head, bias):
    def heads(x):
        return x.reshape(len(x), n_head, -1).transpose(0, 1)
    q, k, v = heads(q), heads(k), heads(v)
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + bias
    return (scores.softmax(-1) @ v).transpose(0, 1).reshape(len(bias[0]), -1)


def rotate(x, n_head, base):
    """Halves of a head, as rotary_emb_interleaved=False."""
    x = x.reshape(len(x), n_head, -1)
    half = x.shape[-1] // 2
    angle = torch.arange(len(x)).double()[:, None] * base ** (-torch.arange(half).double() / half)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).reshape(len(x), -1)


def jina(arch, variant, n_embd, n_ff, n_head, layer, notes, seed):
    w, t, eps = begin(arch, variant), Weights(1000 * seed), 1e-12
    n_vocab = word_pieces(w).get_vocab_size()
    ids = torch.randint(5, n_vocab, (N_IDS,), generator=torch.Generator().manual_seed(seed))
    x = t.get('token_embd.weight', n_vocab, n_embd)[ids] + t.get('token_types.weight', 2, n_embd)[0]
    x = t.norm(x, 'token_embd_norm', eps)
    for i in range(3):
        x = layer(t, f'blk.{i}', x, n_ff, n_head, eps)
    w.add_context_length(512)
    w.add_embedding_length(n_embd)
    w.add_block_count(3)
    w.add_feed_forward_length(n_ff)
    w.add_head_count(n_head)
    w.add_layer_norm_eps(eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.MEAN)
    if arch == 'jina-bert-v3':
        w.add_rope_freq_base(20000.0)
    fused = {f'blk.{i}.ffn_up.weight': torch.cat([t[f'blk.{i}.ffn_gate.weight'], t[f'blk.{i}.ffn_up.weight']])
             for i in range(3)} if variant == 'fused' else {}
    put(w, {k: v for k, v in {**t, **fused}.items() if not (fused and 'ffn_gate' in k)})
    source = {'program': 'families.py', 'after': notes, 'torch': torch.__version__, 'reference_dtype': 'float64'}
    end(w, arch, variant, 'encoder', ids, x, source, x.mean(0), pooling='mean')


def v2_layer(t, name, x, n_ff, n_head, eps, qk_norm):
    n = x.shape[-1]
    q, k, v = (t.linear(x, f'{name}.attn_{c}', n) for c in 'qkv')
    if qk_norm:
        q, k = t.norm(q, f'{name}.attn_q_norm', eps), t.norm(k, f'{name}.attn_k_norm', eps)
    at = torch.arange(len(x)).double()
    bias = -torch.tensor(alibi_slopes(n_head)).double()[:, None, None] * (at[:, None] - at).abs()
    x = t.norm(x + t.linear(attend(q, k, v, n_head, bias), f'{name}.attn_output', n), f'{name}.attn_output_norm', eps)
    gate, up = t.linear(x, f'{name}.ffn_gate', n_ff, False), t.linear(x, f'{name}.ffn_up', n_ff, False)
    return t.norm(x + t.linear(up * F.gelu(gate), f'{name}.ffn_down', n), f'{name}.layer_output_norm', eps)


def v3_layer(t, name, x, n_ff, n_head, eps):
    n = x.shape[-1]
    qkv = t.linear(x, f'{name}.attn_qkv', 3 * n)
    q, k, v = qkv[:, :n], qkv[:, n:2 * n], qkv[:, 2 * n:]
    made = attend(rotate(q, n_head, 20000.0), rotate(k, n_head, 20000.0), v, n_head, torch.zeros(n_head, len(x), len(x)))
    x = t.norm(x + t.linear(made, f'{name}.attn_output', n), f'{name}.attn_output_norm', eps)
    hidden = F.gelu(t.linear(x, f'{name}.ffn_up', n_ff))
    return t.norm(x + t.linear(hidden, f'{name}.ffn_down', n), f'{name}.layer_output_norm', eps)


V2 = 'jinaai/jina-bert-v2-qk-post-norm, modeling_bert.py'
V2_PLAIN = 'jinaai/jina-bert-implementation, modeling_bert.py'
V3 = 'jinaai/xlm-roberta-flash-implementation, modeling_xlm_roberta.py'


# ---- Gemma 3n ----

LAYER_TYPES = ['sliding_attention', 'sliding_attention', 'full_attention', 'sliding_attention', 'full_attention']
SPARSITY = [0.9, 0.7, 0.0, 0.6, 0.0]


def gemma3n_text():
    """Two layers share keys and values; window 6; gates are cut off in three layers."""
    w = begin('gemma3n', 'text')
    bpe = byte_vocabulary(w, ['<eos>'], 'default')
    n_vocab = bpe.get_vocab_size()
    config = transformers.Gemma3nTextConfig(
        vocab_size=n_vocab, vocab_size_per_layer_input=n_vocab, hidden_size=32, hidden_size_per_layer_input=8,
        intermediate_size=[40] * 5, num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        sliding_window=6, layer_types=LAYER_TYPES, altup_num_inputs=4, altup_active_idx=0, num_kv_shared_layers=2,
        laurel_rank=6, activation_sparsity_pattern=SPARSITY, max_position_embeddings=256, tie_word_embeddings=True,
        attn_implementation='eager')
    model = randomize(transformers.Gemma3nForCausalLM(config), 4)
    rope = config.rope_parameters
    w.add_context_length(256)
    w.add_embedding_length(32)
    w.add_block_count(5)
    w.add_feed_forward_length([40] * 5)
    w.add_head_count(2)
    w.add_head_count_kv(1)
    w.add_key_length(16)
    w.add_value_length(16)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_sliding_window(6)
    w.add_sliding_window_pattern([t == 'sliding_attention' for t in LAYER_TYPES])
    w.add_rope_freq_base(rope['full_attention']['rope_theta'])
    w.add_key_value('gemma3n.rope.freq_base_swa', rope['sliding_attention']['rope_theta'], gguf.GGUFValueType.FLOAT32)
    w.add_final_logit_softcapping(config.final_logit_softcapping)
    w.add_altup_active_idx(0)
    w.add_altup_num_inputs(4)
    w.add_embedding_length_per_layer_input(8)
    w.add_shared_kv_layers(2)
    normal = torch.distributions.normal.Normal(0, 1)
    w.add_activation_sparsity_scale([normal.icdf(torch.tensor(s)).item() for s in SPARSITY])
    s = model.state_dict()
    put(w, gemma3n_tensors(s))
    ids = torch.randint(0, 256, (N_IDS,), generator=torch.Generator().manual_seed(4))
    logits = model(ids[None]).logits[0]
    clear = greedy(model)
    end(w, 'gemma3n', 'text', 'causal', ids, logits, by_transformers('Gemma3nForCausalLM'), greedy=clear,
        q8_0=far_in_q8_0(model, ids, logits))


def gemma3n_tensors(s):
    tensors = {'token_embd.weight': s['model.embed_tokens.weight'], 'output_norm.weight': s['model.norm.weight'],
               'per_layer_token_embd.weight': s['model.embed_tokens_per_layer.weight'],
               'per_layer_model_proj.weight': s['model.per_layer_model_projection.weight'],
               'per_layer_proj_norm.weight': s['model.per_layer_projection_norm.weight']}
    for ours, theirs in (('altup_proj', 'altup_projections'), ('altup_unembd_proj', 'altup_unembed_projections')):
        tensors[f'{ours}.weight'] = torch.stack([s[f'model.{theirs}.{i}.weight'] for i in range(3)])
    names = {'altup.prediction_coefs.weight': 'altup_predict_coef', 'altup.correction_coefs.weight': 'altup_correct_coef',
             'altup.correct_output_scale': 'altup_correct_scale', 'altup.modality_router.weight': 'altup_router',
             'altup.router_norm.weight': 'altup_router_norm', 'laurel.linear_left.weight': 'laurel_l',
             'laurel.linear_right.weight': 'laurel_r', 'laurel.post_laurel_norm.weight': 'laurel_post_norm',
             'per_layer_input_gate.weight': 'inp_gate', 'per_layer_projection.weight': 'proj',
             'post_per_layer_input_norm.weight': 'post_norm', 'post_attention_layernorm.weight': 'post_attention_norm',
             'pre_feedforward_layernorm.weight': 'ffn_norm', 'post_feedforward_layernorm.weight': 'post_ffw_norm'}
    for i in range(5):
        layer = decoder_layer(s, i)
        del layer[f'blk.{i}.ffn_norm.weight']
        tensors.update(layer)
        tensors.update({f'blk.{i}.{b}.weight': s[f'model.layers.{i}.{a}'] for a, b in names.items()})
    return tensors


def q8_0(x):
    kind = gguf.GGMLQuantizationType.Q8_0
    rows = gguf.quants.quantize(x.float().numpy(), kind)
    return torch.from_numpy(gguf.quants.dequantize(rows, kind).copy()).double()


def far_in_q8_0(model, ids, logits):
    """Rounds the model's matrices, but for those that quantizers leave alone."""
    left = ('altup', 'laurel', 'per_layer_model_projection')
    for name, part in model.named_modules():
        if isinstance(part, torch.nn.Linear) and part.in_features % 32 == 0 and not any(word in name for word in left):
            part.weight.copy_(q8_0(part.weight))
            part.register_forward_pre_hook(lambda _, args: (q8_0(args[0]),))
    rows = (model(ids[None]).logits[0] - logits).abs().amax(1) / logits.std(correction=0)
    return rows.sort().values[len(rows) // 2].item()


def greedy(model):
    """Of some prompts the continuation whose choices are clearest."""
    best = None
    with torch.no_grad():
        for seed in range(16):
            ids = torch.randint(0, 256, (6,), generator=torch.Generator().manual_seed(100 + seed)).tolist()
            prompt, gaps = list(ids), []
            for _ in range(N_GREEDY):
                top = model(torch.tensor([ids])).logits[0, -1].topk(2)
                gaps.append((top.values[0] - top.values[1]).item())
                ids.append(top.indices[0].item())
            found = {'prompt_ids': prompt, 'ids': ids[6:], 'gaps': gaps}
            if len(set(ids[6:])) > 3 and (best is None or min(gaps) > min(best['gaps'])):
                best = found
    return best


MODELS = {
    'bert-reranker': bert_reranker,
    'modern-bert-reranker': modern_bert_reranker,
    'qwen3-reranker': qwen3_reranker,
    'jina-bert-v2-qk-norm': lambda: jina('jina-bert-v2', 'qk-norm', 48, 40, 6, lambda *a: v2_layer(*a, True), V2, 5),
    'jina-bert-v2-plain': lambda: jina('jina-bert-v2', 'plain', 32, 40, 4, lambda *a: v2_layer(*a, False), V2_PLAIN, 6),
    'jina-bert-v2-fused': lambda: jina('jina-bert-v2', 'fused', 32, 40, 4, lambda *a: v2_layer(*a, False), V2_PLAIN, 7),
    'jina-bert-v3-base': lambda: jina('jina-bert-v3', 'base', 32, 48, 2, v3_layer, V3, 8),
    'gemma3n-text': gemma3n_text,
}

TARGET.mkdir(exist_ok=True)
for chosen in sys.argv[1:] or MODELS:
    with torch.no_grad():
        MODELS[chosen]()
rows = [json.loads(path.read_text()) for path in sorted(TARGET.glob('*-*.json'))]
lines = ',\n'.join(json.dumps({'file': f"{r['arch']}-{r['variant']}.json", 'arch': r['arch'], 'variant': r['variant'],
                               'kind': r['kind']}) for r in rows)
(TARGET / 'index.json').write_text(f'{{"models": [\n{lines}\n]}}\n')
print(len(rows), 'models,', sum(path.stat().st_size for path in TARGET.iterdir()), 'bytes')
