/* Masks beside those that NumPy makes of the papers' formulas (tests/golden/prune.py), and the steps of
 * recipes that change a model. */
#include "changed_faults.h"
#include "compress/owl.h"
#include "compress/permute.h"
#include "compress/prune.h"
#include "compress/reconstruct.h"
#include "compress/revise.h"
#include "long_text.h"
#include "prune_sample.h"

#include <string.h>

/* ---- masks ---- */

static void check_weights(const float *w, const uint32_t *kept, const double sums[ROWS][2],
                          const char *what) {
    size_t n_wrong = 0;
    double worst = 0;
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

static void check_pruned(dense *d, const sample *a, const prune_options *o, const uint32_t *kept,
                         const double sums[ROWS][2], const char *what) {
    float w[ROWS * COLS];
    nut_error err = {0};
    memcpy(w, a->weights, sizeof w);
    CHECK(prune_matrix(d, o, &a->s, ROWS, COLS, w, &err) == NUT_OK, "%s: %s", what, err.message);
    check_weights(w, kept, sums, what);
}

/* What is left of a mask is fitted. */
static void test_refit(void) {
    threads *team;
    dense *d;
    sample *a = make_sample();
    float w[ROWS * COLS];
    nut_error err = {0};
    threads_new(2, &team, NULL);
    dense_new(team, &d, NULL);
    memcpy(w, a->weights, sizeof w);
    prune_matrix(d, &(prune_options){.metric = PRUNE_wanda, .share = 0.5}, &a->s, ROWS, COLS, w, NULL);
    CHECK(reconstruct(d, &a->s, ROWS, COLS, a->weights, w, &err) == NUT_OK, "%s", err.message);
    check_weights(w, prune_refit_kept, prune_refit_sums, "refit");
    dense_free(d);
    threads_free(team);
    free(a);
}

/* Weights change places where a row lacks something in the mean, in all of the row or in each four. */
static void check_revised(dense *d, const sample *a, const prune_options *o, const uint32_t *kept,
                          const double sums[ROWS][2], const char *what) {
    float w[ROWS * COLS], before[ROWS * COLS];
    nut_error err = {0};
    memcpy(w, a->weights, sizeof w);
    CHECK(prune_matrix(d, o, &a->s, ROWS, COLS, w, &err) == NUT_OK, "%s: %s", what, err.message);
    memcpy(before, w, sizeof w);
    CHECK(revise_mask(d, &a->s, o->of, ROWS, COLS, a->weights, w, &err) == NUT_OK, "%s: %s", what,
          err.message);
    CHECK(memcmp(before, w, sizeof w) != 0, "%s: the mask changes", what);
    check_weights(w, kept, sums, what);
}

static void test_revise(void) {
    threads *team;
    dense *d;
    sample *a = make_sample();
    threads_new(2, &team, NULL);
    dense_new(team, &d, NULL);
    check_revised(d, a, &(prune_options){.metric = PRUNE_wanda, .share = 0.5}, prune_revised_kept,
                  prune_revised_sums, "revised");
    check_revised(d, a, &(prune_options){.metric = PRUNE_wanda, .keep = 2, .of = 4}, prune_revised_2_4_kept,
                  prune_revised_2_4_sums, "revised 2:4");
    dense_free(d);
    threads_free(team);
    free(a);
}

/* The order of columns for 2:4: those of the largest scores apart from each other. */
static void test_order(void) {
    sample *a = make_sample();
    double sums[COLS];
    uint32_t order[COLS];
    nut_error err = {0};
    CHECK(prune_column_scores(PRUNE_ria, &a->s, ROWS, COLS, a->weights, sums, &err) == NUT_OK &&
              permute_order(sums, COLS, 4, order, &err) == NUT_OK,
          "%s", err.message);
    CHECK(!memcmp(order, permute_order_of, sizeof order), "the order of columns");
    free(a);
}

/* Columns 2 and 3 of each four, or the second half of all columns, of `each` matrices of a layer. */
static void clear_columns(make_gguf *g, const char *name, bool half) {
    make_tensor *t = make_find(g, name);
    for (size_t i = 0; t && i < t->dims[0] * t->dims[1]; i++) {
        const size_t c = i % t->dims[0];
        if (half ? c >= t->dims[0] / 2 : c % 4 >= 2) memset(t->data.p + i * sizeof(float), 0, sizeof(float));
    }
}

/* Weights that 2:4 keeps whole, but for down, whose second half of columns is zero: in the right order it
 * stays whole too, and with the rows that make the columns the model gives the same logits. */
static void test_permuted(void) {
    static const char recipe[] = "[{\"step\": \"prune\", \"pattern\": \"2:4\", \"metric\": \"ria\"%s}]";
    static const char *const names[] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"};
    int32_t ids[N_IDS];
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    for (int l = 0; l < 2; l++) {
        char name[40];
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, names[i]);
            clear_columns(&g, name, false);
        }
        snprintf(name, sizeof name, "blk.%d.ffn_down.weight", l);
        clear_columns(&g, name, true);
    }
    for (int i = 0; i < N_IDS; i++) ids[i] = (7 * i + 1) % 260;
    size_t n, n_text;
    uint32_t n_vocab = 0;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    float *a = logits_of(file, n, ids, &n_vocab);
    for (int permutes = 0; permutes < 2; permutes++) {
        char with[128];
        double worst = 0;
        snprintf(with, sizeof with, recipe, permutes ? ", \"permute\": true" : "");
        changed c = change(file, n, with, text, n_text);
        CHECK(c.status == NUT_OK, "%s", c.err.message);
        float *b = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        for (uint32_t i = 0; a && b && i < n_vocab; i++) worst = fmax(worst, fabs((double)(a[i] - b[i])));
        CHECK(a && b && (worst < 2e-5) == (permutes == 1), "%s: logits are %g off", with, worst);
        free(b), free(c.m.out);
    }
    free(a), free(file), free(text);
    make_free(&g);
}

