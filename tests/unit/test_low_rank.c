/*
 * Matrices of low rank beside NumPy's singular values (tests/golden/low_rank.py); eigenvalues that are known
 * (the second difference: 2 - 2 cos(k pi / (n + 1))); the step of recipes, and adapters that make up for
 * rounding, of a rank or of columns.
 */
#include "../golden/low_rank.h"
#include "changed.h"
#include "compress/eigen.h"
#include "compress/low_rank.h"
#include "counting_alloc.h"
#include "long_text.h"
#include "made_model.h"
#include "model/bind.h"

#include <math.h>

/* ---- eigenvectors ---- */

/* A v = lambda v for all, vectors of length 1 at right angles, largest first. */
static void check_eigen(const double *a, size_t n, const char *what) {
    double *copy = malloc(n * n * sizeof *copy), *values = malloc(n * sizeof *values),
           *z = malloc(n * n * sizeof *z), worst = 0, largest = 0;
    nut_error err = {0};
    memcpy(copy, a, n * n * sizeof *copy);
    CHECK(eigen_symmetric(copy, n, values, z, &err) == NUT_OK, "%s: %s", what, err.message);
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs(values[i]));
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < n; i++) {
            double product = -values[k] * z[k * n + i], angle = -(double)(i == k);
            for (size_t j = 0; j < n; j++) {
                product += a[i * n + j] * z[k * n + j];
                angle += z[k * n + j] * z[i * n + j];
            }
            worst = fmax(worst, fmax(fabs(product) / (largest > 0 ? largest : 1), fabs(angle)));
        }
        CHECK(!k || values[k] <= values[k - 1], "%s: value %zu is larger than the one before", what, k);
    }
    CHECK(worst < 1e-12, "%s: off by %g", what, worst);
    free(copy), free(values), free(z);
}

static void test_eigen(void) {
    enum { N = 45 };
    static double a[N * N], z[N * N], values[N];
    rng r;
    nut_error err;
    check_eigen(a, N, "zeros");
    for (size_t i = 0; i < N; i++) a[i * N + i] = 3;
    check_eigen(a, N, "three times the identity");
    check_eigen(a, 1, "one number");
    for (size_t i = 0; i < N * N; i++) a[i] = (double)(1 + i / N) * (double)(1 + i % N);
    check_eigen(a, N, "rank one");
    rng_seed(&r, 5);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j <= i; j++) a[i * N + j] = a[j * N + i] = rng_f64(&r) - 0.5;
    check_eigen(a, N, "random");
    check_eigen((double[]){1, 5, 5, -2}, 2, "two rows");
    for (size_t i = 0; i < N * N; i++)
        a[i] = i / N == i % N ? 2 : i / N == i % N + 1 || i / N + 1 == i % N ? -1 : 0;
    check_eigen(a, N, "second difference");
    CHECK(eigen_symmetric(a, N, values, z, &err) == NUT_OK, "%s", err.message);
    for (size_t k = 0; k < N; k++) {
        const double want = 2 - 2 * cos((double)(N - k) * acos(-1) / (N + 1));
        CHECK(fabs(values[k] - want) < 1e-13, "value %zu: %.17g, not %.17g", k, values[k], want);
    }
    a[7] = NAN;
    CHECK(eigen_symmetric(a, N, values, z, &err) == NUT_E_CORRUPT, "no number");
}

/* ---- factors ---- */

enum { MOST = 40 };

typedef struct sample {
    size_t n_rows, n_cols;
    float w[MOST * MOST];
    double hessian[MOST * (MOST + 1) / 2];
    statistics s;
    threads *team;
    dense *d;
} sample;

