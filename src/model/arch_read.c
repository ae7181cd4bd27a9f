/* How a family's hyperparameters are read. Keys: ggml's docs/gguf.md. */
#include "model/arch.h"

#include "base/error.h"
#include "model/arch_keys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

/* As get_positive, but 0 where the key is absent. */
static nut_status get_optional(keys *k, const char *suffix, float *out, nut_error *err) {
    *out = 0;
    return gguf_find(k->g, key_of(k, suffix)) ? get_positive(k, suffix, 1, out, err) : NUT_OK;
}

/* ---- rotation ---- */

/* 1 + 0.1 by ln(factor): what yarn gives attention back (Peng et al. 2023, arXiv 2309.00071, section 3.4).
 */
static float yarn_magnitude(float factor, float by) {
    return factor > 1 ? 0.1f * by * logf(factor) + 1.0f : 1.0f;
}

/* With a multiplier, the magnitude is what is left when that is taken out again (DeepSeek-AI 2024, arXiv
 * 2405.04434, the authors' code). */
static nut_status get_yarn(keys *k, float factor, rope_hparams *r, nut_error *err) {
    float by;
    TRY(get_positive(k, "rope.scaling.yarn_beta_fast", 32, &r->beta_fast, err));
    TRY(get_positive(k, "rope.scaling.yarn_beta_slow", 1, &r->beta_slow, err));
    TRY(get_optional(k, "rope.scaling.yarn_log_multiplier", &by, err));
    r->yarn = true;
    r->log_multiplier = by;
    r->magnitude *= yarn_magnitude(factor, 1) / yarn_magnitude(factor, by);
    return NUT_OK;
}

static nut_status get_scaling(keys *k, const arch *a, rope_hparams *r, nut_error *err) {
    gguf_str type;
    float factor, older;
    TRY(get_positive(k, "rope.scale_linear", 1, &older, err)); // the key of older files
    TRY(get_positive(k, "rope.scaling.factor", older, &factor, err));
    TRY(gguf_get_str(k->g, key_of(k, "rope.scaling.type"), factor == 1.0f ? "none" : "linear", &type, err));
    const bool is_linear = gguf_str_is(type, "linear"), is_yarn = gguf_str_is(type, "yarn"),
               by_factors = gguf_str_is(type, "longrope") && (a->features & ARCH_ROPE_FACTORS);
    if (is_linear || is_yarn) r->scale = 1.0f / factor;
    if (is_yarn && factor != 1.0f) return get_yarn(k, factor, r, err);
    if (!is_linear && !is_yarn && !by_factors && !gguf_str_is(type, "none") && factor != 1.0f)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "rope scaling of type \"%.*s\" is not supported (none, linear and yarn are)",
                         (int)(type.n < 32 ? type.n : 32), type.s);
    return NUT_OK;
}

/* Layers with a window may have a base of their own, or no scaling. */
static nut_status get_local_rope(keys *k, const arch *a, model_hparams *hp, nut_error *err) {
    const bool unscaled = a->features & ARCH_LOCAL_UNSCALED;
    float base;
    TRY(get_optional(k, "rope.freq_base_swa", &base, err));
    const bool own = unscaled || gguf_find(k->g, key_of(k, "rope.dimension_count_swa"));
    if (base == 0.0f) base = a->local_base > 0 || !own ? a->local_base : hp->rope[0].base;
    hp->n_ropes = base > 0 ? 2 : 1;
    hp->rope[1] = hp->rope[0];
    if (unscaled || a->local_base > 0) hp->rope[1] = (rope_hparams){.scale = 1, .magnitude = 1};
    hp->rope[1].base = base;
    return NUT_OK;
}

static nut_status get_rope(keys *k, const arch *a, model_hparams *hp, nut_error *err) {
    rope_hparams *r = &hp->rope[0];
    uint32_t n_orig;
    *r = (rope_hparams){.scale = 1};
    TRY(get_positive(k, "rope.freq_base", 10000, &r->base, err));
    TRY(get_positive(k, "rope.scaling.attn_factor", 1, &r->magnitude, err));
    TRY(get_count(k, "rope.scaling.original_context_length", hp->n_ctx_train, 1u << 28, &n_orig, err));
    r->n_orig = (float)n_orig;
    TRY(get_scaling(k, a, r, err));
    return get_local_rope(k, a, hp, err);
}

