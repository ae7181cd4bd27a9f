/* Masks beside those that NumPy makes of the papers' formulas (tests/golden/prune.py), and the steps of
 * recipes that change a model. */
#include "../golden/prune.h"
#include "check.h"
#include "compress/channels.h"
#include "compress/prune.h"
#include "counting_alloc.h"
#include "long_text.h"
#include "make_family.h"
#include "memory_job.h"
#include "model/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- masks ---- */

enum { ROWS = PRUNE_ROWS, COLS = PRUNE_COLS };

typedef struct sample {
    float weights[ROWS * COLS];
    double squares[COLS], hessian[COLS * (COLS + 1) / 2];
    statistics s;
} sample;

/* As tests/golden/prune.py has them. */
static sample *make_sample(void) {
    sample *a = calloc(1, sizeof *a);
    double x[COLS];
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++)
            a->weights[r * COLS + c] = (float)(sin(0.7 * r * c + 1.3 * r + 0.1 * c) * (1 + r % 3));
    for (int t = 0; t < PRUNE_TOKENS; t++) {
        for (int c = 0; c < COLS; c++)
            x[c] = (sin(0.37 * t * (c + 1) + c) + sin(1.1 * t) + 0.3 * cos(0.9 * t * (c % 5))) * (1 + c % 4);
        for (int i = 0; i < COLS; i++) {
            a->squares[i] += x[i] * x[i];
            for (int j = 0; j <= i; j++) a->hessian[i * (i + 1) / 2 + j] += x[i] * x[j];
        }
    }
    a->s = (statistics){.kinds = STATISTICS_SQUARES | STATISTICS_HESSIAN,
                        .n_tokens = PRUNE_TOKENS,
                        .n_cols = COLS,
                        .sum_squares = a->squares,
                        .hessian = a->hessian};
    return a;
}

static void check_pruned(dense *d, const sample *a, const prune_options *o, const uint32_t *kept,
                         const double sums[ROWS][2], const char *what) {
    float w[ROWS * COLS];
    size_t n_wrong = 0;
    double worst = 0;
    nut_error err = {0};
    memcpy(w, a->weights, sizeof w);
    CHECK(prune_matrix(d, o, &a->s, ROWS, COLS, w, &err) == NUT_OK, "%s: %s", what, err.message);
    for (size_t i = 0; i < ROWS * COLS; i++) n_wrong += (w[i] != 0.0f) != (kept[i / 32] >> i % 32 & 1);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0, squares = 0;
        for (size_t c = 0; c < COLS; c++)
            sum += (double)w[r * COLS + c], squares += (double)w[r * COLS + c] * (double)w[r * COLS + c];
        worst = fmax(worst, fmax(fabs(sum - sums[r][0]), fabs(squares - sums[r][1])) / (1 + sums[r][1]));
    }
    CHECK(!n_wrong, "%s: %zu weights are kept, or removed, otherwise", what, n_wrong);
    CHECK(worst < 1e-4, "%s: sums are %g off", what, worst);
}

