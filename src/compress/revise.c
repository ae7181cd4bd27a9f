/* Weights that go and come back, row by row. */
#include "compress/revise.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>

enum { ROUNDS = 50 };

static const double enough = 0.1; // of what a row lacks

typedef struct revision {
    size_t n_rows, n_cols;
    unsigned of;
    const float *before; // (n_rows, n_cols)
    float *weights;      // (n_rows, n_cols)
    double *inputs;      // (3, n_cols) mean, variance and norm of a column
} revision;

/* What the weight of a column gives in the mean, in the direction of e. */
static double gives(const revision *v, const float *row, size_t c, double e) {
    const double x = (double)row[c] * v->inputs[c];
    return e < 0 ? -x : x;
}

/* The column of the pruned weight that is restored; n_cols if restoring none lowers the error. */
static size_t find_back(const revision *v, const float *before, const float *w, double e) {
    size_t best = v->n_cols;
    double most = 0;
    for (size_t c = 0; c < v->n_cols; c++) {
        const double variance = v->inputs[v->n_cols + c];
        if (w[c] != 0.0f || !(variance > 0)) continue;
        const double score = gives(v, before, c, e) / variance;
        if (score > most) best = c, most = score;
    }
    return best;
}

/* The column of [begin, end) whose weight goes; end: none would help. */
static size_t find_gone(const revision *v, const float *w, size_t begin, size_t end, double e) {
    size_t best = end;
    double least = 0;
    for (size_t c = begin; c < end; c++) {
        if (w[c] == 0.0f || !(gives(v, w, c, e) < 0)) continue;
        const double score = fabs((double)w[c]) * v->inputs[2 * v->n_cols + c];
        if (best == end || score < least) best = c, least = score;
    }
    return best;
}

static double lacking(const revision *v, const float *before, const float *w) {
    double e = 0;
    for (size_t c = 0; c < v->n_cols; c++)
        if (w[c] == 0.0f) e += (double)before[c] * v->inputs[c];
    return e;
}

static void revise_row(const revision *v, const float *before, float *w) {
    double e = lacking(v, before, w);
    for (int k = 0; k < ROUNDS && fabs(e) > enough; k++) {
        const size_t back = find_back(v, before, w, e);
        if (back == v->n_cols) return;
        const size_t begin = v->of ? back / v->of * v->of : 0, end = v->of ? begin + v->of : v->n_cols;
        const size_t gone = find_gone(v, w, begin, end, e);
        if (gone == end) return;
        const double after = e - (double)before[back] * v->inputs[back] + (double)w[gone] * v->inputs[gone];
        if ((after < 0) != (e < 0)) return;
        w[back] = before[back], w[gone] = 0, e = after;
    }
}

static void member(void *ctx, unsigned i, unsigned n) {
    const revision *v = ctx;
    size_t begin, end;
    threads_split(v->n_rows, i, n, &begin, &end);
    for (size_t r = begin; r < end; r++)
        revise_row(v, v->before + r * v->n_cols, v->weights + r * v->n_cols);
}

nut_status revise_mask(dense *d, const statistics *s, unsigned of, size_t n_rows, size_t n_cols,
                       const float *before, float *weights, nut_error *err) {
    revision v = {.n_rows = n_rows, .n_cols = n_cols, .of = of, .before = before, .weights = weights};
    v.inputs = mem_calloc(3 * n_cols, sizeof *v.inputs);
    if (!v.inputs) return error_memory(err, 3 * n_cols * sizeof *v.inputs);
    for (size_t c = 0; c < n_cols; c++) {
        const double mean = s->sum[c] / (double)s->n_tokens,
                     square = s->sum_squares[c] / (double)s->n_tokens;
        v.inputs[c] = mean;
        v.inputs[n_cols + c] = square - mean * mean;
        v.inputs[2 * n_cols + c] = sqrt(square);
    }
    threads_run(dense_team(d), member, &v);
    mem_free(v.inputs);
    return NUT_OK;
}
