/* The table of families, and how their hyperparameters are read. Keys: ggml's docs/gguf.md. */
#include "model/arch.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* Rotation orders as the families' converters left the weights: llama's were permuted to adjacent pairs. */
#define ARCH_LIST(X)                                                                                        \
    X("llama", MODEL_ROPE_NORM, 0)                                                                          \
    X("qwen2", MODEL_ROPE_NEOX, ARCH_QKV_BIAS)                                                              \
    X("qwen3", MODEL_ROPE_NEOX, ARCH_QK_NORM)

static const arch archs[] = {
#define NUT_X(name, rope, flags) {name, rope, flags},
    ARCH_LIST(NUT_X)
#undef NUT_X
};

const char *arch_names(void) {
#define NUT_X(name, rope, flags) ", " name
    return &(ARCH_LIST(NUT_X))[2];
#undef NUT_X
}

const arch *arch_find(gguf_str name) {
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (gguf_str_is(name, archs[i].name)) return &archs[i];
    return NULL;
}

#define IN_MODEL(field) false, .to = offsetof(struct nut_model, field)
#define IN_LAYER(field) true, .to = offsetof(model_layer, field)
#define MATRIX(r, c)    .kind = ARCH_MATRIX, .rows = r, .cols = c
#define VECTOR(c)       .kind = ARCH_VECTOR, .rows = '1', .cols = c

const arch_tensor arch_tensors[] = {
    {"token_embd.weight", IN_MODEL(token_embd), MATRIX('V', 'E')},
    {"output_norm.weight", IN_MODEL(output_norm), VECTOR('E')},
    {"output.weight", IN_MODEL(output), MATRIX('V', 'E'), .optional = true},
    {"rope_freqs.weight", IN_MODEL(rope_freqs), VECTOR('R'), .optional = true},
    {"attn_norm.weight", IN_LAYER(attn_norm), VECTOR('E')},
    {"attn_q.weight", IN_LAYER(wq), MATRIX('Q', 'E')},
    {"attn_k.weight", IN_LAYER(wk), MATRIX('K', 'E')},
    {"attn_v.weight", IN_LAYER(wv), MATRIX('K', 'E')},
    {"attn_output.weight", IN_LAYER(wo), MATRIX('E', 'Q')},
    {"attn_q.bias", IN_LAYER(bq), VECTOR('Q'), .flag = ARCH_QKV_BIAS},
    {"attn_k.bias", IN_LAYER(bk), VECTOR('K'), .flag = ARCH_QKV_BIAS},
    {"attn_v.bias", IN_LAYER(bv), VECTOR('K'), .flag = ARCH_QKV_BIAS},
    {"attn_q_norm.weight", IN_LAYER(q_norm), VECTOR('D'), .flag = ARCH_QK_NORM},
    {"attn_k_norm.weight", IN_LAYER(k_norm), VECTOR('D'), .flag = ARCH_QK_NORM},
    {"ffn_norm.weight", IN_LAYER(ffn_norm), VECTOR('E')},
    {"ffn_gate.weight", IN_LAYER(w_gate), MATRIX('F', 'E')},
    {"ffn_up.weight", IN_LAYER(w_up), MATRIX('F', 'E')},
    {"ffn_down.weight", IN_LAYER(w_down), MATRIX('E', 'F')},
};
const size_t arch_n_tensors = sizeof arch_tensors / sizeof *arch_tensors;

uint64_t arch_size(const model_hparams *hp, char letter) {
    switch (letter) {
    case 'V': return hp->n_vocab;
    case 'E': return hp->n_embd;
    case 'Q': return (uint64_t)hp->n_head * hp->head_dim;
    case 'K': return (uint64_t)hp->n_head_kv * hp->head_dim;
    case 'D': return hp->head_dim;
    case 'F': return hp->n_ff;
    case 'R': return hp->n_rot / 2;
    default: return 1;
    }
}

/* ---- hyperparameters ---- */

typedef struct keys { // metadata of one family: "<arch>.<suffix>"
    const gguf *g;
    const char *arch;
    char key[96];
} keys;

static const char *key_of(keys *k, const char *suffix) {
    snprintf(k->key, sizeof k->key, "%s.%s", k->arch, suffix);
    return k->key;
}

/* An integer in [1, most]; missing 0: it must be there. */
static nut_status get_count(keys *k, const char *suffix, uint32_t missing, uint32_t most, uint32_t *out,
                            nut_error *err) {
    const char *key = key_of(k, suffix);
    const gguf_kv *kv = gguf_find(k->g, key);
    if (kv && kv->type == GGUF_ARRAY)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "\"%s\" differs from layer to layer, which is not supported", key);
    TRY(gguf_get_u32(k->g, key, missing, out, err));
    if (*out >= 1 && *out <= most) return NUT_OK;
    if (!kv)
        return error_set(err, NUT_E_CORRUPT, "the model file lacks \"%s\"; it was not converted completely",
                         key);
    return error_set(err, NUT_E_CORRUPT, "the model file is damaged: \"%s\" is %u, which cannot be", key,
                     *out);
}

