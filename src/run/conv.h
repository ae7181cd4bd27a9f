/* Short causal convolutions of channels, whose last inputs a sequence keeps: state (width - 1, n). */
#ifndef NUT_RUN_CONV_H
#define NUT_RUN_CONV_H

#include "run/session.h"

#include <math.h>

enum { CONV_CHANNELS = 64 }; // of a part of the work

static inline size_t conv_parts(size_t n) {
    return (n + CONV_CHANNELS - 1) / CONV_CHANNELS;
}

typedef struct conv_range {
    size_t begin, end;
} conv_range;

/* The channels, of n, of a part. */
static inline conv_range conv_range_of(size_t part, size_t n) {
    const size_t begin = part * CONV_CHANNELS;
    return (conv_range){begin, begin + CONV_CHANNELS < n ? begin + CONV_CHANNELS : n};
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

/* A convolution of n channels, and where its inputs and results stand. */
typedef struct conv_input {
    const float *w, *bias; // (n, width); (n) or NULL
    const float *x;        // (n_tokens, stride), of which the first n
    size_t stride, n;
    float *y; // (n_tokens, n)
} conv_input;

/* One part of y = silu(conv(x)) for all tokens of a step, in order. */
void conv_run(const forward_step *s, const conv_input *in, size_t part);

/* Where channels are convolved together with what heads read and write: their number, and floats that a
 * layer keeps of them and of its heads. */
size_t conv_mixed_width(const ssm_hparams *h);
size_t conv_mixed_state(const model_hparams *hp);

/* Time steps are kept positive: ln(1 + e^x). */
static inline float conv_time_step(float x) {
    return x > 20 ? x : log1pf(kernel_exp(x));
}

#endif
