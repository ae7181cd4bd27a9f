/*
 * What a quantizer hands to coded storage: a matrix as unclamped integers with a scale for each row and each
 * column. Quantizers (coded GPTQ, gptq.h) choose the integers and scales, the storage writes them
 * losslessly; neither knows more of the other.
 *
 * Scales have three bits behind the leading one, so that eight bits hold any of them, each is exact as a
 * float and a half float, and there are few of them: a step between neighbours is at most an eighth, and a
 * step (row times column) that is a sixteenth off costs less than 0.1 % of the error. Scales of columns
 * belong to the input of the matrix: matrices that read the same input (q, k and v; gate and up) have the
 * same ones, so that the engine can scale the input once.
 */
#ifndef NUT_COMPRESS_CODED_TENSOR_H
#define NUT_COMPRESS_CODED_TENSOR_H

#include "nutshell.h"

/* w[r][c] ~ z[r][c] * row_scale[r] * col_scale[c] */
typedef struct coded_tensor {
    size_t n_rows, n_cols;
    const int32_t *z;       // (n_rows, n_cols)
    const float *row_scale; // (n_rows) of coded_scale
    const float *col_scale; // (n_cols) of coded_scale
} coded_tensor;

/* The scale with code 0..255: (8 + code % 8) * 2^(code / 8 - 27), from 6.0e-8 to 240. */
static inline float coded_scale(uint8_t code) {
    return (float)(8 + code % 8) * (float)(1u << code / 8) * 0x1p-27f;
}

/* The code whose scale is nearest to x, in ratio; what is out of range (or no number) becomes the end. */
uint8_t coded_scale_code(float x);

#endif
