/*
 * GPTQ (Frantar et al. 2023, arXiv 2210.17323) into GGUF's types whose weights are scales times codes. The
 * columns go block by block of the type. A block's scales are looked for on weights that have taken the
 * errors of all blocks before (as GPTQ's groups are), where an error in column j counts by 1 / U_jj^2; the
 * integers of each group are chosen again once the errors of the groups before are in; then each column is
 * rounded, and passes its error on.
 */
#ifndef NUT_COMPRESS_GPTQ_BLOCKS_H
#define NUT_COMPRESS_GPTQ_BLOCKS_H

#include "compress/types.h"
#include "kernels/dense.h"

typedef struct gptq_blocks {
    size_t n_rows, n_cols;   // n_cols: whole blocks of the type
    const type_row *type;    // of type_with_codes
    const float *weights;    // (n_rows, n_cols) finite
    const float *importance; // (n_cols) 1 / U_jj^2
    const float *feedback;   // (n_cols, n_cols) of a factor (factor_share); NULL: no errors are passed on
    fit_block *fits; // (n_rows, n_cols / block) receives what the blocks hold; NULL: it is not wanted
} gptq_blocks;

/* blocks (n_rows, n_cols) as a file has them; NULL: only the loss is wanted. error (n_rows, n_cols) receives
 * the weights minus what the blocks stand for. loss (n_rows): each row's error times H times itself, H being
 * the damped Hessian of the factor; without feedback that of its diagonal. */
void gptq_blocks_round(dense *d, const gptq_blocks *g, uint8_t *blocks, float *error, double *loss);

#endif
