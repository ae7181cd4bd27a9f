/*
 * The activations as scalars, with the operations that simd_activate.c does in the same order, so that both
 * give the same bits.
 *
 * GELU's error function is formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions
 * (1964): erf(z) = 1 - (a1 t + ... + a5 t^5) e^(-z^2), t = 1 / (1 + p z), with an error below 1.5e-7.
 */
#ifndef NUT_KERNELS_ACTIVATIONS_H
#define NUT_KERNELS_ACTIVATIONS_H

#include "kernels/exp.h"
#include "kernels/kernels.h"

#define ACT_TANH_2    1.5957691216057308f // 2 sqrt(2 / pi)
#define ACT_CUBE      0.044715f
#define ACT_QUICK     1.702f
#define ACT_SQRT_HALF 0.7071067811865476f
#define ACT_ERF_P     0.3275911f
#define ACT_ERF_A1    0.254829592f
#define ACT_ERF_A2    (-0.284496736f)
#define ACT_ERF_A3    1.421413741f
#define ACT_ERF_A4    (-1.453152027f)
#define ACT_ERF_A5    1.061405429f

/* x / (1 + e^-y) */
static inline float act_sigmoid_of(float x, float y) {
    return x / (1.0f + exp_scalar(-y));
}

static inline float act_gelu(float x) {
    const float z = (x < 0 ? -x : x) * ACT_SQRT_HALF, t = 1.0f / (1.0f + ACT_ERF_P * z);
    float p = ACT_ERF_A5;
    p = p * t + ACT_ERF_A4;
    p = p * t + ACT_ERF_A3;
    p = p * t + ACT_ERF_A2;
    p = p * t + ACT_ERF_A1;
    const float half = 0.5f * (p * t * exp_scalar(-(z * z))); // half of 1 - erf(z)
    return x * (x < 0 ? half : 1.0f - half);
}

static inline float act_scalar(kernel_activation a, float x) {
    switch (a) {
    case KERNEL_SILU: return act_sigmoid_of(x, x);
    case KERNEL_GELU: return act_gelu(x);
    case KERNEL_GELU_TANH: return act_sigmoid_of(x, ACT_TANH_2 * (x + ACT_CUBE * (x * x * x)));
    case KERNEL_GELU_QUICK: return act_sigmoid_of(x, ACT_QUICK * x);
    case KERNEL_RELU: return x < 0 ? 0 : x;
    case KERNEL_RELU_SQUARED: return x < 0 ? 0 : x * x;
    case KERNEL_ACTIVATION_COUNT: break;
    }
    return x;
}

/* cap * tanh(x / cap), with tanh(y) = 1 - 2 / (1 + e^(2 y)) */
static inline float act_softcap(float x, float cap) {
    return cap * (1.0f - 2.0f / (1.0f + exp_scalar(2.0f * (x / cap))));
}

#endif
