/* The table of families, and how their hyperparameters are read. Keys: ggml's docs/gguf.md. */
#include "model/arch.h"

#include "base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- families ---- */

/* Order of rotation as the families' converters left the weights: llama's were permuted to adjacent pairs.
 */
/* The blocks of most families. */
#define GATED .mixer = BLOCK_mix_attention, .ffn = BLOCK_ffn_gated
// clang-format off
#define ARCH_LIST(X)                                                                                        \
    X("llama", GATED, .rope = MODEL_ROPE_NORM, .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                   \
    X("qwen2", GATED, .rope = MODEL_ROPE_NEOX, .features = ARCH_PRE_NORM | ARCH_QKV_BIAS)                   \
    X("qwen3", GATED, .rope = MODEL_ROPE_NEOX, .features = ARCH_PRE_NORM | ARCH_QK_NORM)                    \
    X("gemma", GATED, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH,                              \
      .features = ARCH_PRE_NORM | ARCH_EMBD_SQRT)                                                           \
    X("gemma2", GATED, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH, .window_period = 2,         \
      .features = ARCH_PRE_NORM | ARCH_POST_NORM | ARCH_EMBD_SQRT | ARCH_WINDOWED, .keys = softcap_keys)    \
    X("gemma3", GATED, .rope = MODEL_ROPE_NEOX, .activation = KERNEL_GELU_TANH, .window_period = 6,         \
      .local_base = 10000,                                                                                  \
      .features = ARCH_PRE_NORM | ARCH_POST_NORM | ARCH_EMBD_SQRT | ARCH_WINDOWED | ARCH_QK_NORM)           \
    X("granite", GATED, .rope = MODEL_ROPE_NORM,                                                            \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS, .keys = granite_keys)                                      \
    X("smollm3", GATED, .rope = MODEL_ROPE_NORM, .no_rope_period = 4,                                       \
      .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                                                            \
    X("ernie4_5", GATED, .rope = MODEL_ROPE_NORM, .features = ARCH_PRE_NORM | ARCH_ANY_BIAS)                \
    X("olmo2", GATED, .rope = MODEL_ROPE_NEOX, .window_period = 4,                                          \
      .features = ARCH_POST_NORM | ARCH_QK_NORM_FULL | ARCH_WINDOWED)
// clang-format on

#define KEY(name, field, default) {.suffix = name, .to = offsetof(model_hparams, field), .missing = default}
#define KEYS_END                  {.suffix = NULL}

static const arch_key softcap_keys[] = {KEY("attn_logit_softcapping", attn_softcap, 50),
                                        KEY("final_logit_softcapping", logit_softcap, 30), KEYS_END};
static const arch_key granite_keys[] = {
    KEY("embedding_scale", embd_scale, 1), KEY("residual_scale", residual_scale, 1),
    KEY("attention.scale", attn_scale, 1), KEY("logit_scale", logit_divisor, 1), KEYS_END};

static const arch archs[] = {
#define NUT_X(text, ...) {.name = text, __VA_ARGS__},
    ARCH_LIST(NUT_X)
#undef NUT_X
};

const char *arch_names(void) {
#define NUT_X(text, ...) ", " text
    return &(ARCH_LIST(NUT_X))[2];
#undef NUT_X
}

const arch *arch_find(gguf_str name) {
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (gguf_str_is(name, archs[i].name)) return &archs[i];
    return NULL;
}

/* ---- tensors beside those of blocks ---- */

#define IN_MODEL(field) .to = offsetof(struct nut_model, field)
#define IN_LAYER(field) .to = offsetof(model_layer, field)
#define MATRIX(letters) .kind = TENSOR_MATRIX, .shape = letters
#define VECTOR(letters) .kind = TENSOR_VECTOR, .shape = letters

const tensor_spec arch_model_tensors[] = {
    {"token_embd.weight", IN_MODEL(token_embd), MATRIX("EV")},
    {"output_norm.weight", IN_MODEL(output_norm.weight), VECTOR("E")},
    {"output_norm.bias", IN_MODEL(output_norm.bias), VECTOR("E"), .with = ARCH_NORM_BIAS},
    {"output.weight", IN_MODEL(output.w), MATRIX("EV"), .may = TENSOR_OPTIONAL},
    {"rope_freqs.weight", IN_MODEL(rope_freqs), VECTOR("R"), .may = TENSOR_OPTIONAL},
};
const size_t arch_n_model_tensors = sizeof arch_model_tensors / sizeof *arch_model_tensors;

const tensor_spec arch_layer_tensors[] = {
    {"attn_norm.weight", IN_LAYER(attn_norm.weight), VECTOR("E"), .with = ARCH_ATTN_NORM},
    {"attn_norm.bias", IN_LAYER(attn_norm.bias), VECTOR("E"), .with = ARCH_ATTN_NORM | ARCH_NORM_BIAS},
    {"post_attention_norm.weight", IN_LAYER(attn_post_norm.weight), VECTOR("E"), .with = ARCH_POST_NORM},
    {"ffn_norm.weight", IN_LAYER(ffn_norm.weight), VECTOR("E"), .with = ARCH_FFN_NORM},
    {"ffn_norm.bias", IN_LAYER(ffn_norm.bias), VECTOR("E"), .with = ARCH_FFN_NORM | ARCH_NORM_BIAS},
    {"post_ffw_norm.weight", IN_LAYER(ffn_post_norm.weight), VECTOR("E"), .with = ARCH_POST_NORM},
};
const size_t arch_n_layer_tensors = sizeof arch_layer_tensors / sizeof *arch_layer_tensors;

bool arch_needs(const arch *a, const tensor_spec *t) {
    return t->with ? (a->features & t->with) == t->with : !t->may;
}

bool arch_allows(const arch *a, const tensor_spec *t) {
    return arch_needs(a, t) || t->may == TENSOR_OPTIONAL || (a->features & t->may) != 0;
}

uint64_t arch_size(const model_hparams *hp, const layer_hparams *layer, char letter) {
    switch (letter) {
    case 'V': return hp->n_vocab;
    case 'E': return hp->n_embd;
    case 'Q': return (uint64_t)layer->n_head * layer->head_dim;
    case 'K': return (uint64_t)layer->n_head_kv * layer->head_dim;
    case 'U': return (uint64_t)layer->n_head_kv * layer->head_dim_v;
    case 'P': return (uint64_t)layer->n_head * layer->head_dim_v;
    case 'D': return layer->head_dim;
    case 'F': return layer->n_ff;
    case 'R': return hp->n_rot / 2;
    default: return 1;
    }
}

/* ---- metadata of one family: "<arch>.<suffix>" ---- */

typedef struct keys {
    const gguf *g;
    const char *arch;
    char key[96];
} keys;

static const char *key_of(keys *k, const char *suffix) {
    snprintf(k->key, sizeof k->key, "%s.%s", k->arch, suffix);
    return k->key;
}

static nut_status lacks(const char *key, nut_error *err) {
    return error_set(err, NUT_E_CORRUPT, "the model file lacks \"%s\"; it was not converted completely",
                     key);
}

static nut_status cannot_be(const char *key, double value, nut_error *err) {
    return error_set(err, NUT_E_CORRUPT, "the model file is damaged: \"%s\" is %.10g, which cannot be", key,
                     value);
}

/* An integer in [1, most]; missing 0: it must be there. */
static nut_status get_count(keys *k, const char *suffix, uint32_t missing, uint32_t most, uint32_t *out,
                            nut_error *err) {
    const char *key = key_of(k, suffix);
    TRY(gguf_get_u32(k->g, key, missing, out, err));
    if (*out >= 1 && *out <= most) return NUT_OK;
    return gguf_find(k->g, key) ? cannot_be(key, *out, err) : lacks(key, err);
}

static nut_status get_positive(keys *k, const char *suffix, float missing, float *out, nut_error *err) {
    TRY(gguf_get_f32(k->g, key_of(k, suffix), missing, out, err));
    return *out > 0 ? NUT_OK : cannot_be(k->key, (double)*out, err);
}

/* ---- rotation ---- */

/* The attention factor of yarn: 0.1 ln(factor) + 1 (Peng et al. 2023, arXiv 2309.00071, section 3.4). */
static nut_status get_yarn(keys *k, float factor, uint32_t n_ctx_train, rope_hparams *r, nut_error *err) {
    uint32_t n_orig;
    float magnitude = factor > 1 ? 0.1f * logf(factor) + 1.0f : 1.0f, more;
    TRY(get_count(k, "rope.scaling.original_context_length", n_ctx_train, 1u << 28, &n_orig, err));
    TRY(get_positive(k, "rope.scaling.yarn_beta_fast", 32, &r->beta_fast, err));
    TRY(get_positive(k, "rope.scaling.yarn_beta_slow", 1, &r->beta_slow, err));
    TRY(get_positive(k, "rope.scaling.attn_factor", 1, &more, err));
    r->yarn = true;
    r->n_orig = (float)n_orig;
    r->magnitude = magnitude * more;
    return NUT_OK;
}

static nut_status get_rope(keys *k, model_hparams *hp, nut_error *err) {
    gguf_str type;
    float factor, older, attn_factor;
    rope_hparams *r = &hp->rope[0];
    *r = (rope_hparams){.scale = 1, .magnitude = 1};
    TRY(get_positive(k, "rope.freq_base", 10000, &r->base, err));
    TRY(get_positive(k, "rope.scale_linear", 1, &older, err)); // the key of older files
    TRY(get_positive(k, "rope.scaling.factor", older, &factor, err));
    TRY(gguf_get_str(k->g, key_of(k, "rope.scaling.type"), factor == 1.0f ? "none" : "linear", &type, err));
    const bool is_linear = gguf_str_is(type, "linear"), is_yarn = gguf_str_is(type, "yarn");
    if (is_linear || is_yarn) r->scale = 1.0f / factor;
    if (is_yarn && factor != 1.0f) return get_yarn(k, factor, hp->n_ctx_train, r, err);
    if (!is_linear && !is_yarn && !gguf_str_is(type, "none") && factor != 1.0f)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "rope scaling of type \"%.*s\" is not supported (none, linear and yarn are)",
                         (int)(type.n < 32 ? type.n : 32), type.s);
    TRY(get_positive(k, "rope.scaling.attn_factor", 1, &attn_factor, err));
    if (attn_factor != 1.0f)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "rope scaling with an attention factor of %g is not supported but with yarn",
                         (double)attn_factor);
    return NUT_OK;
}