/* As tests/golden/low_rank.py has them. */
static sample *make_sample(size_t n_rows, size_t n_cols) {
    sample *a = calloc(1, sizeof *a);
    double x[MOST];
    a->n_rows = n_rows, a->n_cols = n_cols;
    for (size_t i = 0; i < n_rows * n_cols; i++) {
        const double r = (double)(i / n_cols), c = (double)(i % n_cols);
        a->w[i] = (float)(sin(0.7 * r * c + 1.3 * r + 0.1 * c) * (1 + (double)(i / n_cols % 3)));
    }
    for (int t = 0; t < LOW_RANK_TOKENS; t++) {
        for (size_t c = 0; c < n_cols; c++)
            x[c] = (sin(0.37 * t * ((double)c + 1) + (double)c) + sin(1.1 * t) +
                    0.3 * cos(0.9 * t * (double)(c % 5))) *
                   (1 + (double)(c % 4));
        for (size_t i = 0; i < n_cols; i++)
            for (size_t j = 0; j <= i; j++) a->hessian[i * (i + 1) / 2 + j] += x[i] * x[j];
    }
    a->s = (statistics){
        .kinds = STATISTICS_HESSIAN, .n_tokens = LOW_RANK_TOKENS, .n_cols = n_cols, .hessian = a->hessian};
    nut_error err;
    CHECK(threads_new(1, &a->team, &err) == NUT_OK && dense_new(a->team, &a->d, &err) == NUT_OK, "a team");
    return a;
}

static void free_sample(sample *a) {
    dense_free(a->d);
    threads_free(a->team);
    free(a);
}

/* Element (i, j) of B A. */
static double element(const low_rank *l, size_t rank, size_t i, size_t j) {
    double sum = 0;
    for (size_t k = 0; k < rank; k++) sum += l->b[i * l->n + k] * l->a[k * l->n_cols + j];
    return sum;
}

/* E |(W - B A) x|^2 */
static double loss_of(const sample *a, const low_rank *l, size_t rank) {
    double loss = 0;
    for (size_t r = 0; r < a->n_rows; r++) {
        double e[MOST];
        for (size_t c = 0; c < a->n_cols; c++)
            e[c] = (double)a->w[r * a->n_cols + c] - element(l, rank, r, c);
        for (size_t i = 0; i < a->n_cols; i++)
            for (size_t j = 0; j < a->n_cols; j++)
                loss += e[i] * e[j] * statistics_hessian(&a->s, i, j) / (double)LOW_RANK_TOKENS;
    }
    return loss;
}

static void check_sample(size_t n_rows, size_t n_cols, const double *values, const double *plain_values,
                         const double sums[][2], double damping) {
    sample *a = make_sample(n_rows, n_cols);
    low_rank l, plain;
    nut_error err = {0};
    double off = 0, whole = 0;
    CHECK(low_rank_new(a->d, &a->s, n_rows, n_cols, a->w, &l, &err) == NUT_OK, "%s", err.message);
    CHECK(low_rank_new(a->d, NULL, n_rows, n_cols, a->w, &plain, &err) == NUT_OK, "%s", err.message);
    for (size_t i = 0; i < l.n; i++) {
        const double value = sqrt(fmax(l.squares[i], 0)), flat = sqrt(fmax(plain.squares[i], 0));
        CHECK(fabs(value - values[i]) < 1e-7 * values[0], "value %zu: %.10g, not %.10g", i, value,
              values[i]);
        CHECK(fabs(flat - plain_values[i] * sqrt(1 + damping)) < 1e-7 * plain_values[0],
              "plain value %zu: %.10g, not %.10g", i, flat, plain_values[i]);
    }
    for (size_t r = 0; r < n_rows; r++) {
        double sum = 0, squares = 0;
        for (size_t c = 0; c < n_cols; c++) {
            const double x = element(&l, LOW_RANK_RANK, r, c);
            sum += x, squares += x * x;
            whole = fmax(whole, fabs(element(&l, l.n, r, c) - (double)a->w[r * n_cols + c]));
        }
        off = fmax(off, fmax(fabs(sum - sums[r][0]), fabs(squares - sums[r][1])) / (1 + sums[r][1]));
    }
    CHECK(off < 1e-6, "rank %d of %zu x %zu: off by %g", LOW_RANK_RANK, n_rows, n_cols, off);
    CHECK(whole < 1e-6, "of full rank it is W but for %g", whole);
    for (size_t rank = 1; rank < l.n; rank += 4) {
        const double is = loss_of(a, &l, rank), flat = loss_of(a, &plain, rank);
        CHECK(is <= flat * (1 + 1e-9), "rank %zu: weighed by inputs %g is lost, and %g without", rank, is,
              flat);
        double want = 0; // the other squares
        for (size_t i = rank; i < l.n; i++) want += fmax(l.squares[i], 0);
        CHECK(is <= want * (1 + 1e-6) + 1e-6, "rank %zu: %g is lost, and %g told", rank, is, want);
    }
    low_rank_free(&l), low_rank_free(&plain);
    free_sample(a);
}

