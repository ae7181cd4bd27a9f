/*
 * Matrices of low rank in a model: those of its own file (docs/format.md) and of adapters in llama.cpp's
 * form, beside a model whose weights have them in already: W + s B A (LoRA, arXiv 2106.09685, section 4.1)
 * as this test and `nutshell merge` compute it.
 */
#include "changed.h"
#include "counting_alloc.h"
#include "made_model.h"
#include "nutshell_train.h"

#include <math.h>

enum { RANK = 8, IDS = 12 };

static const int32_t ids[IDS] = {1, 40, 77, 120, 200, 250, 270, 280, 290, 291, 292, 100};

/* ---- files ---- */

static const char *const matrices[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                       "ffn_gate", "ffn_up", "ffn_down"};
enum { MATRICES = sizeof matrices / sizeof *matrices };

static make_gguf base_model(format_id id) {
    return make_model(&(make_options){.matrices = id, .n_ff = 96, .seed = 4});
}

static void name_of(char name[80], int layer, int i, const char *end) {
    snprintf(name, 80, "blk.%d.%s.weight%s", layer, matrices[i], end);
}

/* The pair of a matrix of base, into g. */
static void add_pair(make_gguf *g, make_gguf *base, int layer, int i, format_id id, size_t rank) {
    char name[80];
    name_of(name, layer, i, "");
    const make_tensor *w = make_find(base, name);
    const size_t n_cols = (size_t)w->dims[0], n_rows = (size_t)w->dims[1];
    name_of(name, layer, i, ".lora_a");
    make_add(g, name, id, n_cols, rank);
    name_of(name, layer, i, ".lora_b");
    make_add(g, name, id, rank, n_rows);
}

static void add_pairs(make_gguf *g, make_gguf *base, format_id id, size_t rank) {
    for (int layer = 0; layer < 2; layer++)
        for (int i = 0; i < MATRICES; i++) add_pair(g, base, layer, i, id, rank);
}

static make_gguf empty_adapter(const char *family, float alpha, uint64_t seed) {
    make_gguf g = {.version = 3, .alignment = 32};
    rng_seed(&g.random, seed);
    make_str(&g, "general.architecture", family);
    make_str(&g, "general.type", "adapter");
    make_str(&g, "adapter.type", "lora");
    make_f32(&g, "adapter.lora.alpha", alpha);
    return g;
}

static void floats_of(const make_tensor *t, float *out) {
    const format *f = format_by_ggml(t->type);
    f->dequantize(t->data.p, (size_t)(t->dims[0] * t->dims[1] / f->block), out);
}

/* w (F32) = keep * w + by * b a */
static void add_product(make_tensor *w, const make_tensor *a, const make_tensor *b, double keep, double by) {
    const size_t n_cols = (size_t)w->dims[0], n_rows = (size_t)w->dims[1], rank = (size_t)a->dims[1];
    float *x = (float *)(void *)w->data.p, *low = malloc(rank * n_cols * sizeof *low),
          *up = malloc(n_rows * rank * sizeof *up);
    floats_of(a, low), floats_of(b, up);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_cols; c++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++) sum += (double)up[r * rank + k] * (double)low[k * n_cols + c];
            x[r * n_cols + c] = (float)(keep * (double)x[r * n_cols + c] + by * sum);
        }
    free(low), free(up);
}

/* Adds the pairs of `from` to the F32 weights of a model. */
static void merge_pairs(make_gguf *model, make_gguf *from, double by) {
    char name[80];
    for (int layer = 0; layer < 2; layer++)
        for (int i = 0; i < MATRICES; i++) {
            name_of(name, layer, i, ".lora_a");
            const make_tensor *a = make_find(from, name);
            name_of(name, layer, i, ".lora_b");
            const make_tensor *b = make_find(from, name);
            name_of(name, layer, i, "");
            if (a && b) add_product(make_find(model, name), a, b, 1, by);
        }
}

/* ---- logits ---- */

typedef struct opened {
    nut_model *m;
    nut_session *s;
} opened;

static void close_model(opened *o) {
    nut_session_free(o->s);
    nut_model_free(o->m);
}

