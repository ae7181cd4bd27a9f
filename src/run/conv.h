/* Short causal convolutions of channels, whose last inputs a sequence keeps: state (width - 1, n). */
#ifndef NUT_RUN_CONV_H
#define NUT_RUN_CONV_H

#include "run/session.h"

enum { CONV_CHANNELS = 64 }; // of a part of the work

static inline size_t conv_parts(size_t n) {
    return (n + CONV_CHANNELS - 1) / CONV_CHANNELS;
}

/* x = the sum over the last `width` inputs of channel c, of n, times w (n, width), the newest last; plus
 * bias (n), unless NULL. */
static inline float conv_step(const float *w, const float *bias, size_t width, float *state, size_t n,
                              size_t c, float x) {
    const float *by = w + c * width;
    float y = bias ? bias[c] : 0;
    for (size_t k = 0; k + 1 < width; k++) {
        float *at = state + k * n + c;
        y += by[k] * *at;
        *at = k + 2 < width ? at[n] : x;
    }
    return y + by[width - 1] * x;
}

#endif
