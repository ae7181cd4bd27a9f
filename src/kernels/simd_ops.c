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

/* 16 floats times `inverse` to int8; adds them to *sum by fours, and the negative ones to *negative. */
SIMD_INLINE v128_t quantize_16(const float *x, v128_t inverse, v128_t *sum, v128_t *negative) {
    const v128_t zero = wasm_i32x4_splat(0);
    v128_t q[4];
    SIMD_UNROLL
    for (int i = 0; i < 4; i++) {
        q[i] = round_to_i32(wasm_f32x4_mul(wasm_v128_load(x + 4 * i), inverse));
        *sum = wasm_i32x4_add(*sum, q[i]);
        *negative = wasm_i32x4_sub(*negative, wasm_i32x4_min(q[i], zero));
    }
    return wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(q[0], q[1]), wasm_i16x8_narrow_i32x4(q[2], q[3]));
}

SIMD_INLINE int32_t sum_i32(v128_t s) {
    s = wasm_i32x4_add(s, wasm_i32x4_shuffle(s, s, 2, 3, 0, 1));
    return wasm_i32x4_extract_lane(s, 0) + wasm_i32x4_extract_lane(s, 1);
}

/* rest (16) = x - d * q */
SIMD_INLINE void rest_16(const float *x, v128_t q, float d, float *rest) {
    const v128_t low = wasm_i16x8_extend_low_i8x16(q), high = wasm_i16x8_extend_high_i8x16(q);
    const v128_t by_four[4] = {wasm_i32x4_extend_low_i16x8(low), wasm_i32x4_extend_high_i16x8(low),
                               wasm_i32x4_extend_low_i16x8(high), wasm_i32x4_extend_high_i16x8(high)};
    SIMD_UNROLL
    for (int i = 0; i < 4; i++) {
        v128_t held = wasm_f32x4_mul(wasm_f32x4_splat(d), wasm_f32x4_convert_i32x4(by_four[i]));
        wasm_v128_store(rest + 4 * i, wasm_f32x4_sub(wasm_v128_load(x + 4 * i), held));
    }
}

/* The four words of x to q, `stride` bytes apart. */
SIMD_INLINE void store_words(uint8_t *q, size_t stride, v128_t x) {
    wasm_v128_store32_lane(q, x, 0);
    wasm_v128_store32_lane(q + stride, x, 1);
    wasm_v128_store32_lane(q + 2 * stride, x, 2);
    wasm_v128_store32_lane(q + 3 * stride, x, 3);
}

/* 16 codes to their lane of four steps, as the set keeps them. */
SIMD_INLINE void store_codes(uint8_t *q, const kernel_act *to, v128_t x) {
    const size_t columns = 4 * to->lanes; // bytes of four columns, or of two as int16
    if (to->bytes == 1) {
        store_words(q, columns, x);
    } else {
        store_words(q, 2 * columns, wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8));
        store_words(q + columns, 2 * columns, wasm_i16x8_shr(x, 8));
    }
}

void simd_quantize_q8(const float *x, size_t col, size_t n, size_t token, const kernel_act *to,
                      float *rest) {
    const size_t lanes = to->lanes, lane = token % lanes, step = 4 * to->bytes * lanes;
    size_t block = (token / lanes * to->n_cols + col) / KERNEL_Q8_BLOCK;
    for (const float *end = x + n; x < end; x += KERNEL_Q8_BLOCK, block++) {
        const float amax = max_magnitude(x);
        const bool zero = amax < KERNEL_Q8_LOWEST;
        const float d = zero ? 0 : amax / 127.0f;
        const v128_t inverse = wasm_f32x4_splat(zero ? 0 : 1.0f / d);
        v128_t low = wasm_i32x4_splat(0), high = low, negative = low;
        uint8_t *q = to->q + 8 * block * step + 4 * lane;
        const v128_t first = quantize_16(x, inverse, &low, &negative),
                     second = quantize_16(x + 16, inverse, &high, &negative);
        store_codes(q, to, first);
        store_codes(q + 4 * step, to, second);
        if (rest) {
            rest_16(x, first, d, rest);
            rest_16(x + 16, second, d, rest + 16);
            rest += KERNEL_Q8_BLOCK;
        }
        const int32_t half = sum_i32(high), all = sum_i32(low) + half;
        int32_t *sum = to->sum + block * KERNEL_SUMS * lanes + lane;
        sum[KERNEL_SUM_ALL * lanes] = all;
        sum[KERNEL_SUM_HALF * lanes] = half;
        sum[KERNEL_SUM_NEGATIVE * lanes] = sum_i32(negative);
        to->d[block * lanes + lane] = d * KERNEL_SCALE_UP;
        to->d_sum[block * lanes + lane] = d * KERNEL_SCALE_UP * (float)all;
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
        wasm_v128_store(y + i, w ? wasm_f32x4_mul(v, wasm_v128_load(w + i)) : v);
    }
    for (; i < n; i++) y[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

/* The sum of (x - from)^power over n, power 1 or 2, over 16 lanes. */
SIMD_INLINE float sum_from(const float *x, size_t n, float from, bool squared) {
    const v128_t less = wasm_f32x4_splat(from);
    v128_t s[4] = {wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        SIMD_UNROLL
        for (int k = 0; k < 4; k++) {
            const v128_t v = wasm_f32x4_sub(wasm_v128_load(x + i + 4 * k), less);
            s[k] = wasm_f32x4_add(s[k], squared ? wasm_f32x4_mul(v, v) : v);
        }
    }
    float sum = simd_sum(wasm_f32x4_add(wasm_f32x4_add(s[0], s[1]), wasm_f32x4_add(s[2], s[3])));
    for (; i < n; i++) sum += squared ? (x[i] - from) * (x[i] - from) : x[i] - from;
    return sum;
}

void simd_layer_norm(const float *x, const float *w, const float *b, size_t n, float eps, float *y) {
    const float mean = sum_from(x, n, 0, false) / (float)n;
    const float scale = 1.0f / sqrtf(sum_from(x, n, mean, true) / (float)n + eps);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        v128_t v = wasm_f32x4_sub(wasm_v128_load(x + i), wasm_f32x4_splat(mean));
        v = wasm_f32x4_mul(v, wasm_f32x4_splat(scale));
        if (w) v = wasm_f32x4_mul(v, wasm_v128_load(w + i));
        wasm_v128_store(y + i, b ? wasm_f32x4_add(v, wasm_v128_load(b + i)) : v);
    }
    for (; i < n; i++) y[i] = (x[i] - mean) * scale * (w ? w[i] : 1) + (b ? b[i] : 0);
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
