/*
 * Rounding to integers with feedback: GPTQ (Frantar et al. 2023, arXiv 2210.17323) without clamping, on
 * steps that follow reverse water-filling (WaterSIC, arXiv 2603.04956, for columns; here rows too): the step
 * of weight (r, j) is row_scale[r] * col_scale[j], with col_scale near U_jj and row_scale near lambda /
 * sqrt(F_r), F_r being the mean squared gradient of output row r. Every weight then adds the same to the
 * loss, and one lambda sets the size of a whole model.
 */
#ifndef NUT_COMPRESS_GPTQ_H
#define NUT_COMPRESS_GPTQ_H

#include "kernels/dense.h"

typedef struct gptq_rows {
    size_t n_rows, n_cols;
    const float *weights;   // (n_rows, n_cols)
    const float *row_scale; // (n_rows)
    const float *col_scale; // (n_cols)
    const float *feedback;  // (n_cols, n_cols) of a factor; NULL: each weight is rounded alone
    const float
        *shrink; // (n_rows) what values are multiplied with before they are rounded, at most 1; NULL: 1
} gptq_rows;

/* The shrink of a row whose weights are `deviation` steps wide: 1 / (1 + 1 / (12 deviation^2)). Entropy
 * coding makes small integers cheap, and at the slope where a bit is worth as much as four times the error,
 * 1/12 of a step squared, a Gaussian's borders between integers move outwards in this proportion. (From d
 * error / d bits = -2 ln 2 error, and the bits of neighbouring integers, which differ by (2 z + 1) / (2
 * deviation^2) / ln 2.) A deviation below sqrt(2) counts as that: the sum over many integers that this rests
 * on has few terms then, and errors that all point to zero add up in the feedback (SmolLM2 at 45 MB: KL 0.61
 * without this, 0.48 without any shrink, 0.42 with both). */
float gptq_shrink(double deviation);

/* z (n_rows, n_cols): the integers, within +-GPTQ_MOST. error (n_rows, n_cols) is scratch: it receives the
 * weights minus what the integers stand for. */
enum { GPTQ_MOST = 1 << 20 };
void gptq_round(dense *d, const gptq_rows *g, int32_t *z, float *error);

#endif
