/*
 * Figures of how well logits predict, and of how far they are from another model's. Logarithms are natural.
 */
#ifndef NUT_EVALUATE_FIGURES_H
#define NUT_EVALUATE_FIGURES_H

#include "nutshell_compress.h"

/* A row of logits (n), as the logarithms of probabilities are worked out of it. */
typedef struct figures_row {
    const float *logits;
    size_t n;
    double log_sum; // of e^logits
    size_t top;     // the first of the largest
} figures_row;

figures_row figures_of_row(const float *logits, size_t n);

static inline double figures_log_p(const figures_row *r, size_t id) {
    return (double)r->logits[id] - r->log_sum;
}

/* Of one token that is predicted by a model and by its reference. */
typedef struct figures_token {
    double nll, reference_nll; // of the token that came
    double kl; // Kullback-Leibler divergence of the model's probabilities from the reference's, sum p log
               // (p / q), at least 0
    bool same_top;  // both find the same token likeliest
    double flip;    // else: how much less likely, by the reference, the model's choice is than its own
    double delta_p; // of the token that came
} figures_token;

/* Both rows have the same n. */
figures_token figures_compare(const figures_row *model, const figures_row *reference, size_t id);

/* Sums over tokens, whose mean has a standard error. */
typedef struct figures_mean {
    uint64_t n;
    double sum, squares;
} figures_mean;

void figures_add(figures_mean *m, double x);
nut_estimate figures_estimate(const figures_mean *m);

/* The mean and its standard error after f, by the first-order rule: f(mean), |slope| * error. */
nut_estimate figures_scaled(nut_estimate e, double value, double slope);

/* A fraction of n trials, with Wilson's interval at 95 % (1927, JASA 22, 209-212). */
nut_fraction figures_fraction(uint64_t hits, uint64_t n);

/* Brings values (n > 0) into rising order. */
void figures_sort(float *values, size_t n);
/* The quantile q (0 .. 1) of sorted values, between neighbours as in llama-perplexity: that of index
 * q * (n - 1). */
double figures_quantile(const float *sorted, size_t n, double q);

#endif
