/*
 * Statistics of what a matrix is multiplied with, gathered over a calibration text: what methods of
 * compression weigh their errors by. The input is as the linear is given it, before its own input_scale.
 */
#ifndef NUT_EVALUATE_STATISTICS_H
#define NUT_EVALUATE_STATISTICS_H

#include "nutshell.h"

/* Kinds, as bits. */
enum {
    STATISTICS_SQUARES = 1,  // sum_squares: llama.cpp's importance matrix
    STATISTICS_RANGES = 2,   // sum and max_abs
    STATISTICS_HESSIAN = 4,  // hessian
    STATISTICS_TOGETHER = 8, // together
    STATISTICS_POOLED = 16,  // of a stack, such as a layer's experts: one for all its matrices
};

/* Of the inputs of one matrix (n_rows, n_cols). */
typedef struct statistics {
    unsigned kinds;            // which are there
    uint64_t n_tokens;         // inputs
    size_t n_cols;             // of the matrix
    const double *sum_squares; // (n_cols) of each column's value
    const double *sum;         // (n_cols)
    const float *max_abs;      // (n_cols) largest magnitude
    const double *hessian;     // sum of x x^T, the half that is kept: row i has columns 0 .. i and begins at
                               // i * (i + 1) / 2
    const double *together;    // inputs for which columns i and j are both not zero, its half as hessian's
} statistics;

/* Element (i, j) of the whole symmetric matrix. */
static inline double statistics_hessian(const statistics *s, size_t i, size_t j) {
    return i >= j ? s->hessian[i * (i + 1) / 2 + j] : s->hessian[j * (j + 1) / 2 + i];
}

#endif
