/*
 * Which inputs of a matrix go, and what the others make up for: the structured form of the optimal brain
 * surgeon (Kurtic et al. 2023, "ZipLM", arXiv 2302.04089, section 3.1, with groups of one column). One by
 * one goes the column whose removal costs least, |W_j|^2 / [H^-1]_jj, and the others take
 * W_j [H^-1]_j / [H^-1]_jj, so that what stays is the least squares fit of the whole matrix on the inputs
 * that are left.
 */
#ifndef NUT_COMPRESS_CHANNELS_H
#define NUT_COMPRESS_CHANNELS_H

#include "evaluate/statistics.h"
#include "kernels/dense.h"

/* Keeps n_keep (1 .. n_cols) columns of weights (n_rows, n_cols), and makes all others 0. The kept columns
 * change, so that the product stays as near as it can. kept (n_keep) receives their numbers, ascending. s
 * has the Hessian of the matrix' inputs, to whose diagonal 0.003 of its mean is added, or more (factor_new).
 * Memory: 16 n_cols^2 bytes. E_CORRUPT where the statistics are no sums of squares. */
nut_status channels_remove(dense *d, const statistics *s, size_t n_rows, size_t n_cols, float *weights,
                           size_t n_keep, uint32_t *kept, nut_error *err);

#endif
