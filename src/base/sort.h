/*
 * Sorting in place. The C library's qsort may allocate past the allocator hook (glibc's does), recurse, take
 * quadratic time on rows that were chosen for it, and do anything where a comparison contradicts itself.
 * This heapsort does none of that. The order of rows that compare as equal is unspecified, but the same in
 * every build.
 */
#ifndef NUT_BASE_SORT_H
#define NUT_BASE_SORT_H

#include <stddef.h>

enum { SORT_MAX_ROW = 160 }; // bytes

/* Negative, zero or positive: a sorts before, with or behind b. */
typedef int sort_compare(const void *a, const void *b);

/* Sorts n rows of `size` bytes (1 .. SORT_MAX_ROW). */
void sort_rows(void *rows, size_t n, size_t size, sort_compare *compare);

#endif
