/* The vector operations of the SIMD sets. Sums go over 16 lanes, lane i taking the elements i, i + 16, ...,
 * and are then added in one fixed order. */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/simd_math.h"

#include <math.h>

/* Round half away from zero: truncation after adding a half of the same sign. */
SIMD_INLINE v128_t round_to_i32(v128_t x) {
    v128_t half = wasm_v128_or(wasm_v128_and(x, wasm_i32x4_splat(INT32_MIN)), wasm_f32x4_splat(0.5f));
    return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_add(x, half));
}

/* The largest magnitude of 32 floats, NaN where one is: floats without their sign are ordered as integers.
 */
SIMD_INLINE float max_magnitude(const float *x) {
    const v128_t magnitude = wasm_i32x4_splat(INT32_MAX);
    v128_t most = wasm_v128_and(wasm_v128_load(x), magnitude);
    SIMD_UNROLL
    for (int i = 4; i < KERNEL_Q8_BLOCK; i += 4)
        most = wasm_i32x4_max(most, wasm_v128_and(wasm_v128_load(x + i), magnitude));
    most = wasm_i32x4_max(most, wasm_i32x4_shuffle(most, most, 2, 3, 0, 1));
    most = wasm_i32x4_max(most, wasm_i32x4_shuffle(most, most, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(most, 0);
}

/* 16 floats times `inverse` to int8; returns their sum. */
SIMD_INLINE int32_t quantize_16(const float *x, v128_t inverse, int8_t *q) {
    v128_t i0 = round_to_i32(wasm_f32x4_mul(wasm_v128_load(x), inverse));
    v128_t i1 = round_to_i32(wasm_f32x4_mul(wasm_v128_load(x + 4), inverse));
    v128_t i2 = round_to_i32(wasm_f32x4_mul(wasm_v128_load(x + 8), inverse));
    v128_t i3 = round_to_i32(wasm_f32x4_mul(wasm_v128_load(x + 12), inverse));
    wasm_v128_store(
        q, wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(i0, i1), wasm_i16x8_narrow_i32x4(i2, i3)));
    v128_t s = wasm_i32x4_add(wasm_i32x4_add(i0, i1), wasm_i32x4_add(i2, i3));
    s = wasm_i32x4_add(s, wasm_i32x4_shuffle(s, s, 2, 3, 0, 1));
    return wasm_i32x4_extract_lane(s, 0) + wasm_i32x4_extract_lane(s, 1);
}

void simd_quantize_q8(const float *x, size_t n, int8_t *q, float *d, int32_t *sum) {
    for (size_t b = 0; b < n / KERNEL_Q8_BLOCK; b++, x += KERNEL_Q8_BLOCK, q += KERNEL_Q8_BLOCK) {
        float amax = max_magnitude(x);
        bool zero = amax < KERNEL_Q8_LOWEST;
        d[b] = zero ? 0 : amax / 127.0f;
        v128_t inverse = wasm_f32x4_splat(zero ? 0 : 1.0f / d[b]);
        sum[2 * b] = quantize_16(x, inverse, q);
        sum[2 * b + 1] = quantize_16(x + 16, inverse, q + 16);
    }
}

void simd_rms_norm(const float *x, const float *w, size_t n, float eps, float *y) {
    v128_t s[4] = {wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        SIMD_UNROLL
        for (int k = 0; k < 4; k++) {
            v128_t v = wasm_v128_load(x + i + 4 * k);
            s[k] = wasm_f32x4_add(s[k], wasm_f32x4_mul(v, v));
        }
    }
    float sum = simd_sum(wasm_f32x4_add(wasm_f32x4_add(s[0], s[1]), wasm_f32x4_add(s[2], s[3])));
    for (; i < n; i++) sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / (float)n + eps);
    for (i = 0; i + 4 <= n; i += 4) {
        v128_t v = wasm_f32x4_mul(wasm_v128_load(x + i), wasm_f32x4_splat(scale));
        wasm_v128_store(y + i, wasm_f32x4_mul(v, wasm_v128_load(w + i)));
    }
    for (; i < n; i++) y[i] = x[i] * scale * w[i];
}

void simd_silu_mul(float *gate, const float *up, size_t n) {
    const simd_exp_c e = simd_exp_consts();
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        v128_t g = wasm_v128_load(gate + i);
        v128_t below = wasm_f32x4_add(e.one, simd_exp(wasm_f32x4_neg(g), &e));
        wasm_v128_store(gate + i, wasm_f32x4_mul(wasm_f32x4_div(g, below), wasm_v128_load(up + i)));
    }
    for (; i < n; i++) gate[i] = gate[i] / (1.0f + exp_scalar(-gate[i])) * up[i];
}

void simd_add(float *x, const float *y, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        wasm_v128_store(x + i, wasm_f32x4_add(wasm_v128_load(x + i), wasm_v128_load(y + i)));
    for (; i < n; i++) x[i] += y[i];
}
#else
typedef int kernel_simd_ops_are_not_in_this_build;
#endif
