/* Weights that stand out, and shares that follow from their number. */
#include "compress/owl.h"

#include <math.h>

static const double stands_out = 5, most_apart = 0.08; // M and lambda of the paper

static double norm_of(const statistics *s, size_t c) {
    return sqrt(s->sum_squares[c] / (double)s->n_tokens);
}

void owl_add(owl_layer *l, const statistics *s, const float *weights, size_t n_rows, size_t n_cols) {
    for (size_t c = 0; c < n_cols; c++) {
        double sum = 0;
        for (size_t r = 0; r < n_rows; r++) sum += fabs((double)weights[r * n_cols + c]);
        l->sum += sum * norm_of(s, c);
    }
    l->n += (double)n_rows * (double)n_cols;
}

void owl_count(owl_layer *l, const statistics *s, const float *weights, size_t n_rows, size_t n_cols) {
    const double border = l->n > 0 ? stands_out * l->sum / l->n : 0;
    for (size_t c = 0; c < n_cols; c++)
        for (size_t r = 0; r < n_rows; r++)
            l->n_outside += fabs((double)weights[r * n_cols + c]) * norm_of(s, c) > border;
}

static double part_of(const owl_layer *l) {
    return l->n > 0 ? l->n_outside / l->n : 0;
}

void owl_shares(const owl_layer *layers, size_t n, double share, double *shares) {
    double least = INFINITY, most = 0, mean = 0;
    const double room = fmin(share, 1 - share) / 2, apart = fmin(most_apart, room);
    for (size_t i = 0; i < n; i++) {
        least = fmin(least, part_of(&layers[i]));
        most = fmax(most, part_of(&layers[i]));
    }
    for (size_t i = 0; i < n; i++) {
        shares[i] = most > least ? 2 * apart * (part_of(&layers[i]) - least) / (most - least) : 0;
        mean += shares[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) shares[i] = share - (shares[i] - mean);
}
