/* The optimal brain surgeon for whole columns. */
#include "compress/channels.h"

#include "base/error.h"
#include "base/mem.h"
#include "compress/factor.h"

#include <math.h>
#include <string.h>

typedef struct surgery {
    size_t n_rows, n_cols;
    float *weights;  // (n_rows, n_cols)
    double *inverse; // (n_cols, n_cols) H^-1; rows and columns of what went are 0
    bool *gone;      // (n_cols)
    double *share;   // (n_cols) of the error of the column that goes
    size_t column;   // that goes
} surgery;

/* The product U^T U, symmetric. */
static nut_status make_inverse(dense *d, const statistics *s, surgery *g, nut_error *err) {
    factor f = {0};
    const size_t n = g->n_cols;
    nut_status status = factor_new(d, factor_mean_hessian, s, n, &f, err);
    if (status == NUT_OK) status = factor_invert(&f, err);
    for (size_t i = 0; status == NUT_OK && i < n; i++) memset(f.r + i * n, 0, i * sizeof *f.r);
    const dense_product p = {.m = n, .n = n, .k = n, .ldc = n};
    if (status == NUT_OK)
        dense_mul_f64(d, &p, (dense_f64){f.r, 1, n}, (dense_f64){f.r, n, 1}, 1, g->inverse);
    factor_free(&f);
    return status;
}

static size_t cheapest(const surgery *g, const double *norms) {
    size_t best = g->n_cols;
    double least = 0;
    for (size_t j = 0; j < g->n_cols; j++) {
        if (g->gone[j]) continue;
        const double cost = norms[j] / g->inverse[j * g->n_cols + j];
        if (best == g->n_cols || cost < least) best = j, least = cost;
    }
    return best;
}

static void square_norms(const surgery *g, double *norms) {
    memset(norms, 0, g->n_cols * sizeof *norms);
    for (size_t r = 0; r < g->n_rows; r++) {
        const float *w = g->weights + r * g->n_cols;
        for (size_t j = 0; j < g->n_cols; j++) norms[j] += (double)w[j] * (double)w[j];
    }
}

/* Rows of the weights and of H^-1 give up what the column is. */
static void member(void *ctx, unsigned i, unsigned n) {
    const surgery *g = ctx;
    const size_t cols = g->n_cols, c = g->column;
    size_t begin, end;
    threads_split(g->n_rows, i, n, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        float *w = g->weights + r * cols;
        const float by = w[c];
        for (size_t j = 0; j < cols; j++) w[j] -= by * (float)g->share[j];
        w[c] = 0;
    }
    threads_split(cols, i, n, &begin, &end);
    for (size_t k = begin; k < end; k++) {
        double *h = g->inverse + k * cols;
        const double by = h[c];
        if (g->gone[k] || k == c) continue;
        for (size_t j = 0; j < cols; j++) h[j] -= by * g->share[j];
        h[c] = 0;
    }
}

static void remove_column(dense *d, surgery *g, size_t column) {
    const double *h = g->inverse + column * g->n_cols;
    g->column = column;
    for (size_t j = 0; j < g->n_cols; j++) g->share[j] = h[j] / h[column];
    threads_run(dense_team(d), member, g);
    g->gone[column] = true;
}

static nut_status operate(dense *d, const statistics *s, surgery *g, double *norms, size_t n_keep,
                          nut_error *err) {
    TRY(make_inverse(d, s, g, err));
    for (size_t n = g->n_cols; n > n_keep; n--) {
        square_norms(g, norms);
        remove_column(d, g, cheapest(g, norms));
    }
    return NUT_OK;
}

nut_status channels_remove(dense *d, const statistics *s, size_t n_rows, size_t n_cols, float *weights,
                           size_t n_keep, uint32_t *kept, nut_error *err) {
    surgery g = {.n_rows = n_rows, .n_cols = n_cols, .weights = weights};
    size_t bytes = 0;
    const bool fits = size_mul(n_cols, n_cols * sizeof *g.inverse, &bytes);
    double *norms = mem_alloc(n_cols * sizeof *norms);
    g.inverse = fits ? mem_alloc(bytes) : NULL;
    g.gone = mem_calloc(n_cols, sizeof *g.gone);
    g.share = mem_alloc(n_cols * sizeof *g.share);
    nut_status status = norms && g.inverse && g.gone && g.share ? operate(d, s, &g, norms, n_keep, err)
                                                                : error_memory(err, bytes);
    for (size_t j = 0; status == NUT_OK && j < n_cols; j++)
        if (!g.gone[j]) *kept++ = (uint32_t)j;
    mem_free(norms);
    mem_free(g.inverse);
    mem_free(g.gone);
    mem_free(g.share);
    return status;
}