static nut_model *load(make_gguf *g, const nut_load_options *lo) {
    size_t n;
    uint8_t *file = make_file(g, &n);
    nut_model *m = NULL;
    nut_error err = {0};
    CHECK(make_load(file, n, 0, lo, &m, &err) == NUT_OK, "%s", err.message);
    free(file);
    return m;
}

static bool open_session(opened *o, uint32_t n_threads, uint32_t n_batch) {
    nut_error err = {0};
    const nut_session_options so = {.n_ctx = 32, .n_threads = n_threads, .n_batch = n_batch};
    return CHECK(nut_session_new(o->m, &so, &o->s, &err) == NUT_OK, "%s", err.message);
}

/* Of the last token, (n_vocab), to be freed. */
static float *logits_in(const opened *o) {
    nut_error err = {0};
    CHECK(nut_session_eval(o->s, ids, IDS, 1, &err) == NUT_OK, "%s", err.message);
    const size_t n = nut_model_n_vocab(o->m) * sizeof(float);
    return memcpy(malloc(n), nut_session_logits(o->s, 0), n);
}

static float *logits_from(make_gguf *g, const nut_load_options *lo) {
    opened o = {.m = load(g, lo)};
    float *x = o.m && open_session(&o, 1, 64) ? logits_in(&o) : NULL;
    close_model(&o);
    return x;
}

static double apart(const float *a, const float *b) {
    double worst = 0, most = 0;
    for (size_t i = 0; a && b && i < MAKE_N_VOCAB; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        most = fmax(most, fabs((double)b[i]));
    }
    return most > 0 ? worst / most : 1;
}

/* ---- sides of the model's own ---- */

static void test_own_sides(format_id matrix_type, format_id side, size_t rank, double tolerance) {
    make_gguf g = base_model(matrix_type), merged = base_model(FORMAT_F32);
    if (matrix_type != FORMAT_F32)
        for (size_t i = 0; i < merged.n_tensors; i++)
            floats_of(&g.tensors[i], (float *)(void *)merged.tensors[i].data.p);
    float *without = logits_from(&merged, NULL);
    add_pairs(&g, &g, side, rank);
    merge_pairs(&merged, &g, 1);
    float *want = logits_from(&merged, NULL), *is = logits_from(&g, NULL);
    CHECK(apart(is, want) < tolerance && apart(without, want) > 10 * tolerance, "%s beside %s: %g (%g)",
          format_table[side].name, format_table[matrix_type].name, apart(is, want), apart(without, want));
    const nut_load_options lo = {.reference = true};
    float *reference = logits_from(&g, &lo), *want_reference = logits_from(&merged, &lo);
    CHECK(apart(reference, want_reference) < 1e-5, "as floats: %g", apart(reference, want_reference));
    free(without), free(want), free(is), free(reference), free(want_reference);
    make_free(&g), make_free(&merged);
}

/* A in front of a matrix with as many columns as A has rows. */
static void test_inner(format_id id, double tolerance) {
    make_gguf g = base_model(FORMAT_F32), merged = base_model(FORMAT_F32);
    char name[80], with[80];
    for (int i = 0; i < MATRICES; i++) {
        name_of(name, 1, i, "");
        make_tensor *w = make_find(&merged, name);
        const size_t n_rows = (size_t)w->dims[1];
        make_remove(&g, name);
        make_add(&g, name, id, 32, n_rows);
        name_of(with, 1, i, ".lora_a");
        make_add(&g, with, id, (size_t)w->dims[0], 32);
        add_product(w, make_find(&g, with), make_find(&g, name), 0, 1);
    }
    float *want = logits_from(&merged, NULL), *is = logits_from(&g, NULL);
    CHECK(apart(is, want) < tolerance, "A in front, %s: %g", format_table[id].name, apart(is, want));
    free(want), free(is);
    make_free(&g), make_free(&merged);
}

/* The same bits for any batch and number of threads. */
static void test_bits(void) {
    make_gguf g = base_model(FORMAT_Q8_0);
    add_pairs(&g, &g, FORMAT_Q8_0, 32);
    float *want = NULL;
    for (uint32_t n = 1; n <= 3; n++) {
        opened o = {.m = load(&g, NULL)};
        if (!o.m || !open_session(&o, n, n == 1 ? 1 : 4 * n)) break;
        float *is = logits_in(&o);
        if (want) CHECK(!memcmp(is, want, MAKE_N_VOCAB * sizeof *is), "%u threads, other batches", n);
        close_model(&o);
        if (want)
            free(is);
        else
            want = is;
    }
    free(want);
    make_free(&g);
}

