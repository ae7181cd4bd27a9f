/* Rounding with statistics of inputs: errors that count by column, and files of statistics that do not fit.
 */
#include "check.h"
#include "compress/types.h"
#include "make_gguf.h"
#include "memory_job.h"
#include "model/gguf.h"

#include <math.h>

enum { COLS = 256, ROWS = 12, EXPERTS = 2 };
static const char stack_name[] = "blk.0.ffn_up_exps.weight";

/* ---- a model and its statistics ---- */

/* Of few rows, so that it takes little time: nothing here runs it. */
static make_gguf make_source(void) {
    make_gguf g = make_model(&(make_options){.n_embd = COLS, .n_ff = COLS, .n_layer = 1});
    for (size_t i = 0; i < g.n_tensors; i++) {
        make_tensor *t = &g.tensors[i];
        if (t->n_dims == 2) t->dims[1] = ROWS, t->data.n = ROWS * COLS * sizeof(float);
    }
    make_tensor *stack = make_add(&g, stack_name, FORMAT_F32, COLS, 8 * EXPERTS);
    stack->n_dims = 3, stack->dims[1] = 8, stack->dims[2] = EXPERTS;
    return g;
}

static bool is_weighed(const make_tensor *t) {
    return t->n_dims >= 2 && strcmp(t->name, "token_embd.weight") != 0;
}

/* Mean square of the input of a column: they differ by up to 1000. */
static float square_of(size_t expert, size_t c) {
    return expf(3.5f * sinf((float)(7 * c + 3 * expert + 1)));
}

static void put_part(make_gguf *g, const char *name, const char *end, size_t cols, size_t rows) {
    char whole[80];
    if (snprintf(whole, sizeof whole, "%s%s", name, end) >= (int)sizeof whole) exit(2);
    make_tensor *t = make_add(g, whole, FORMAT_F32, cols, rows);
    for (size_t i = 0; i < rows * cols; i++) {
        const float v = cols == 1 ? 1 : square_of(i / cols, i % cols);
        memcpy(t->data.p + 4 * i, &v, 4);
    }
}

static make_gguf make_statistics(const make_gguf *model) {
    make_gguf g = {.version = 3, .alignment = 32};
    make_str(&g, "general.type", "imatrix");
    for (size_t i = 0; i < model->n_tensors; i++) {
        const make_tensor *t = &model->tensors[i];
        const size_t n = t->n_dims == 3 ? (size_t)t->dims[2] : 1;
        if (!is_weighed(t)) continue;
        put_part(&g, t->name, ".in_sum2", (size_t)t->dims[0], n);
        put_part(&g, t->name, ".counts", 1, n);
    }
    return g;
}

static nut_status run(memory_job *m, nut_compress_options o, make_gguf *stats, nut_error *err) {
    nut_job *job;
    uint8_t *bytes = stats ? make_file(stats, &o.n_statistics) : NULL;
    o.statistics = bytes;
    nut_status status = nut_compress_begin(&o, &job, err);
    free(bytes); // they were read
    return status == NUT_OK ? memory_job_run(m, job, err) : status;
}

/* ---- errors ---- */

/* Of a tensor of the output: the mean square of what its rows lose, by column's weight. */
static double weighted_error(const make_tensor *from, const memory_job *m) {
    gguf g;
    bool complete;
    size_t used, n = (size_t)(from->dims[0] * from->dims[1] * (from->n_dims > 2 ? from->dims[2] : 1));
    double error = 0;
    CHECK(gguf_begin(&g, m->n_out, NULL) == NUT_OK &&
              gguf_feed(&g, m->out, m->n_out, &used, &complete, NULL) == NUT_OK,
          "the header");
    float *x = calloc(2 * n, sizeof *x), *back = x + n;
    for (uint64_t i = 0; x && i < g.n_tensors; i++) {
        if (!gguf_str_is(g.tensors[i].name, from->name)) continue;
        const format *f = format_by_ggml(g.tensors[i].ggml_type);
        memcpy(x, from->data.p, n * sizeof *x);
        f->dequantize(m->out + g.tensors[i].offset, n / f->block, back);
        for (size_t k = 0; k < n; k++)
            error += (double)square_of(from->n_dims > 2 ? k / (n / EXPERTS) : 0, k % COLS) *
                     pow((double)(x[k] - back[k]), 2);
    }
    free(x);
    gguf_free(&g);
    return error;
}

