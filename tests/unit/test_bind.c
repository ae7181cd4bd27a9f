/* Binding: every tensor and hyperparameter wrong in turn is refused by its name; what may vary arrives in
 * the model. */
#include "check.h"
#include "make_gguf.h"
#include "weights.h"

/* Loads the file of g, which must fail so; frees g. */
static void refuse(make_gguf *g, nut_status want, const char *words) {
    size_t n;
    uint8_t *file = make_file(g, &n);
    nut_model *m;
    nut_error err = {0};
    nut_status status = make_load(file, n, 0, NULL, &m, &err);
    CHECK(status == want && err.code == want && strstr(err.message, words), "want %s \"%s\": %s %s",
          nut_status_name(want), words, nut_status_name(status), err.message);
    if (status == NUT_OK) nut_model_free(m);
    free(file);
    make_free(g);
}

/* The value of a key in a file's metadata, or its name, to be overwritten. */
static uint8_t *find_bytes(make_gguf *g, const char *key) {
    size_t n = strlen(key);
    for (size_t at = 8; at + n < g->kv.n; at++)
        if (!memcmp(g->kv.p + at, key, n) && g->kv.p[at - 8] == n) return g->kv.p + at;
    CHECK(false, "no key %s", key);
    return g->kv.p;
}

static void set_u32(make_gguf *g, const char *key, uint32_t v) {
    memcpy(find_bytes(g, key) + strlen(key) + 4, &v, 4);
}

static void test_tensors_missing_or_wrong(void) {
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    for (size_t f = 0; f < 3; f++) {
        make_gguf whole = make_model(&(make_options){.arch = families[f]});
        for (size_t i = 0; i < whole.n_tensors; i++) {
            char words[128];
            make_gguf g = make_model(&(make_options){.arch = families[f]});
            snprintf(words, sizeof words, "lacks tensor %s", whole.tensors[i].name);
            make_remove(&g, whole.tensors[i].name);
            if (strstr(words, ".bias")) // models may lack them
                make_free(&g);
            else
                refuse(&g, NUT_E_CORRUPT, words);

            g = make_model(&(make_options){.arch = families[f]});
            make_tensor *t = &g.tensors[i];
            unsigned rows = (unsigned)t->dims[1], cols = (unsigned)t->dims[0];
            if (t->n_dims == 1)
                snprintf(words, sizeof words, "tensor %s is %u and must be %u", t->name, cols / 2, cols);
            else
                snprintf(words, sizeof words, "tensor %s is %u x %u and must be %u x %u", t->name, cols / 2,
                         rows, cols, rows);
            t->dims[0] /= 2;
            refuse(&g, NUT_E_CORRUPT, words);

            g = make_model(&(make_options){.arch = families[f]});
            g.tensors[i].dims[g.tensors[i].n_dims++] = 2; // a dimension too many
            g.tensors[i].data.n *= 2;
            g.tensors[i].data.p = realloc(g.tensors[i].data.p, g.tensors[i].data.n);
            memset(g.tensors[i].data.p, 0, g.tensors[i].data.n);
            refuse(&g, NUT_E_CORRUPT, whole.tensors[i].name);
        }
        make_free(&whole);
    }
}

static void test_unknown_tensors(void) {
    static const struct {
        const char *name;
        bool passed_over;
    } extras[] = {{"blk.0.attn_rot.bias", false},
                  {"blk.1.attn_q_norm.weight", false},
                  {"blk.0.ffn_gate_inp.weight", false},
                  {"output_scale.weight", false},
                  {"token_embd", false},
                  {"blk.00.attn_q.weight", false},
                  {"blk.2.attn_norm.weight", false},
                  {"blk.x.attn_q", false},
                  {"blk.99999999999.attn_q.weight", false},
                  {"blk.", false},
                  {"blk..attn_q.weight", false},
                  {"blk.0.", false},
                  {"blk.0", false},
                  {"", false},
                  {"blk.1.attn_rot_embd", true},
                  {"blk.0.rope_freqs.weight", true}};
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
        make_gguf g = make_model(&(make_options){0});
        char words[128];
        snprintf(words, sizeof words, "tensor %s is not one", extras[i].name);
        make_add(&g, extras[i].name, FORMAT_F32, 64, 0);
        if (!extras[i].passed_over) {
            refuse(&g, NUT_E_UNSUPPORTED, words);
            continue;
        }
        check_load(&g, 5, NULL, extras[i].name);
        make_free(&g);
    }
}

