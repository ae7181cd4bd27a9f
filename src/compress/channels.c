/* The optimal brain surgeon for whole columns, and for groups of them. */
#include "compress/channels.h"

#include "base/error.h"
#include "base/mem.h"
#include "compress/factor.h"

#include <math.h>
#include <string.h>

typedef struct surgery {
    size_t n_rows, n_cols;
    size_t unit; // columns that go together
    const double *felt;
    float *weights;  // (n_rows, n_cols)
    double *inverse; // (n_cols, n_cols) H^-1; rows and columns of what went are 0
    bool *gone;      // (n_cols)
    double *share;   // (n_cols) of the error of the column that goes
    double *norms;   // (n_cols) squares of the weights' columns
    size_t column;   // that goes
} surgery;

static size_t parts_of(const surgery *g) {
    return g->n_cols / g->unit;
}

static double felt_of(const surgery *g, size_t row) {
    return g->felt ? g->felt[row] : 1;
}

static void square_norms(const surgery *g) {
    double *norms = g->norms;
    memset(norms, 0, g->n_cols * sizeof *norms);
    for (size_t r = 0; r < g->n_rows; r++) {
        const float *w = g->weights + r * g->n_cols;
        const double felt = felt_of(g, r);
        for (size_t j = 0; j < g->n_cols; j++) norms[j] += felt * (double)w[j] * (double)w[j];
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
    double *h = g->inverse + column * g->n_cols;
    g->column = column;
    for (size_t j = 0; j < g->n_cols; j++) g->share[j] = h[j] / h[column];
    threads_run(dense_team(d), member, g);
    memset(h, 0, g->n_cols * sizeof *h);
    g->gone[column] = true;
}

/* The columns of a part go one after the other. Returns what that costs. */
static double remove_part(dense *d, surgery *g, size_t part) {
    double cost = 0;
    for (size_t c = part * g->unit; c < (part + 1) * g->unit; c++) {
        double square = 0;
        for (size_t r = 0; r < g->n_rows; r++) {
            const double w = (double)g->weights[r * g->n_cols + c];
            square += felt_of(g, r) * w * w;
        }
        cost += square / g->inverse[c * g->n_cols + c];
        remove_column(d, g, c);
    }
    return cost;
}

/* ---- the part that costs least ---- */

/* What a part costs, found by a surgery on its own columns: others do not change that. */
static double try_part(dense *d, const surgery *g, surgery *trial, size_t part) {
    const size_t n = g->unit, from = part * n;
    for (size_t r = 0; r < g->n_rows; r++)
        memcpy(trial->weights + r * n, g->weights + r * g->n_cols + from, n * sizeof *g->weights);
    for (size_t k = 0; k < n; k++)
        memcpy(trial->inverse + k * n, g->inverse + (from + k) * g->n_cols + from, n * sizeof *g->inverse);
    memset(trial->gone, 0, n * sizeof *trial->gone);
    return remove_part(d, trial, 0);
}

static size_t cheapest(dense *d, const surgery *g, surgery *trial) {
    size_t best = parts_of(g);
    double least = 0;
    if (g->unit == 1) square_norms(g);
    for (size_t k = 0; k < parts_of(g); k++) {
        if (g->gone[k * g->unit]) continue;
        const double cost =
            g->unit == 1 ? g->norms[k] / g->inverse[k * g->n_cols + k] : try_part(d, g, trial, k);
        if (best == parts_of(g) || cost < least) best = k, least = cost;
    }
    return best;
}

/* losses may be NULL, and is as channels_losses has it. */
static nut_status operate(dense *d, const statistics *s, surgery *g, surgery *trial, size_t n_keep,
                          double *losses, nut_error *err) {
    double sum = 0;
    TRY(factor_inverse(d, factor_mean_hessian, s, g->n_cols, g->inverse, err));
    if (losses) *losses++ = 0;
    for (size_t n = parts_of(g); n > n_keep; n--) {
        sum += remove_part(d, g, cheapest(d, g, trial));
        if (losses) *losses++ = sum;
    }
    return NUT_OK;
}

/* W += E[e x^T] H^-1; in the inverse, what went is 0. */
static nut_status take_drift(dense *d, const channels_inputs *in, const surgery *g, nut_error *err) {
    const size_t rows = g->n_rows, cols = g->n_cols;
    const dense_product p = {.m = rows, .n = cols, .k = cols, .ldc = cols};
    double *change = mem_alloc(rows * cols * sizeof *change);
    if (!change) return error_memory(err, rows * cols * sizeof *change);
    dense_mul_f64(d, &p, (dense_f64){in->drift, cols, 1}, (dense_f64){g->inverse, cols, 1},
                  1 / (double)in->n_drift, change);
    for (size_t i = 0; i < rows * cols; i++)
        if (!g->gone[i % cols]) g->weights[i] += (float)change[i];
    mem_free(change);
    return NUT_OK;
}

static void close_surgery(surgery *g) {
    mem_free(g->inverse);
    mem_free(g->gone);
    mem_free(g->share);
    mem_free(g->norms);
}

static nut_status open_surgery(surgery *g, nut_error *err) {
    size_t bytes = 0;
    const size_t n = g->n_cols;
    const bool fits = size_mul(n, n * sizeof *g->inverse, &bytes);
    g->inverse = fits ? mem_alloc(bytes) : NULL;
    g->gone = mem_calloc(n, sizeof *g->gone);
    g->share = mem_alloc(n * sizeof *g->share);
    g->norms = mem_alloc(n * sizeof *g->norms);
    return g->inverse && g->gone && g->share && g->norms ? NUT_OK : error_memory(err, bytes);
}

/* A surgery and the trials of its parts, whose weights are in memory of their own. */
static nut_status open_both(surgery *g, surgery *trial, nut_error *err) {
    TRY(open_surgery(g, err));
    if (g->unit == 1) return NUT_OK;
    const size_t n = g->n_rows * g->unit; // no more than the weights
    *trial = (surgery){.n_rows = g->n_rows, .n_cols = g->unit, .unit = g->unit, .felt = g->felt};
    trial->weights = mem_alloc(n * sizeof *trial->weights);
    return trial->weights ? open_surgery(trial, err) : error_memory(err, n * sizeof *trial->weights);
}

static void close_both(surgery *g, surgery *trial) {
    close_surgery(g);
    close_surgery(trial);
    mem_free(trial->weights);
}

nut_status channels_remove(dense *d, const channels_inputs *in, size_t n_rows, size_t n_cols, float *weights,
                           size_t n_keep, uint32_t *kept, nut_error *err) {
    surgery trial = {0},
            g = {.n_rows = n_rows, .n_cols = n_cols, .unit = in->unit, .felt = in->felt, .weights = weights};
    nut_status status = open_both(&g, &trial, err);
    if (status == NUT_OK) status = operate(d, in->s, &g, &trial, n_keep, NULL, err);
    if (status == NUT_OK && in->drift) status = take_drift(d, in, &g, err);
    for (size_t k = 0; status == NUT_OK && k < n_cols / in->unit; k++)
        if (!g.gone[k * in->unit]) *kept++ = (uint32_t)k;
    close_both(&g, &trial);
    return status;
}

nut_status channels_losses(dense *d, const channels_inputs *in, size_t n_rows, size_t n_cols, float *weights,
                           size_t n_most, double *losses, nut_error *err) {
    surgery trial = {0},
            g = {.n_rows = n_rows, .n_cols = n_cols, .unit = in->unit, .felt = in->felt, .weights = weights};
    nut_status status = open_both(&g, &trial, err);
    if (status == NUT_OK) status = operate(d, in->s, &g, &trial, n_cols / in->unit - n_most, losses, err);
    close_both(&g, &trial);
    return status;
}
