/* The loader: every format and cutting gives the file's weights, every wrong table is refused by name,
 * memory is what the plan says. */
#include "check.h"
#include "counting_alloc.h"
#include "data.h"
#include "make_gguf.h"
#include "model/arch.h"

static const char story[] = "models/stories260K-f32.gguf";

/* ---- what is in memory against what is in the file ---- */

static const void *place_of(const nut_model *m, const arch_tensor *spec, uint32_t layer) {
    const char *base = spec->in_layer ? (const char *)&m->layers[layer] : (const char *)m;
    return base + spec->to;
}

/* A row of a bound tensor as floats; false where it is not bound or has other sizes. */
static bool bound_row(const nut_model *m, const arch_tensor *spec, uint32_t layer, const uint64_t dims[4],
                      size_t row, float *out) {
    const void *p = place_of(m, spec, layer);
    if (spec->kind == ARCH_VECTOR) {
        const float *x = *(const float *const *)p;
        if (x) memcpy(out, x, (size_t)dims[0] * sizeof(float));
        return x != NULL;
    }
    const matrix *w = p;
    if (!w->data || w->n_cols != dims[0] || w->n_rows != dims[1]) return false;
    matrix_row(w, row, out);
    return true;
}

static size_t wrong_rows(const nut_model *m, const arch_tensor *spec, uint32_t layer, const uint64_t dims[4],
                         uint32_t type, const uint8_t *data) {
    const format *f = format_by_ggml(type);
    const size_t n = (size_t)dims[0], bytes = n / f->block * f->bytes;
    float *want = malloc(n * sizeof *want), *have = malloc(n * sizeof *have);
    size_t wrong = 0;
    for (size_t row = 0; row < dims[1]; row++) {
        f->dequantize(data + row * bytes, n / f->block, want);
        wrong += !bound_row(m, spec, layer, dims, row, have) || memcmp(want, have, n * sizeof *want) != 0;
    }
    free(want);
    free(have);
    return wrong;
}

static const arch_tensor *spec_of(const char *name, uint32_t *layer) {
    const char *suffix = name;
    const bool in_layer = !strncmp(name, "blk.", 4);
    *layer = 0;
    if (in_layer) *layer = (uint32_t)strtoul(name + 4, (char **)&suffix, 10), suffix++;
    for (size_t i = 0; i < arch_n_tensors; i++)
        if (arch_tensors[i].in_layer == in_layer && !strcmp(arch_tensors[i].name, suffix))
            return &arch_tensors[i];
    return NULL;
}

/* All weights of a model are those of the file that was made. */
static void check_weights(const nut_model *m, const make_gguf *g, const char *what) {
    size_t wrong = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const make_tensor *t = &g->tensors[i];
        uint32_t layer;
        const arch_tensor *spec = spec_of(t->name, &layer);
        size_t n = spec ? wrong_rows(m, spec, layer, t->dims, t->type, t->data.p) : 0;
        if (n) printf("%s: %s: %zu rows\n", what, t->name, n);
        wrong += n;
    }
    CHECK(wrong == 0, "%s: %zu wrong rows", what, wrong);
    CHECK(make_find((make_gguf *)g, "output.weight") || m->output.data == m->token_embd.data, "%s: not tied",
          what);
}

/* Loads the file of g and compares; g stays. */
static void check_load(make_gguf *g, size_t step, const nut_load_options *options, const char *what) {
    size_t n;
    uint8_t *file = make_file(g, &n);
    nut_model *m;
    nut_error err = {0};
    nut_status status = make_load(file, n, step, options, &m, &err);
    if (CHECK(status == NUT_OK, "%s: %s", what, err.message)) {
        check_weights(m, g, what);
        nut_model_free(m);
    }
    free(file);
}

static make_options options_for(format_id id) {
    make_options o = {.matrices = id, .seed = 7};
    if (format_table[id].block == 256) o.n_embd = 256, o.n_ff = 512;
    return o;
}

