/*
 * Shares of weights by layer (Yin et al. 2024, "OWL", arXiv 2310.05175, section 3.2): layers of which more
 * weights stand out lose less. A weight stands out where |w| |x_c| (prune.h, wanda) is more than five times
 * the layer's mean; shares differ by 0.08 from the model's at most, as in the authors' tables.
 */
#ifndef NUT_COMPRESS_OWL_H
#define NUT_COMPRESS_OWL_H

#include "evaluate/statistics.h"

/* A layer's matrices together; starts as {0}. */
typedef struct owl_layer {
    double sum, n;    // of |w| |x_c|, and of weights
    double n_outside; // weights that stand out
} owl_layer;

/* To be called for each matrix of a layer, weights (n_rows, n_cols), and when all were seen for each again.
 */
void owl_add(owl_layer *l, const statistics *s, const float *weights, size_t n_rows, size_t n_cols);
void owl_count(owl_layer *l, const statistics *s, const float *weights, size_t n_rows, size_t n_cols);

/* shares (n) of the layers' weights that go; their mean is `share`, in (0, 1). */
void owl_shares(const owl_layer *layers, size_t n, double share, double *shares);

#endif
