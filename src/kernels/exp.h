/*
 * Constants of elementary functions, which simd_math.h computes for vectors; e^x and 2^x for scalars too,
 * with the same operations in the same order, so that both give the same bits.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r by the polynomial of degree 7 of Moshier's Cephes library
 * (expf.c, public domain); 2^n by the exponent field. n comes from adding and taking away 1.5 * 2^23, whose
 * low bits hold the rounded sum; no conversion to an integer is needed, so a NaN stays defined (and stays a
 * NaN).
 */
#ifndef NUT_KERNELS_EXP_H
#define NUT_KERNELS_EXP_H

#include "base/half.h"

#define EXP_LOWEST  (-87.0f) // below: 0
#define EXP_HIGHEST 88.0f    // above: e^88
#define EXP_LOG2E   1.44269504088896341f
#define EXP_ROUND   12582912.0f // 1.5 * 2^23
#define EXP_LN2_HI  0.693359375f
#define EXP_LN2_LO  (-2.12194440e-4f)
#define EXP_C0      1.9875691500e-4f
#define EXP_C1      1.3981999507e-3f
#define EXP_C2      8.3334519073e-3f
#define EXP_C3      4.1665795894e-2f
#define EXP_C4      1.6666665459e-1f
#define EXP_C5      5.0000001201e-1f

/* 2^x for x <= 0, in fewer steps: what attention takes for every position. x = n + f with |f| <= 1/2; 2^f by
 * a polynomial of degree 4 with 2^0 = 1, fitted to the least relative error (2.8e-6, an eighth of what
 * rounding weights to integers costs) by Lawson's weights on 201 Chebyshev nodes; n is added to the
 * exponent. */
#define EXP2_LOWEST (-100.0f) // below: as at it, so that no product of a weight is subnormal
#define EXP2_C1     6.931241751e-1f
#define EXP2_C2     2.402409911e-1f
#define EXP2_C3     5.590642989e-2f
#define EXP2_C4     9.582851082e-3f

/* The same for attention over floats: 2^f = 1 + f P(f) with P of degree 5, of Cephes too (exp2f.c). */
#define EXP2_FINE_C1 6.931472028550421e-1f
#define EXP2_FINE_C2 2.402264791363012e-1f
#define EXP2_FINE_C3 5.550332471162809e-2f
#define EXP2_FINE_C4 9.618437357674640e-3f
#define EXP2_FINE_C5 1.339887440266574e-3f
#define EXP2_FINE_C6 1.535336188319500e-4f

/* tanh x: x + x^3 P(x^2) below TANH_SMALL, 1 - 2 / (e^2x + 1) above, by Moshier's Cephes library (tanhf.c,
 * public domain). */
#define TANH_SMALL 0.625f
#define TANH_C0    (-5.70498872745e-3f)
#define TANH_C1    2.06390887954e-2f
#define TANH_C2    (-5.37397155531e-2f)
#define TANH_C3    1.33314422036e-1f
#define TANH_C4    (-3.33332819422e-1f)

static inline float exp2_scalar(float x) {
    if (x < EXP2_LOWEST) x = EXP2_LOWEST;
    float rounded = x + EXP_ROUND, f = x - (rounded - EXP_ROUND);
    float p = EXP2_C4;
    p = p * f + EXP2_C3;
    p = p * f + EXP2_C2;
    p = p * f + EXP2_C1;
    p = p * f + 1.0f;
    return half_bits_to_f32(half_f32_to_bits(p) + (half_f32_to_bits(rounded) << 23));
}

static inline float exp2_fine_scalar(float x) {
    if (x < EXP2_LOWEST) x = EXP2_LOWEST;
    float rounded = x + EXP_ROUND, f = x - (rounded - EXP_ROUND);
    float p = EXP2_FINE_C6;
    p = p * f + EXP2_FINE_C5;
    p = p * f + EXP2_FINE_C4;
    p = p * f + EXP2_FINE_C3;
    p = p * f + EXP2_FINE_C2;
    p = p * f + EXP2_FINE_C1;
    p = p * f + 1.0f;
    return half_bits_to_f32(half_f32_to_bits(p) + (half_f32_to_bits(rounded) << 23));
}

static inline float exp_scalar(float x) {
    if (x < EXP_LOWEST) return 0;
    if (x > EXP_HIGHEST) x = EXP_HIGHEST;
    float rounded = x * EXP_LOG2E + EXP_ROUND, n = rounded - EXP_ROUND;
    float r = (x - n * EXP_LN2_HI) - n * EXP_LN2_LO;
    float p = EXP_C0;
    p = p * r + EXP_C1;
    p = p * r + EXP_C2;
    p = p * r + EXP_C3;
    p = p * r + EXP_C4;
    p = p * r + EXP_C5;
    p = (p * (r * r) + r) + 1.0f;
    return p * half_bits_to_f32((half_f32_to_bits(rounded) << 23) + 0x3f800000u);
}

#endif
