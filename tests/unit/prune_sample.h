/* The matrix and the inputs of tests/golden/prune.py. */
#ifndef NUT_TESTS_PRUNE_SAMPLE_H
#define NUT_TESTS_PRUNE_SAMPLE_H

#include "../golden/prune.h"
#include "evaluate/statistics.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = PRUNE_ROWS, COLS = PRUNE_COLS };

typedef struct sample {
    float weights[ROWS * COLS];
    double squares[COLS], sums[COLS], hessian[COLS * (COLS + 1) / 2];
    statistics s;
} sample;

/* As tests/golden/prune.py has them. */
static inline sample *make_sample(void) {
    sample *a = calloc(1, sizeof *a);
    double x[COLS];
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++)
            a->weights[r * COLS + c] = (float)(sin(0.7 * r * c + 1.3 * r + 0.1 * c) * (1 + r % 3));
    for (int t = 0; t < PRUNE_TOKENS; t++) {
        for (int c = 0; c < COLS; c++)
            x[c] = (sin(0.37 * t * (c + 1) + c) + sin(1.1 * t) + 0.3 * cos(0.9 * t * (c % 5))) * (1 + c % 4);
        for (int i = 0; i < COLS; i++) {
            a->squares[i] += x[i] * x[i];
            a->sums[i] += x[i];
            for (int j = 0; j <= i; j++) a->hessian[i * (i + 1) / 2 + j] += x[i] * x[j];
        }
    }
    a->s = (statistics){.kinds = STATISTICS_SQUARES | STATISTICS_RANGES | STATISTICS_HESSIAN,
                        .n_tokens = PRUNE_TOKENS,
                        .n_cols = COLS,
                        .sum_squares = a->squares,
                        .sum = a->sums,
                        .hessian = a->hessian};
    return a;
}

#endif
