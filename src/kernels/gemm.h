/*
 * Products of float matrices for work on whole texts, such as calibration: as wide as the machine's vectors,
 * fused where it can (a*b + c rounded once), and cut into blocks of columns. They are faster than the kernel
 * sets' products of floats and give other bits, which differ from machine to machine: nothing that has to be
 * repeatable to the bit may use them.
 */
#ifndef NUT_KERNELS_GEMM_H
#define NUT_KERNELS_GEMM_H

#include "kernels/kernels.h"

/* A product by a matrix of layout F32, as the kernel sets have it. */
kernel_mul_mat_fn gemm_mul_mat;

/* The half of a symmetric matrix (n, n) that is kept: row i has its columns 0 .. i. */
static inline size_t gemm_half(size_t n) {
    return n * (n + 1) / 2;
}

/* Floats that gemm_gram_pack writes for x (n_tokens, width). */
size_t gemm_gram_room(size_t n_tokens, size_t width);

/* Member i of n brings its share of x (n_tokens, width) into the order of the product below. */
void gemm_gram_pack(const float *x, size_t n_tokens, size_t width, float *packed, unsigned i, unsigned n);

/* gram (gemm_half(width)) += transposed x times x; what member i of n does, after all have packed. Sums over
 * the tokens of a call are floats, those over calls are doubles. */
void gemm_gram_add(const float *packed, size_t n_tokens, size_t width, double *gram, unsigned i, unsigned n);

#endif