static void test_formats(void) {
    static const size_t steps[] = {0, 1, 7, 4096};
    nut_load_options floats = nut_load_defaults();
    floats.dequantize = true;
    for (int id = 0; id < FORMAT_COUNT; id++) {
        make_options o = options_for((format_id)id);
        o.untied = id % 2 == 1;
        make_gguf g = make_model(&o);
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            if (steps[i] == 1 && format_table[id].block == 256 && id != FORMAT_Q6_K)
                continue; // one large one is enough
            check_load(&g, steps[i], NULL, format_table[id].name);
        }
        check_load(&g, 1000, &floats, format_table[id].name);
        make_free(&g);
    }
}

/* Every tensor's rows are in the format of the file, or floats on request. */
static void test_held_formats(void) {
    nut_load_options lo = nut_load_defaults();
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_1});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    for (int floats = 0; floats < 2; floats++) {
        nut_model *m;
        lo.dequantize = floats != 0;
        if (!CHECK(make_load(file, n, 0, &lo, &m, NULL) == NUT_OK, "loads")) continue;
        const format_id want = floats ? FORMAT_F32 : FORMAT_Q4_1;
        CHECK(m->token_embd.format->id == want && m->layers[1].w_down.format->id == want, "format %s",
              m->token_embd.format->name);
        nut_model_free(m);
    }
    free(file);
    make_free(&g);
}

static void test_layouts(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0});
    g.backwards = true;
    check_load(&g, 0, NULL, "data in the opposite order");
    for (size_t i = 0; i < g.n_tensors; i++) g.tensors[i].offset = MAKE_AUTO;
    g.alignment = 4096;
    make_u32(&g, "general.alignment", 4096);
    check_load(&g, 1, NULL, "pages between the tensors");
    make_free(&g);
    g = make_model(&(make_options){.matrices = FORMAT_Q4_0, .vectors = FORMAT_F16});
    g.version = 2;
    for (size_t i = 0; i < g.n_tensors; i++)
        g.tensors[i].offset = 64 + 4096 * (g.n_tensors - i) * (i % 2 ? 1 : 40);
    check_load(&g, 333, NULL, "tensors all over the file");
    make_free(&g);
}

static void test_random_splits(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q5_1, .n_head_kv = 1});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    rng r;
    rng_seed(&r, 11);
    for (int trial = 0; trial < 30; trial++) {
        const nut_load_options lo = nut_load_defaults();
        nut_loader *l;
        nut_model *m;
        nut_error err = {0};
        nut_status status = nut_load_begin(&lo, trial % 2 ? n : 0, &l, &err);
        for (size_t at = 0, some; status == NUT_OK && at < n; at += some) {
            some = (size_t)(rng_f64(&r) * (double)((size_t)1 << (rng_u64(&r) % 14)));
            if (some > n - at) some = n - at;
            status = nut_load_feed(l, at, file + at, some, &err);
        }
        if (status == NUT_OK) status = nut_load_finish(l, &m, &err);
        if (!CHECK(status == NUT_OK, "trial %d: %s", trial, err.message)) break;
        check_weights(m, &g, "random splits");
        nut_model_free(m);
    }
    free(file);
    make_free(&g);
}

static void test_families(void) {
    static const struct {
        const char *name;
        model_rope rope;
    } families[] = {{"llama", MODEL_ROPE_NORM}, {"qwen2", MODEL_ROPE_NEOX}, {"qwen3", MODEL_ROPE_NEOX}};
    for (size_t i = 0; i < 3; i++) {
        make_gguf g =
            make_model(&(make_options){.arch = families[i].name, .head_dim = 24, .vectors = FORMAT_BF16});
        size_t n;
        uint8_t *file = make_file(&g, &n);
        nut_model *m;
        nut_error err = {0};
        if (CHECK(make_load(file, n, 0, NULL, &m, &err) == NUT_OK, "%s: %s", families[i].name,
                  err.message)) {
            check_weights(m, &g, families[i].name);
            CHECK(m->hp.rope == families[i].rope && m->hp.head_dim == 24 && m->hp.n_rot == 24,
                  "hyperparameters");
            CHECK((m->layers[0].bq != NULL) == (i == 1) && (m->layers[1].k_norm != NULL) == (i == 2),
                  "optional tensors");
            nut_model_free(m);
        }
        free(file);
        make_free(&g);
    }
}

