/*
 * The factor of a Hessian that rounding with feedback needs. For H = sum of x x^T over the inputs x of a
 * matrix, GPTQ (Frantar et al. 2023, arXiv 2210.17323, section 3.3) takes the upper Cholesky factor U of
 * H^-1. Its inverse R = U^-1 is upper triangular too, H = R R^T, and comes from H itself by one
 * decomposition that begins at the last column: no inverse is computed. Of U only the diagonal is needed, 1
 * / R_jj.
 */
#ifndef NUT_COMPRESS_FACTOR_H
#define NUT_COMPRESS_FACTOR_H

#include "kernels/dense.h"

typedef struct factor {
    size_t n;
    float *feedback; // (n, n) row i, from i + 1 on: R_ij / R_jj, the share of column i's error that column j
                     // takes; what is below is 0 and the diagonal 1
    float *spread;   // (n) U_jj = 1 / R_jj: the deviation that an error in column j costs at the least
    double damping;  // that was added to the diagonal, as a part of its mean
} factor;

/* h (n, n): its upper half is read. Where H is not positive definite with 0.003 of its mean diagonal added,
 * more is. A column that no input uses has the spread of the damping alone. E_CORRUPT where h has no
 * positive mean, or numbers that are none. Memory: 8 n^2 bytes while it works. */
nut_status factor_new(dense *d, const float *h, size_t n, factor *out, nut_error *err);
void factor_free(factor *f);

#endif
