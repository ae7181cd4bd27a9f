/*
 * Mixed precision as a knapsack: one type for each matrix, so that the sum of the losses is least and the
 * sum of the bytes fits. Solved by dynamic programming over sizes (Kellerer, Pferschy and Pisinger 2004,
 * Knapsack Problems, section 11.5: the multiple-choice knapsack).
 */
#ifndef NUT_COMPRESS_MIX_H
#define NUT_COMPRESS_MIX_H

#include "kernels/formats.h"

enum { MIX_OPTIONS = 24 };
enum { MIX_UNITS = 1 << 16 }; // of the budget: sizes are rounded up to whole ones

typedef struct mix_option {
    format_id type;
    uint64_t bytes;
    double loss; // >= 0
} mix_option;

typedef struct mix_item {
    mix_option options[MIX_OPTIONS]; // (n), at least one
    size_t n, chosen;
} mix_item;

/* Chooses an option for each item. *least: the bytes of the smallest ones; where they exceed the budget
 * nothing is chosen. Exact where the budget is less than MIX_UNITS; else at most a MIX_UNITS-th of it is
 * wasted by each item. Memory: MIX_UNITS bytes for each item. E_MEMORY. */
nut_status mix_choose(mix_item *items, size_t n, uint64_t budget, uint64_t *least, nut_error *err);

#endif
