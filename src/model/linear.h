/*
 * A linear: a matrix and all that a product with it may carry. Models hold their products as linears, so
 * that what a format or a compression method adds to one (a bias, a scale of the inputs, a side) is known in
 * one place and no family has to know of it. run/linear.h runs them.
 */
#ifndef NUT_MODEL_LINEAR_H
#define NUT_MODEL_LINEAR_H

#include "kernels/formats.h"

typedef struct linear_side linear_side;

/* A kind of side: what is added to a product beside W x, such as a low-rank pair or sparse outliers. */
typedef struct side_kind {
    const char *name;
    /* Floats per token that `prepare` leaves for `add`. */
    size_t (*n_scratch)(const linear_side *side);
    /* Works out of the input x (n_in) of one token what all its rows need, into scratch. */
    void (*prepare)(const linear_side *side, const float *x, float *scratch);
    /* y[begin, end) += the side's part of those rows, for one token; x (n_in), y (n_out). Each row's result
     * must not depend on the range that it is computed in. */
    void (*add)(const linear_side *side, const float *x, const float *scratch, size_t begin, size_t end,
                float *y);
} side_kind;

struct linear_side {
    const side_kind *kind;
    const linear_side *next; // of the same linear, or NULL
    const void *data;        // the kind's
};

/* y = W (s * x) + b + sides(x) */
typedef struct linear {
    matrix w;                 // (n_out, n_in)
    const float *bias;        // b (n_out), or NULL
    const float *input_scale; // s (n_in), column by column, or NULL
    const linear_side *sides; // or NULL
} linear;

#endif