/* ---- refusals ---- */

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
    } extras[] = {{"blk.0.attn_output.bias", false},
                  {"blk.1.attn_q.bias", false},
                  {"blk.0.ffn_gate_inp.weight", false},
                  {"output.bias", false},
                  {"token_embd", false},
                  {"blk.00.attn_q.weight", false},
                  {"blk.2.attn_norm.weight", false},
                  {"blk.x.attn_q", false},
                  {"blk.99999999999.attn_q.weight", false},
                  {"blk.", false},
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
    } types[] = {{10, "type Q2_K (10)"},  {24, "type I8 (24)"},          {4, "type Q4_2 (4)"},
                 {39, "type MXFP4 (39)"}, {1000, "type unknown (1000)"}, {UINT32_MAX, "type unknown"}};
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
        {"llama.attention.key_length", 8, NUT_E_UNSUPPORTED, "keys of 8 and values of 16"},
        {"llama.attention.key_length", 0, NUT_E_CORRUPT, "key_length"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        make_gguf g = make_model(&(make_options){0});
        set_u32(&g, wrongs[i].key, wrongs[i].value);
        refuse(&g, wrongs[i].status, wrongs[i].words);
    }
    for (uint32_t head_dim = 12; head_dim < 600;
         head_dim *= 22) { // 12 is no multiple of 8, 264 is beyond the kernels
        make_gguf g = make_model(&(make_options){.head_dim = head_dim});
        refuse(&g, NUT_E_UNSUPPORTED, "head size of");
    }
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
        {"llama.expert_count", 'u', 8, NUT_E_UNSUPPORTED, "mixture of experts (8)"},
        {"llama.attention.causal", 'b', 0, NUT_E_UNSUPPORTED, "both directions"},
        {"split.count", 'u', 3, NUT_E_UNSUPPORTED, "one of 3 parts"},
        {"llama.rope.dimension_count", 'u', 7, NUT_E_CORRUPT, "is odd"},
        {"llama.rope.dimension_count", 'u', 18, NUT_E_CORRUPT, "dimension_count\" is 18"},
        {"llama.rope.freq_base", 'f', 0, NUT_E_CORRUPT, "freq_base\" is 0"},
        {"llama.rope.freq_base", 'f', -1, NUT_E_CORRUPT, "freq_base\" is -1"},
        {"llama.rope.freq_base", 'f', NAN, NUT_E_CORRUPT, "freq_base"},
        {"llama.rope.freq_base", 'u', 10000, NUT_E_CORRUPT, "freq_base"},
        {"llama.rope.scaling.factor", 'f', INFINITY, NUT_E_CORRUPT, "factor"},
        {"llama.rope.scaling.attn_factor", 'f', 2, NUT_E_UNSUPPORTED, "attention factor"},
        {"llama.rope.scaling.type", 'f', 1, NUT_E_CORRUPT, "scaling.type"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        make_gguf g = with(wrongs[i].key, wrongs[i].as, wrongs[i].value, NULL);
        refuse(&g, wrongs[i].status, wrongs[i].words);
    }
    make_gguf g = with("llama.rope.scaling.type", 's', 0, "yarn");
    make_f32(&g, "llama.rope.scaling.factor", 4);
    refuse(&g, NUT_E_UNSUPPORTED, "type \"yarn\"");
    g = make_model(&(make_options){0});
    *find_bytes(&g, "llama.attention.head_count") = 'X';
    make_array(&g, "llama.attention.head_count", MAKE_U32, 2);
    make_le(&g.kv, 4, 4), make_le(&g.kv, 4, 4);
    refuse(&g, NUT_E_UNSUPPORTED, "layer to layer");
    g = make_model(&(make_options){0});
    memcpy(find_bytes(&g, "general.architecture") + 20 + 4 + 8, "mamba", 5);
    refuse(&g, NUT_E_UNSUPPORTED, "\"mamba\" is not supported (these are: llama, qwen2, qwen3)");
    g = make_model(&(make_options){0});
    *find_bytes(&g, "general.architecture") = 'X';
    refuse(&g, NUT_E_UNSUPPORTED, "\"\" is not supported");
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
            CHECK(m->hp.rope_scale == cases[i].want, "case %zu: %g", i, (double)m->hp.rope_scale);
            CHECK(m->hp.n_rot == 8 && m->hp.rope_base == 5e5f, "n_rot %u", m->hp.n_rot);
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

