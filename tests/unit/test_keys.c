/* Every hyperparameter that llama.cpp knows (llama_keys.h), set or changed in a model of every family: the
 * results differ, or the file is refused in words that name the key or the tensor that no longer fits, or
 * the key is known to have no effect: those are listed here, with the reason. */
#include "check.h"
#include "llama_keys.h"
#include "make_family.h"

#include <stdlib.h>

enum { N_IDS = 15, N_VALUES = 4096 };

typedef struct llama_key {
    const char *suffix;
    uint32_t type; // MAKE_U32, ...
    uint32_t count;
    float real;
    const char *text;
} llama_key;

#define NUT_COUNT(suffix, value) {suffix, MAKE_U32, value, 0, NULL},
#define NUT_REAL(suffix, value)  {suffix, MAKE_F32, 0, value, NULL},
#define NUT_FLAG(suffix, value)  {suffix, MAKE_BOOL, value, 0, NULL},
#define NUT_TEXT(suffix, value)  {suffix, MAKE_STRING, 0, 0, value},
static const llama_key llama_keys[] = {LLAMA_KEYS(NUT_COUNT, NUT_REAL, NUT_FLAG, NUT_TEXT)};
enum { N_KEYS = sizeof llama_keys / sizeof *llama_keys };

/* ---- keys without effect ---- */

static bool any(const arch *a) {
    return a != NULL;
}

static bool has_no_positions(const arch *a) {
    return !(a->features & ARCH_POSITIONS);
}

static bool is_still(const arch *a) {
    return a->rope == MODEL_ROPE_NONE;
}

static bool is_still_attention(const arch *a) {
    return is_still(a) && a->mixer == BLOCK_mix_attention;
}

/* All but those where the key says whether they rotate. */
static bool rotates_anyway(const arch *a) {
    for (const arch_key *key = a->keys; key && key->suffix; key++)
        if (!strcmp(key->suffix, "rope.scaling.finetuned")) return false;
    return true;
}

static bool has_routers(const arch *a) {
    return (a->features & ARCH_EXPERTS_BY_TENSOR) != 0;
}

static bool is_stablelm(const arch *a) {
    return !strcmp(a->name, "stablelm");
}

static bool is_causal(const arch *a) {
    return !(a->features & ARCH_BOTH_WAYS);
}

static bool is_encoder(const arch *a) {
    return !is_causal(a);
}

static bool has_experts(const arch *a) {
    return a->experts.gating != MODEL_GATE_NONE;
}

static bool has_only_experts(const arch *a) {
    return has_experts(a) && !(a->features & ARCH_EXPERTS_BY_TENSOR);
}

static bool is_hybrid(const arch *a) {
    return a->recurrent > 0;
}

/* Which keys change no results, in which families, and why. */
static const struct {
    const char *suffix;
    bool (*in)(const arch *a);
    const char *why;
} without_effect[] = {
    {"vocab_size", any, "the tokenizer lists the vocabulary"},
    {"context_length", has_no_positions, "it says how long contexts may be"},
    {"tensor_data_layout", any, "it is for files that are older than the families' rows"},
    {"pooling_type", is_causal, "it is for embeddings, and these are logits"},
    {"use_parallel_residual", is_stablelm, "norms that are there say it of each layer, as in llama.cpp"},
    {"final_logit_softcapping", is_encoder, "an encoder has no logits"},
    {"rope.dimension_sections", any, "a text has the same position in all sections"},
    {"rope.scaling.finetuned", rotates_anyway, "it tells how the model was trained"},
    {"full_attention_interval", is_hybrid, "this model lists its layers by attention.recurrent_layers"},
    {"feed_forward_length", has_only_experts, "all layers have experts, which have a width of their own"},
    {"expert_shared_count", has_experts, "it is a width of the shared expert, which this model has not"},
    {"expert_shared_feed_forward_length", has_experts, "as expert_shared_count"},
    {"leading_dense_block_count", has_routers, "layers with a router have experts"},
    {"interleave_moe_layer_step", has_routers, "layers with a router have experts"},
    {"rope.dimension_count", is_still, "the family does not rotate, here and below"},
    {"rope.dimension_count_swa", is_still_attention, ""},
    {"rope.freq_base", is_still, ""},
    {"rope.freq_base_swa", is_still_attention, ""},
    {"rope.scale_linear", is_still, ""},
    {"rope.scaling.factor", is_still, ""},
    {"rope.scaling.attn_factor", is_still, ""},
    {"rope.scaling.original_context_length", is_still, ""},
    {"rope.scaling.yarn_log_multiplier", is_still, ""},
    {"rope.scaling.yarn_beta_fast", is_still, ""},
    {"rope.scaling.yarn_beta_slow", is_still, ""},
};