static void test_masks(void) {
    threads *team;
    dense *d;
    sample *a = make_sample();
    threads_new(2, &team, NULL);
    dense_new(team, &d, NULL);
#define NUT_X(name, statistics)                                                                             \
    check_pruned(d, a, &(prune_options){.metric = PRUNE_##name, .share = 0.5}, prune_##name##_kept,         \
                 prune_##name##_sums, #name);                                                               \
    check_pruned(d, a, &(prune_options){.metric = PRUNE_##name, .keep = 2, .of = 4},                        \
                 prune_##name##_2_4_kept, prune_##name##_2_4_sums, #name " 2:4");
    PRUNE_METRICS(NUT_X)
#undef NUT_X
    dense_free(d);
    threads_free(team);
    free(a);
}

/* The first columns of the sample, as a matrix of their own. */
static void test_channels(void) {
    threads *team;
    dense *d;
    sample *a = make_sample();
    float w[ROWS * CHANNELS_COLS];
    uint32_t kept[CHANNELS_KEPT];
    double worst = 0;
    nut_error err = {0};
    threads_new(2, &team, NULL);
    dense_new(team, &d, NULL);
    for (size_t r = 0; r < ROWS; r++)
        memcpy(w + r * CHANNELS_COLS, a->weights + r * COLS, CHANNELS_COLS * sizeof *w);
    CHECK(channels_remove(d, &a->s, ROWS, CHANNELS_COLS, w, CHANNELS_KEPT, kept, &err) == NUT_OK, "%s",
          err.message);
    CHECK(!memcmp(kept, channels_kept, sizeof kept), "the columns that stay");
    for (size_t i = 0; i < CHANNELS_KEPT; i++)
        worst = fmax(worst, fabs((double)w[5 * CHANNELS_COLS + kept[i]] - channels_fitted[i]));
    CHECK(worst < 2e-5, "the fit is %g off", worst);
    size_t n_left = 0;
    for (size_t c = 0; c < CHANNELS_COLS; c++) n_left += w[5 * CHANNELS_COLS + c] != 0.0f;
    CHECK(n_left == CHANNELS_KEPT, "%zu columns are left", n_left);
    dense_free(d);
    threads_free(team);
    free(a);
}

/* ---- recipes ---- */

typedef struct changed {
    memory_job m;
    nut_error err;
    nut_status status;
} changed;

/* Runs a recipe on a file; the output is to be freed. */
static changed change(const uint8_t *file, size_t n, const char *recipe, const char *text, size_t n_text) {
    changed c = {.m = {.file = {file}, .n_bytes = {n}}};
    const nut_compress_options o = {
        .recipe = recipe, .n_recipe = strlen(recipe), .text = text, .n_text = n_text, .reads_output = true};
    nut_job *job;
    c.status = nut_compress_begin(&o, &job, &c.err);
    if (c.status == NUT_OK) c.status = memory_job_run(&c.m, job, &c.err);
    return c;
}

static gguf header_of(const memory_job *m) {
    gguf g = {0};
    size_t used;
    bool complete = false;
    gguf_begin(&g, m->n_out, NULL);
    CHECK(gguf_feed(&g, m->out, m->n_out, &used, &complete, NULL) == NUT_OK && complete, "a header");
    return g;
}

static const gguf_tensor *tensor_of(const gguf *g, const char *name) {
    uint64_t i = 0;
    while (i < g->n_tensors && !gguf_str_is(g->tensors[i].name, name)) i++;
    CHECK(i < g->n_tensors, "%s is there", name);
    return &g->tensors[i < g->n_tensors ? i : 0];
}

/* A tensor's weights that are 0, as a part of all. */
static double zeros_of(const memory_job *m, const gguf *g, const char *name) {
    const gguf_tensor *t = tensor_of(g, name);
    const format *f = format_by_ggml(t->ggml_type);
    const size_t n = (size_t)(t->dims[0] * t->dims[1]);
    float *x = malloc(n * sizeof *x);
    double zeros = 0;
    f->dequantize(m->out + t->offset, n / f->block, x);
    for (size_t k = 0; k < n; k++) zeros += x[k] == 0.0f;
    free(x);
    return zeros / (double)n;
}

static bool has_text(const gguf *g, const char *key, const char *value) {
    const gguf_kv *kv = gguf_find(g, key);
    return kv && kv->n_bytes >= strlen(value) &&
           !memcmp(kv->value + kv->n_bytes - strlen(value), value, strlen(value));
}

/* Zeros are where they should be, whatever the source's type; what follows prune reads what it wrote. */
static void test_prune(void) {
    static const struct {
        const char *recipe, *metric;
        format_id from;
        uint32_t type;
        double share;
    } cases[] = {
        {"[{\"step\": \"prune\", \"metric\": \"sparsegpt\", \"pattern\": \"2:4\"}]", "sparsegpt", FORMAT_F32,
         0, 0.5},
        {"[{\"step\": \"prune\", \"share\": 0.75}]", "wanda", FORMAT_Q8_0, 1, 0.75},
        {"[{\"step\": \"prune\", \"metric\": \"ria\", \"pattern\": \"1:4\"}, {\"step\": \"round\", "
         "\"type\": "
         "\"q8_0\"}]",
         "ria", FORMAT_F32, 8, 0.75},
        {"[{\"step\": \"prune\", \"metric\": \"wanda\", \"share\": 0.25}, {\"step\": \"prune\", \"metric\": "
         "\"magnitude\", \"share\": 0.5}]",
         "magnitude", FORMAT_BF16, 30, 0.5},
    };
    size_t n_text;
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_gguf g = make_model(&(make_options){.matrices = cases[i].from, .n_ff = 128});
        size_t n;
        uint8_t *file = make_file(&g, &n);
        changed c = change(file, n, cases[i].recipe, text, n_text);
        if (CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s: %s", cases[i].recipe,
                  c.err.message)) {
            gguf out = header_of(&c.m);
            const double down = zeros_of(&c.m, &out, "blk.1.ffn_down.weight"),
                         q = zeros_of(&c.m, &out, "blk.0.attn_q.weight"),
                         embd = zeros_of(&c.m, &out, "token_embd.weight");
            const double most = cases[i].type == 8 ? 0.1 : 1e-3; // small weights become 0 in 8 bits
            CHECK(down >= cases[i].share && down < cases[i].share + most && q >= cases[i].share &&
                      q < cases[i].share + most,
                  "%s: %g and %g are zero", cases[i].recipe, down, q);
            CHECK(embd >= 0 && embd < 0.1, "embeddings stay: %g", embd);
            CHECK(has_text(&out, "nutshell.prune.metric", cases[i].metric) &&
                      has_text(&out, "nutshell.compress.recipe", cases[i].recipe),
                  "%s is told in the file", cases[i].metric);
            const uint32_t type = tensor_of(&out, "blk.1.attn_k.weight")->ggml_type;
            CHECK(out.n_tensors == g.n_tensors && type == cases[i].type, "type %u", type);
            gguf_free(&out);
        }
        free(c.m.out), free(file);
        make_free(&g);
    }
    free(text);
}

/* ---- models that lose parts ---- */

enum { N_IDS = 12 };

/* Logits of the last of some tokens, (n_vocab), to be freed. */
static float *logits_of(const uint8_t *file, size_t n, const int32_t *ids, uint32_t *n_vocab) {
    const nut_session_options so = {.n_ctx = 32};
    nut_load_options lo = nut_load_defaults();
    nut_model *m;
    nut_session *s;
    nut_error err = {0};
    float *out = NULL;
    lo.reference = true;
    if (!CHECK(make_load(file, n, 0, &lo, &m, &err) == NUT_OK, "%s", err.message)) return NULL;
    if (CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) {
        nut_session_eval(s, ids, N_IDS, 1, &err);
        *n_vocab = nut_model_n_vocab(m);
        out = malloc(*n_vocab * sizeof *out);
        memcpy(out, nut_session_logits(s, 0), *n_vocab * sizeof *out);
        nut_session_free(s);
    }
    nut_model_free(m);
    return out;
}

static void clear(make_gguf *g, const char *name) {
    make_tensor *t = make_find(g, name);
    memset(t->data.p, 0, t->data.n);
}

/* The values of an array of u32. */
static bool has_numbers(const gguf *g, const char *key, const uint32_t *want, size_t n) {
    const gguf_kv *kv = gguf_find(g, key);
    return kv && kv->n == n && kv->n_bytes == n * sizeof *want && !memcmp(kv->value, want, n * sizeof *want);
}

/* The feed-forwards' width, as an array with an element for each layer. */
static void repeat_widths(make_gguf *g, uint32_t n_layer) {
    static const char key[] = "llama.feed_forward_length";
    const make_bytes before = g->kv;
    size_t at = 0;
    while (memcmp(before.p + at, key, sizeof key - 1) != 0) at++;
    const size_t end = at + sizeof key - 1 + 8; // behind a type and a number
    uint32_t width;
    memcpy(&width, before.p + end - 4, 4);
    g->kv = (make_bytes){0};
    make_put(&g->kv, before.p, at - 8);
    make_array(g, key, MAKE_U32, n_layer);
    for (uint32_t i = 0; i < n_layer; i++) make_le(&g->kv, width, 4);
    make_put(&g->kv, before.p + end, before.n - end);
    g->n_kv--;
    free(before.p);
}

/* Layers that add nothing have no influence; without them the model gives the same logits. */
static void test_layers(void) {
    static const char *const idle[] = {"blk.1.attn_output.weight", "blk.1.ffn_down.weight",
                                       "blk.2.attn_output.weight", "blk.2.ffn_down.weight"};
    static const uint32_t removed[] = {1, 2}, widths[] = {96, 96};
    int32_t ids[N_IDS];
    make_gguf g = make_model(&(make_options){.n_layer = 4});
    repeat_widths(&g, 4);
    for (size_t i = 0; i < 4; i++) clear(&g, idle[i]);
    for (int i = 0; i < N_IDS; i++) ids[i] = (7 * i + 1) % 260;
    size_t n, n_text;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    changed c = change(file, n, "[{\"step\": \"layers\", \"remove\": 2}]", text, n_text);
    if (CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s", c.err.message)) {
        gguf out = header_of(&c.m);
        CHECK(has_numbers(&out, "nutshell.layers.removed", removed, 2), "layers 1 and 2 go");
        CHECK(has_numbers(&out, "llama.feed_forward_length", widths, 2), "arrays are cut");
        const gguf_kv *kv = gguf_find(&out, "nutshell.layers.influence");
        float influence[4] = {0};
        if (kv && kv->n_bytes == sizeof influence) memcpy(influence, kv->value, sizeof influence);
        CHECK(influence[0] > 0.01f && influence[3] > 0.01f && fabsf(influence[1]) < 1e-6f &&
                  fabsf(influence[2]) < 1e-6f,
              "influence %g %g %g %g", (double)influence[0], (double)influence[1], (double)influence[2],
              (double)influence[3]);
        gguf_free(&out);
        float *a = logits_of(file, n, ids, &n_vocab), *b = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        CHECK(a && b && !memcmp(a, b, n_vocab * sizeof *a), "the logits are the same");
        free(a), free(b);
    }
    free(c.m.out), free(file), free(text);
    make_free(&g);
}

/* Channels that give nothing go, and what is left gives the same logits. */
static void test_idle_channels(const char *family, format_id from) {
    static const char recipe[] = "[{\"step\": \"channels\", \"share\": 0.25}]";
    int32_t ids[N_IDS];
    make_gguf g = make_model(&(make_options){.arch = family, .n_ff = 128, .matrices = from});
    const format *f = &format_table[from];
    for (int l = 0; l < 2; l++) { // 32 rows of up become zeros, and with them their channels
        char name[32];
        snprintf(name, sizeof name, "blk.%d.ffn_up.weight", l);
        memset(make_find(&g, name)->data.p + (size_t)(40 + 32 * l) * (64 / f->block * f->bytes), 0,
               (size_t)32 * (64 / f->block * f->bytes));
    }
    for (int i = 0; i < N_IDS; i++) ids[i] = (7 * i + 1) % 260;
    size_t n, n_text;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    changed c = change(file, n, recipe, text, n_text);
    if (CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s: %s", family, c.err.message)) {
        gguf out = header_of(&c.m);
        const gguf_tensor *up = tensor_of(&out, "blk.1.ffn_up.weight"),
                          *down = tensor_of(&out, "blk.1.ffn_down.weight");
        CHECK(up->dims[1] == 96 && down->dims[0] == 96, "%s: %llu rows, %llu columns", family,
              (unsigned long long)up->dims[1], (unsigned long long)down->dims[0]);
        CHECK(up->ggml_type == f->ggml_type, "rows keep their type");
        gguf_free(&out);
        float *a = logits_of(file, n, ids, &n_vocab), *b = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        double worst = 0;
        for (uint32_t i = 0; a && b && i < n_vocab; i++) worst = fmax(worst, fabs((double)(a[i] - b[i])));
        CHECK(a && b && worst < (from == FORMAT_F32 ? 2e-5 : 2e-3), "%s: logits are %g off", family, worst);
        free(a), free(b);
    }
    free(c.m.out), free(file), free(text);
    make_free(&g);
}

/* Rows [at, at + n) of a tensor, or columns, become zeros; it may be missing. */
static void clear_rows(make_gguf *g, const char *name, size_t at, size_t n) {
    make_tensor *t = make_find(g, name);
    const size_t size = t ? (t->n_dims > 1 ? (size_t)t->dims[0] : 1) * sizeof(float) : 0;
    if (t) memset(t->data.p + at * size, 0, n * size);
}

static void clear_columns(make_gguf *g, const char *name, size_t at, size_t n) {
    make_tensor *t = make_find(g, name);
    for (size_t r = 0; t && r < t->dims[1]; r++)
        memset(t->data.p + (r * (size_t)t->dims[0] + at) * sizeof(float), 0, n * sizeof(float));
}

/* The same of each family of the table that has gated or plain feed-forwards, whatever its tensors are named
 * and made of; others are refused. */
static bool test_family(const arch *a, const char *text, size_t n_text) {
    enum { WIDTH = 37, IDLE = 7 };
    static const char recipe[] = "[{\"step\": \"channels\", \"share\": 0.19}]";
    make_gguf g = make_family(a, &family_odd);
    const size_t first = a->features & ARCH_FUSED_UP ? WIDTH : 0;
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + (7 * i + 1) % 250;
    for (int l = 0; l < FAMILY_LAYERS; l++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%d.ffn_up.weight", l);
        clear_rows(&g, name, first + 4 + (size_t)l, IDLE);
        snprintf(name, sizeof name, "blk.%d.ffn_up.bias", l);
        clear_rows(&g, name, first + 4 + (size_t)l, IDLE);
        snprintf(name, sizeof name, "blk.%d.ffn_down.weight", l); // so that no other is cheaper
        clear_columns(&g, name, 4 + (size_t)l, IDLE);
    }
    size_t n;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    changed c = change(file, n, recipe, text, n_text);
    const bool done = c.status == NUT_OK;
    if (done && !(a->features & ARCH_BOTH_WAYS)) {
        float *x = logits_of(file, n, ids, &n_vocab), *y = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        double worst = 0, most = 0;
        for (uint32_t i = 0; x && y && i < n_vocab; i++) {
            worst = fmax(worst, fabs((double)(x[i] - y[i])));
            most = fmax(most, fabs((double)x[i]));
        }
        CHECK(x && y && worst < 1e-4 * most, "%s: logits are %g of %g off", a->name, worst, most);
        free(x), free(y);
    }
    CHECK(done || c.status == NUT_E_UNSUPPORTED || strstr(c.err.message, "infinite"), "%s: %s", a->name,
          c.err.message); // random recurrences may grow
    free(c.m.out), free(file);
    make_free(&g);
    return done;
}

static void test_families(void) {
    size_t n_text, n_done = 0;
    char *text = long_text(&n_text);
    for (const char *at = arch_names(), *end; *at; at = *end ? end + 2 : end) {
        end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
        n_done += test_family(arch_find((gguf_str){at, (uint64_t)(end - at)}), text, n_text);
    }
    CHECK(n_done > 40, "%zu families", n_done);
    free(text);
}

/* Token texts of a header, in order; to be freed. */
static gguf_str *tokens_of(const gguf *g, size_t *n) {
    const gguf_kv *kv = gguf_find(g, "tokenizer.ggml.tokens");
    const uint8_t *at = kv->value;
    gguf_str *out = malloc((size_t)kv->n * sizeof *out);
    *n = (size_t)kv->n;
    for (size_t i = 0; i < *n; i++) at = gguf_next_string(g, at, &out[i]);
    return out;
}

/* For each token of the source its new id, or -1: what is left has the same order. */
static int32_t *map_tokens(const memory_job *from, const memory_job *to, size_t *n) {
    gguf a = header_of(from), b = header_of(to);
    size_t n_left, at = 0;
    gguf_str *all = tokens_of(&a, n), *left = tokens_of(&b, &n_left);
    int32_t *map = malloc(*n * sizeof *map);
    for (size_t i = 0; i < *n; i++) {
        const bool same =
            at < n_left && all[i].n == left[at].n && !memcmp(all[i].s, left[at].s, (size_t)all[i].n);
        map[i] = same ? (int32_t)at++ : -1;
    }
    CHECK(at == n_left, "%zu of %zu tokens are some of the source", at, n_left);
    free(all), free(left);
    gguf_free(&a), gguf_free(&b);
    return map;
}

static nut_model *load_reference(const memory_job *m) {
    nut_load_options lo = nut_load_defaults();
    nut_model *out = NULL;
    nut_error err = {0};
    lo.reference = true;
    CHECK(make_load(m->out, m->n_out, 0, &lo, &out, &err) == NUT_OK, "%s", err.message);
    return out;
}

/* A text whose tokens stay has the same ids, but for their numbers, and the tokens that stay the same
 * logits. */
static void check_same_text(const memory_job *from, const memory_job *to, const int32_t *map,
                            const char *text) {
    nut_model *m[2] = {load_reference(from), load_reference(to)};
    nut_session *s[2];
    int32_t ids[2][64];
    size_t n[2] = {0}, n_wrong = 0;
    double worst = 0;
    const nut_session_options so = {.n_ctx = 64};
    for (int i = 0; i < 2; i++) {
        nut_error err = {0};
        CHECK(nut_tokenize(m[i], text, strlen(text), 0, ids[i], 64, &n[i], &err) == NUT_OK, "%s",
              err.message);
        nut_session_new(m[i], &so, &s[i], NULL);
        nut_session_eval(s[i], ids[i], n[i], 1, NULL);
    }
    for (size_t i = 0; i < n[0] && n[0] == n[1]; i++) n_wrong += map[ids[0][i]] != ids[1][i];
    CHECK(n[0] == n[1] && !n_wrong, "\"%s\": %zu of %zu ids, and %zu, differ", text, n_wrong, n[0], n[1]);
    const float *a = nut_session_logits(s[0], 0), *b = nut_session_logits(s[1], 0);
    for (uint32_t i = 0; i < nut_model_n_vocab(m[0]); i++)
        if (map[i] >= 0) worst = fmax(worst, fabs((double)(a[i] - b[map[i]])));
    CHECK(worst < 1e-6, "logits are %g off", worst);
    for (int i = 0; i < 2; i++) nut_session_free(s[i]), nut_model_free(m[i]);
}

static uint32_t number_in(const memory_job *m, const char *key) {
    gguf g = header_of(m);
    uint32_t out = 0;
    CHECK(gguf_get_u32(&g, key, UINT32_MAX, &out, NULL) == NUT_OK, "%s", key);
    gguf_free(&g);
    return out;
}

/* 260 tokens have room for the bytes, the end of a turn, " the", and "th" and "the", which " the" is merged
 * from. "he" goes. */
static void test_byte_pairs(void) {
    static const char text[] = "the the the the the the the the";
    make_gguf g = make_model(&(make_options){.byte_pairs = true, .untied = true});
    make_u32(&g, "tokenizer.ggml.eos_token_id", MAKE_N_BYTE_VOCAB - 1);
    size_t n, n_map;
    memory_job from = {0};
    from.out = make_file(&g, &n), from.n_out = n;
    changed c = change(from.out, n, "[{\"step\": \"vocabulary\", \"tokens\": 260}]", text, sizeof text - 1);
    if (CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s", c.err.message)) {
        int32_t *map = map_tokens(&from, &c.m, &n_map);
        CHECK(map[256] == 256 && map[257] == -1 && map[258] == 257 && map[259] == -1 && map[260] == 258 &&
                  map[261] == 259,
              "%d %d %d %d %d %d", map[256], map[257], map[258], map[259], map[260], map[261]);
        check_same_text(&from, &c.m, map, "the cat, the sky");
        CHECK(number_in(&c.m, "tokenizer.ggml.eos_token_id") == 259, "the end has a new number");
        gguf out = header_of(&c.m);
        CHECK(gguf_find(&out, "tokenizer.ggml.merges")->n == MAKE_N_MERGES - 1, "a merge is gone");
        CHECK(tensor_of(&out, "output.weight")->dims[1] == 260, "so are rows of the output");
        gguf_free(&out);
        free(map);
    }
    free(c.m.out), free(from.out);
    make_free(&g);
}

/* SentencePiece: " the" is made of " t" and "he", and each of these of characters. */
static void test_pieces(void) {
    static const char text[] = " the the the the";
    static const char *const kept[] = {"\xe2\x96\x81the", "\xe2\x96\x81t", "he", "t", "h", "e",
                                       "<0x41>",          "</s>"};
    make_gguf g = make_model(&(make_options){.matrices = FORMAT_Q8_0});
    size_t n, n_map, n_tokens;
    memory_job from = {0};
    from.out = make_file(&g, &n), from.n_out = n;
    changed c = change(from.out, n, "[{\"step\": \"vocabulary\", \"tokens\": 266}]", text, sizeof text - 1);
    if (CHECK(c.status == NUT_OK && c.m.done && !c.m.n_wrong, "%s", c.err.message)) {
        int32_t *map = map_tokens(&from, &c.m, &n_map);
        gguf out = header_of(&c.m);
        gguf_str *left = tokens_of(&out, &n_tokens);
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
            size_t i = 0;
            while (i < n_tokens && !gguf_str_is(left[i], kept[k])) i++;
            CHECK(i < n_tokens, "%s stays", kept[k]);
        }
        CHECK(n_tokens < MAKE_N_VOCAB - 10, "%zu tokens", n_tokens);
        CHECK(gguf_find(&out, "tokenizer.ggml.scores")->n == n_tokens, "so do as many scores");
        CHECK(tensor_of(&out, "token_embd.weight")->dims[1] == n_tokens, "and rows");
        check_same_text(&from, &c.m, map, "the the");
        free(map), free(left);
        gguf_free(&out);
    }
    free(c.m.out), free(from.out);
    make_free(&g);
}

/* ---- what is wrong ---- */

static void test_refusals(void) {
    static const struct {
        const char *recipe, *message;
    } cases[] = {
        {"[{\"step\": \"prune\"}]", "say how many weights"},
        {"[{\"step\": \"prune\", \"share\": 1}]", "a number from 0.01 to 0.99"},
        {"[{\"step\": \"prune\", \"share\": 0.5, \"pattern\": \"2:4\"}]", "not both"},
        {"[{\"step\": \"prune\", \"pattern\": \"4:4\"}]", "is no pattern"},
        {"[{\"step\": \"prune\", \"pattern\": \"0:4\"}]", "is no pattern"},
        {"[{\"step\": \"prune\", \"pattern\": \"2:4x\"}]", "is no pattern"},
        {"[{\"step\": \"prune\", \"pattern\": \"13:17\"}]", "no matrices here that can be pruned"},
        {"[{\"step\": \"prune\", \"share\": 0.5, \"metric\": \"luck\"}]",
         "no metric \"luck\"; choose one of magnitude, wanda, ria, sparsegpt"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"prune\", \"share\": 0.5}]", "put it before"},
        {"[{\"step\": \"round\", \"type\": \"q8_0\"}, {\"step\": \"prune\", \"share\": 0.5}]",
         "after one like it"},
        {"[{\"step\": \"layers\"}]", "say how many layers"},
        {"[{\"step\": \"vocabulary\"}]", "say how many tokens"},
        {"[{\"step\": \"vocabulary\", \"tokens\": 5000}]", "keep fewer"},
        {"[{\"step\": \"channels\"}]", "say which part of the channels"},
        {"[{\"step\": \"layers\", \"remove\": 2}]", "has 2 layers, and one must stay"},
    };
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    size_t n, n_text;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        changed c = change(file, n, cases[i].recipe, text, n_text);
        CHECK(c.status != NUT_OK && strstr(c.err.message, cases[i].message), "%s: %s", cases[i].recipe,
              c.err.message);
        free(c.m.out);
    }
    changed c = change(file, n, "[{\"step\": \"prune\", \"share\": 0.5}]", "short", 5);
    CHECK(c.status == NUT_E_ARGUMENT && strstr(c.err.message, "longer"), "a short text: %s", c.err.message);
    free(c.m.out), free(file), free(text);
    make_free(&g);
}

