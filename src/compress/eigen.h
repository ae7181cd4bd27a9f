/*
 * Eigenvalues and eigenvectors of a symmetric matrix: Householder reflections to a tridiagonal matrix, then
 * implicit QL steps (Bowdler, Martin, Reinsch and Wilkinson 1968, doi 10.1007/BF02166681; Golub and Van
 * Loan, Matrix Computations, sections 8.3.1 and 8.3.3). The same bits on every run of a build.
 */
#ifndef NUT_COMPRESS_EIGEN_H
#define NUT_COMPRESS_EIGEN_H

#include "nutshell.h"

/* a (n, n), symmetric, is used up. values (n) receives the eigenvalues, largest first, and vectors (n, n)
 * their vectors of length 1, one in each row. Values are exact to some roundings of the largest. E_CORRUPT
 * where a number is not finite. Memory: 16 n bytes more. */
nut_status eigen_symmetric(double *a, size_t n, double *values, double *vectors, nut_error *err);

#endif