static const char *why_without_effect(const arch *a, const char *suffix) {
    for (size_t i = 0; i < sizeof without_effect / sizeof *without_effect; i++)
        if (!strcmp(without_effect[i].suffix, suffix) && without_effect[i].in(a))
            return without_effect[i].why;
    return NULL;
}

/* ---- models ---- */

/* Where the value of a key stands in the pairs, behind its type; NULL where it is not there. */
static uint8_t *find_pair(make_gguf *g, const char *key, uint32_t *type) {
    const size_t n = strlen(key);
    for (size_t i = 0; i + 8 + n + 4 <= g->kv.n; i++) {
        uint8_t *at = g->kv.p + i;
        if (at[0] != n || memcmp(at + 1, "\0\0\0\0\0\0\0", 7) || memcmp(at + 8, key, n)) continue;
        *type = at[8 + n];
        return at + 8 + n + 4;
    }
    return NULL;
}

/* Other values in place of those that are there: of the same type. */
static void change(uint8_t *value, uint32_t type, const llama_key *k) {
    const uint32_t bits = type == MAKE_F32 ? half_f32_to_bits(k->real) : k->count;
    if (type != MAKE_ARRAY) {
        memcpy(value, &bits, type == MAKE_BOOL ? 1 : 4);
        return;
    }
    const bool flags = value[0] == MAKE_BOOL;
    for (size_t i = 0; i < FAMILY_LAYERS; i++) {
        uint8_t *at = value + 12 + i * (flags ? 1 : 4);
        if (flags)
            *at = !*at;
        else
            memcpy(at, &bits, 4);
    }
}

static void put(make_gguf *g, const arch *a, const llama_key *k) {
    const char *key = make_hparam_key(a->name, k->suffix);
    uint32_t type;
    uint8_t *value = find_pair(g, key, &type);
    if (value)
        change(value, type, k);
    else if (k->type == MAKE_STRING)
        make_str(g, key, k->text);
    else if (k->type == MAKE_F32)
        make_f32(g, key, k->real);
    else
        make_int(g, key, k->type, k->count, k->type == MAKE_BOOL ? 1 : 4);
}

