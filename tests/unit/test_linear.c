/*
 * What a linear carries: bias, scale of the input, sides, and the tap that sees inputs; compared with sums
 * in double computed here. The side is the test's own, a low-rank pair (Hu et al. 2021, arXiv 2106.09685):
 * the engine has the seam and no kind of side yet. Results must not depend on threads or on how many jobs go
 * together.
 */
#include "check.h"
#include "make_gguf.h"

#include "model/bind.h"
#include "run/linear.h"

#include <math.h>

enum { RANK = 3, N_BATCH = 9, SCRATCH = 2 * RANK };

typedef struct low_rank {
    const float *down; // (RANK, n_in)
    const float *up;   // (n_out, RANK)
    size_t n_in;
} low_rank;

static size_t low_rank_scratch(const linear_side *side) {
    (void)side;
    return RANK;
}

static void low_rank_prepare(const linear_side *side, const float *x, float *scratch) {
    const low_rank *p = side->data;
    for (size_t r = 0; r < RANK; r++) {
        scratch[r] = 0;
        for (size_t i = 0; i < p->n_in; i++) scratch[r] += p->down[r * p->n_in + i] * x[i];
    }
}

static void low_rank_add(const linear_side *side, const float *x, const float *scratch, size_t begin,
                         size_t end, float *y) {
    const low_rank *p = side->data;
    (void)x;
    for (size_t i = begin; i < end; i++)
        for (size_t r = 0; r < RANK; r++) y[i] += p->up[i * RANK + r] * scratch[r];
}

static const side_kind low_rank_kind = {"low rank", low_rank_scratch, low_rank_prepare, low_rank_add};

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

/* Row i of W (s * x) + b + up (down x), in double. */
static double expected(const linear *l, const float *x, size_t i) {
    float row[64];
    matrix_row(&l->w, i, row);
    double y = l->bias ? (double)l->bias[i] : 0;
    for (size_t c = 0; c < l->w.n_cols; c++)
        y += (double)row[c] * (double)x[c] * (l->input_scale ? (double)l->input_scale[c] : 1);
    for (const linear_side *side = l->sides; side; side = side->next) {
        const low_rank *p = side->data;
        for (size_t r = 0; r < RANK; r++)
            for (size_t c = 0; c < p->n_in; c++)
                y += (double)p->up[i * RANK + r] * (double)p->down[r * p->n_in + c] * (double)x[c];
    }
    return y;
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
    linears_run(&s, (linear_input){x, 64, terms}, jobs, 2, threads_count(ws->team) == 1 ? count_rows : NULL);
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
    const low_rank pair = {down, up, 64};
    const linear_side second = {&low_rank_kind, NULL, &pair}, first = {&low_rank_kind, &second, &pair};
    for (int with = 0; with < 8; with++)
        for (size_t n = 1; n <= N_BATCH; n += 4)
            for (unsigned terms = 1; terms <= 2; terms++) {
                f.up.bias = with & 1 ? bias : NULL;
                f.up.input_scale = with & 2 ? scale : NULL;
                f.up.sides = with & 4 ? &first : NULL;
                f.gate.bias = with == 5 ? bias : NULL;
                f.gate.input_scale = with == 2 ? scale : NULL; // shared, and not
                const double tolerance = id == FORMAT_F32 ? 1e-5 : terms == 2 ? 2e-3 : 3e-2;
                check_run(&f, n, terms, tolerance, with & 4 ? "with sides" : "without sides");
            }
    free(bias), free(scale), free(down), free(up);
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
        const low_rank pair = {down, up, 64};
        const linear_side side = {&low_rank_kind, NULL, &pair};
        const linear_job job = {&f.up, y};
        const forward_step s = step_of(f.s->seq.ws, NULL, 5);
        f.up.sides = &side;
        linears_run(&s, (linear_input){x, 64, 2}, &job, 1, NULL);
        if (!want)
            want = y;
        else
            CHECK(!memcmp(want, y, n_bytes), "%u threads give other bits", n_threads);
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
    }
    test_threads();
    return check_report();
}
