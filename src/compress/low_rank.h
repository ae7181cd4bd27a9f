/*
 * Matrices of low rank in the place of a matrix. Of all B A of a rank, the one that is least apart from W in
 * what the inputs make of it, E |(W - B A) x|^2 = || (W - B A) R ||_F^2 with H = R R^T the mean of x x^T:
 * SVD-LLM's truncation-aware whitening (Wang et al. 2024, arXiv 2403.07378, section 3.1). It keeps the
 * largest singular values of W R, whose other squares add up to the loss. Without statistics it is the plain
 * truncated SVD (Eckart and Young 1936).
 *
 * Singular vectors come from eigenvectors of the smaller Gram matrix (eigen.h). With left ones, U, no factor
 * is needed: B = U and A = U^T W, for W R = U S V^T gives U U^T W R.
 *
 * Whole columns of W are another B A: rows of A are zeros and a one.
 */
#ifndef NUT_COMPRESS_LOW_RANK_H
#define NUT_COMPRESS_LOW_RANK_H

#include "evaluate/statistics.h"
#include "kernels/dense.h"

typedef struct low_rank {
    size_t n_rows, n_cols;
    size_t n;        // the smaller of them, or how many columns of W they are
    double *squares; // (n) of the singular values of W R, largest first
    double *b;       // (n_rows, n) B, the columns of a lower rank being the first ones
    double *a;       // (n, n_cols) A, its rows likewise
} low_rank;

/* w (n_rows, n_cols); s: of its inputs, with Hessian, or NULL. E_CORRUPT where numbers are not finite.
 * Memory: some 8 (n_rows + n_cols)^2 bytes. Free with low_rank_free whatever happens. */
nut_status low_rank_new(dense *d, const statistics *s, size_t n_rows, size_t n_cols, const float *w,
                        low_rank *out, nut_error *err);
/* The n columns of w (n_rows, n_cols) whose loss costs most by themselves, n <= n_cols: the largest H_cc
 * |w_c|^2 (OWQ's sensitivity, Lee et al. 2023, arXiv 2306.02272), which are out's squares, out's
 * n being this one. B (n_rows, n) has the columns, and row k of A a one where the k-th of them stands. s: of
 * its inputs, or NULL: H is the identity. Free with low_rank_free whatever happens. */
nut_status low_rank_columns(const statistics *s, size_t n_rows, size_t n_cols, const float *w, size_t n,
                            low_rank *out, nut_error *err);
void low_rank_free(low_rank *l);
/* The part of the squares that is lost with a rank. */
double low_rank_loss(const double *squares, size_t n, size_t rank);

/* A matrix among those of a model that are to take less room. */
typedef struct low_rank_item {
    size_t n_rows, n_cols;
    double *squares; // (the smaller of them), or NULL where ranks are not chosen by them
    size_t rank;     // that it gets; 0: it stays whole
} low_rank_item;

/* By how much ranks differ: 32, a block of quantized rows, or 8 in small matrices. */
size_t low_rank_unit(const low_rank_item *item);
/* Sets ranks so that the part `share` of the numbers of all items goes: the same of each, or, by their
 * squares, where the least part of them is lost for each number. E_ARGUMENT where nothing would be left of
 * one. */
nut_status low_rank_even(low_rank_item *items, size_t n, double share, nut_error *err);
nut_status low_rank_choose(low_rank_item *items, size_t n, double share, nut_error *err);
/* Numbers that an item takes. */
double low_rank_size(const low_rank_item *item);

#endif