static nut_status get_heads(keys *k, model_hparams *hp, nut_error *err) {
    uint32_t value_length;
    TRY(get_count(k, "attention.head_count", 0, 1 << 12, &hp->n_head, err));
    TRY(get_count(k, "attention.head_count_kv", hp->n_head, hp->n_head, &hp->n_head_kv, err));
    TRY(get_count(k, "attention.key_length", hp->n_embd / hp->n_head, 1 << 12, &hp->head_dim, err));
    TRY(get_count(k, "attention.value_length", hp->head_dim, 1 << 12, &value_length, err));
    if (hp->n_head % hp->n_head_kv)
        return error_set(err, NUT_E_CORRUPT,
                         "the model file is damaged: %u heads do not divide into %u groups", hp->n_head,
                         hp->n_head_kv);
    if (value_length != hp->head_dim)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "keys of %u and values of %u numbers are not supported: they must be alike",
                         hp->head_dim, value_length);
    if (hp->head_dim % 8 || hp->head_dim > CACHE_MAX_DIM)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "a head size of %u is not supported: a multiple of 8 up to %d is", hp->head_dim,
                         CACHE_MAX_DIM);
    TRY(get_count(k, "rope.dimension_count", hp->head_dim, hp->head_dim, &hp->n_rot, err));
    if (hp->n_rot % 2)
        return error_set(err, NUT_E_CORRUPT, "the model file is damaged: its rotary size %u is odd",
                         hp->n_rot);
    return NUT_OK;
}

static nut_status get_positive(keys *k, const char *suffix, float missing, float *out, nut_error *err) {
    TRY(gguf_get_f32(k->g, key_of(k, suffix), missing, out, err));
    if (*out > 0) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT, "the model file is damaged: \"%s\" is %g, which cannot be", k->key,
                     (double)*out);
}

static nut_status get_rope(keys *k, model_hparams *hp, nut_error *err) {
    gguf_str type;
    float factor, linear, attn_factor;
    TRY(get_positive(k, "rope.freq_base", 10000, &hp->rope_base, err));
    TRY(get_positive(k, "rope.scale_linear", 1, &linear, err)); // the key of older files
    TRY(get_positive(k, "rope.scaling.factor", linear, &factor, err));
    TRY(gguf_get_str(k->g, key_of(k, "rope.scaling.type"), factor == 1.0f ? "none" : "linear", &type, err));
    bool linear_type = gguf_str_is(type, "linear");
    if (!linear_type && !gguf_str_is(type, "none") && factor != 1.0f)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "rope scaling of type \"%.*s\" is not supported (none and linear are)",
                         (int)(type.n < 32 ? type.n : 32), type.s);
    hp->rope_scale = linear_type ? 1.0f / factor : 1.0f;
    TRY(get_positive(k, "rope.scaling.attn_factor", 1, &attn_factor, err));
    if (attn_factor != 1.0f)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "rope scaling with an attention factor of %g is not supported",
                         (double)attn_factor);
    return NUT_OK;
}

/* What would change the computation and is not done here. */
static nut_status refuse_variants(keys *k, nut_error *err) {
    uint32_t experts;
    bool causal;
    TRY(gguf_get_u32(k->g, key_of(k, "expert_count"), 0, &experts, err));
    if (experts)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "this is a mixture of experts (%u), which is not supported; use a dense model",
                         experts);
    TRY(gguf_get_bool(k->g, key_of(k, "attention.causal"), true, &causal, err));
    if (!causal)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "this model reads text in both directions (for embeddings) and cannot write; use a "
                         "text-generating model");
    return NUT_OK;
}

nut_status arch_hparams(const gguf *g, const arch *a, uint32_t n_vocab, model_hparams *hp, nut_error *err) {
    keys k = {.g = g, .arch = a->name};
    *hp = (model_hparams){.n_vocab = n_vocab, .rope = a->rope};
    TRY(refuse_variants(&k, err));
    TRY(get_count(&k, "context_length", 0, 1u << 28, &hp->n_ctx_train, err));
    TRY(get_count(&k, "embedding_length", 0, 1u << 20, &hp->n_embd, err));
    TRY(get_count(&k, "block_count", 0, 1u << 12, &hp->n_layer, err));
    TRY(get_count(&k, "feed_forward_length", 0, 1u << 22, &hp->n_ff, err));
    TRY(get_heads(&k, hp, err));
    TRY(get_rope(&k, hp, err));
    return get_positive(&k, "attention.layer_norm_rms_epsilon", 1e-5f, &hp->rms_eps, err);
}
