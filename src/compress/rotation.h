/*
 * Random orthogonal matrices that are quick to multiply with and spread each number over all: R = Q D, D
 * random signs, Q = H (x) B the Kronecker product of a Hadamard matrix of 2^k with a small one, both divided
 * by the roots of their sizes (QuIP#: Tseng et al. 2024, arXiv 2402.04396, section 3; QuaRot: Ashkboos et
 * al. 2024, arXiv 2404.00456, section 3). Sizes that are no powers of two have as B the Hadamard matrix of
 * Paley's first construction (J. Math. Phys. 12, 1933), where there is one of a size m with m - 1 a prime
 * that leaves 3 when it is divided by 4: 96 = 8 * 12, 576 = 8 * 72. Other sizes have the cosines of their
 * odd factor (the discrete cosine transform): 112 = 16 * 7.
 */
#ifndef NUT_COMPRESS_ROTATION_H
#define NUT_COMPRESS_ROTATION_H

#include "base/error.h"

#include <stddef.h>

typedef struct rotation {
    size_t n, n_small; // of R; of B, 1 where n is a power of two
    float *signs;      // (n) 1 or -1
    float *small;      // (n_small, n_small) B, orthogonal
    float *scratch;    // (n_small)
} rotation;

/* The same n and seed give the same R. E_MEMORY. */
nut_status rotation_new(size_t n, uint64_t seed, rotation *out, nut_error *err);
void rotation_free(rotation *r); // {0} is allowed
/* x (n) becomes R x. */
void rotation_apply(const rotation *r, float *x);

#endif