/* ---- hyperparameters ---- */

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

/* The keys that a family has beyond those of all. */
static nut_status get_multipliers(keys *k, const arch *a, model_hparams *hp, nut_error *err) {
    hp->embd_scale = hp->residual_scale = hp->logit_scale = hp->logit_divisor = 1;
    if (a->features & ARCH_EMBD_SQRT) hp->embd_scale = sqrtf((float)hp->n_embd);
    for (const arch_key *key = a->keys; key && key->suffix; key++)
        TRY(get_positive(k, key->suffix, key->missing, (float *)(void *)((char *)hp + key->to), err));
    hp->logit_scale /= hp->logit_divisor;
    return NUT_OK;
}

nut_status arch_hparams(const gguf *g, const arch *a, uint32_t n_vocab, model_hparams *hp, nut_error *err) {
    keys k = {.g = g, .arch = a->name};
    *hp = (model_hparams){.n_vocab = n_vocab, .rope_kind = a->rope};
    TRY(refuse_variants(&k, err));
    TRY(get_count(&k, "context_length", 0, 1u << 28, &hp->n_ctx_train, err));
    TRY(get_count(&k, "embedding_length", 0, 1u << 20, &hp->n_embd, err));
    TRY(get_count(&k, "block_count", 0, 1u << 12, &hp->n_layer, err));
    TRY(get_rope(&k, hp, err));
    hp->n_ropes = a->local_base > 0 ? 2 : 1;
    hp->rope[1] = (rope_hparams){.base = a->local_base, .scale = 1, .magnitude = 1};
    TRY(get_multipliers(&k, a, hp, err));
    return get_positive(
        &k, a->norm == ARCH_RMS_NORM ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
        1e-5f, &hp->norm_eps, err);
}

