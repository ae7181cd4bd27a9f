/*
 * The order of channels that lets products pass over zeros. The engine passes over four columns of a matrix
 * where all four meet a zero (kernels/vec_live.inc), so those that are active together stand together, and
 * the most active ones first, as PowerInfer packs its hot neurons (Song et al. 2023, arXiv 2312.12456,
 * section 4).
 */
#ifndef NUT_COMPRESS_ACTIVITY_H
#define NUT_COMPRESS_ACTIVITY_H

#include "evaluate/statistics.h"

enum { ACTIVITY_GROUP = 4 };

/* Puts n of the columns of a matrix, (n) numbers of them, in order. Each group begins with the most active
 * column that is left; to it come those that share most of their tokens with it: the largest sum of the
 * intersection over the union with each member. s has `together`. Time: 3 n^2 steps. E_MEMORY. */
nut_status activity_order(const statistics *s, size_t n, uint32_t *columns, nut_error *err);
/* Whether one of all columns was ever zero. */
bool activity_has_zeros(const statistics *s);

#endif