/* Each allocation fails once. */
static void test_memory(void) {
    static const char *const recipes[] = {
        ("[{\"step\": \"prune\", \"metric\": \"sparsegpt\", \"share\": 0.5},"
         " {\"step\": \"round\", \"type\": \"q8_0\"}]"),
        "[{\"step\": \"layers\", \"remove\": 1}, {\"step\": \"channels\", \"share\": 0.5}]",
        "[{\"step\": \"vocabulary\", \"tokens\": 270}]",
    };
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    size_t n, n_text;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        bool failed = true;
        size_t k = 1;
        for (; failed && k < 3000; k += 1 + k / 6) {
            counting_start(k);
            changed c = change(file, n, recipes[i], text, n_text);
            failed = counting.n_failed > 0;
            CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
            CHECK(c.status == NUT_OK || c.status == NUT_E_MEMORY, "allocation %zu: %s", k, c.err.message);
            counting_stop();
            free(c.m.out);
        }
        CHECK(k > 30 && !failed, "%zu allocations", k);
    }
    free(file), free(text);
    make_free(&g);
}

int main(void) {
    test_masks();
    test_prune();
    test_channels();
    test_layers();
    test_idle_channels("llama", FORMAT_F32);
    test_idle_channels("qwen2", FORMAT_Q8_0);
    test_families();
    test_byte_pairs();
    test_pieces();
    test_refusals();
    test_memory();
    return check_report();
}