/* Keys that another needs beside it to matter. */
static const struct {
    const char *of; // the other key, or how it begins
    llama_key key;
} settings[] = {
    {"expert_group_count", {"expert_group_used_count", MAKE_U32, 1, 0, NULL}},
    {"expert_group_used_count", {"expert_group_count", MAKE_U32, 3, 0, NULL}},
    {"attention.sliding_window_pattern", {"attention.sliding_window", MAKE_U32, 5, 0, NULL}},
    {"attention.key_length_swa", {"attention.sliding_window", MAKE_U32, 5, 0, NULL}},
    {"attention.value_length_swa", {"attention.sliding_window", MAKE_U32, 5, 0, NULL}},
    {"attention.temperature_scale", {"rope.scaling.original_context_length", MAKE_U32, 4, 0, NULL}},
    {"rope.freq_base_swa", {"attention.sliding_window", MAKE_U32, 5, 0, NULL}},
    {"rope.dimension_count_swa", {"attention.sliding_window", MAKE_U32, 5, 0, NULL}},
    {"rope.scaling.type", {"rope.scaling.factor", MAKE_F32, 0, 4, NULL}},
    {"rope.scaling.original", {"rope.scaling.factor", MAKE_F32, 0, 4, NULL}},
    {"rope.scaling.original", {"rope.scaling.type", MAKE_STRING, 0, 0, "yarn"}},
    {"rope.scaling.yarn", {"rope.scaling.factor", MAKE_F32, 0, 4, NULL}},
    {"rope.scaling.yarn", {"rope.scaling.type", MAKE_STRING, 0, 0, "yarn"}},
    {"rope.scaling.yarn", {"rope.scaling.original_context_length", MAKE_U32, 16, 0, NULL}},
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

static bool is_setting(size_t i, const char *suffix) {
    return !strncmp(settings[i].of, suffix, strlen(settings[i].of));
}

static void put_settings(make_gguf *g, const arch *a, const char *suffix) {
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (is_setting(i, suffix)) put(g, a, &settings[i].key);
}

/* The rows of an encoder and the pooled one, or the last id's logits. False with a reason in err. */
static bool compute_values(const nut_model *m, nut_session *s, float *out, nut_error *err) {
    int32_t ids[N_IDS];
    for (int32_t i = 0; i < N_IDS; i++) ids[i] = 3 + i * 37 % 250;
    if (!m->hp.causal)
        return nut_session_embed(s, ids, N_IDS, out, out + N_IDS * nut_model_n_embd(m), err) == NUT_OK;
    if (nut_session_eval(s, ids, N_IDS, 1, err) != NUT_OK) return false;
    memcpy(out, nut_session_logits(s, 0), MAKE_N_VOCAB * sizeof *out);
    return true;
}

/* (N_VALUES), free() it; NULL with a reason where the model is refused. */
static float *compute(make_gguf *g, nut_error *err) {
    nut_model *m = NULL;
    nut_session *s = NULL;
    size_t n;
    uint8_t *file = make_file(g, &n);
    float *out = calloc(N_VALUES, sizeof *out);
    nut_load_options load = nut_load_defaults();
    const nut_session_options o = {.n_ctx = 32, .n_threads = 1, .n_batch = 32, .n_logits = 1};
    load.reference = true;
    *err = (nut_error){NUT_OK, ""};
    if (make_load(file, n, 0, &load, &m, err) != NUT_OK || nut_session_new(m, &o, &s, err) != NUT_OK ||
        !compute_values(m, s, out, err)) {
        free(out);
        out = NULL;
    }
    nut_session_free(s), nut_model_free(m);
    free(file);
    return out;
}

/* ---- the walk ---- */

typedef struct result {
    float *values; // (N_VALUES); NULL where the model is refused
    nut_error err;
} result;

/* The model of a family, to which pairs are added and taken away again. */
typedef struct family {
    const arch *arch;
    make_gguf g;
} family;

/* With the settings of `suffix`, and with k where that is not NULL. */
static result compute_with(const family *f, const char *suffix, const llama_key *k) {
    make_gguf g = f->g;
    result r = {0};
    g.kv = (make_bytes){0};
    make_put(&g.kv, f->g.kv.p, f->g.kv.n);
    put_settings(&g, f->arch, suffix);
    if (k) put(&g, f->arch, k);
    r.values = compute(&g, &r.err);
    free(g.kv.p);
    return r;
}

/* Whether words name the key, by its last part, or what no longer fits it, or is missing then. Keys of
 * windows and of latent attention say what others say elsewhere. */
static bool names(const char *words, const char *suffix) {
    char part[64];
    const char *dot = strrchr(suffix, '.');
    snprintf(part, sizeof part, "%s", dot ? dot + 1 : suffix);
    char *end = strstr(part, "_swa") ? strstr(part, "_swa") : strstr(part, "_mla");
    if (end) *end = 0;
    return strstr(words, part) || strstr(words, "tensor ") || strstr(words, " lacks ");
}

/* Another value, where a family may take the first one for granted. */
static llama_key other_value(const llama_key *k) {
    llama_key other = *k;
    other.count = k->type == MAKE_BOOL ? !k->count : k->count + 1;
    return other;
}

static bool is_same(const result *a, const result *b) {
    return !memcmp(a->values, b->values, N_VALUES * sizeof *a->values);
}

/* Whether the model with k is refused in the right words, or computes something else than `base`. */
static bool has_effect(const family *f, const llama_key *k, const result *base) {
    result with = compute_with(f, k->suffix, k);
    const bool refused = !with.values, other = refused || !is_same(base, &with);
    CHECK(!refused || names(with.err.message, k->suffix), "%s with %s: %s", f->arch->name, k->suffix,
          with.err.message);
    free(with.values);
    return other;
}

static void test_key(const family *f, const llama_key *k, const result *plain) {
    const llama_key other = other_value(k);
    const char *why = why_without_effect(f->arch, k->suffix);
    bool set = false;
    for (size_t i = 0; i < N_SETTINGS; i++) set = set || is_setting(i, k->suffix);
    result own = set ? compute_with(f, k->suffix, NULL) : *plain;
    if (own.values) {
        const bool effect = has_effect(f, k, &own) || has_effect(f, &other, &own);
        CHECK(effect == !why, "%s: %s %s", f->arch->name, k->suffix,
              effect ? "has an effect" : "has no effect");
    } else {
        CHECK(strstr(own.err.message, "the option"), "%s: what %s needs: %s", f->arch->name, k->suffix,
              own.err.message);
    }
    if (set) free(own.values);
}

static void test_family(const arch *a) {
    family f = {a, make_family(a, &family_odd)};
    result plain = compute_with(&f, "", NULL);
    if (CHECK(plain.values, "%s: %s", a->name, plain.err.message))
        for (size_t i = 0; i < N_KEYS; i++) test_key(&f, &llama_keys[i], &plain);
    free(plain.values);
    make_free(&f.g);
}

int main(void) {
    size_t n_families = 0;
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end, n_families++) {
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        const arch *a = arch_find((gguf_str){at, (uint64_t)(end - at)});
        if (CHECK(a, "%.20s is in no row", at)) test_family(a);
    }
    CHECK(n_families > 60, "only %zu families", n_families);
    return check_report();
}