/* ---- hyperparameters of layers ---- */

/* A key whose value is one for all layers or an array with one for each; looked up once. */
typedef struct layer_key {
    char name[96];
    const gguf_kv *kv; // NULL: absent
} layer_key;

static layer_key find_layer_key(const keys *k, const char *suffix) {
    layer_key key;
    snprintf(key.name, sizeof key.name, "%s.%s", k->arch, suffix);
    key.kv = gguf_find(k->g, key.name);
    return key;
}

/* The value for layer il, in [least, most]; `missing` where the key is absent, which must be in the range
 * too. */
static nut_status count_at(const layer_key *key, uint32_t il, uint32_t missing, uint32_t least,
                           uint32_t most, uint32_t *out, nut_error *err) {
    int64_t v = missing;
    if (!key->kv && (missing < least || missing > most)) return lacks(key->name, err);
    if (key->kv && !gguf_integer_at(key->kv, il, &v))
        return error_set(err, NUT_E_CORRUPT,
                         "the model file is damaged: \"%s\" has no whole number for layer %u", key->name,
                         il);
    if (v < least || v > most) return cannot_be(key->name, (double)v, err);
    *out = (uint32_t)v;
    return NUT_OK;
}

typedef struct layer_keys {
    layer_key n_ff, n_head, n_head_kv, key_length, value_length, window, pattern;
} layer_keys;

