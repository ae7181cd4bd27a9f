/* ADMM on a fixed mask. */
#include "compress/reconstruct.h"

#include "base/error.h"
#include "base/mem.h"
#include "compress/factor.h"

#include <math.h>

enum { ROUNDS = 20 };

static const double penalty = 1, added = 0.1; // rho; and what is added to the diagonal

typedef struct fit {
    dense *d;
    const statistics *s;
    size_t n_rows, n_cols;
    double *norms;  // (n_cols) of the inputs; 1 where a column has none
    double *square; // (n_cols, n_cols) (H + penalty)^-1, then unused
    float *hessian; // (n_cols, n_cols) with what is added, of scaled inputs
    float *inverse; // (n_cols, n_cols)
    float *goal;    // (n_rows, n_cols) before H
    float *w, *u;   // (n_rows, n_cols) weights without the mask, and multipliers
    float *sum;     // (n_rows, n_cols)
} fit;

static double scaled(const fit *f, size_t i, size_t j) {
    const double h = statistics_hessian(f->s, i, j) / (double)f->s->n_tokens / (f->norms[i] * f->norms[j]);
    return i == j && !(h > 0) ? 1 : h;
}

/* So that the matrix is H + penalty once factor_new has added what it adds to the diagonal, whose mean is 1
 * before. */
static double with_penalty(const void *ctx, size_t i, size_t j) {
    const double all = added + penalty, rest = (all - FACTOR_DAMPING) / (1 + FACTOR_DAMPING);
    return scaled(ctx, i, j) + (i == j ? rest : 0);
}

static void scale_inputs(fit *f) {
    const size_t n = f->n_cols;
    for (size_t i = 0; i < n; i++) {
        const double square = statistics_hessian(f->s, i, i) / (double)f->s->n_tokens;
        f->norms[i] = square > 0 ? sqrt(square) : 1;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            f->hessian[i * n + j] = (float)(scaled(f, i, j) + (i == j ? added : 0));
}

static void times(const fit *f, const float *a, const float *square, float *out) {
    const dense_product p = {.m = f->n_rows, .n = f->n_cols, .k = f->n_cols, .ldc = f->n_cols};
    dense_mul_f32(f->d, &p, (dense_f32){a, f->n_cols, 1}, (dense_f32){square, f->n_cols, 1}, 1, out);
}

/* Z = mask (W + U); U += W - Z; W = (goal + penalty (Z - U)) inverse */
static void run_round(const fit *f, const float *mask) {
    for (size_t i = 0; i < f->n_rows * f->n_cols; i++) {
        const float z = mask[i] != 0.0f ? f->w[i] + f->u[i] : 0;
        f->u[i] += f->w[i] - z;
        f->sum[i] = f->goal[i] + (float)penalty * (z - f->u[i]);
    }
    times(f, f->sum, f->inverse, f->w);
}

static nut_status run(fit *f, const float *before, float *weights, nut_error *err) {
    const size_t rows = f->n_rows, cols = f->n_cols;
    scale_inputs(f);
    TRY(factor_inverse(f->d, with_penalty, f, cols, f->square, err));
    for (size_t i = 0; i < cols * cols; i++) f->inverse[i] = (float)f->square[i];
    for (size_t i = 0; i < rows * cols; i++) f->w[i] = before[i] * (float)f->norms[i % cols];
    times(f, f->w, f->hessian, f->goal);
    for (int k = 0; k < ROUNDS; k++) run_round(f, weights);
    for (size_t i = 0; i < rows * cols; i++)
        if (weights[i] != 0.0f) weights[i] = (f->w[i] + f->u[i]) / (float)f->norms[i % cols];
    return NUT_OK;
}

static nut_status take_memory(fit *f, nut_error *err) {
    size_t square = 0, all = 0;
    const bool fits = size_mul(f->n_cols, f->n_cols, &square) && size_mul(f->n_rows, f->n_cols, &all);
    if (!fits) return error_memory(err, UINT64_MAX);
    f->norms = mem_calloc(f->n_cols, sizeof *f->norms);
    f->square = mem_calloc(square, sizeof *f->square);
    f->hessian = mem_calloc(square, sizeof *f->hessian);
    f->inverse = mem_calloc(square, sizeof *f->inverse);
    f->goal = mem_calloc(all, sizeof *f->goal);
    f->w = mem_calloc(all, sizeof *f->w);
    f->u = mem_calloc(all, sizeof *f->u);
    f->sum = mem_calloc(all, sizeof *f->sum);
    if (f->norms && f->square && f->hessian && f->inverse && f->goal && f->w && f->u && f->sum)
        return NUT_OK;
    return error_memory(err, 16 * ((uint64_t)square + all));
}

nut_status reconstruct(dense *d, const statistics *s, size_t n_rows, size_t n_cols, const float *before,
                       float *weights, nut_error *err) {
    fit f = {.d = d, .s = s, .n_rows = n_rows, .n_cols = n_cols};
    nut_status status = take_memory(&f, err);
    if (status == NUT_OK) status = run(&f, before, weights, err);
    mem_free(f.norms);
    mem_free(f.square);
    mem_free(f.hessian);
    mem_free(f.inverse);
    mem_free(f.goal);
    mem_free(f.w);
    mem_free(f.u);
    mem_free(f.sum);
    return status;
}
