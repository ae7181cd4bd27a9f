/*
 * A linear: a matrix and all that a product with it may carry. Models hold their products as linears, so
 * that what a format or a compression method adds to one (a bias, a scale of the inputs, a side of low rank)
 * is known in one place and no family has to know of it. run/linear.h runs them.
 */
#ifndef NUT_MODEL_LINEAR_H
#define NUT_MODEL_LINEAR_H

#include "kernels/formats.h"

/* Two matrices of low rank r, a multiple of 8. With both, B (A x) is added to a product (Hu et al. 2021,
 * arXiv 2106.09685, section 4.1). A alone stands in front of the linear's own matrix, which then has r
 * columns: y = W (A x). Neither: there is no side. */
typedef struct linear_side {
    matrix a;                       // (r, n_in)
    matrix b;                       // (n_out, r)
    const struct linear_side *next; // what adapters add, with both; or NULL
    uint32_t adapter;               // whose it is, from 1 on; 0: the model's own
    float scale;                    // an adapter's results are multiplied with it, and with the sequence's
} linear_side;

/* y = W (s * x) + b + sides(x) */
typedef struct linear {
    matrix w;                 // (n_out, n_in), or (n_out, r) behind side.a alone
    const float *bias;        // b (n_out), or NULL
    const float *input_scale; // s (n_in), column by column, or NULL
    linear_side side;         // the first
} linear;

/* Whether the input of W is A x. */
static inline bool linear_has_inner(const linear *l) {
    return l->side.a.format && !l->side.b.format;
}
/* Whether more than W sees the input. */
static inline bool linear_has_sides(const linear *l) {
    return l->side.a.format || l->side.next;
}

/* Floats of a token that a side takes while it is computed: two int8 terms of A x, and B (A x). */
static inline size_t linear_side_scratch(size_t rank, size_t n_out) {
    return 2 * rank + (n_out + FORMAT_LANES - 1) / FORMAT_LANES * FORMAT_LANES;
}

#endif
