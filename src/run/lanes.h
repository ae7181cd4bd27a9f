/* Sums of recurrent blocks in lanes, in a fixed order: compilers make vectors of them, with the same bits in
 * every build. */
#ifndef NUT_RUN_LANES_H
#define NUT_RUN_LANES_H

#include <stddef.h>

enum { LANES = 8 };

/* The sum of a * b, (n): item i is added in lane i % 8, and lanes are added in pairs; what is left over
 * after whole rounds of lanes comes last. */
static inline float lanes_dot(const float *a, const float *b, size_t n) {
    float sum[LANES] = {0}, rest = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) sum[l] += a[i + l] * b[i + l];
    for (; i < n; i++) rest += a[i] * b[i];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) sum[l] += sum[l + half];
    return sum[0] + rest;
}

#endif