/* Each type, with statistics and without: matrices and stacks lose less where it counts. */
static void test_errors(void) {
    make_gguf g = make_source(), stats = make_statistics(&g);
    size_t n, n_types = 0;
    uint8_t *file = make_file(&g, &n);
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        memory_job with = {.file = {file}, .n_bytes = {n}}, without = with;
        const nut_compress_options o = {.type = format_table[i].name};
        nut_error err = {0};
        if (!type_any((format_id)i)) continue;
        n_types++;
        CHECK(run(&with, o, &stats, &err) == NUT_OK && run(&without, o, NULL, &err) == NUT_OK, "%s",
              err.message);
        static const char *const names[] = {"blk.0.ffn_up.weight", stack_name};
        for (size_t k = 0; k < 2; k++) {
            const double a = weighted_error(make_find(&g, names[k]), &with),
                         b = weighted_error(make_find(&g, names[k]), &without);
            CHECK(a < b, "%s: %s loses %.4g, without statistics %.4g", names[k], o.type, a, b);
        }
        free(with.out), free(without.out);
    }
    CHECK(n_types >= 22, "%zu types", n_types);
    free(file);
    make_free(&stats), make_free(&g);
}

/* Columns that were 0 all over the text keep their weights. */
static void test_unseen(void) {
    make_gguf g = make_source(), stats = make_statistics(&g);
    size_t n;
    uint8_t *file = make_file(&g, &n);
    memory_job some = {.file = {file}, .n_bytes = {n}}, none = some;
    nut_error err = {0};
    make_tensor *up = make_find(&stats, "blk.0.ffn_up.weight.in_sum2"),
                *counts = make_find(&stats, "blk.0.ffn_up.weight.counts"),
                *from = make_find(&g, "blk.0.ffn_up.weight");
    memset(up->data.p, 0, up->data.n / 2);
    CHECK(run(&some, (nut_compress_options){.type = "q4_k"}, &stats, &err) == NUT_OK, "%s", err.message);
    memset(counts->data.p, 0, 4);
    CHECK(run(&none, (nut_compress_options){.type = "q4_k"}, &stats, &err) == NUT_OK, "%s", err.message);
    double power = 0;
    for (size_t k = 0; k < from->data.n / 4; k++) {
        float x;
        memcpy(&x, from->data.p + 4 * k, 4);
        power += (double)square_of(0, k % COLS) * pow((double)x, 2);
    }
    CHECK(weighted_error(from, &some) < 0.03 * power, "half of the columns");
    CHECK(weighted_error(from, &none) < 0.01 * power, "no tokens at all");
    free(some.out), free(none.out), free(file);
    make_free(&stats), make_free(&g);
}

/* ---- the embedding's type ---- */

/* ggml's type of a tensor of the output; UINT32_MAX: there is none. */
static uint32_t type_in(const memory_job *m, const char *name) {
    gguf g;
    size_t used;
    bool complete;
    uint32_t type = UINT32_MAX;
    if (!CHECK(gguf_begin(&g, m->n_out, NULL) == NUT_OK, "begin")) return type;
    CHECK(gguf_feed(&g, m->out, m->n_out, &used, &complete, NULL) == NUT_OK && complete, "header");
    for (uint64_t i = 0; i < g.n_tensors; i++)
        if (gguf_str_is(g.tensors[i].name, name)) type = g.tensors[i].ggml_type;
    gguf_free(&g);
    return type;
}