/* A layer whose weights are alike, one with a few large columns, one with many small weights. */
static void test_owl(void) {
    sample *a = make_sample();
    owl_layer layers[3] = {0};
    double shares_found[3];
    for (int l = 0; l < 3; l++) {
        float w[ROWS * COLS];
        for (size_t i = 0; i < ROWS * COLS; i++) {
            const float x = a->weights[i];
            w[i] = l == 0 ? x : l == 1 ? x * (i % COLS % 37 ? 1 : 30) : x * x * x;
        }
        owl_add(&layers[l], &a->s, w, ROWS, COLS);
        owl_count(&layers[l], &a->s, w, ROWS, COLS);
    }
    owl_shares(layers, 3, 0.6, shares_found);
    for (int l = 0; l < 3; l++)
        CHECK(fabs(shares_found[l] - owl_shares_of[l]) < 1e-7, "layer %d loses %g", l, shares_found[l]);
    free(a);
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

/* ---- recipes ---- */

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
        {"[{\"step\": \"prune\", \"share\": 0.75, \"revise\": true}]", "wanda", FORMAT_Q8_0, 1, 0.75},
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
        {"[{\"step\": \"prune\", \"pattern\": \"2:4\", \"by_layer\": true}]", "the same in all layers"},
        {"[{\"step\": \"prune\", \"metric\": \"sparsegpt\", \"share\": 0.5, \"revise\": true}]",
         "leave out \"revise\""},
        {"[{\"step\": \"prune\", \"share\": 0.5, \"permute\": true}]", "leave out \"permute\""},
        {"[{\"step\": \"layers\"}]", "say how many layers"},
        {"[{\"step\": \"vocabulary\"}]", "say how many tokens"},
        {"[{\"step\": \"vocabulary\", \"tokens\": 5000}]", "keep fewer"},
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
        ("[{\"step\": \"prune\", \"metric\": \"sparsegpt\", \"share\": 0.5, \"refit\": true, \"by_layer\": "
         "true},"
         " {\"step\": \"round\", \"type\": \"q8_0\"}]"),
        "[{\"step\": \"layers\", \"remove\": 1}, {\"step\": \"prune\", \"share\": 0.5, \"revise\": true}]",
        "[{\"step\": \"vocabulary\", \"tokens\": 270}]",
        "[{\"step\": \"prune\", \"pattern\": \"2:4\", \"permute\": true}]",
    };
    make_gguf g = make_model(&(make_options){.n_ff = 128});
    size_t n, n_text;
    uint8_t *file = make_file(&g, &n);
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        change_while_memory_fails(file, n, recipes[i], text, n_text);
    free(file), free(text);
    make_free(&g);
}

int main(void) {
    test_masks();
    test_refit();
    test_revise();
    test_order();
    test_permuted();
    test_owl();
    test_prune();
    test_layers();
    test_byte_pairs();
    test_pieces();
    test_refusals();
    test_memory();
    return check_report();
}
