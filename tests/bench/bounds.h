/*
 * What limits a kernel on one thread: the bandwidth of reading memory without computing, and the number of
 * int8 products that the integer dot of an instruction set computes without reading memory.
 */
#ifndef NUT_TESTS_BOUNDS_H
#define NUT_TESTS_BOUNDS_H

#include "kernels/sets.h"

/* Reads n_bytes, a multiple of 256. The result depends on all of them. */
uint64_t bound_read(const void *p, size_t n_bytes);

typedef struct bound_dots {
    const char *set;               // name of the kernel set whose dot it is
    double macs;                   // products per call of run
    uint32_t (*run)(uint32_t any); // the result depends on all dots
} bound_dots;

/* NULL where this build has no such instruction. */
const bound_dots *bound_dots_find(const char *set);

#endif
