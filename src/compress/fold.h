/*
 * Column normalization, folded: columns of a matrix are divided by their size, and what gives them their
 * input is multiplied with it, so that the model computes the same and blocks of several columns hold
 * weights of one size. (SmoothQuant, arXiv 2211.10438, and AWQ, arXiv 2306.00978, fold scales so; these
 * are the norms of the columns, as Wanda's and QuIP's scaling take them.) The size of column c is the root
 * of sum over rows of F_r w_rc^2, over all matrices with that input, F being what the loss feels of the row.
 *
 *     q, k, v           take it from the norm before them
 *     gate, up          likewise
 *     down              from the rows of up
 *     output            from the rows of v; heads that share a v share their scales
 */
#ifndef NUT_COMPRESS_FOLD_H
#define NUT_COMPRESS_FOLD_H

#include "compress/coded_plan.h"

enum { FOLD_KINDS = 4 };

/* One input of a layer. */
typedef struct fold {
    size_t n_cols, n_rows; // 0: it is not folded
    size_t head, shared;   // columns of a head, and heads that share their rows; shared 1: column c is row c
    double *power;         // (n_cols) sums of F w^2
    float *columns;        // (n_cols) what columns are divided by; NULL: not known yet
    float *rows;           // (n_rows) what rows, or values of a norm, are multiplied with
} fold;

typedef struct folds {
    fold *all; // (n_layer, FOLD_KINDS)
    size_t n_layer;
} folds;

/* Finds what can be folded: of layers in which there is nothing but attention and a gated feed-forward with
 * their norms, where the matrices are in the plan and are floats in the source. E_MEMORY. */
nut_status folds_find(folds *f, const gguf *model, const coded_plan *plan, nut_error *err);
void folds_free(folds *f);

/* Whether the sizes of the tensor's columns count. */
bool folds_counts(const folds *f, gguf_str tensor);
/* Adds rows (n_rows, n_cols), of sensitivity (n_rows), to the sizes of their columns. */
void folds_add(folds *f, gguf_str tensor, const float *rows, size_t n_rows, const float *sensitivity);
/* All were added: scales, 1 in their geometric mean, within 1/64 and 64. */
nut_status folds_end(folds *f, nut_error *err);

/* What the columns of a matrix are divided by; NULL: they stay. */
const float *folds_columns(const folds *f, gguf_str tensor);
/* What the rows of a matrix, or the values of a norm or a bias, are multiplied with; NULL: they stay. */
const float *folds_rows(const folds *f, gguf_str tensor);

#endif
