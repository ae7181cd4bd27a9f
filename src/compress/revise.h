/*
 * A mask that is revised without training (Zhang et al. 2024, "Dynamic Sparse No Training", arXiv
 * 2310.08915, section 3.2 and algorithm 1). What a row lacks in the mean is e = sum of w_c E[x_c] over the
 * weights that went. While |e| is more than 0.1, in 50 rounds at most, the weight comes back whose
 * w_c E[x_c] / Var[x_c] is largest in the direction of e, and of those that are against it the one with the
 * least |w_c| |x_c| goes. A round that would turn the sign of e is not made.
 */
#ifndef NUT_COMPRESS_REVISE_H
#define NUT_COMPRESS_REVISE_H

#include "evaluate/statistics.h"
#include "kernels/dense.h"

/* weights (n_rows, n_cols) are `before` with a mask; each row keeps as many as it has. of: so do each `of`
 * columns that follow each other; 0: the row alone. s has sums of the inputs (STATISTICS_RANGES). Memory: 24
 * n_cols bytes. */
nut_status revise_mask(dense *d, const statistics *s, unsigned of, size_t n_rows, size_t n_cols,
                       const float *before, float *weights, nut_error *err);

#endif
