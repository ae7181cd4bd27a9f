/*
 * The factor of a Hessian that rounding with feedback needs. For H = sum of x x^T over the inputs x of a
 * matrix, GPTQ (Frantar et al. 2023, arXiv 2210.17323, section 3.3) takes the upper Cholesky factor U of
 * H^-1. Its inverse R = U^-1 is upper triangular too, H = R R^T, and comes from H itself by one
 * decomposition that begins at the last column: no inverse is computed. Of U only the diagonal is needed, 1
 * / R_jj. Pruning needs U, or the whole inverse.
 */
#ifndef NUT_COMPRESS_FACTOR_H
#define NUT_COMPRESS_FACTOR_H

#include "evaluate/statistics.h"
#include "kernels/dense.h"

typedef struct factor {
    size_t n;
    double *r;      // (n, n) R; what is below the diagonal means nothing
    double damping; // that was added to the diagonal, as a part of its mean
} factor;

/* Element (i, j) of H, i <= j. */
typedef double factor_at(const void *ctx, size_t i, size_t j);

#define FACTOR_DAMPING 0.003

/* Where H is not positive definite with FACTOR_DAMPING of its mean diagonal added, more is. A column that no
 * input uses has the spread of the damping alone. E_CORRUPT where H has no positive mean, or numbers that
 * are none. Memory: 8 n^2 bytes, those of the factor. */
nut_status factor_new(dense *d, factor_at *at, const void *ctx, size_t n, factor *out, nut_error *err);
void factor_free(factor *f);
/* A factor_at of the mean Hessian; ctx is the statistics. */
factor_at factor_mean_hessian;
/* R becomes U = R^-1, upper triangular; H^-1 = U^T U. What is below the diagonal stays as it is. */
nut_status factor_invert(factor *f, nut_error *err);

/* H^-1 whole, into out (n, n). Memory: 8 n^2 bytes more. */
nut_status factor_inverse(dense *d, factor_at *at, const void *ctx, size_t n, double *out, nut_error *err);

/* U_jj: the deviation that an error in column j costs at the least. */
static inline double factor_spread(const factor *f, size_t j) {
    return 1 / f->r[j * f->n + j];
}

/* The share of column i's error that column j takes, j > i. */
static inline double factor_share(const factor *f, size_t i, size_t j) {
    return f->r[i * f->n + j] / f->r[j * f->n + j];
}

#endif
