/*
 * Scales of columns, folded: columns of a matrix are divided by a scale, and what gives them their input is
 * multiplied with it, so that the model computes the same. The scale of column c is
 *
 *     W_c^a X_c^-b    W_c the root of sum over rows of F_r w_rc^2, over all matrices with that input, F
 * being what the loss feels of the row; X_c the root mean square of the input
 *
 *     columns    a = 1, b = 0: blocks of several columns hold weights of one size (Wanda and QuIP take such
 *                norms of columns)
 *     smooth     a = 1 - alpha, b = alpha: SmoothQuant (Xiao et al. 2022, arXiv 2211.10438, equation 4,
 * which has largest magnitudes in place of roots of squares), for activations that are rounded too awq a =
 * 0, b looked for (awq.h)
 *
 * What is scaled:
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
    double *input;         // (n_cols) mean squares of the input, or 0
    float *columns;        // (n_cols) what columns are divided by
    float *rows;           // (n_rows) what rows, or values of a norm, are multiplied with
    float *sample;         // (n_sample, n_cols) rows that stand for all; NULL: none are kept
    float *felt;           // (n_sample) F of each
    size_t n_sample;
} fold;

/* How scales are found. */
typedef struct fold_law {
    const char *name;
    double weights, inputs; // a and b of the scale; inputs < 0: alpha says both
    bool searched;          // b is looked for
    bool none;              // columns keep their sizes
} fold_law;

/* The law of a name ("": the first), or an error that names them. E_ARGUMENT. */
nut_status fold_law_find(const char *name, const fold_law **out, nut_error *err);

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
/* Sets the mean squares (n_cols) of the tensor's input. */
void folds_add_input(folds *f, gguf_str tensor, const double *squares);
/* Keeps rows (n_rows, n_cols), of sensitivity (n_rows). E_MEMORY. */
nut_status folds_sample(folds *f, gguf_str tensor, const float *rows, size_t n_rows,
                        const float *sensitivity, nut_error *err);
/* All were added: scales, 1 in their geometric mean, within 1/64 and 64. E_MEMORY. */
nut_status folds_end(folds *f, double weights, double inputs, nut_error *err);
/* The same of one, which may have other scales already. */
nut_status fold_scale(fold *f, double weights, double inputs, nut_error *err);

/* What the columns of a matrix are divided by; NULL: they stay. */
const float *folds_columns(const folds *f, gguf_str tensor);
/* What the rows of a matrix, or the values of a norm or a bias, are multiplied with; NULL: they stay. */
const float *folds_rows(const folds *f, gguf_str tensor);

#endif
