/*
 * Products of dense matrices of floats and doubles: what calibration, gradients and quantizers compute with.
 * Blocks of both factors are copied so that tiles of the result, which stay in registers, read them in order
 * (Goto and van de Geijn 2008, doi 10.1145/1356052.1356053). Each result is the same sequence of operations
 * whatever the number of threads. Products and sums may be fused where the machine can: it doubles the
 * speed, and nothing that a user runs depends on these bits.
 */
#ifndef NUT_KERNELS_DENSE_H
#define NUT_KERNELS_DENSE_H

#include "base/threads.h"

/* A team and what each of its members packs into. */
typedef struct dense dense;

/* The team must outlive it. */
nut_status dense_new(threads *team, dense **out, nut_error *err);
void dense_free(dense *d); // NULL is allowed
threads *dense_team(const dense *d);

/* What is left of a product's result where it is symmetric or triangular. */
typedef enum dense_part { DENSE_ALL, DENSE_UPPER } dense_part; // UPPER: also some of what is below

/* A matrix in any order: its element (i, j) is at[i * row + j * col]. A transposed matrix has both swapped.
 */
typedef struct dense_f32 {
    const float *at;
    size_t row, col;
} dense_f32;
typedef struct dense_f64 {
    const double *at;
    size_t row, col;
} dense_f64;

/* c (m, n), rows ldc apart, = (add ? c : 0) + by * a b, for a (m, k) and b (k, n). k 0 gives zeros. */
typedef struct dense_product {
    size_t m, n, k;
    size_t ldc;
    bool add;
    dense_part part;
} dense_product;

void dense_mul_f32(dense *d, const dense_product *p, dense_f32 a, dense_f32 b, float by, float *c);
void dense_mul_f64(dense *d, const dense_product *p, dense_f64 a, dense_f64 b, double by, double *c);

#endif
