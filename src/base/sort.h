/*
 * Sorting in place. The C library's qsort takes memory past the allocator hook where it likes to (glibc's
 * does), may recurse, may need quadratic time for rows that were chosen so, and may do anything where a
 * comparison contradicts itself. This is a heapsort: it does none of that. Rows that compare as equal come
 * out in any order, the same in every build.
 */
#ifndef NUT_BASE_SORT_H
#define NUT_BASE_SORT_H

#include <stddef.h>

enum { SORT_MAX_ROW = 64 }; // bytes

/* Below, at or above 0 as a comes before, with or behind b. */
typedef int sort_compare(const void *a, const void *b);

/* Sorts n rows of `size` bytes (1 .. SORT_MAX_ROW). */
void sort_rows(void *rows, size_t n, size_t size, sort_compare *compare);

#endif
