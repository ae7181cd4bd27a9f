/*
 * The weights that a mask leaves, fitted so that the matrix gives what it gave, whatever chose the mask: by
 * the alternating direction method of multipliers (Boza 2024, "Fast and Effective Weight Update for Pruned
 * Large Language Models", arXiv 2401.02938, algorithm 1): inputs are scaled to norm 1, a tenth is added to
 * the diagonal, the penalty is 1, and there are 20 rounds. All rows share one inverse.
 */
#ifndef NUT_COMPRESS_RECONSTRUCT_H
#define NUT_COMPRESS_RECONSTRUCT_H

#include "evaluate/statistics.h"
#include "kernels/dense.h"

/* weights (n_rows, n_cols) are `before` with a mask, and the fit afterwards; zeros stay. s has the Hessian
 * of the inputs. Memory: 24 n_cols^2 bytes and the weights four times. E_CORRUPT where the statistics are no
 * sums of squares. */
nut_status reconstruct(dense *d, const statistics *s, size_t n_rows, size_t n_cols, const float *before,
                       float *weights, nut_error *err);

#endif
