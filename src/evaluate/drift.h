/*
 * How far a model that is being changed has come from its source, and what of that a matrix can make up for.
 * The source's residual goes through the layers beside that of the changed model. Behind a layer, before it
 * is changed itself, the difference e of both is what the layers before it have lost. A matrix whose result
 * is added to the residual takes it back as well as a linear map can with E[e x^T] E[x x^T]^-1, x being its
 * input: that is the least squares fit to the source's residual in place of the matrix' own old results.
 */
#ifndef NUT_EVALUATE_DRIFT_H
#define NUT_EVALUATE_DRIFT_H

#include "kernels/dense.h"
#include "run/linear.h"

/* Starts as {0}. */
typedef struct drift {
    const char *tensor; // its name behind "blk.N."
    dense *d;
    float *residual;     // (n_ids, n_embd) what tokens are in the source
    const uint8_t *data; // of the matrix: what its linear is known by; NULL: the layer has none
    size_t n_rows, n_cols;
    float *inputs;  // (n_inputs, n_cols) of the matrix, in one window
    float *error;   // (n_error) e of its tokens
    float *product; // (n_rows, n_cols) of one window
    double *cross;  // (n_rows, n_cols) sums of e x^T
    size_t room, n_inputs, n_error, n_tokens;
    bool no_memory;
} drift;

/* Takes the residual of n_ids tokens; the team must outlive d. */
nut_status drift_begin(drift *d, const char *tensor, threads *team, size_t n_ids, size_t n_embd,
                       nut_error *err);
/* Looks for layer il's matrix in m, and begins its sums. */
nut_status drift_layer(drift *d, const nut_model *m, uint32_t il, nut_error *err);
/* What a linear_tap passes on: an input of the matrix is kept until the window's end. */
void drift_input(drift *d, const linear *l, const float *x, size_t n_tokens);
/* The window has become `now` in the changed model, and `was` in the source, both (n, n_embd). */
nut_status drift_window(drift *d, const float *was, const float *now, size_t n, nut_error *err);
void drift_free(drift *d);

#endif