/* ---- the plan ---- */

static uint64_t packed_bytes(const make_gguf *g) {
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const make_tensor *t = &g->tensors[i];
        const format *f = format_by_ggml(t->type);
        uint64_t bytes =
            t->n_dims == 1 ? 4 * t->dims[0] : (t->dims[1] + 7) / 8 * 8 * (t->dims[0] / f->block * f->bytes);
        sum += (bytes + 63) / 64 * 64;
    }
    return sum;
}

/* Feeds the header alone, with a limit. */
static nut_status plan_with(const uint8_t *file, size_t n, uint64_t limit, uint32_t n_ctx,
                            nut_load_plan *plan, nut_error *err) {
    nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    lo.memory_limit = limit;
    lo.n_ctx = n_ctx;
    nut_status status = nut_load_begin(&lo, 0, &l, err);
    if (status != NUT_OK) return status;
    CHECK(!nut_load_get_plan(l).complete, "no plan before the header");
    for (size_t at = 0; status == NUT_OK && at < n && !nut_load_get_plan(l).complete; at++)
        status = nut_load_feed(l, at, file + at, 1, err);
    *plan = nut_load_get_plan(l);
    nut_load_abort(l);
    return status;
}

static void test_plan(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0, .n_ctx = 1 << 20});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_load_plan plan, again;
    nut_error err = {0};
    CHECK(plan_with(file, n, 0, 0, &plan, &err) == NUT_OK && plan.complete, "%s", err.message);
    CHECK(plan.weight_bytes == packed_bytes(&g), "%llu bytes of weights, not %llu",
          (unsigned long long)plan.weight_bytes, (unsigned long long)packed_bytes(&g));
    CHECK(plan.file_bytes == n && plan.header_bytes < n && plan.header_bytes % 32 == 0, "file of %llu bytes",
          (unsigned long long)plan.file_bytes);
    const uint64_t need = plan.weight_bytes + plan.cache_bytes;
    CHECK(plan_with(file, n, need, 0, &again, &err) == NUT_OK, "%s", err.message);
    CHECK(plan_with(file, n, need - 1, 0, &again, &err) == NUT_E_TOO_LARGE && strstr(err.message, "MB"),
          "%s", err.message);
    CHECK(plan_with(file, n, need - 1, 4095, &again, &err) == NUT_OK, "a shorter context fits: %s",
          err.message);
    CHECK(again.cache_bytes < plan.cache_bytes, "a shorter context takes less");
    nut_status status = plan_with(file, n, 0, UINT32_MAX, &again, &err);
    CHECK(again.cache_bytes > (uint64_t)UINT32_MAX * 256, "sizes are 64 bits wide");
    CHECK(status == (SIZE_MAX > UINT32_MAX ? NUT_OK : NUT_E_TOO_LARGE), "%s", nut_status_name(status));
    free(file);
    make_free(&g);
}