/* Beside a type, a mix, and in a recipe. Numbers are ggml's types. */
static void test_embedding(void) {
    enum { Q4_0 = 2, Q5_0 = 6, Q2_K = 10, Q4_K = 12 };
    static const char recipe[] = "[{\"step\": \"round\", \"type\": \"q4_k\", \"embedding\": \"q5_0\"}]";
    static const struct {
        nut_compress_options o;
        uint32_t embedding, other;
    } cases[] = {
        {{.type = "q4_k", .embedding = "q5_0"}, Q5_0, Q4_K},
        {{.mix = "Q2_K_S", .embedding = "q4_0"}, Q4_0, Q2_K},
        {{.recipe = recipe, .n_recipe = sizeof recipe - 1}, Q5_0, Q4_K},
    };
    make_gguf g = make_source(), stats = make_statistics(&g);
    size_t n;
    uint8_t *file = make_file(&g, &n);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memory_job m = {.file = {file}, .n_bytes = {n}};
        nut_error err = {0};
        CHECK(run(&m, cases[i].o, &stats, &err) == NUT_OK, "%s", err.message);
        CHECK(type_in(&m, "token_embd.weight") == cases[i].embedding, "case %zu", i);
        CHECK(type_in(&m, "blk.0.attn_q.weight") == cases[i].other, "case %zu", i);
        free(m.out);
    }
    free(file);
    make_free(&stats), make_free(&g);
}

/* ---- what does not fit ---- */

static void test_missing(void) {
    make_gguf g = make_source(), stats = make_statistics(&g);
    size_t n;
    uint8_t *file = make_file(&g, &n);
    memory_job m = {.file = {file}, .n_bytes = {n}};
    nut_error err = {0};
    make_remove(&stats, "blk.0.attn_k.weight.in_sum2");
    CHECK(run(&m, (nut_compress_options){.type = "q4_k"}, &stats, &err) == NUT_OK, "%s", err.message);
    CHECK(strstr(m.notes, "2 of ") && strstr(m.notes, "have no statistics") &&
              strstr(m.notes, "token_embd.weight (1, F32)") &&
              strstr(m.notes, "blk.*.attn_k.weight (1, F32)"),
          "\"%s\"", m.notes);
    free(m.out), free(file);
    make_free(&stats), make_free(&g);
}

/* Statistics of other models, damaged ones, and steps that read none. */
static void test_refusals(void) {
    static const struct {
        const char *words, *method, *type, *recipe;
        nut_status status;
    } cases[] = {
        {"tensor blk.0.attn_q.weight are of 32 inputs", NULL, "q4_k", NULL, NUT_E_ARGUMENT},
        {"for any of the model's tensors", NULL, "q4_k", NULL, NUT_E_ARGUMENT},
        {"statistics of blk.0.attn_q.weight: they are not finite", NULL, "q4_k", NULL, NUT_E_CORRUPT},
        {"method \"coded\" reads no statistics", "coded", "coded_4", NULL, NUT_E_ARGUMENT},
        {"cannot write embedding type \"q9\"", NULL, NULL,
         "[{\"step\": \"round\", \"type\": \"q4_k\", \"embedding\": \"q9\"}]", NUT_E_ARGUMENT},
        {"leave that of the embedding out", NULL, NULL,
         "[{\"step\": \"round\", \"type\": \"coded_4\", \"method\": \"coded\", \"embedding\": \"q4_0\"}]",
         NUT_E_ARGUMENT},
        {"no step of the recipe reads a file of statistics", NULL, NULL,
         "[{\"step\": \"calibrate\"}, {\"step\": \"coded\", \"size\": 9000}]", NUT_E_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_gguf g = make_source(), stats = make_statistics(&g);
        size_t n;
        uint8_t *file = make_file(&g, &n);
        memory_job m = {.file = {file}, .n_bytes = {n}};
        nut_error err = {0};
        make_tensor *q = make_find(&stats, "blk.0.attn_q.weight.in_sum2");
        const float nan = NAN;
        if (i == 0) q->dims[0] = 32, q->data.n = 128;
        while (i == 1 && stats.n_tensors > 2) make_remove(&stats, stats.tensors[0].name);
        for (size_t k = 0; i == 1 && k < 2; k++) stats.tensors[k].name[0] = 'x';
        if (i == 2) memcpy(q->data.p + 8, &nan, 4);
        const nut_compress_options o = {.method = cases[i].method,
                                        .type = cases[i].type,
                                        .recipe = cases[i].recipe,
                                        .n_recipe = cases[i].recipe ? strlen(cases[i].recipe) : 0};
        CHECK(run(&m, o, &stats, &err) == cases[i].status && strstr(err.message, cases[i].words), "%s",
              err.message);
        free(m.out), free(file);
        make_free(&stats), make_free(&g);
    }
}

int main(void) {
    test_errors();
    test_unseen();
    test_missing();
    test_embedding();
    test_refusals();
    return check_report();
}