static void check_columns(size_t n_rows, size_t n_cols, const double want[][2]) {
    sample *a = make_sample(n_rows, n_cols);
    double squares[MOST] = {0};
    low_rank l, plain;
    nut_error err = {0};
    for (size_t c = 0; c < n_cols; c++) squares[c] = statistics_hessian(&a->s, c, c);
    a->s.sum_squares = squares;
    CHECK(low_rank_columns(&a->s, n_rows, n_cols, a->w, LOW_RANK_RANK, &l, &err) == NUT_OK, "%s",
          err.message);
    CHECK(low_rank_columns(NULL, n_rows, n_cols, a->w, n_cols, &plain, &err) == NUT_OK, "%s", err.message);
    for (size_t k = 0; k < l.n; k++) {
        const size_t column = (size_t)want[k][0];
        CHECK(fabs(l.squares[k] - want[k][1]) < 1e-8 * want[k][1], "column %zu: %.10g, not %.10g", column,
              l.squares[k], want[k][1]);
        for (size_t c = 0; c < n_cols; c++)
            CHECK(l.a[k * n_cols + c] == (c == column), "column %zu is not the %zu-th", column, k);
        for (size_t r = 0; r < n_rows; r++)
            CHECK(l.b[r * l.n + k] == (double)a->w[r * n_cols + column], "row %zu of column %zu", r, column);
    }
    for (size_t i = 0; i < n_rows * n_cols; i++)
        CHECK(element(&plain, n_cols, i / n_cols, i % n_cols) == (double)a->w[i], "all columns are W");
    a->w[3] = NAN;
    low_rank_free(&l);
    CHECK(low_rank_columns(&a->s, n_rows, n_cols, a->w, 1, &l, &err) == NUT_E_CORRUPT, "no number");
    low_rank_free(&l), low_rank_free(&plain);
    free_sample(a);
}

static void test_memory(void) {
    sample *a = make_sample(12, 9);
    for (size_t k = 1, more = 1; more; k++) {
        low_rank l, columns = {0};
        nut_error err = {0};
        counting_start(k);
        nut_status status = low_rank_new(a->d, &a->s, 12, 9, a->w, &l, &err);
        if (status == NUT_OK) status = low_rank_columns(NULL, 12, 9, a->w, 3, &columns, &err);
        more = counting.n_failed;
        low_rank_free(&l), low_rank_free(&columns);
        CHECK(status == (more ? NUT_E_MEMORY : NUT_OK), "allocation %zu: %s", k, err.message);
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        counting_stop();
    }
    free_sample(a);
}

/* ---- ranks ---- */

static void test_ranks(void) {
    double steep[64], flat[64];
    nut_error err = {0};
    for (int i = 0; i < 64; i++) steep[i] = pow(0.8, i), flat[i] = 1;
    low_rank_item even[] = {{64, 64, NULL, 0}, {256, 64, NULL, 0}};
    CHECK(low_rank_even(even, 2, 0.5, &err) == NUT_OK, "%s", err.message);
    CHECK(even[0].rank == 16 && even[1].rank == 24, "%zu and %zu", even[0].rank, even[1].rank);
    CHECK(low_rank_unit(&even[0]) == 8 && low_rank_unit(&(low_rank_item){256, 300, NULL, 0}) == 32, "units");
    low_rank_item items[] = {{64, 64, steep, 0}, {64, 64, flat, 0}, {64, 64, flat, 0}};
    CHECK(low_rank_choose(items, 3, 0.25, &err) == NUT_OK, "%s", err.message);
    double size = 0;
    for (int i = 0; i < 3; i++) size += low_rank_size(&items[i]);
    CHECK(size <= 0.75 * 3 * 4096, "%g numbers are left of %d", size, 3 * 4096);
    CHECK(items[0].rank == 8 && items[1].rank == 0 && items[2].rank == 0,
          "the matrix whose values fall pays: ranks %zu, %zu and %zu", items[0].rank, items[1].rank,
          items[2].rank);
    CHECK(fabs(low_rank_loss(flat, 64, 48) - 0.25) < 1e-12, "%g is lost", low_rank_loss(flat, 64, 48));
    CHECK(low_rank_even(even, 2, 0.98, &err) == NUT_E_ARGUMENT && strstr(err.message, "smaller one"), "%s",
          err.message);
    CHECK(low_rank_choose(items, 3, 0.9, &err) == NUT_E_ARGUMENT, "%s", err.message);
}

