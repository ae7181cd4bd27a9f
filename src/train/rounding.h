/*
 * Types of blocks that matrices are rounded to while they learn. This room asks for them; compress/, which
 * writes types and stands above it, answers (compress/rounding.c).
 */
#ifndef NUT_TRAIN_ROUNDING_H
#define NUT_TRAIN_ROUNDING_H

#include "kernels/formats.h"

typedef struct rounding {
    const format *to;
    int n_halves, at[2]; // bytes of a block where the half floats stand that its weights are linear in
    bool adds;           // the second of them is added to each weight as it is
    /* Rounds n blocks of x, finite. */
    void (*encode)(const format *to, const float *x, size_t n, uint8_t *blocks);
} rounding;

/* The type of a name for rows of n_cols: where they are not whole blocks of it, the one that rounding after
 * training takes. E_ARGUMENT where no type of that name is written; lists those that are. */
nut_status rounding_find(const char *name, uint64_t n_cols, rounding *out, nut_error *err);
/* The halves of a stored type; false where its weights are not linear in any (floats, MXFP4, IQ1_M). */
bool rounding_halves(const format *f, rounding *out);

#endif
