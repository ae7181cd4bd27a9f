/*
 * A narrower residual: the principal components of what norms give (SliceGPT: Ashkboos et al. 2024, arXiv
 * 2401.15024, section 3), in one basis Q for all layers, so that the residual needs no matrices between
 * blocks and the model stays one of its family. x becomes z = Q x, of which k of n numbers stay.
 *
 * A matrix behind a norm reads x / rms(x), and then z / rms(z), whose mean runs over k numbers. Two things
 * are made up for. What went is correlated with what stays, less than nothing only where C, the mean of
 * x x^T / rms(x)^2 at that norm, has Q's basis: the matrix that reads it is fitted, W C Q^T (Q C Q^T)^-1,
 * the least squares. And z / rms(z) is too large: its gain is sqrt(n / k) |z| / |x|, in the root mean
 * square.
 */
#ifndef NUT_COMPRESS_WIDTH_H
#define NUT_COMPRESS_WIDTH_H

#include "kernels/dense.h"

/* Columns that stay of n without a share of them. They go by 32, or by a power of two that is at most an
 * eighth of them; *unit receives it. */
size_t width_left(size_t n, double share, size_t *unit);

/* The first k principal components, rows of basis (k, n), of a covariance (n, n), which is used up.
 * *part: of its trace, theirs. E_CORRUPT where it has numbers that are not finite. */
nut_status width_basis(double *covariance, size_t n, size_t k, double *basis, double *part, nut_error *err);

/* How what a norm gives is read in the basis. C is symmetric, its half as in statistics.h, (n (n + 1) / 2)
 * floats. reader (n, k) receives C B^T (B C B^T)^-1: a matrix' rows times it are those that are fitted; C
 * has 0.003 of the mean diagonal of B C B^T added to its own, or more (factor_new). NULL: it is not
 * computed. *gain receives sqrt(n / k) times the root of the part of C's trace that the basis has. Memory: 8
 * n^2 + 40 n k bytes. E_CORRUPT where C has no positive trace. */
nut_status width_read(dense *d, const float *half, const double *basis, size_t n, size_t k, double *reader,
                      double *gain, nut_error *err);

#endif