/* The whole file in one feed: one copy of the weights, the header, and little more. */
static void test_peak(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 512, .n_ff = 1024, .matrices = FORMAT_Q8_0});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_model *m;
    counting_start(0);
    if (CHECK(make_load(file, n, 0, NULL, &m, NULL) == NUT_OK, "loads")) {
        const size_t weights = m->weights.size;
        CHECK(weights > 3000000 && counting.peak < weights + (1 << 18),
              "%zu bytes at the peak for weights of %zu", counting.peak, weights);
        nut_model_free(m);
    }
    CHECK(counting.alive == 0, "%zu blocks are left", counting.alive);
    counting_stop();
    free(file);
    make_free(&g);
}

static void check_session(const nut_model *m, nut_session_options so) {
    nut_session *s;
    nut_error err = {0};
    if (!CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) return;
    double planned = (double)model_session_bytes(&m->hp, so.n_ctx, so.n_batch, so.n_logits),
           taken = (double)nut_session_bytes(s);
    CHECK(fabs(planned / taken - 1) < 0.1, "context %u, batch %u, logits %u: %g planned, %g taken", so.n_ctx,
          so.n_batch, so.n_logits, planned, taken);
    nut_session_free(s);
}

static void test_session_bytes(void) {
    static const make_options shapes[] = {
        {.n_embd = 512, .n_ff = 1024, .n_ctx = 4096},
        {.n_embd = 256, .n_ff = 768, .n_head = 8, .n_head_kv = 1, .n_ctx = 4096},
        {.n_embd = 512, .head_dim = 256, .n_ff = 64, .n_ctx = 4096, .n_layer = 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        make_gguf g = make_model(&shapes[i]);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        nut_model *m;
        if (CHECK(make_load(file, n, 0, NULL, &m, NULL) == NUT_OK, "loads")) {
            check_session(
                m, (nut_session_options){.n_ctx = 4096, .n_threads = 1, .n_batch = 64, .n_logits = 1});
            check_session(
                m, (nut_session_options){.n_ctx = 512, .n_threads = 1, .n_batch = 64, .n_logits = 64});
            check_session(m,
                          (nut_session_options){.n_ctx = 4096, .n_threads = 1, .n_batch = 1, .n_logits = 1});
            nut_model_free(m);
        }
        free(file);
        make_free(&g);
    }
}

/* ---- wrong use, cut files, no memory ---- */

static void test_use(void) {
    make_gguf g = make_model(&(make_options){0});
    size_t n, n_meta = 0;
    uint8_t *file = make_file(&g, &n);
    nut_load_options lo = nut_load_defaults();
    nut_loader *l = NULL;
    nut_model *m = NULL;
    nut_error err = {0};
    lo.kernel = "quantum";
    CHECK(nut_load_begin(&lo, n, &l, &err) == NUT_E_ARGUMENT && strstr(err.message, "\"quantum\"") &&
              strstr(err.message, "ref"),
          "%s", err.message);
    lo.kernel = "ref";
    CHECK(nut_load_begin(&lo, n, &l, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, 1, file, 1, &err) == NUT_E_ARGUMENT, "a gap before the first byte");
    CHECK(nut_load_feed(l, 0, file, 100, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, 100, NULL, 0, &err) == NUT_OK, "no bytes are fine");
    CHECK(nut_load_feed(l, 99, file + 99, 1, &err) == NUT_E_ARGUMENT, "a byte twice");
    CHECK(nut_load_feed(l, 100, file + 100, n - 101, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, n - 1, file + n - 1, 1, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_load_feed(l, n, "behind the end", 14, &err) == NUT_OK,
          "more than the tables ask for is passed over");
    if (CHECK(nut_load_finish(l, &m, &err) == NUT_OK, "%s", err.message)) {
        check_weights(m, &g, "after wrong offsets");
        CHECK(nut_model_n_vocab(m) == MAKE_N_VOCAB && nut_model_n_ctx_train(m) == 128, "facts");
        CHECK(!strcmp(nut_model_kernel(m), "ref"), "kernel %s", nut_model_kernel(m));
        const char *name = nut_model_meta(m, "general.name", &n_meta);
        CHECK(name && n_meta == 6 && !memcmp(name, "random", 6), "name");
        CHECK(!nut_model_meta(m, "general.nothing", &n_meta) &&
                  !nut_model_meta(m, "llama.block_count", &n_meta),
              "no texts");
        nut_model_free(m);
    }
    nut_model_free(NULL);
    nut_load_abort(NULL);
    free(file);
    make_free(&g);
}

static void test_after_failure(void) {
    nut_load_options lo = nut_load_defaults();
    nut_loader *l;
    nut_model *m;
    nut_error err = {0};
    if (!CHECK(nut_load_begin(&lo, 0, &l, &err) == NUT_OK, "%s", err.message)) return;
    CHECK(nut_load_feed(l, 0, "<!DOCTYPE html><html lang=en>", 29, &err) == NUT_E_NOT_GGUF, "%s",
          err.message);
    CHECK(nut_load_feed(l, 0, "GGUF", 4, &err) == NUT_E_STATE, "%s", err.message);
    CHECK(nut_load_finish(l, &m, &err) == NUT_E_STATE, "%s", err.message);
    nut_load_abort(l);
}

/* A file that ends at any of many places, its size told or not. */
static void test_cuts(void) {
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q4_0});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    for (size_t cut = 0; cut < n; cut += cut < n - 40 ? 331 : 1)
        for (int known = 0; known < 2; known++) {
            const nut_load_options lo = nut_load_defaults();
            nut_loader *l;
            nut_model *m;
            nut_error err = {0};
            nut_status status = nut_load_begin(&lo, known ? cut : 0, &l, &err);
            if (status == NUT_OK && cut) status = nut_load_feed(l, 0, file, cut, &err);
            if (status == NUT_OK) status = nut_load_finish(l, &m, &err);
            bool fits =
                status == (cut < 4 ? NUT_E_NOT_GGUF : NUT_E_TRUNCATED) || (known && status == NUT_E_CORRUPT);
            CHECK(fits, "cut at %zu of %zu: %s %s", cut, n, nut_status_name(status), err.message);
            char words[64];
            snprintf(words, sizeof words, "%zu bytes are missing", n - cut);
            CHECK(known || cut < 20000 || strstr(err.message, words), "cut at %zu of %zu: %s", cut, n,
                  err.message);
            nut_load_abort(l);
        }
    free(file);
    make_free(&g);
}

