/* The memory that a load may hold by the contract of nut_load_begin. */
#ifndef NUT_TESTS_LOAD_COST_H
#define NUT_TESTS_LOAD_COST_H

#include <stdint.h>

enum { LOAD_COST_FACTOR = 20, LOAD_COST_FIXED = 1 << 16 };

/* The most bytes that a loader may hold after `fed` bytes of the file, without weights. */
static inline uint64_t load_cost_most(uint64_t fed) {
    return LOAD_COST_FACTOR * fed + LOAD_COST_FIXED;
}

#endif
