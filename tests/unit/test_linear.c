/*
 * What a linear carries: bias, scale of the input, sides, and the tap that sees inputs; compared with sums
 * in double computed here. Sides are low-rank pairs (Hu et al. 2021, arXiv 2106.09685), or a matrix in front
 * of the linear's own. Results must not depend on threads or on how many jobs go together.
 */
#include "check.h"
#include "make_gguf.h"

#include "model/bind.h"
#include "run/linear.h"

#include <math.h>

enum { RANK = 8, N_BATCH = 9, SCRATCH = 400 };

/* A packed matrix of floats; free its data. */
static matrix packed(size_t n_rows, size_t n_cols, const float *x) {
    matrix w = {.format = &format_table[FORMAT_F32], .n_rows = n_rows, .n_cols = n_cols};
    w.data = aligned_alloc(64, (matrix_bytes(&w) + 63) / 64 * 64);
    memset(w.data, 0, matrix_bytes(&w));
    for (size_t r = 0; r < n_rows; r++)
        w.format->pack(matrix_group(&w, r), (uint32_t)(r % FORMAT_LANES), 0, n_cols,
                       (const uint8_t *)(x + r * n_cols));
    return w;
}

/* A model whose first layer's up and gate are the linears of the test. */
typedef struct fixture {
    nut_model *m;
    nut_session *s;
    linear up, gate; // copies, to be changed
    size_t n_in, n_out;
    rng random;
} fixture;

static void fixture_open(fixture *f, format_id id, uint32_t n_threads) {
    make_gguf g =
        make_model(&(make_options){.matrices = id, .n_ff = 100 - 4 * (id != FORMAT_F32), .seed = 8});
    size_t n;
    uint8_t *file = make_file(&g, &n);
    nut_error err = {NUT_OK, ""};
    void *up, *gate;
    const nut_session_options o = {.n_ctx = 32, .n_threads = n_threads, .n_batch = N_BATCH};
    *f = (fixture){.n_in = 64};
    CHECK(make_load(file, n, 0, NULL, &f->m, &err) == NUT_OK, "%s", err.message);
    f->m->n_side_scratch = SCRATCH, f->m->n_scaled = 64;
    CHECK(nut_session_new(f->m, &o, &f->s, &err) == NUT_OK, "%s", err.message);
    bind_find(f->m, (gguf_str){"blk.0.ffn_up.weight", 19}, &up);
    bind_find(f->m, (gguf_str){"blk.0.ffn_gate.weight", 21}, &gate);
    f->up = (linear){.w = *(const matrix *)up}, f->gate = (linear){.w = *(const matrix *)gate};
    f->n_out = f->up.w.n_rows;
    rng_seed(&f->random, 12);
    free(file);
    make_free(&g);
}

static void fixture_close(fixture *f) {
    nut_session_free(f->s);
    nut_model_free(f->m);
}

static float *random_floats(fixture *f, size_t n, float size) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = ((float)rng_f64(&f->random) * 2 - 1) * size;
    return x;
}

/* Row i of a product, in double. */
static double row_product(const matrix *w, size_t i, const double *x) {
    float row[64];
    double y = 0;
    matrix_row(w, i, row);
    for (size_t c = 0; c < w->n_cols; c++) y += (double)row[c] * x[c];
    return y;
}

/* Row i of W (s * x) + b + B (A x), or of W (A x), in double. */
static double expected(const linear *l, const float *given, size_t i) {
    double x[64], scaled[64], low[RANK], y = l->bias ? (double)l->bias[i] : 0;
    for (size_t c = 0; c < 64; c++) {
        x[c] = (double)given[c];
        scaled[c] = x[c] * (l->input_scale ? (double)l->input_scale[c] : 1);
    }
    for (const linear_side *side = &l->side; side; side = side->next) {
        for (size_t r = 0; r < RANK && side->a.format; r++) low[r] = row_product(&side->a, r, x);
        if (side->b.format) y += row_product(&side->b, i, low);
    }
    if (!linear_has_inner(l)) return y + row_product(&l->w, i, scaled);
    for (size_t r = 0; r < RANK; r++) low[r] = row_product(&l->side.a, r, x);
    return y + row_product(&l->w, i, low);
}

/* The largest difference of a job's results from the expected ones, relative to the largest result. */
static double worst_of(const linear_job *job, const float *x, size_t n) {
    const size_t width = run_pad8(job->l->w.n_rows);
    double worst = 0, most = 0;
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < job->l->w.n_rows; i++) {
            const double want = expected(job->l, x + t * 64, i);
            worst = fmax(worst, fabs((double)job->y[t * width + i] - want));
            most = fmax(most, fabs(want));
        }
    return worst / most;
}

typedef struct seen {
    const linear *l[4];
    const float *x[4];
    size_t n, n_tokens;
    bool again[4];
} seen;

static void see(void *ctx, const linear *l, const float *x, size_t n_tokens, bool again) {
    seen *s = ctx;
    s->again[s->n] = again;
    s->l[s->n] = l, s->x[s->n++] = x, s->n_tokens = n_tokens;
}

static size_t then_rows;
static void count_rows(const forward_step *s, size_t t, size_t begin, size_t end) {
    (void)s;
    if (t == 0) then_rows += end - begin;
}

