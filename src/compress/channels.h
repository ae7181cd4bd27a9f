/*
 * Which inputs of a matrix go, and what the others make up for: the structured form of the optimal brain
 * surgeon (Kurtic et al. 2023, "ZipLM", arXiv 2302.04089, section 3.1). A part is a column, such as a
 * channel's, or several columns that go together, such as a head's. One by one goes the part S whose removal
 * costs least, tr(W_S [H^-1]_SS^-1 W_S^T), and the other columns take W_S [H^-1]_SS^-1 [H^-1]_S, so that
 * what stays is the least squares fit of the whole matrix on the inputs that are left. For one column the
 * cost is |W_j|^2 / [H^-1]_jj. Several columns are removed one after the other: their costs add up to the
 * cost of removing them at once.
 *
 * The same least squares can fit more: what layers before have lost (evaluate/drift.h), whose best map is
 * E[e x^T] H^-1 on the inputs that are left.
 */
#ifndef NUT_COMPRESS_CHANNELS_H
#define NUT_COMPRESS_CHANNELS_H

#include "evaluate/statistics.h"
#include "kernels/dense.h"

/* The inputs of a matrix (n_rows, n_cols), and what it is to give beside its old results. */
typedef struct channels_inputs {
    const statistics *s; // with the Hessian, to whose diagonal 0.003 of its mean is added, or more
                         // (factor_new)
    size_t unit;         // columns of a part, one behind the other; they divide n_cols
    const double *felt;  // (n_rows) how much errors of each result count; NULL: alike
    const double *drift; // (n_rows, n_cols) sums of e x^T over n_drift tokens (evaluate/drift.h): the
                         // columns that are left also give as much of e as they can; NULL: nothing
    size_t n_drift;
} channels_inputs;

/* Keeps n_keep (1 .. n_cols / unit) parts of weights (n_rows, n_cols), and makes all other columns 0. The
 * kept columns change, so that the product stays as near as it can. kept (n_keep) receives the parts'
 * numbers, ascending. Memory: 16 n_cols^2 bytes. E_CORRUPT where the statistics are no sums of squares. */
nut_status channels_remove(dense *d, const channels_inputs *in, size_t n_rows, size_t n_cols, float *weights,
                           size_t n_keep, uint32_t *kept, nut_error *err);

/* losses[k] (n_most + 1): the mean square, counted by `felt`, of what the product loses with k parts, those
 * that channels_remove takes; n_most < n_cols / unit. Of `in` drift is not read. The weights are
 * overwritten. Memory and errors are the same. */
nut_status channels_losses(dense *d, const channels_inputs *in, size_t n_rows, size_t n_cols, float *weights,
                           size_t n_most, double *losses, nut_error *err);

#endif