static void test_no_memory(void) {
    make_gguf g = make_model(&(make_options){.arch = "qwen3", .matrices = FORMAT_Q5_0});
    size_t n, failures = 0;
    uint8_t *file = make_file(&g, &n);
    for (size_t k = 1; k < 10000; k++) {
        nut_model *m = NULL;
        nut_error err = {0};
        counting_start(k);
        nut_status status = make_load(file, n, 3000, NULL, &m, &err);
        if (status == NUT_OK) check_weights(m, &g, "an allocation failed");
        if (status == NUT_OK) nut_model_free(m);
        CHECK(status == NUT_OK || (status == NUT_E_MEMORY && strstr(err.message, "out of memory")),
              "allocation %zu failed: %s %s", k, nut_status_name(status), err.message);
        CHECK(counting.alive == 0, "allocation %zu failed: %zu blocks are left", k, counting.alive);
        const bool done = counting.n < k;
        failures += status != NUT_OK;
        counting_stop();
        if (done) break;
    }
    CHECK(failures >= 10, "only %zu allocations failed", failures);
    free(file);
    make_free(&g);
}

/* ---- hostile headers ---- */

/* What loads must also run. */
static void try_out(nut_model *m) {
    int32_t ids[64];
    size_t n;
    nut_session *s;
    nut_error err;
    if (nut_tokenize(m, "the hat", 7, NUT_TOKENIZE_ADD_BOS, ids, 64, &n, &err) != NUT_OK || n == 0) return;
    nut_session_options so = {.n_ctx = 16, .n_threads = 1, .n_batch = 8, .n_logits = 1};
    if (nut_session_new(m, &so, &s, &err) != NUT_OK) return;
    (void)nut_session_eval(s, ids, n < 16 ? n : 16, 1, &err);
    nut_session_free(s);
}