/* ---- hyperparameters ---- */

/* A head gives a score for each label that the file names, or one. */
static nut_status get_labels(keys *k, model_hparams *hp, nut_error *err) {
    const gguf_kv *kv = gguf_find(k->g, key_of(k, "classifier.output_labels"));
    hp->n_labels = 1;
    if (!kv) return NUT_OK;
    if (kv->type != GGUF_ARRAY || !kv->n || kv->n > 1 << 16) return cannot_be(k->key, (double)kv->n, err);
    hp->n_labels = (uint32_t)kv->n;
    return NUT_OK;
}

/* Which way a model reads, and what it makes of a text. */
static nut_status get_reading(keys *k, const arch *a, model_hparams *hp, nut_error *err) {
    uint32_t pooling;
    TRY(gguf_get_bool(k->g, key_of(k, "attention.causal"), !(a->features & ARCH_BOTH_WAYS), &hp->causal,
                      err));
    TRY(gguf_get_u32(k->g, "tokenizer.ggml.token_type_count", 1, &hp->n_types, err));
    TRY(gguf_get_u32(k->g, key_of(k, "pooling_type"), MODEL_POOL_NONE, &pooling, err));
    hp->pooling = (model_pooling)pooling;
    if (pooling <= MODEL_POOL_LAST || (pooling == MODEL_POOL_RANK && (a->features & ARCH_HEAD)))
        return get_labels(k, hp, err);
    return error_set(err, NUT_E_UNSUPPORTED,
                     "pooling of type %u is not supported for a %s model: none, mean, first and last (0 to "
                     "3) are",
                     pooling, a->name);
}

