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
    float dead_zone; // by how much less than 1/2 a value may lie above an integer to become the next one
} gptq_rows;

/* z (n_rows, n_cols): the integers, within +-GPTQ_MOST. error (n_rows, n_cols) is scratch: it receives the
 * weights minus what the integers stand for. */
enum { GPTQ_MOST = 1 << 20 };
void gptq_round(dense *d, const gptq_rows *g, int32_t *z, float *error);

#endif