/* ---- the step ---- */

static uint8_t *model_file(format_id id, size_t *n) {
    make_gguf g = make_model(&(make_options){.matrices = id, .n_ff = 96, .n_layer = 3, .seed = 9});
    uint8_t *file = make_file(&g, n);
    make_free(&g);
    return file;
}

/* The logits of the model whose matrices are the products of those in a changed file. */
static float *logits_of_products(const uint8_t *file, size_t n, const memory_job *out, const int32_t *ids,
                                 uint32_t *n_vocab, size_t *n_pairs) {
    uint8_t *merged = memcpy(malloc(n), file, n);
    gguf source = {0}, g = header_of(out);
    size_t used;
    bool complete;
    gguf_begin(&source, n, NULL);
    gguf_feed(&source, file, n, &used, &complete, NULL);
    for (uint64_t i = 1; i < g.n_tensors; i++) {
        const gguf_tensor *a = &g.tensors[i - 1], *b = &g.tensors[i];
        if (a->name.n != b->name.n + 7 || memcmp(a->name.s, b->name.s, (size_t)b->name.n)) continue;
        char name[80];
        snprintf(name, sizeof name, "%.*s", (int)b->name.n, b->name.s);
        const gguf_tensor *w = tensor_of(&source, name);
        const float *low = (const float *)(const void *)(out->out + a->offset),
                    *up = (const float *)(const void *)(out->out + b->offset);
        float *to = (float *)(void *)(merged + w->offset);
        CHECK(a->dims[0] == w->dims[0] && b->dims[1] == w->dims[1] && a->dims[1] == b->dims[0] &&
                  b->dims[0] < w->dims[0],
              "%s", name);
        for (size_t k = 0; k < w->dims[0] * w->dims[1]; k++) {
            double sum = 0;
            for (size_t r = 0; r < a->dims[1]; r++)
                sum += (double)up[k / w->dims[0] * a->dims[1] + r] *
                       (double)low[r * w->dims[0] + k % w->dims[0]];
            to[k] = (float)sum;
        }
        ++*n_pairs;
    }
    float *logits = logits_of(merged, n, ids, n_vocab);
    gguf_free(&source), gguf_free(&g);
    free(merged);
    return logits;
}

static double apart(const float *a, const float *b, size_t n) {
    double worst = 0, most = 0;
    for (size_t i = 0; a && b && i < n; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        most = fmax(most, fabs((double)b[i]));
    }
    return most > 0 ? worst / most : 1;
}

static const int32_t ids[N_IDS] = {1, 40, 77, 120, 200, 250, 270, 280, 290, 291, 292, 100};

static void check_step(const char *recipe, size_t least_pairs) {
    size_t n, n_text, n_pairs = 0;
    uint32_t n_vocab = 0;
    uint8_t *file = model_file(FORMAT_F32, &n);
    char *text = long_text(&n_text);
    changed c = change(file, n, recipe, text, n_text);
    if (CHECK(c.status == NUT_OK && !c.m.n_wrong, "%s: %s", recipe, c.err.message)) {
        gguf g = header_of(&c.m);
        float *want = logits_of_products(file, n, &c.m, ids, &n_vocab, &n_pairs),
              *is = logits_of(c.m.out, c.m.n_out, ids, &n_vocab);
        CHECK(n_pairs >= least_pairs && c.m.n_out < n, "%zu pairs, %zu bytes of %zu", n_pairs, c.m.n_out, n);
        CHECK(apart(is, want, n_vocab) < 1e-5, "%s: %g", recipe, apart(is, want, n_vocab));
        CHECK(gguf_find(&g, "nutshell.low_rank.ranks") && gguf_find(&g, "nutshell.low_rank.share") &&
                  has_text(&g, "nutshell.compress.recipe", recipe),
              "metadata");
        CHECK(strstr(c.m.notes, "only this engine"), "%s", c.m.notes);
        free(want), free(is);
        gguf_free(&g);
    }
    free(c.m.out), free(file), free(text);
}

