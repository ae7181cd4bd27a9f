/*
 * Learned rounding and clipping: what rounding a matrix costs, e H e^T for each row's error e, is made
 * smaller by one variable after the other, each set to its best (coordinate descent, as in QuantEase: Behdin
 * et al. 2023, arXiv 2309.01885, section 3). That is the loss that AdaRound learns rounding with (Nagel et
 * al. 2020, arXiv 2004.10568, section 3), and its gradient 2 e H needs no text. Variables are the code of
 * each weight, and the scale and the minimum of each block, which say where weights are clipped. Rounding
 * begins as gptq_blocks.h leaves it, and no row loses more than it did there.
 */
#ifndef NUT_COMPRESS_DESCEND_H
#define NUT_COMPRESS_DESCEND_H

#include "compress/gptq_blocks.h"

/* g as for gptq_blocks_round. hessian (n_cols, n_cols): H, damped as the factor was. blocks (n_rows, n_cols)
 * as a file has them. loss (n_rows): each row's error times H times itself. E_MEMORY. */
nut_status descend(dense *d, const gptq_blocks *g, const float *hessian, uint8_t *blocks, double *loss,
                   nut_error *err);

#endif
