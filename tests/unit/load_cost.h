/* What a load may hold, as nutshell.h promises it. */
#ifndef NUT_TESTS_LOAD_COST_H
#define NUT_TESTS_LOAD_COST_H

#include <stdint.h>

enum { LOAD_COST_FACTOR = 20, LOAD_COST_FIXED = 1 << 16 };

/* The most bytes that a loader holds after `fed` bytes of the file, its weights not counted. */
static inline uint64_t load_cost_most(uint64_t fed) {
    return LOAD_COST_FACTOR * fed + LOAD_COST_FIXED;
}

#endif