/* Each byte of the header changed: an error with a message, or a model that runs; never more memory than the
 * file's. */
static void test_wrong_bytes(void) {
    static const uint8_t masks[] = {0x01, 0x10, 0xff};
    make_gguf g = make_model(&(make_options){.arch = "qwen2", .n_layer = 1});
    size_t n, silent = 0, refused = 0, ran = 0, peak = 0, left = 0;
    uint8_t *file = make_file(&g, &n);
    nut_load_plan plan;
    CHECK(plan_with(file, n, 0, 0, &plan, NULL) == NUT_OK, "the model is sound");
    for (size_t at = 0; at < plan.header_bytes; at++) {
        nut_model *m;
        nut_error err = {0};
        uint8_t mask = masks[at % 3];
        file[at] ^= mask;
        counting_start(0);
        nut_status status = make_load(file, n, 0, NULL, &m, &err);
        if (counting.peak > peak) peak = counting.peak;
        silent += status != NUT_OK && (err.code != status || !*err.message);
        refused += status != NUT_OK;
        if (status == NUT_OK && ++ran % 8 == 0) try_out(m);
        if (status == NUT_OK) nut_model_free(m);
        left += counting.alive;
        counting_stop();
        file[at] ^= mask;
    }
    CHECK(silent == 0 && left == 0, "%zu without a message, %zu blocks left", silent, left);
    CHECK(refused > 300 && ran > 1000, "%zu refused, %zu loaded", refused, ran);
    CHECK(peak < 2 * n + (1 << 20), "%zu bytes for a file of %zu", peak, n);
    free(file);
    make_free(&g);
}

/* ---- a real model ---- */

static void test_story(void) {
    size_t n = 0;
    uint8_t *file = (uint8_t *)data_read(story, &n);
    if (!file) {
        CHECK_SKIP("%s is missing", data_path(story));
        return;
    }
    nut_model *m;
    nut_error err = {0};
    if (CHECK(make_load(file, n, 4096, NULL, &m, &err) == NUT_OK, "%s", err.message)) {
        size_t wrong = 0;
        for (uint64_t i = 0; i < m->header.n_tensors; i++) {
            const gguf_tensor *t = &m->header.tensors[i];
            char name[65] = "";
            uint32_t layer = 0;
            memcpy(name, t->name.s, (size_t)t->name.n);
            const arch_tensor *spec = spec_of(name, &layer);
            wrong += wrong_rows(m, spec, layer, t->dims, t->ggml_type, file + t->offset);
        }
        CHECK(wrong == 0 && m->header.n_tensors == 47, "%zu wrong rows", wrong);
        nut_model_free(m);
    }
    free(file);
}

/* A vocabulary without weights is read, and refused as a model. */
static void test_vocabulary(void) {
    static const char name[] = "vocab/llama-spm.gguf";
    size_t n = 0;
    uint8_t *file = (uint8_t *)data_read(name, &n);
    if (!file) {
        CHECK_SKIP("%s is missing", data_path(name));
        return;
    }
    nut_model *m;
    nut_error err = {0};
    nut_status status = make_load(file, n, 65536, NULL, &m, &err);
    CHECK(status == NUT_E_CORRUPT && strstr(err.message, "no weights"), "%s %s", nut_status_name(status),
          err.message);
    free(file);
}

int main(void) {
    test_formats();
    test_held_formats();
    test_layouts();
    test_random_splits();
    test_families();
    test_tensors_missing_or_wrong();
    test_unknown_tensors();
    test_unknown_types();
    test_wrong_hparams();
    test_missing_hparams();
    test_variants();
    test_rope();
    test_plan();
    test_peak();
    test_session_bytes();
    test_use();
    test_after_failure();
    test_cuts();
    test_no_memory();
    test_wrong_bytes();
    test_story();
    test_vocabulary();
    return check_report();
}