/* Both matrices of a pair are quantized by the steps behind. */
static void test_then_round(void) {
    static const char recipe[] = "[{\"step\": \"low_rank\", \"share\": 0.25}, {\"step\": \"round\", "
                                 "\"type\": \"q8_0\"}]";
    size_t n, n_text;
    uint32_t n_vocab = 0;
    uint8_t *file = model_file(FORMAT_F32, &n);
    char *text = long_text(&n_text);
    changed c = change(file, n, "[{\"step\": \"low_rank\", \"share\": 0.25}]", text, n_text),
            q = change(file, n, recipe, text, n_text);
    if (CHECK(c.status == NUT_OK && q.status == NUT_OK, "%s%s", c.err.message, q.err.message)) {
        gguf g = header_of(&q.m);
        CHECK(tensor_of(&g, "blk.1.ffn_up.weight.lora_a")->ggml_type == 8, "A is Q8_0");
        float *want = logits_of(c.m.out, c.m.n_out, ids, &n_vocab),
              *is = logits_of(q.m.out, q.m.n_out, ids, &n_vocab);
        CHECK(apart(is, want, n_vocab) < 0.05, "%g", apart(is, want, n_vocab));
        free(want), free(is);
        gguf_free(&g);
    }
    changed again = change(c.m.out, c.m.n_out, "[{\"step\": \"low_rank\", \"share\": 0.25}]", text, n_text);
    CHECK(again.status == NUT_E_UNSUPPORTED && strstr(again.err.message, "low-rank parts"), "%s",
          again.err.message);
    free(again.m.out), free(c.m.out), free(q.m.out), free(file), free(text);
}

static void test_bad_recipes(void) {
    static const char *const cases[][2] = {
        {"[{\"step\": \"low_rank\"}]", "which part"},
        {"[{\"step\": \"low_rank\", \"share\": 0.95}]", "smaller one"},
        {"[{\"step\": \"low_rank\", \"share\": 2}]", "share"},
        {"[{\"step\": \"low_rank\", \"rank\": 2}]", "rank"},
    };
    size_t n, n_text;
    uint8_t *file = model_file(FORMAT_F32, &n);
    char *text = long_text(&n_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        changed c = change(file, n, cases[i][0], text, n_text);
        CHECK(c.status != NUT_OK && strstr(c.err.message, cases[i][1]), "%s: %s", cases[i][0],
              c.err.message);
        free(c.m.out);
    }
    free(file), free(text);
}

/* ---- adapters that make up for rounding ---- */

static nut_status correct_as(nut_correct_options o, const uint8_t *file, size_t n, memory_job *out,
                             nut_error *err) {
    char *text = long_text(&o.n_text);
    o.text = text;
    nut_job *job;
    *out = (memory_job){.file = {file}, .n_bytes = {n}};
    nut_status status = nut_correct_begin(&o, &job, err);
    if (status == NUT_OK) status = memory_job_run(out, job, err);
    free(text);
    return status;
}

static nut_status correct(const uint8_t *file, size_t n, const nut_model *small, uint32_t rank,
                          memory_job *out, nut_error *err) {
    return correct_as((nut_correct_options){.changed = small, .rank = rank}, file, n, out, err);
}

/* Logits of a model with an adapter (NULL: none), to be freed. */
static float *logits_with(const memory_job *model, const memory_job *adapter) {
    const nut_session_options so = {.n_ctx = 32};
    nut_load_options lo = nut_load_defaults();
    nut_model *m = NULL;
    nut_session *s = NULL;
    nut_error err = {0};
    float *out = NULL;
    lo.reference = true;
    CHECK(make_load(model->out, model->n_out, 0, &lo, &m, &err) == NUT_OK, "%s", err.message);
    if (adapter)
        CHECK(nut_model_add_adapter(m, adapter->out, adapter->n_out, 1, &err) == NUT_OK, "%s", err.message);
    if (CHECK(nut_session_new(m, &so, &s, &err) == NUT_OK, "%s", err.message)) {
        nut_session_eval(s, ids, N_IDS, 1, &err);
        out =
            memcpy(malloc(MAKE_N_VOCAB * sizeof *out), nut_session_logits(s, 0), MAKE_N_VOCAB * sizeof *out);
    }
    nut_session_free(s);
    nut_model_free(m);
    return out;
}