typedef void spoil_fn(make_gguf *g);

static void pair_of_rank_12(make_gguf *g) {
    add_pair(g, g, 0, 4, FORMAT_F32, 12);
}
static void b_alone(make_gguf *g) {
    add_pair(g, g, 0, 4, FORMAT_F32, RANK);
    make_remove(g, "blk.0.ffn_gate.weight.lora_a");
}
static void a_before_a_whole_matrix(make_gguf *g) {
    add_pair(g, g, 0, 4, FORMAT_F32, RANK);
    make_remove(g, "blk.0.ffn_gate.weight.lora_b");
}
static void other_ranks(make_gguf *g) {
    add_pair(g, g, 0, 4, FORMAT_F32, RANK);
    make_remove(g, "blk.0.ffn_gate.weight.lora_b");
    make_add(g, "blk.0.ffn_gate.weight.lora_b", FORMAT_F32, 2 * RANK, 96);
}
static void narrow_without_a(make_gguf *g) {
    make_remove(g, "blk.0.ffn_gate.weight");
    make_add(g, "blk.0.ffn_gate.weight", FORMAT_F32, 32, 96);
}
static void side_of_a_norm(make_gguf *g) {
    make_add(g, "blk.0.ffn_norm.weight.lora_a", FORMAT_F32, 64, RANK);
}
static void side_of_embeddings(make_gguf *g) {
    make_add(g, "token_embd.weight.lora_a", FORMAT_F32, 64, RANK);
}
static void higher_than_columns(make_gguf *g) {
    add_pair(g, g, 0, 4, FORMAT_F32, 72);
}

