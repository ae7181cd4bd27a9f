/*
 * AWQ (Lin et al. 2023, arXiv 2306.00978): columns whose inputs are large are multiplied before rounding,
 * and what gives them their input is divided. The factor is the size of the input to a power, which is
 * looked for over 20 values in [0, 1), for each group of matrices that share an input (fold.h), as the
 * authors' code does. What a power costs is measured on some rows of each matrix, rounded into the type: the
 * sum of F_r times the square of the error times the mean square of the column's input. Clipping is looked
 * for too, with the scale of each block (fit.h).
 */
#ifndef NUT_COMPRESS_AWQ_H
#define NUT_COMPRESS_AWQ_H

#include "compress/fold.h"
#include "compress/types.h"
#include "kernels/dense.h"

/* Sets the scales of a fold whose rows were sampled; type is one of type_with_codes. They stay 1 where the
 * rows are no whole blocks of the type, nor of the shorter one. E_MEMORY. */
nut_status awq_choose(dense *d, const type_row *type, fold *f, nut_error *err);

#endif