static nut_model *load_job(const memory_job *j) {
    nut_model *m = NULL;
    nut_error err = {0};
    CHECK(make_load(j->out, j->n_out, 0, NULL, &m, &err) == NUT_OK, "%s", err.message);
    return m;
}

static void test_correct(void) {
    size_t n;
    uint8_t *file = model_file(FORMAT_F32, &n);
    memory_job small = {.file = {file}, .n_bytes = {n}}, low, high;
    nut_error err = {0};
    make_gguf two = make_model(&(make_options){.n_ff = 96, .n_layer = 2, .seed = 9});
    CHECK(memory_job_round(&small, "q4_0", &err) == NUT_OK, "%s", err.message);
    nut_model *m = load_job(&small), *other = made_model_load(two);
    CHECK(correct(file, n, m, 4, &low, &err) == NUT_OK && !low.n_wrong, "%s", err.message);
    CHECK(correct(file, n, m, 31, &high, &err) == NUT_OK, "%s", err.message);
    const memory_job whole = {.out = file, .n_out = n};
    float *want = logits_with(&whole, NULL), *none = logits_with(&small, NULL),
          *with_low = logits_with(&small, &low), *with_high = logits_with(&small, &high);
    const double lost = apart(none, want, MAKE_N_VOCAB), left = apart(with_low, want, MAKE_N_VOCAB),
                 least = apart(with_high, want, MAKE_N_VOCAB);
    CHECK(left < lost && least < 0.6 * lost, "%g without, %g with rank 4, %g with 31", lost, left, least);
    memory_job no = {0};
    CHECK(correct(file, n, m, 0, &no, &err) == NUT_E_ARGUMENT && strstr(err.message, "at least 1"), "%s",
          err.message);
    CHECK(correct(file, n, m, 32, &no, &err) == NUT_E_ARGUMENT && strstr(err.message, "no low one"), "%s",
          err.message);
    CHECK(correct(file, n, other, 4, &no, &err) == NUT_E_ARGUMENT && strstr(err.message, "number of layers"),
          "%s", err.message);
    CHECK(correct(file, n, NULL, 4, &no, &err) == NUT_E_ARGUMENT, "no model");
    nut_model *same = load_job(&whole);
    CHECK(correct(file, n, same, 4, &no, &err) == NUT_E_ARGUMENT && strstr(err.message, "nothing to add"),
          "%s", err.message);
    free(want), free(none), free(with_low), free(with_high);
    nut_model_free(m), nut_model_free(other), nut_model_free(same);
    free(low.out), free(high.out), free(no.out), free(small.out), free(file);
}

/* W (n_rows, n_cols) of a file in F32, and what it has become, V; where A is one, B has W - V in half
 * floats, and nothing is elsewhere. */
static void check_column(const uint8_t *w_file, const gguf_tensor *w, const matrix *v, const float *a,
                         const float *b, size_t rank, size_t k) {
    const float *is = (const float *)(const void *)(w_file + w->offset);
    const size_t n_cols = (size_t)w->dims[0];
    size_t column = n_cols, n_ones = 0;
    for (size_t c = 0; c < n_cols; c++) {
        if (a[k * n_cols + c] == 1) column = c, n_ones++;
        CHECK(a[k * n_cols + c] == 0 || a[k * n_cols + c] == 1, "A has %g", (double)a[k * n_cols + c]);
    }
    if (!CHECK(n_ones == 1, "%zu ones in a row of A", n_ones)) return;
    for (size_t r = 0; r < w->dims[1]; r++) {
        float row[MOST * MOST];
        matrix_row(v, r, row);
        const float back = row[column] + b[r * rank + k], lost = is[r * n_cols + column] - row[column];
        CHECK(fabsf(back - is[r * n_cols + column]) <= fabsf(lost) * 0x1p-11f + 0x1p-25f,
              "row %zu of column %zu: %g, not %g", r, column, (double)back, (double)is[r * n_cols + column]);
    }
}