/* n tokens through both linears at once. */
static void check_run(fixture *f, size_t n, unsigned terms, double tolerance, const char *what) {
    workspace *ws = f->s->seq.ws;
    const size_t width = run_pad8(f->n_out);
    float *x = random_floats(f, n * 64, 2), *y = malloc(4 * n * width * sizeof *y);
    const linear_job jobs[] = {{&f->up, y}, {&f->gate, y + 2 * n * width}};
    const forward_step s = step_of(ws, NULL, n);
    seen tapped = {.n = 0};
    ws->tap = see, ws->tap_ctx = &tapped;
    then_rows = 0;
    linears_run(&s, (linear_input){x, 64, terms, false}, jobs, 2,
                threads_count(ws->team) == 1 ? count_rows : NULL);
    ws->tap = NULL;
    for (int j = 0; j < 2; j++) {
        const double worst = worst_of(&jobs[j], x, n);
        CHECK(worst <= tolerance, "%s, %zu tokens, %u terms, job %d: %g", what, n, terms, j, worst);
    }
    CHECK(tapped.n == 2 && tapped.l[0] == &f->up && tapped.x[1] == x && tapped.n_tokens == n &&
              !tapped.again[0] && tapped.again[1],
          "the tap sees inputs");
    CHECK(threads_count(ws->team) > 1 || then_rows == f->n_out, "%zu rows are gone on with", then_rows);
    free(x), free(y);
}

static void test_kinds(format_id id, uint32_t n_threads) {
    fixture f;
    fixture_open(&f, id, n_threads);
    float *bias = random_floats(&f, f.n_out, 1), *scale = random_floats(&f, 64, 2);
    float *down = random_floats(&f, RANK * 64, 0.3f), *up = random_floats(&f, f.n_out * RANK, 0.3f);
    const linear_side second = {.a = packed(RANK, 64, down), .b = packed(f.n_out, RANK, up)};
    linear_side first = second;
    first.next = &second;
    for (int with = 0; with < 8; with++)
        for (size_t n = 1; n <= N_BATCH; n += 4)
            for (unsigned terms = 1; terms <= 2; terms++) {
                f.up.bias = with & 1 ? bias : NULL;
                f.up.input_scale = with & 2 ? scale : NULL;
                f.up.side = with & 4 ? first : (linear_side){0};
                f.gate.bias = with == 5 ? bias : NULL;
                f.gate.input_scale = with == 2 ? scale : NULL; // shared, and not
                const double tolerance = id == FORMAT_F32 ? 1e-5 : terms == 2 ? 2e-3 : 3e-2;
                check_run(&f, n, terms, tolerance, with & 4 ? "with sides" : "without sides");
            }
    free(first.a.data), free(first.b.data);
    free(bias), free(scale), free(down), free(up);
    fixture_close(&f);
}

/* A matrix in front of the linear's own, beside a side that reads what both are given. */
static void test_inner(uint32_t n_threads) {
    fixture f;
    fixture_open(&f, FORMAT_F32, n_threads);
    float *down = random_floats(&f, RANK * 64, 0.3f), *up = random_floats(&f, f.n_out * RANK, 0.3f);
    const linear_side beside = {.a = packed(RANK, 64, down), .b = packed(f.n_out, RANK, up)};
    const matrix inner = packed(RANK, 64, down), outer = packed(f.n_out, RANK, up);
    for (int with = 0; with < 2; with++)
        for (size_t n = 1; n <= N_BATCH; n += 4)
            for (unsigned terms = 1; terms <= 2; terms++) {
                f.up.w = outer;
                f.up.side = (linear_side){.a = inner, .next = with ? &beside : NULL};
                check_run(&f, n, terms, 1e-5, with ? "with an A in front and a side" : "with an A in front");
            }
    free(inner.data), free(outer.data), free(beside.a.data), free(beside.b.data);
    free(down), free(up);
    fixture_close(&f);
}

/* The same bits with any number of threads. */
static void test_threads(void) {
    float *want = NULL;
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads++) {
        fixture f;
        fixture_open(&f, FORMAT_Q8_0, n_threads);
        const size_t width = run_pad8(f.n_out), n_bytes = 5 * width * sizeof(float);
        float *x = random_floats(&f, 5 * 64, 1), *down = random_floats(&f, RANK * 64, 1),
              *up = random_floats(&f, f.n_out * RANK, 1), *y = calloc(10 * width, sizeof *y);
        const linear_job job = {&f.up, y};
        const forward_step s = step_of(f.s->seq.ws, NULL, 5);
        f.up.side = (linear_side){.a = packed(RANK, 64, down), .b = packed(f.n_out, RANK, up)};
        linears_run(&s, (linear_input){x, 64, 2, false}, &job, 1, NULL);
        if (!want)
            want = y;
        else
            CHECK(!memcmp(want, y, n_bytes), "%u threads give other bits", n_threads);
        free(f.up.side.a.data), free(f.up.side.b.data);
        free(x), free(down), free(up);
        if (y != want) free(y);
        fixture_close(&f);
    }
    free(want);
}

int main(void) {
    for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
        test_kinds(FORMAT_F32, n_threads);
        test_kinds(FORMAT_Q8_0, n_threads);
        test_inner(n_threads);
    }
    test_threads();
    return check_report();
}
