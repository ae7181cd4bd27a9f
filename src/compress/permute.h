/*
 * Channels in another order, so that each n of m columns that a pattern keeps has weights worth keeping
 * (Zhang et al. 2024, "Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models",
 * ICLR, section 4.2): channels are dealt out by their scores, the best to a group of m each, then the next.
 * The paper's second stage, an assignment of what is left to groups, is not made. Only what reads the
 * channels of a feed-forward can be permuted for nothing: the rows that make them take the same order.
 * Inputs of other matrices are the residual, or heads whose columns rotate.
 */
#ifndef NUT_COMPRESS_PERMUTE_H
#define NUT_COMPRESS_PERMUTE_H

#include "compress/parts.h"
#include "evaluate/statistics.h"

/* order (n): the column that comes to each place. scores (n); `of` divides n. */
nut_status permute_order(const double *scores, size_t n, unsigned of, uint32_t *order, nut_error *err);

/* Puts the parts of a bound layer, whose weights are floats in memory, into the order p->kept of all of
 * them.
 */
nut_status permute_layer(const nut_model *m, uint32_t il, const parts *p, nut_error *err);

/* Statistics whose columns are those of `from` in another order, in memory of their own. */
typedef struct permuted_statistics {
    statistics s;
    double *memory; // from mem_alloc
} permuted_statistics;
/* order (from->n_cols). Sums of squares, sums and the Hessian, where they are there; no ranges. */
nut_status permute_statistics(const statistics *from, const uint32_t *order, permuted_statistics *out,
                              nut_error *err);

#endif
