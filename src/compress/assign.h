/*
 * The linear assignment problem: which column each row gets, all different, so that the sum of what they
 * give is largest; by shortest augmenting paths (Jonker and Volgenant 1987, doi 10.1007/BF02278710).
 */
#ifndef NUT_COMPRESS_ASSIGN_H
#define NUT_COMPRESS_ASSIGN_H

#include "nutshell.h"

/* gains (n, n), finite; column (n) receives the column of each row. Time: n^3. Memory: 41 n bytes. */
nut_status assign_most(const float *gains, size_t n, uint32_t *column, nut_error *err);

#endif
