/* Running linears: one function that a block calls for all its products. */
#ifndef NUT_RUN_LINEAR_H
#define NUT_RUN_LINEAR_H

#include "run/session.h"

/* The input of products: as floats, and how it is quantized for those that multiply integers. */
typedef struct linear_input {
    const float *x; // (n, width)
    size_t width;
    unsigned
        terms; // int8 terms whose sum stands for x: 1, or 2 (width at most n_embd) where one loses too much
    bool has_zeros; // many of x are exactly 0
} linear_input;

/* A product and where its result goes: y (terms * n, n_out padded to 8), of which rows from n on are
 * scratch. */
typedef struct linear_job {
    const linear *l;
    float *y;
} linear_job;

/* What a thread goes on to do with rows [begin, end) of the results for token t that it made itself, without
 * waiting for the others; they are multiples of 32 but for the last. All jobs have the same n_out then. */
typedef void linear_then(const forward_step *s, size_t t, size_t begin, size_t end);

/* y = W (scale * x) + bias + sides(x) for each of n jobs; then `then`, unless NULL. Calls the workspace's
 * tap first, where one is set. */
void linears_run(const forward_step *s, linear_input in, const linear_job *jobs, size_t n,
                 linear_then *then);
/* The same for one product of one int8 term: x (n, width). */
void linear_run(const forward_step *s, const linear *l, const float *x, size_t width, float *y);

#endif