static layer_keys find_layer_keys(const keys *k) {
    return (layer_keys){find_layer_key(k, "feed_forward_length"),
                        find_layer_key(k, "attention.head_count"),
                        find_layer_key(k, "attention.head_count_kv"),
                        find_layer_key(k, "attention.key_length"),
                        find_layer_key(k, "attention.value_length"),
                        find_layer_key(k, "attention.sliding_window"),
                        find_layer_key(k, "attention.sliding_window_pattern")};
}

static nut_status check_heads(const layer_hparams *l, nut_error *err) {
    if (l->n_head % l->n_head_kv)
        return error_set(err, NUT_E_CORRUPT,
                         "the model file is damaged: %u heads do not divide into %u groups", l->n_head,
                         l->n_head_kv);
    if (l->head_dim % 8 || l->head_dim > CACHE_MAX_DIM || l->head_dim_v % 8 || l->head_dim_v > CACHE_MAX_DIM)
        return error_set(
            err, NUT_E_UNSUPPORTED, "a head size of %u is not supported: a multiple of 8 up to %d is",
            l->head_dim % 8 || l->head_dim > CACHE_MAX_DIM ? l->head_dim : l->head_dim_v, CACHE_MAX_DIM);
    return NUT_OK;
}

static nut_status get_heads(const layer_keys *k, uint32_t n_embd, uint32_t il, layer_hparams *l,
                            nut_error *err) {
    TRY(count_at(&k->n_head, il, 0, 1, 1 << 12, &l->n_head, err));
    TRY(count_at(&k->n_head_kv, il, l->n_head, 1, l->n_head, &l->n_head_kv, err));
    TRY(count_at(&k->key_length, il, n_embd / l->n_head, 1, 1 << 12, &l->head_dim, err));
    TRY(count_at(&k->value_length, il, l->head_dim, 1, 1 << 12, &l->head_dim_v, err));
    return check_heads(l, err);
}

/* Whether a layer has a window: as the file says for each layer, else by the family's period. */
static bool is_windowed(const layer_keys *k, const arch *a, uint32_t il) {
    int64_t windowed;
    if (k->pattern.kv && k->pattern.kv->type == GGUF_ARRAY && gguf_integer_at(k->pattern.kv, il, &windowed))
        return windowed != 0;
    return !a->window_period || il % a->window_period != a->window_period - 1u;
}

/* A file without the key has no windows. */
static nut_status get_window(const layer_keys *k, const arch *a, uint32_t il, layer_hparams *l,
                             nut_error *err) {
    if (!(a->features & ARCH_WINDOWED) || !is_windowed(k, a, il)) return NUT_OK;
    return count_at(&k->window, il, 0, 0, UINT32_MAX, &l->window, err);
}

static void take_most(layer_hparams *most, const layer_hparams *l) {
    if (l->n_ff > most->n_ff) most->n_ff = l->n_ff;
    if (l->n_head > most->n_head) most->n_head = l->n_head;
    if (l->n_head_kv > most->n_head_kv) most->n_head_kv = l->n_head_kv;
    if (l->head_dim > most->head_dim) most->head_dim = l->head_dim;
    if (l->head_dim_v > most->head_dim_v) most->head_dim_v = l->head_dim_v;
}

static nut_status get_rot(keys *k, model_hparams *hp, const model_layer *layers, nut_error *err) {
    uint32_t least = UINT32_MAX;
    for (uint32_t il = 0; il < hp->n_layer; il++)
        if (layers[il].hp.head_dim < least) least = layers[il].hp.head_dim;
    TRY(get_count(k, "rope.dimension_count", least, least, &hp->n_rot, err));
    if (hp->n_rot % 2)
        return error_set(err, NUT_E_CORRUPT, "the model file is damaged: its rotary size %u is odd",
                         hp->n_rot);
    return NUT_OK;
}

nut_status arch_layers(const gguf *g, const arch *a, model_hparams *hp, model_layer *layers,
                       nut_error *err) {
    keys k = {.g = g, .arch = a->name};
    const layer_keys lk = find_layer_keys(&k);
    for (uint32_t il = 0; il < hp->n_layer; il++) {
        layer_hparams *l = &layers[il].hp;
        *l = (layer_hparams){.mixer = a->mixer, .ffn = a->ffn, .rotates = a->rope != MODEL_ROPE_NONE};
        TRY(count_at(&lk.n_ff, il, 0, 1, 1 << 22, &l->n_ff, err));
        TRY(get_heads(&lk, hp->n_embd, il, l, err));
        TRY(get_window(&lk, a, il, l, err));
        l->rope = hp->n_ropes > 1 && l->window > 0;
        if (a->no_rope_period && il % a->no_rope_period == a->no_rope_period - 1u) l->rotates = false;
        take_most(&hp->most, l);
    }
    return get_rot(&k, hp, layers, err);
}