/* The activation that a file names must be the family's. */
static nut_status check_activation(keys *k, const arch *a, nut_error *err) {
    static const struct {
        const char *name;
        kernel_activation is;
    } names[] = {{"gelu", KERNEL_GELU}, {"silu", KERNEL_SILU}, {"gelu_pytorch_tanh", KERNEL_GELU_TANH}};
    gguf_str name;
    TRY(gguf_get_str(k->g, key_of(k, "hidden_activation"), "", &name, err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (gguf_str_is(name, names[i].name) && names[i].is == a->activation) return NUT_OK;
    if (!name.n) return NUT_OK;
    return error_set(err, NUT_E_UNSUPPORTED,
                     "the hidden_activation \"%.*s\" is not supported for a %s model",
                     (int)(name.n < 32 ? name.n : 32), name.s, a->name);
}

static nut_status get_key(keys *k, const arch_key *key, model_hparams *hp, nut_error *err) {
    char *to = (char *)hp + key->to;
    if (key->is_flag)
        return gguf_get_bool(k->g, key_of(k, key->suffix), key->missing > 0, (bool *)(void *)to, err);
    if (key->missing == 0.0f && !gguf_find(k->g, key_of(k, key->suffix))) return lacks(k->key, err);
    return get_positive(k, key->suffix, key->missing, (float *)(void *)to, err);
}

/* What any family may have, and what this one has beyond it. */
static nut_status get_multipliers(keys *k, const arch *a, model_hparams *hp, nut_error *err) {
    hp->logit_scale = hp->logit_divisor = 1;
    TRY(get_positive(k, "embedding_scale", a->features & ARCH_EMBD_SQRT ? sqrtf((float)hp->n_embd) : 1,
                     &hp->embd_scale, err));
    TRY(get_positive(k, "residual_scale", 1, &hp->residual_scale, err));
    TRY(get_optional(k, "attention.scale", &hp->attn_scale, err));
    TRY(get_optional(k, "attention.clamp_kqv", &hp->attn_clamp, err));
    TRY(get_optional(k, "attention.max_alibi_bias", &hp->max_alibi, err));
    TRY(get_optional(k, "attention.temperature_scale", &hp->attn_temperature, err));
    TRY(get_optional(k, "attn_logit_softcapping", &hp->attn_softcap, err));
    TRY(get_optional(k, "final_logit_softcapping", &hp->logit_softcap, err));
    hp->parallel = a->features & ARCH_PARALLEL;
    for (const arch_key *key = a->keys; key && key->suffix; key++) TRY(get_key(k, key, hp, err));
    return NUT_OK;
}

/* A number of an optional key: `missing` where it is absent or 0. */
static nut_status get_size(keys *k, const char *suffix, uint32_t missing, uint32_t *out, nut_error *err) {
    TRY(gguf_get_u32(k->g, key_of(k, suffix), 0, out, err));
    if (!*out) *out = missing;
    return *out <= 1 << 22 ? NUT_OK : cannot_be(k->key, *out, err);
}

/* feed_forward_length of the first layer, or 0. */
static uint32_t first_ff(keys *k) {
    const gguf_kv *kv = gguf_find(k->g, key_of(k, "feed_forward_length"));
    int64_t n;
    return kv && gguf_integer_at(kv, 0, &n) && n > 0 && n <= 1 << 22 ? (uint32_t)n : 0;
}

/* Older files hold keys and values of all heads. */
static nut_status get_mla(keys *k, mla_hparams *h, nut_error *err) {
    TRY(get_size(k, "attention.q_lora_rank", 0, &h->q_rank, err));
    TRY(get_size(k, "attention.kv_lora_rank", 0, &h->kv_rank, err));
    TRY(get_size(k, "attention.key_length_mla", 0, &h->key, err));
    h->absorbed = h->key > 0;
    if (!h->key) TRY(get_size(k, "attention.key_length", 0, &h->key, err));
    TRY(get_size(k, "attention.value_length", 0, &h->value, err));
    return get_size(k, "attention.value_length_mla", h->value, &h->value, err);
}

/* What latent attention divides heads into; values as long as the file's other sizes say where it does not.
 */
static nut_status check_mla(model_hparams *hp, const layer_hparams *l, nut_error *err) {
    mla_hparams *h = &hp->mla;
    const uint32_t n_rot = hp->rope[0].n_rot;
    if (!h->value) h->value = l->head_dim_v;
    if (h->kv_rank && h->value && h->key > n_rot && n_rot &&
        (h->absorbed ? l->n_head_kv == 1 && l->head_dim == h->kv_rank + n_rot && l->head_dim_v == h->kv_rank
                     : l->n_head_kv == l->n_head && l->head_dim == h->key && l->head_dim_v == h->value))
        return NUT_OK;
    return error_set(
        err, NUT_E_CORRUPT,
        "the model file is damaged: latent attention of rank %u with a key_length of %u, a value_length of "
        "%u, and %u of them rotated, cannot be",
        h->kv_rank, h->key, h->value, n_rot);
}

static nut_status get_wkv(keys *k, model_hparams *hp, nut_error *err) {
    wkv_hparams *h = &hp->wkv;
    TRY(get_size(k, "wkv.head_size", 0, &h->head, err));
    TRY(get_size(k, "attention.decay_lora_rank", 0, &h->decay, err));
    if (!h->decay) TRY(get_size(k, "time_decay_extra_dim", 0, &h->decay, err));
    TRY(get_size(k, "attention.iclr_lora_rank", 0, &h->rate, err));
    TRY(get_size(k, "attention.value_residual_mix_lora_rank", 0, &h->value, err));
    TRY(get_size(k, "attention.gate_lora_rank", 0, &h->gate, err));
    TRY(get_size(k, "time_mix_extra_dim", 0, &h->mix, err));
    return get_size(k, "rescale_every_n_layers", 0, &hp->halve_every, err);
}

static bool is_time_mix(uint8_t mixer) {
    return mixer == BLOCK_mix_rwkv6 || mixer == BLOCK_mix_rwkv7;
}

static nut_status check_wkv(const model_hparams *hp, uint8_t mixer, nut_error *err) {
    const wkv_hparams *h = &hp->wkv;
    const bool seven = mixer == BLOCK_mix_rwkv7;
    if (h->head && h->head <= 256 && hp->n_embd % h->head == 0 && h->decay &&
        (seven ? h->rate && h->value : h->mix))
        return NUT_OK;
    return error_set(
        err, NUT_E_CORRUPT,
        "the model file is damaged: heads of %u in %u columns, or a low-rank product of no width, cannot be",
        h->head, hp->n_embd);
}

static nut_status get_ssm(keys *k, ssm_hparams *h, nut_error *err) {
    TRY(get_size(k, "ssm.conv_kernel", 0, &h->conv, err));
    if (!h->conv) TRY(get_size(k, "shortconv.l_cache", 0, &h->conv, err));
    TRY(get_size(k, "ssm.inner_size", 0, &h->inner, err));
    TRY(get_size(k, "ssm.state_size", 0, &h->state, err));
    TRY(get_size(k, "ssm.time_step_rank", 0, &h->rank, err));
    return get_size(k, "ssm.group_count", 1, &h->groups, err);
}

/* What recurrent blocks divide by. */
static nut_status check_ssm(const model_hparams *hp, const layer_hparams *l, nut_error *err) {
    const ssm_hparams *h = &hp->ssm;
    const bool conv_only = l->mixer == BLOCK_mix_shortconv,
               heads = l->mixer != BLOCK_mix_mamba || l->beside != BLOCK_NONE;
    if (h->conv >= 2 && h->conv <= 64 &&
        (conv_only || (h->inner && h->state && h->rank && h->state <= 4096 && h->rank <= h->inner &&
                       (!heads || (h->inner % h->rank == 0 && h->rank % h->groups == 0)))))
        return NUT_OK;
    return error_set(
        err, NUT_E_CORRUPT,
        "the model file is damaged: a convolution of %u, %u channels, states of %u, rank %u and %u groups "
        "cannot be",
        h->conv, h->inner, h->state, h->rank, h->groups);
}

static nut_status check_experts(const expert_hparams *x, nut_error *err) {
    if (x->n_used >= 1 && x->n_used <= x->n && x->n <= 4096 && x->n % x->n_group == 0 &&
        x->n_group_used <= x->n_group && x->n_used <= x->n / x->n_group * x->n_group_used &&
        x->gating > MODEL_GATE_NONE && x->gating <= MODEL_GATE_SPARSE)
        return NUT_OK;
    return error_set(err, NUT_E_CORRUPT,
                     "the model file is damaged: %u of %u experts, %u of %u groups and gating %d cannot be",
                     x->n_used, x->n, x->n_group_used, x->n_group, (int)x->gating);
}

static nut_status get_experts(keys *k, const arch *a, model_hparams *hp, nut_error *err) {
    expert_hparams *x = &hp->experts;
    uint32_t n_ff, n_shared, gating;
    if (a->experts.gating == MODEL_GATE_NONE) return NUT_OK;
    TRY(get_size(k, "expert_count", 0, &x->n, err));
    if (!x->n) return NUT_OK;
    n_ff = first_ff(k);
    TRY(get_size(k, "expert_used_count", 0, &x->n_used, err));
    TRY(get_size(k, "expert_group_count", 1, &x->n_group, err));
    TRY(get_size(k, "expert_group_used_count", x->n_group, &x->n_group_used, err));
    TRY(get_size(k, "expert_feed_forward_length", n_ff, &x->n_ff, err));
    TRY(get_size(k, "expert_shared_count", 0, &n_shared, err));
    TRY(get_size(k, "expert_shared_feed_forward_length", n_shared ? n_shared * x->n_ff : n_ff,
                 &x->n_ff_shared, err));
    TRY(get_size(k, "expert_gating_func", a->experts.gating, &gating, err));
    TRY(gguf_get_bool(k->g, key_of(k, "expert_weights_norm"), a->experts.normalize, &x->normalize, err));
    TRY(get_optional(k, "expert_weights_scale", &x->scale, err));
    if (x->scale == 0.0f) x->scale = 1;
    x->gating = (model_gating)gating;
    return check_experts(x, err);
}

/* The norms' epsilon stands in the key of their kind, or of the other. */
static nut_status get_eps(keys *k, const arch *a, model_hparams *hp, nut_error *err) {
    const char *rms = "attention.layer_norm_rms_epsilon", *layer = "attention.layer_norm_epsilon";
    const char *own = a->norm == ARCH_RMS_NORM ? rms : layer,
               *other = a->norm == ARCH_RMS_NORM ? layer : rms;
    return get_positive(k, gguf_find(k->g, key_of(k, own)) ? own : other, 1e-5f, &hp->norm_eps, err);
}

/* The rank of low-rank mixers, which only a tensor tells, or Gemma 3n's. */
static uint32_t find_rank(const gguf *g) {
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (gguf_str_is(g->tensors[i].name, "blk.0.laurel_l.weight") && g->tensors[i].dims[1] <= 1 << 20)
            return (uint32_t)g->tensors[i].dims[1];
    return 64;
}

static nut_status get_residuals(keys *k, model_hparams *hp, nut_error *err) {
    residual_hparams *h = &hp->residuals;
    TRY(get_count(k, "altup.num_inputs", 4, MODEL_MAX_RESIDUALS, &h->n, err));
    TRY(gguf_get_u32(k->g, key_of(k, "altup.active_idx"), 0, &h->active, err));
    if (h->n < 2 || h->active >= h->n) return cannot_be(k->key, h->active, err);
    if (!hp->n_inputs) return lacks(key_of(k, "embedding_length_per_layer_input"), err);
    h->rank = find_rank(k->g);
    return NUT_OK;
}

static nut_status get_tiles(keys *k, tile_hparams *t, nut_error *err) {
    TRY(get_count(k, "attention.tiles.local", 0, 1u << 22, &t->local, err));
    TRY(get_size(k, "attention.tiles.global", 0, &t->global, err));
    TRY(get_size(k, "attention.tiles.stride", 0, &t->stride, err));
    TRY(get_size(k, "attention.tiles.random", 0, &t->random, err));
    return gguf_get_u32(k->g, key_of(k, "attention.tiles.seed"), 0, &t->seed, err);
}

nut_status arch_hparams(const gguf *g, const arch *a, uint32_t n_vocab, model_hparams *hp, nut_error *err) {
    keys k = {.g = g, .arch = a->name};
    *hp = (model_hparams){.n_vocab = n_vocab, .rope_kind = a->rope, .rotates = true};
    TRY(get_reading(&k, a, hp, err));
    TRY(get_count(&k, "context_length", 0, 1u << 28, &hp->n_ctx_train, err));
    TRY(get_count(&k, "embedding_length", 0, 1u << 20, &hp->n_embd, err));
    TRY(get_count(&k, "block_count", 0, 1u << 12, &hp->n_layer, err));
    TRY(get_rope(&k, a, hp, err));
    TRY(get_multipliers(&k, a, hp, err));
    TRY(get_experts(&k, a, hp, err));
    TRY(get_ssm(&k, &hp->ssm, err));
    TRY(get_mla(&k, &hp->mla, err));
    TRY(get_wkv(&k, hp, err));
    if (a->after) TRY(get_size(&k, "embedding_length_per_layer_input", 0, &hp->n_inputs, err));
    if (a->features & ARCH_RESIDUALS) TRY(get_residuals(&k, hp, err));
    if (ARCH_OWN && (a->features & ARCH_TILES)) TRY(get_tiles(&k, &hp->tiles, err));
    if (a->derive) a->derive(hp);
    hp->logit_scale /= hp->logit_divisor;
    TRY(check_activation(&k, a, err));
    return get_eps(&k, a, hp, err);
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
    layer_key n_ff, n_head, n_head_kv, key_length, value_length, window, pattern, dense_lead, expert_step,
        recurrent, interval, key_length_swa, value_length_swa, cutoff;
} layer_keys;

static layer_keys find_layer_keys(const keys *k) {
    return (layer_keys){find_layer_key(k, "feed_forward_length"),
                        find_layer_key(k, "attention.head_count"),
                        find_layer_key(k, "attention.head_count_kv"),
                        find_layer_key(k, "attention.key_length"),
                        find_layer_key(k, "attention.value_length"),
                        find_layer_key(k, "attention.sliding_window"),
                        find_layer_key(k, "attention.sliding_window_pattern"),
                        find_layer_key(k, "leading_dense_block_count"),
                        find_layer_key(k, "interleave_moe_layer_step"),
                        find_layer_key(k, "attention.recurrent_layers"),
                        find_layer_key(k, "full_attention_interval"),
                        find_layer_key(k, "attention.key_length_swa"),
                        find_layer_key(k, "attention.value_length_swa"),
                        find_layer_key(k, "activation_sparsity_scale")};
}

static nut_status check_heads(const layer_hparams *l, nut_error *err) {
    if (l->n_head % l->n_head_kv)
        return error_set(err, NUT_E_CORRUPT,
                         "the model file is damaged: %u heads do not divide by the head_count_kv of %u",
                         l->n_head, l->n_head_kv);
    if (l->head_dim > CACHE_MAX_DIM || l->head_dim_v > CACHE_MAX_DIM)
        return error_set(err, NUT_E_UNSUPPORTED, "a head size of %u is not supported: one of up to %d is",
                         l->head_dim > CACHE_MAX_DIM ? l->head_dim : l->head_dim_v, CACHE_MAX_DIM);
    return NUT_OK;
}

static nut_status get_heads(const layer_keys *k, uint32_t n_embd, uint32_t il, layer_hparams *l,
                            nut_error *err) {
    TRY(count_at(&k->n_head, il, 0, 1, 1 << 12, &l->n_head, err));
    TRY(count_at(&k->n_head_kv, il, l->n_head, 1, l->n_head, &l->n_head_kv, err));
    const bool local = l->window > 0;
    TRY(count_at(local && k->key_length_swa.kv ? &k->key_length_swa : &k->key_length, il, n_embd / l->n_head,
                 1, 1 << 12, &l->head_dim, err));
    TRY(count_at(local && k->value_length_swa.kv ? &k->value_length_swa : &k->value_length, il,
                 n_embd / l->n_head, 1, 1 << 12, &l->head_dim_v, err));
    return check_heads(l, err);
}

/* Whether a layer has a window: as the file says for each layer, else by a period, the file's or the
 * family's. */
static bool is_windowed(const layer_keys *k, const arch *a, uint32_t il) {
    const gguf_kv *kv = k->pattern.kv;
    int64_t value = 0, period = a->window_period;
    if (kv && gguf_integer_at(kv, il, &value)) {
        if (kv->type == GGUF_ARRAY) return value != 0;
        if (value > 0) period = value;
    }
    return !period || il % period != (a->features & ARCH_FULL_FIRST ? 0 : period - 1);
}

static nut_status get_window(const layer_keys *k, const arch *a, uint32_t il, layer_hparams *l,
                             nut_error *err) {
    return is_windowed(k, a, il) ? count_at(&k->window, il, a->window, 0, UINT32_MAX, &l->window, err)
                                 : NUT_OK;
}

static float softplus(float x) {
    return x > 20 ? x : log1pf(expf(x));
}

/* xIELU (Huang 2025, arXiv 2411.13010, section 3.2): files have its parameters as they were trained, which
 * keeps the slopes positive, and without the family's name. */
static nut_status get_xielu(keys *k, uint32_t il, layer_hparams *l, nut_error *err) {
    static const char *const names[4] = {"xielu.alpha_p", "xielu.alpha_n", "xielu.beta", "xielu.eps"};
    for (int i = 0; i < 4; i++)
        if (!gguf_float_at(gguf_find(k->g, names[i]), il, &l->xielu[i])) return lacks(names[i], err);
    l->xielu[0] = softplus(l->xielu[0]);
    l->xielu[1] = l->xielu[2] + softplus(l->xielu[1]);
    return NUT_OK;
}

/* Where the file has minus infinity, nothing is cut off. */
static nut_status get_cutoff(const layer_keys *k, uint32_t il, layer_hparams *l, nut_error *err) {
    if (!k->cutoff.kv) return lacks(k->cutoff.name, err);
    l->sparse = gguf_float_at(k->cutoff.kv, il, &l->cutoff);
    return NUT_OK;
}

static bool has_heads(const layer_hparams *l) {
    return l->mixer == BLOCK_mix_attention || l->mixer == BLOCK_mix_mla ||
           (ARCH_OWN && l->mixer == BLOCK_mix_linear);
}

static void take_most(layer_hparams *most, const layer_hparams *l) {
    if (l->n_ff > most->n_ff) most->n_ff = l->n_ff;
    if (l->n_head > most->n_head) most->n_head = l->n_head;
    if (l->n_head_kv > most->n_head_kv) most->n_head_kv = l->n_head_kv;
    if (l->head_dim > most->head_dim) most->head_dim = l->head_dim;
    if (l->head_dim_v > most->head_dim_v) most->head_dim_v = l->head_dim_v;
}

/* The rotary size of a rotation: as the key says, at most the smallest head that it rotates. */
static nut_status get_rot(keys *k, const char *suffix, const model_hparams *hp, const model_layer *layers,
                          uint8_t which, uint32_t *n_rot, nut_error *err) {
    uint32_t least = UINT32_MAX;
    for (uint32_t il = 0; il < hp->n_layer; il++)
        if (layers[il].hp.rope == which && has_heads(&layers[il].hp) && layers[il].hp.head_dim < least)
            least = layers[il].hp.head_dim;
    *n_rot = 0;
    if (least == UINT32_MAX) return NUT_OK;
    TRY(get_count(k, suffix, least, least, n_rot, err));
    if (*n_rot % 2)
        return error_set(err, NUT_E_CORRUPT, "the model file is damaged: its rotary size %u is odd", *n_rot);
    return NUT_OK;
}

static nut_status get_rots(keys *k, model_hparams *hp, const model_layer *layers, nut_error *err) {
    const char *local = "rope.dimension_count_swa";
    if (hp->rope_kind == MODEL_ROPE_NONE) return NUT_OK;
    TRY(get_rot(k, "rope.dimension_count", hp, layers, 0, &hp->rope[0].n_rot, err));
    if (!gguf_find(k->g, key_of(k, local))) local = "rope.dimension_count";
    TRY(get_rot(k, local, hp, layers, 1, &hp->rope[1].n_rot, err));
    hp->n_rot = hp->rope[0].n_rot > hp->rope[1].n_rot ? hp->rope[0].n_rot : hp->rope[1].n_rot;
    return NUT_OK;
}

/* Whether a layer rotates queries and keys: as windows or the family's period say. */
static bool rotates(const arch *a, const layer_keys *k, uint32_t il, const layer_hparams *l) {
    if (a->rope == MODEL_ROPE_NONE) return false;
    if ((a->features & ARCH_ROPE_IN_WINDOWS) && k->window.kv && !l->window) return false;
    return !a->no_rope_period || il % a->no_rope_period != a->no_rope_period - 1u;
}

/* Whether a layer has experts: not the leading ones that the file says, and those of a period. */
static bool has_experts(const layer_keys *k, const model_hparams *hp, uint32_t il) {
    int64_t dense = 0, step = 1;
    if (k->dense_lead.kv) gguf_integer_at(k->dense_lead.kv, 0, &dense);
    if (k->expert_step.kv) gguf_integer_at(k->expert_step.kv, 0, &step);
    return hp->experts.n > 0 && il >= dense && (step < 2 || (il + 1) % step == 0);
}

/* Whether a layer has no attention: as the file says, or by a period, or by its heads. */
static bool is_recurrent(const layer_keys *k, const arch *a, uint32_t il) {
    int64_t value, interval = a->interval;
    if (!a->recurrent) return false;
    if (k->recurrent.kv && gguf_integer_at(k->recurrent.kv, il, &value)) return value != 0;
    if (k->interval.kv && gguf_integer_at(k->interval.kv, 0, &value) && value > 0) interval = value;
    if (interval) return (il + 1) % interval != 0;
    return k->n_head_kv.kv && gguf_integer_at(k->n_head_kv.kv, il, &value) && value == 0;
}

/* Which blocks a layer has. A feed-forward of no width is none. */
static void choose_blocks(const layer_keys *k, const arch *a, const model_hparams *hp, uint32_t il,
                          layer_hparams *l) {
    int64_t n_ff = 1;
    const bool has_ff = k->n_ff.kv && gguf_integer_at(k->n_ff.kv, il, &n_ff) && n_ff != 0;
    l->mixer = is_recurrent(k, a, il) ? a->recurrent : a->mixer;
    l->beside = a->beside ? a->beside : BLOCK_NONE;
    l->after = a->after && hp->n_inputs ? a->after : BLOCK_NONE;
    l->ffn = has_experts(k, hp, il) && !(a->features & ARCH_EXPERTS_BY_TENSOR) ? BLOCK_ffn_experts : a->ffn;
    if (a->features & ARCH_ONE_BLOCK) {
        if (has_ff) l->mixer = BLOCK_NONE;
        if (!has_ff) l->ffn = BLOCK_NONE;
    }
}

static nut_status get_layer(keys *k, const layer_keys *lk, const arch *a, const model_hparams *hp,
                            uint32_t il, layer_hparams *l, nut_error *err) {
    *l = (layer_hparams){0};
    choose_blocks(lk, a, hp, il, l);
    if (l->ffn != BLOCK_NONE) TRY(count_at(&lk->n_ff, il, 0, 1, 1 << 22, &l->n_ff, err));
    if (has_heads(l)) TRY(get_window(lk, a, il, l, err));
    if (has_heads(l)) TRY(get_heads(lk, hp->n_embd, il, l, err));
    if ((a->features & ARCH_GATED_OUT) && l->head_dim != l->head_dim_v)
        return error_set(err, NUT_E_CORRUPT,
                         "the model file is damaged: a key_length of %u, and so gates, cannot go with a "
                         "value_length of %u",
                         l->head_dim, l->head_dim_v);
    l->kv_of = il;
    if (is_time_mix(l->mixer))
        TRY(check_wkv(hp, l->mixer, err));
    else if ((l->mixer != BLOCK_NONE && !has_heads(l)) || l->beside == BLOCK_mix_mamba2)
        TRY(check_ssm(hp, l, err));
    l->value_rank = il == 0 ? hp->wkv.rate : hp->wkv.value; // the first layer's are of no use, and so stored
    l->rope = hp->n_ropes > 1 && l->window > 0;
    l->rotates = hp->rotates && rotates(a, lk, il, l);
    if (a->features & ARCH_RESIDUALS) TRY(get_cutoff(lk, il, l, err));
    return a->features & ARCH_XIELU ? get_xielu(k, il, l, err) : NUT_OK;
}

/* The last layers read the keys and values of the last one of their kind that has its own. */
static nut_status share_kv(keys *k, const model_hparams *hp, model_layer *layers, nut_error *err) {
    uint32_t n;
    TRY(get_size(k, "attention.shared_kv_layers", 0, &n, err));
    if (n >= hp->n_layer) return cannot_be(k->key, n, err);
    for (uint32_t il = hp->n_layer - n; il < hp->n_layer; il++) {
        layer_hparams *l = &layers[il].hp;
        uint32_t of = hp->n_layer - n;
        do of--;
        while (of > 0 && (layers[of].hp.window > 0) != (l->window > 0));
        const layer_hparams *from = &layers[of].hp;
        if ((from->window > 0) != (l->window > 0) || from->n_head_kv != l->n_head_kv ||
            from->head_dim != l->head_dim || from->head_dim_v != l->head_dim_v)
            return cannot_be(k->key, n, err);
        l->kv_of = of;
        l->shares_kv = true;
    }
    return NUT_OK;
}

/* Layers whose router is among the tensors have experts. */
static void find_routers(const gguf *g, const model_hparams *hp, model_layer *layers) {
    for (uint64_t i = 0; i < g->n_tensors && hp->experts.n; i++) {
        const gguf_str name = g->tensors[i].name;
        const char *at = name.s + 4, *end = name.s + name.n;
        uint32_t il = 0;
        if (name.n < 5 || memcmp(name.s, "blk.", 4)) continue;
        for (; at < end && *at >= '0' && *at <= '9' && il < 100000; at++)
            il = il * 10 + (uint32_t)(*at - '0');
        if (il < hp->n_layer && gguf_str_is((gguf_str){at, (uint64_t)(end - at)}, ".ffn_gate_inp.weight"))
            layers[il].hp.ffn = BLOCK_ffn_experts;
    }
}

nut_status arch_layers(const gguf *g, const arch *a, model_hparams *hp, model_layer *layers,
                       nut_error *err) {
    keys k = {.g = g, .arch = a->name};
    TRY(arch_check_keys(g, a, err));
    const layer_keys lk = find_layer_keys(&k);
    for (uint32_t il = 0; il < hp->n_layer; il++) {
        TRY(get_layer(&k, &lk, a, hp, il, &layers[il].hp, err));
        take_most(&hp->most, &layers[il].hp);
    }
    TRY(share_kv(&k, hp, layers, err));
    if (a->features & ARCH_EXPERTS_BY_TENSOR) find_routers(g, hp, layers);
    TRY(get_rots(&k, hp, layers, err));
    for (uint32_t il = 0; il < hp->n_layer; il++)
        if (layers[il].hp.mixer == BLOCK_mix_mla) TRY(check_mla(hp, &layers[il].hp, err));
    return NUT_OK;
}