/* All numbers of a factor, which is in half floats. */
static float *factor_of(const memory_job *adapter, const gguf *g, const char *name, const char *end) {
    char whole[96];
    snprintf(whole, sizeof whole, "%s%s", name, end);
    const gguf_tensor *t = tensor_of(g, whole);
    float *out = calloc((size_t)(t->dims[0] * t->dims[1]), sizeof *out);
    const uint16_t *half = (const uint16_t *)(const void *)(adapter->out + t->offset);
    for (size_t i = 0; i < t->dims[0] * t->dims[1]; i++) out[i] = half_f16_to_f32(half[i]);
    return out;
}

static void test_columns(void) {
    enum { N = 6 };
    static const char *const names[] = {"blk.0.attn_q.weight", "blk.1.ffn_down.weight",
                                        "blk.2.attn_v.weight"};
    size_t n;
    uint8_t *file = model_file(FORMAT_F32, &n);
    memory_job small = {.file = {file}, .n_bytes = {n}}, few, most, no = {0};
    nut_error err = {0};
    CHECK(memory_job_round(&small, "q4_0", &err) == NUT_OK, "%s", err.message);
    nut_model *m = load_job(&small);
    const nut_correct_options some = {.changed = m, .columns = N}, all = {.changed = m, .columns = 31},
                              both = {.changed = m, .columns = 2, .rank = 2},
                              many = {.changed = m, .columns = 32};
    CHECK(correct_as(some, file, n, &few, &err) == NUT_OK && !few.n_wrong, "%s", err.message);
    CHECK(correct_as(all, file, n, &most, &err) == NUT_OK, "%s", err.message);
    const memory_job whole = {.out = file, .n_out = n};
    gguf source = header_of(&whole), g = header_of(&few);
    for (size_t i = 0; i < 3; i++) {
        const gguf_tensor *w = tensor_of(&source, names[i]);
        const linear *v = bind_linear(m, (gguf_str){names[i], strlen(names[i])});
        float *a = factor_of(&few, &g, names[i], ".lora_a"), *b = factor_of(&few, &g, names[i], ".lora_b");
        for (size_t k = 0; k < N; k++) check_column(file, w, &v->w, a, b, N, k);
        free(a), free(b);
    }
    CHECK(gguf_find(&g, "nutshell.correct.columns"), "metadata");
    float *want = logits_with(&whole, NULL), *none = logits_with(&small, NULL),
          *with_few = logits_with(&small, &few), *with_most = logits_with(&small, &most);
    const double lost = apart(none, want, MAKE_N_VOCAB), left = apart(with_few, want, MAKE_N_VOCAB),
                 least = apart(with_most, want, MAKE_N_VOCAB);
    CHECK(left < lost && least < 0.7 * lost, "%g without, %g with %d columns, %g with 31", lost, left, N,
          least);
    CHECK(correct_as(both, file, n, &no, &err) == NUT_E_ARGUMENT && strstr(err.message, "one of them"), "%s",
          err.message);
    CHECK(correct_as(many, file, n, &no, &err) == NUT_E_ARGUMENT && strstr(err.message, "as many columns"),
          "%s", err.message);
    free(want), free(none), free(with_few), free(with_most);
    gguf_free(&source), gguf_free(&g);
    nut_model_free(m);
    free(few.out), free(most.out), free(no.out), free(small.out), free(file);
}

int main(void) {
    test_eigen();
    check_sample(24, 40, low_rank_wide_values, low_rank_wide_plain, low_rank_wide_sums, 0);
    check_sample(40, 24, low_rank_tall_values, low_rank_tall_plain, low_rank_tall_sums, 0.003);
    check_columns(24, 40, low_rank_wide_columns);
    check_columns(40, 24, low_rank_tall_columns);
    test_memory();
    test_ranks();
    check_step("[{\"step\": \"low_rank\", \"share\": 0.3}]", 21);
    check_step("[{\"step\": \"low_rank\", \"share\": 0.3, \"by_layer\": true}]", 3);
    test_then_round();
    test_bad_recipes();
    test_correct();
    test_columns();
    return check_report();
}