static void test_unknown_types(void) {
    static const struct {
        uint32_t type;
        const char *words;
    } types[] = {{15, "type Q8_K (15)"},       {24, "type I8 (24)"},          {4, "type Q4_2 (4)"},
                 {36, "type IQ4_NL_4_4 (36)"}, {1000, "type unknown (1000)"}, {UINT32_MAX, "type unknown"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        make_gguf g = make_model(&(make_options){0});
        make_find(&g, "blk.1.ffn_up.weight")->type = types[i].type;
        refuse(&g, NUT_E_UNSUPPORTED, types[i].words);
    }
}

static void test_wrong_hparams(void) {
    static const struct {
        const char *key;
        uint32_t value;
        nut_status status;
        const char *words;
    } wrongs[] = {
        {"llama.block_count", 0, NUT_E_CORRUPT, "\"llama.block_count\" is 0"},
        {"llama.block_count", 5000, NUT_E_CORRUPT, "\"llama.block_count\" is 5000"},
        {"llama.block_count", 4000, NUT_E_CORRUPT, "20 tensors and 4000 layers"},
        {"llama.block_count", 3, NUT_E_CORRUPT, "lacks tensor blk.2."},
        {"llama.block_count", 1, NUT_E_UNSUPPORTED, "tensor blk.1."},
        {"llama.embedding_length", 0, NUT_E_CORRUPT, "\"llama.embedding_length\" is 0"},
        {"llama.embedding_length", UINT32_MAX, NUT_E_CORRUPT, "\"llama.embedding_length\" is 4294967295"},
        {"llama.embedding_length", 96, NUT_E_CORRUPT, "token_embd.weight is 64 x 294 and must be 96 x 294"},
        {"llama.feed_forward_length", 0, NUT_E_CORRUPT, "feed_forward_length"},
        {"llama.feed_forward_length", 97, NUT_E_CORRUPT, "must be 64 x 97"},
        {"llama.context_length", 0, NUT_E_CORRUPT, "context_length"},
        {"llama.attention.head_count", 0, NUT_E_CORRUPT, "head_count"},
        {"llama.attention.head_count", 3, NUT_E_CORRUPT, "3 heads"},
        {"llama.attention.head_count", 8, NUT_E_CORRUPT, "attn_q.weight"},
        {"llama.attention.head_count_kv", 0, NUT_E_CORRUPT, "head_count_kv"},
        {"llama.attention.head_count_kv", 5, NUT_E_CORRUPT, "\"llama.attention.head_count_kv\" is 5"},
        {"llama.attention.head_count_kv", 4, NUT_E_CORRUPT, "attn_k.weight"},
        {"llama.attention.key_length", 8, NUT_E_CORRUPT, "attn_q.weight"},
        {"llama.attention.value_length", 8, NUT_E_CORRUPT, "attn_v.weight"},
        {"llama.attention.key_length", 0, NUT_E_CORRUPT, "key_length"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        make_gguf g = make_model(&(make_options){0});
        set_u32(&g, wrongs[i].key, wrongs[i].value);
        refuse(&g, wrongs[i].status, wrongs[i].words);
    }
    make_gguf g = make_model(&(make_options){.head_dim = 577}); // beyond the kernels
    refuse(&g, NUT_E_UNSUPPORTED, "head size of");
}

static void test_missing_hparams(void) {
    static const char *const keys[] = {"context_length", "embedding_length", "block_count",
                                       "feed_forward_length", "attention.head_count"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        make_gguf g = make_model(&(make_options){0});
        char words[96];
        snprintf(words, sizeof words, "lacks \"llama.%s\"", keys[i]);
        *find_bytes(&g, make_hparam_key("llama", keys[i])) = 'X';
        refuse(&g, NUT_E_CORRUPT, words);
    }
    make_gguf g = make_model(&(make_options){.n_head_kv = 4}); // what has a default may be absent
    *find_bytes(&g, "llama.attention.head_count_kv") = 'X';
    *find_bytes(&g, "llama.attention.key_length") = 'X';
    *find_bytes(&g, "llama.attention.value_length") = 'X';
    *find_bytes(&g, "llama.attention.layer_norm_rms_epsilon") = 'X';
    check_load(&g, 0, NULL, "defaults");
    make_free(&g);
}

/* A model with something added; `as` chooses the type of the value. */
static make_gguf with(const char *key, char as, double v, const char *text) {
    make_gguf g = make_model(&(make_options){0});
    if (as == 'u') make_u32(&g, key, (uint32_t)v);
    if (as == 'f') make_f32(&g, key, (float)v);
    if (as == 'b') make_bool(&g, key, v != 0);
    if (as == 's') make_str(&g, key, text);
    return g;
}

static void test_variants(void) {
    static const struct {
        const char *key;
        char as;
        double value;
        nut_status status;
        const char *words;
    } wrongs[] = {
        {"llama.some_option", 'u', 8, NUT_E_UNSUPPORTED, "the option llama.some_option is not supported"},
        {"llama.logit_scale", 'f', 8, NUT_E_UNSUPPORTED, "the option llama.logit_scale is not supported"},
        {"llama.attention.causal", 'u', 0, NUT_E_CORRUPT, "causal"},
        {"split.count", 's', 0, NUT_E_CORRUPT, "split.count"},
        {"split.count", 'u', 3, NUT_E_CORRUPT, "split.no"},
        {"llama.rope.dimension_count", 'u', 7, NUT_E_CORRUPT, "is odd"},
        {"llama.rope.dimension_count", 'u', 18, NUT_E_CORRUPT, "dimension_count\" is 18"},
        {"llama.rope.freq_base", 'f', 0, NUT_E_CORRUPT, "freq_base\" is 0"},
        {"llama.rope.freq_base", 'f', -1, NUT_E_CORRUPT, "freq_base\" is -1"},
        {"llama.rope.freq_base", 'f', NAN, NUT_E_CORRUPT, "freq_base"},
        {"llama.rope.freq_base", 'u', 10000, NUT_E_CORRUPT, "freq_base"},
        {"llama.rope.scaling.factor", 'f', INFINITY, NUT_E_CORRUPT, "factor"},
        {"llama.rope.scaling.attn_factor", 'u', 1, NUT_E_CORRUPT, "attn_factor"},
        {"llama.rope.scaling.type", 'f', 1, NUT_E_CORRUPT, "scaling.type"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        make_gguf g = with(wrongs[i].key, wrongs[i].as, wrongs[i].value, "text");
        refuse(&g, wrongs[i].status, wrongs[i].words);
    }
    make_gguf g = with("llama.rope.scaling.type", 's', 0, "longrope");
    make_f32(&g, "llama.rope.scaling.factor", 4);
    refuse(&g, NUT_E_UNSUPPORTED, "type \"longrope\"");
    g = make_model(&(make_options){0});
    *find_bytes(&g, "llama.attention.head_count") = 'X';
    make_array(&g, "llama.attention.head_count", MAKE_U32, 2);
    make_le(&g.kv, 4, 4), make_le(&g.kv, 2, 4);
    refuse(&g, NUT_E_CORRUPT, "blk.1.attn_q.weight is 64 x 64 and must be 64 x 32");
    g = make_model(&(make_options){0});
    *find_bytes(&g, "llama.attention.head_count") = 'X';
    make_array(&g, "llama.attention.head_count", MAKE_U32, 1);
    make_le(&g.kv, 4, 4);
    refuse(&g, NUT_E_CORRUPT, "no whole number for layer 1");
    g = make_model(&(make_options){0});
    memcpy(find_bytes(&g, "general.architecture") + 20 + 4 + 8, "other", 5);
    refuse(&g, NUT_E_UNSUPPORTED, "\"other\" is not supported (these are: llama, qwen2, qwen3, ");
    g = make_model(&(make_options){0});
    *find_bytes(&g, "general.architecture") = 'X';
    refuse(&g, NUT_E_CORRUPT, "does not say the model's architecture");
    g = make_model(&(make_options){0});
    *find_bytes(&g, "general.architecture") = 'X';
    make_u32(&g, "general.architecture", 7);
    refuse(&g, NUT_E_CORRUPT, "\"general.architecture\" has an unfit value");
    g = make_model(&(make_options){0});
    while (g.n_tensors) make_remove(&g, g.tensors[0].name);
    refuse(&g, NUT_E_CORRUPT, "no weights");
}

static void test_rope(void) {
    static const struct {
        const char *type;
        float factor, linear, want; // 0: absent
    } cases[] = {{NULL, 0, 0, 1},     {"linear", 4, 0, 0.25f}, {NULL, 4, 0, 0.25f},
                 {"none", 4, 0, 1},   {"yarn", 1, 0, 1},       {NULL, 0, 2, 0.5f},
                 {"linear", 0, 0, 1}, {"longrope", 0, 0, 1},   {"linear", 8, 2, 0.125f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_gguf g = make_model(&(make_options){0});
        if (cases[i].type) make_str(&g, "llama.rope.scaling.type", cases[i].type);
        if (cases[i].factor > 0) make_f32(&g, "llama.rope.scaling.factor", cases[i].factor);
        if (cases[i].linear > 0) make_f32(&g, "llama.rope.scale_linear", cases[i].linear);
        make_u32(&g, "llama.rope.dimension_count", 8);
        make_f32(&g, "llama.rope.freq_base", 5e5f);
        make_add(&g, "rope_freqs.weight", FORMAT_F32, 4, 0);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        nut_model *m;
        nut_error err = {0};
        if (CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "case %zu: %s", i, err.message)) {
            CHECK(m->hp.rope[0].scale == cases[i].want, "case %zu: %g", i, (double)m->hp.rope[0].scale);
            CHECK(m->hp.n_rot == 8 && m->hp.rope[0].base == 5e5f, "n_rot %u", m->hp.n_rot);
            CHECK(m->rope_freqs && !memcmp(m->rope_freqs, make_find(&g, "rope_freqs.weight")->data.p, 16),
                  "rope_freqs");
            nut_model_free(m);
        }
        free(file);
        make_free(&g);
    }
    make_gguf g = make_model(&(make_options){0});
    make_add(&g, "rope_freqs.weight", FORMAT_F32, 16, 0);
    refuse(&g, NUT_E_CORRUPT, "rope_freqs.weight is 16 and must be 8");
}

int main(void) {
    test_tensors_missing_or_wrong();
    test_unknown_tensors();
    test_unknown_types();
    test_wrong_hparams();
    test_missing_hparams();
    test_variants();
    test_rope();
    return check_report();
}