static void test_bad_files(void) {
    static const struct {
        spoil_fn *spoil;
        const char *says;
    } cases[] = {{pair_of_rank_12, "must be"},
                 {b_alone, "do not fit together"},
                 {a_before_a_whole_matrix, "do not fit"},
                 {other_ranks, "do not fit"},
                 {narrow_without_a, "is 32 x 96 and must be 64 x 96"},
                 {side_of_a_norm, "not one that a llama model"},
                 {side_of_embeddings, "not one that"},
                 {higher_than_columns, "must be"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_gguf g = base_model(FORMAT_F32);
        nut_model *m = NULL;
        nut_error err = {0};
        size_t n;
        cases[i].spoil(&g);
        uint8_t *file = make_file(&g, &n);
        CHECK(make_load(file, n, 0, NULL, &m, &err) != NUT_OK && strstr(err.message, cases[i].says),
              "case %zu: %s", i, err.message);
        nut_model_free(m);
        free(file);
        make_free(&g);
    }
}

/* ---- adapters ---- */

typedef struct adapters {
    make_gguf base, one, two;
    uint8_t *file[2];
    size_t n[2];
} adapters;

static adapters make_adapters(void) {
    adapters a = {
        base_model(FORMAT_F32), empty_adapter("llama", 6, 21), empty_adapter("llama", 0, 22), {NULL}, {0}};
    add_pairs(&a.one, &a.base, FORMAT_F32, 3);
    add_pair(&a.two, &a.base, 1, 0, FORMAT_F16, 4);
    add_pair(&a.two, &a.base, 1, 6, FORMAT_F16, 5);
    a.file[0] = make_file(&a.one, &a.n[0]);
    a.file[1] = make_file(&a.two, &a.n[1]);
    return a;
}

static void free_adapters(adapters *a) {
    make_free(&a->base), make_free(&a->one), make_free(&a->two);
    free(a->file[0]), free(a->file[1]);
}

/* Of the model with its adapters in its weights. */
static float *merged_logits(adapters *a, double one, double two) {
    make_gguf g = base_model(FORMAT_F32);
    merge_pairs(&g, &a->one, one * 6 / 3);
    merge_pairs(&g, &a->two, two);
    float *x = logits_from(&g, NULL);
    make_free(&g);
    return x;
}

static void check_scales(const opened *o, adapters *a, float one, float two) {
    nut_error err = {0};
    CHECK(nut_session_set_adapters(o->s, (float[]){one, two}, 2, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_session_n_past(o->s) == 0, "a session begins anew");
    float *want = merged_logits(a, (double)one, (double)two), *is = logits_in(o);
    CHECK(apart(is, want) < 2e-5, "scales %g and %g: %g", (double)one, (double)two, apart(is, want));
    free(want), free(is);
}

static void test_adapters(void) {
    adapters a = make_adapters();
    opened o = {.m = load(&a.base, NULL)};
    nut_error err = {0};
    CHECK(nut_model_add_adapter(o.m, a.file[0], a.n[0], 1, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_model_add_adapter(o.m, a.file[1], a.n[1], 0.5f, &err) == NUT_OK, "%s", err.message);
    memset(a.file[0], 0, a.n[0]); // it was copied
    if (open_session(&o, 1, 64)) {
        float *want = merged_logits(&a, 1, 0.5), *is = logits_in(&o);
        CHECK(apart(is, want) < 2e-5, "as they were added: %g", apart(is, want));
        CHECK(nut_session_set_adapters(o.s, (float[]){1, 0.5f}, 2, &err) == NUT_OK &&
                  nut_session_n_past(o.s) == IDS,
              "the same scales keep the positions");
        check_scales(&o, &a, 0, 1);
        check_scales(&o, &a, -0.5f, 0);
        check_scales(&o, &a, 0, 0);
        CHECK(nut_session_set_adapters(o.s, (float[]){1}, 1, &err) == NUT_E_ARGUMENT, "one of two");
        CHECK(nut_session_set_adapters(o.s, (float[]){1, NAN}, 2, &err) == NUT_E_ARGUMENT, "no number");
        free(want), free(is);
    }
    close_model(&o);
    free_adapters(&a);
}

/* Two sessions with other scales in the same steps have the bits that they have alone. */
static void test_mixed(void) {
    adapters a = make_adapters();
    opened o = {.m = load(&a.base, NULL)};
    nut_session *other = NULL;
    nut_error err = {0};
    nut_model_add_adapter(o.m, a.file[0], a.n[0], 1, &err);
    const nut_session_options so = {.n_ctx = 32, .n_threads = 1, .n_logits = 2};
    CHECK(nut_session_new(o.m, &so, &o.s, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_session_add(nut_session_workspace(o.s), 32, &other, &err) == NUT_OK, "%s", err.message);
    nut_session_set_adapters(other, (float[]){0}, 1, &err);
    float *with = logits_in(&o), *without = logits_in(&(opened){o.m, other});
    nut_session_truncate(o.s, 0, &err), nut_session_truncate(other, 0, &err);
    for (int i = 0; i < IDS; i++) {
        const nut_row rows[] = {{o.s, ids[i], i == IDS - 1}, {other, ids[i], i == IDS - 1}};
        CHECK(nut_workspace_eval(nut_session_workspace(o.s), rows, 2, &err) == NUT_OK, "%s", err.message);
    }
    const size_t n = MAKE_N_VOCAB * sizeof(float);
    const nut_workspace *ws = nut_session_workspace(o.s);
    CHECK(!memcmp(nut_workspace_logits(ws, 0), with, n), "with the adapter");
    CHECK(!memcmp(nut_workspace_logits(ws, 1), without, n), "without");
    CHECK(memcmp(with, without, n), "the adapter changes something");
    free(with), free(without);
    nut_session_free(other);
    close_model(&o);
    free_adapters(&a);
}

/* What one session has computed is no other adapter's. */
static void test_saved(void) {
    adapters a = make_adapters();
    opened o = {.m = load(&a.base, NULL)};
    nut_error err = {0};
    size_t n = 0;
    nut_model_add_adapter(o.m, a.file[0], a.n[0], 1, &err);
    if (open_session(&o, 1, 64)) {
        free(logits_in(&o));
        nut_session_save(o.s, NULL, 0, &n, NULL);
        uint8_t *saved = malloc(n);
        CHECK(nut_session_save(o.s, saved, n, &n, &err) == NUT_OK, "%s", err.message);
        CHECK(nut_session_restore(o.s, saved, n, &err) == NUT_OK, "%s", err.message);
        nut_session_set_adapters(o.s, (float[]){0.5f}, 1, &err);
        CHECK(nut_session_restore(o.s, saved, n, &err) == NUT_E_SESSION, "another scale");
        free(saved);
    }
    close_model(&o);
    free_adapters(&a);
}

/* As nutshell merge writes it. */
static void test_as_merged(void) {
    adapters a = make_adapters();
    size_t n;
    uint8_t *file = make_file(&a.base, &n);
    memory_job mj = {.file = {file}, .n_bytes = {n}};
    const nut_merge_options mo = {a.file[0], a.n[0], 1, NULL};
    nut_job *job;
    nut_error err = {0};
    CHECK(nut_merge_begin(&mo, &job, &err) == NUT_OK && memory_job_run(&mj, job, &err) == NUT_OK, "%s",
          err.message);
    opened merged = {0}, o = {.m = load(&a.base, NULL)};
    CHECK(make_load(mj.out, mj.n_out, 0, NULL, &merged.m, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_model_add_adapter(o.m, a.file[0], a.n[0], 1, &err) == NUT_OK, "%s", err.message);
    if (open_session(&o, 1, 64) && open_session(&merged, 1, 64)) {
        float *want = logits_in(&merged), *is = logits_in(&o);
        CHECK(apart(is, want) < 2e-5, "%g", apart(is, want));
        free(want), free(is);
    }
    close_model(&o), close_model(&merged);
    free(file), free(mj.out);
    free_adapters(&a);
}

static make_gguf one_pair(const char *name, size_t n_cols, size_t n_rows, size_t rank) {
    make_gguf g = empty_adapter("llama", 0, 3);
    char part[100];
    snprintf(part, sizeof part, "%s.lora_a", name);
    make_add(&g, part, FORMAT_F32, n_cols, rank);
    snprintf(part, sizeof part, "%s.lora_b", name);
    make_add(&g, part, FORMAT_F32, rank, n_rows);
    return g;
}

/* Beside the weights, in one file. */
static void test_attached(void) {
    adapters a = make_adapters();
    size_t n;
    uint8_t *file = make_file(&a.base, &n);
    for (int i = 0; i < 2; i++) {
        memory_job mj = {.file = {file}, .n_bytes = {n}};
        const nut_attach_options ao = {a.file[i], a.n[i], 0.5f};
        nut_job *job;
        nut_error err = {0};
        opened o = {0};
        CHECK(nut_attach_begin(&ao, &job, &err) == NUT_OK && memory_job_run(&mj, job, &err) == NUT_OK, "%s",
              err.message);
        CHECK(make_load(mj.out, mj.n_out, 0, NULL, &o.m, &err) == NUT_OK, "%s", err.message);
        if (o.m && open_session(&o, 1, 64)) {
            float *want = merged_logits(&a, i ? 0 : 0.5, i ? 0.5 : 0), *is = logits_in(&o);
            CHECK(apart(is, want) < 2e-5, "adapter %d beside: %g", i, apart(is, want));
            free(want), free(is);
        }
        close_model(&o);
        free(mj.out);
    }
    make_gguf g = one_pair("token_embd.weight", 64, 64, RANK);
    size_t n_bad;
    uint8_t *bad = make_file(&g, &n_bad);
    memory_job mj = {.file = {file}, .n_bytes = {n}};
    nut_job *job;
    nut_error err = {0};
    CHECK(nut_attach_begin(&(nut_attach_options){bad, n_bad, 1}, &job, &err) == NUT_OK &&
              memory_job_run(&mj, job, &err) == NUT_E_ARGUMENT && strstr(err.message, "without --beside"),
          "%s", err.message);
    free(bad), free(mj.out), free(file);
    make_free(&g);
    free_adapters(&a);
}

/* ---- bad adapters ---- */

static void check_refused(make_gguf *g, size_t cut, const char *says) {
    make_gguf base = base_model(FORMAT_Q8_0);
    opened o = {.m = load(&base, NULL)};
    nut_error err = {0};
    size_t n;
    uint8_t *file = make_file(g, &n);
    CHECK(nut_model_add_adapter(o.m, file, n - cut, 1, &err) != NUT_OK && strstr(err.message, says),
          "\"%s\": %s", says, err.message);
    if (open_session(&o, 1, 64)) free(logits_in(&o)); // the model is as it was
    close_model(&o);
    free(file);
    make_free(&base);
    make_free(g);
}

static void test_bad_adapters(void) {
    static const char q[] = "blk.0.attn_q.weight";
    make_gguf g = empty_adapter("qwen2", 0, 3);
    check_refused(&g, 0, "family qwen2");
    g = empty_adapter("llama", 0, 3);
    check_refused(&g, 0, "0 pairs");
    g = base_model(FORMAT_F32);
    check_refused(&g, 0, "is no LoRA adapter");
    g = one_pair(q, 64, 64, RANK);
    check_refused(&g, 40, "");
    g = one_pair(q, 32, 64, RANK);
    check_refused(&g, 0, "another shape");
    g = one_pair(q, 64, 96, RANK);
    check_refused(&g, 0, "another shape");
    g = one_pair(q, 64, 64, 65);
    check_refused(&g, 0, "fits no matrix");
    g = one_pair("blk.7.attn_q.weight", 64, 64, RANK);
    check_refused(&g, 0, "fits no matrix");
    g = one_pair("token_embd.weight", 64, 64, RANK);
    check_refused(&g, 0, "fits no matrix");
    g = one_pair(q, 64, 64, RANK);
    make_remove(&g, "blk.0.attn_q.weight.lora_b");
    check_refused(&g, 0, "1 pairs");
    g = one_pair(q, 64, 64, RANK);
    const float nan = NAN;
    memcpy(make_find(&g, "blk.0.attn_q.weight.lora_b")->data.p, &nan, sizeof nan);
    check_refused(&g, 0, "not finite");
}

static void test_limits(void) {
    adapters a = make_adapters();
    nut_model *m = load(&a.base, NULL);
    nut_error err = {0};
    for (int i = 0; i < NUT_ADAPTERS; i++)
        CHECK(nut_model_add_adapter(m, a.file[1], a.n[1], 1, &err) == NUT_OK, "%s", err.message);
    CHECK(nut_model_add_adapter(m, a.file[1], a.n[1], 1, &err) == NUT_E_ARGUMENT, "a ninth");
    CHECK(nut_model_add_adapter(m, a.file[1], a.n[1], NAN, &err) == NUT_E_ARGUMENT, "no number");
    nut_model_free(m);
    free_adapters(&a);
}

static void test_memory(void) {
    adapters a = make_adapters();
    for (size_t k = 1, more = 1; more; k++) {
        nut_error err = {0};
        counting_start(0);
        nut_model *m = load(&a.base, NULL);
        const size_t before = counting.alive;
        counting.fail_at = counting.n + k;
        const nut_status status = nut_model_add_adapter(m, a.file[0], a.n[0], 1, &err);
        more = counting.n_failed;
        CHECK(status == NUT_OK || (more && status == NUT_E_MEMORY), "allocation %zu: %s", k, err.message);
        CHECK(status == NUT_OK || counting.alive == before, "allocation %zu fails: %zu are left", k,
              counting.alive);
        nut_model_free(m);
        CHECK(counting.alive == 0, "%zu are left", counting.alive);
        counting_stop();
    }
    free_adapters(&a);
}

int main(void) {
    test_own_sides(FORMAT_F32, FORMAT_F32, RANK, 1e-4);
    test_own_sides(FORMAT_F32, FORMAT_F16, RANK, 1e-4);
    test_own_sides(FORMAT_Q8_0, FORMAT_F16, 16, 3e-2);
    test_own_sides(FORMAT_Q8_0, FORMAT_Q8_0, 32, 3e-2);
    test_inner(FORMAT_F32, 1e-4);
    test_inner(FORMAT_Q8_0, 3e-2);
    test_bits();
    test_bad_files();
    test_adapters();
    test_mixed();
    test_saved();
    test_as_merged();
    test_attached();
    test_bad_adapters();
    test_limits();
    test_memory();
    return check_report();
}
