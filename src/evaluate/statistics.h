/*
 * Statistics of what a matrix is multiplied with, gathered over a calibration text: what methods of
 * compression weigh their errors by.
 */
#ifndef NUT_EVALUATE_STATISTICS_H
#define NUT_EVALUATE_STATISTICS_H

#include "nutshell.h"

/* Kinds, as bits. */
enum {
    STATISTICS_SQUARES = 1, // sum_squares: llama.cpp's importance matrix
};

/* Of the inputs of one matrix (n_rows, n_cols). */
typedef struct statistics {
    unsigned kinds;            // which are there
    uint64_t n_tokens;         // inputs
    const double *sum_squares; // (n_cols) of each column's value
} statistics;

#endif
