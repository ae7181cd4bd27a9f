/*
 * Masks: which weights of a matrix become zero, and what the others make up for. Three metrics, and the
 * shares that they are compared in, are those of their papers:
 *
 *     magnitude   |w| in the whole matrix (Han et al. 2015, arXiv 1506.02626)
 *     wanda       |w| |x_c| in each row, |x_c| being the norm of the input's column (Sun et al. 2024, arXiv
 *                 2306.11695, equation 1)
 *     ria         (|w| / sum of its row + |w| / sum of its column) sqrt |x_c| in the whole matrix (Zhang et
 *                 al. 2024, "Plug-and-Play", equation 3 with a = 1/2)
 *     sparsegpt   w^2 / U_cc^2 in 128 columns, and later columns take the error of what was removed (Frantar
 *                 and Alistarh 2023, arXiv 2301.00774, algorithm 1; U as in factor.h)
 *
 * With a pattern n:m each m columns that follow each other keep n weights, in every row.
 */
#ifndef NUT_COMPRESS_PRUNE_H
#define NUT_COMPRESS_PRUNE_H

#include "evaluate/statistics.h"
#include "kernels/dense.h"

// clang-format off
#define PRUNE_METRICS(X)                     \
    X(magnitude, 0)                          \
    X(wanda,     STATISTICS_SQUARES)         \
    X(ria,       STATISTICS_SQUARES)         \
    X(sparsegpt, STATISTICS_HESSIAN)
// clang-format on

typedef enum prune_metric {
#define NUT_X(name, statistics) PRUNE_##name,
    PRUNE_METRICS(NUT_X)
#undef NUT_X
        PRUNE_METRIC_COUNT
} prune_metric;

typedef struct prune_options {
    prune_metric metric;
    double share;      // of the weights that become zero, where there is no pattern
    unsigned keep, of; // n and m of a pattern, n < m; of 0: none
} prune_options;

/* Kinds of statistics that a metric needs (evaluate/statistics.h). */
unsigned prune_statistics(prune_metric m);

/* Prunes weights (n_rows, n_cols) in place; n_cols is a multiple of o->of. The statistics are those of the
 * matrix' inputs; magnitude does not read them. Memory: the weights once more, for sparsegpt also 12
 * n_cols^2 bytes. E_CORRUPT where the statistics are no sums of squares. */
nut_status prune_matrix(dense *d, const prune_options *o, const statistics *s, size_t n_rows, size_t n_cols,
                        float *weights, nut_error *err);

/* Sums over columns of a metric's scores, into sums (n_cols); of sparsegpt wanda's. weights (n_rows, n_cols)
 * stay as they are. Memory: the weights once more. */
nut_status prune_column_scores(prune_metric metric, const statistics *s, size_t n_rows, size_t n_cols,
                               float *weights, double *sums, nut_error *err);

#endif
