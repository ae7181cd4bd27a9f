/*
 * Finding the scales of a block: numbers d, s, dmin and m for which the weights d * s * v - dmin * m, each v
 * one of a short list of values, are nearest to given ones. s and m are integers of each group of columns,
 * d and dmin floats of the block.
 */
#ifndef NUT_COMPRESS_FIT_H
#define NUT_COMPRESS_FIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIT_COLS = 256, FIT_GROUPS = 16 }; // of the largest block

/* What a block can hold. */
typedef struct fit_kind {
    uint32_t n_groups, n_cols; // of a block; of a group
    int lo, hi;                // codes are lo..hi and stand for themselves,
    const int8_t *values;      // or stand for values[0..hi], which rise
    int scale_lo, scale_hi;    // s; both 1: there is no integer
    int min_hi;                // m is 0..min_hi; 0: there are no minimums
    float narrow;              // the scale of a group may be this part of what holds its largest weight
    float (*round)(float d);   // d and dmin as a file holds them
    uint32_t keep, of;         // of each `of` columns so many are not zero; both 0: all may be
} fit_kind;

/* A block's parts. Without minimums dmin is 0. */
typedef struct fit_block {
    float d, dmin;
    int scales[FIT_GROUPS], mins[FIT_GROUPS];
    int codes[FIT_COLS];
    uint32_t kept; // of a kind that has `of`, and one group of 32 columns: bit c is column c's
    double error;  // sum of weight * (difference)^2
} fit_block;

/* Fits a block to x (n_groups * n_cols), finite, whose errors count by weight (likewise, >= 0). It looks for
 * the scale of each group over a range, as make_qx_quants and make_qkx2_quants of ggml-quants.c (llama.cpp,
 * MIT) do, then for d, dmin and the integers in turn until the error falls no more. */
void fit_find(const fit_kind *kind, const float *x, const float *weight, fit_block *out);
/* Chooses the integer scale and the codes of one group again, for new values x (n_cols) and their weights
 * (n_cols). The block's float scales stay as they are. */
void fit_group(const fit_kind *kind, uint32_t group, const float *x, const float *weight, fit_block *b);
/* Chooses again which columns of [at, at + of) are kept: those whose loss, x (of) squared times weight (of),
 * would be the largest. */
void fit_keep(const fit_kind *kind, uint32_t at, const float *x, const float *weight, fit_block *b);
/* Whether a column of a block is kept: the weights of all others are zero. */
static inline bool fit_is_kept(const fit_kind *kind, const fit_block *b, size_t column) {
    return !kind->of || (b->kept >> column & 1);
}
/* The number that a code stands for, before scales; the code whose number is nearest to t. */
int fit_value(const fit_kind *kind, int code);
int fit_code(const fit_kind *kind, float t);

#endif
