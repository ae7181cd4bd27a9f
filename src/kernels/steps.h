/*
 * What the SIMD products share: pairs of vectors (a group's 8 rows), how codes and scales come out of a packed block
 * (layouts in formats.h), and how an integer product enters a float sum. A step is four columns.
 */
#ifndef NUT_KERNELS_STEPS_H
#define NUT_KERNELS_STEPS_H

#include "kernels/blocks.h"
#include "kernels/sets.h"
#include "kernels/simd_math.h"

enum { L = FORMAT_LANES };

/* Eight rows' values, rows 0..3 and 4..7. */
typedef struct pair {
    v128_t v[2];
} pair;

SIMD_INLINE pair pair_zero(void) { return (pair){{wasm_i32x4_splat(0), wasm_i32x4_splat(0)}}; }

SIMD_INLINE pair pair_load(const void *p) {
    return (pair){{wasm_v128_load(p), wasm_v128_load((const uint8_t *)p + 16)}};
}

SIMD_INLINE void pair_store(void *p, pair a) {
    wasm_v128_store(p, a.v[0]);
    wasm_v128_store((uint8_t *)p + 16, a.v[1]);
}

SIMD_INLINE pair pair_mul(pair a, pair b) {
    return (pair){{wasm_f32x4_mul(a.v[0], b.v[0]), wasm_f32x4_mul(a.v[1], b.v[1])}};
}

SIMD_INLINE pair pair_add(pair a, pair b) {
    return (pair){{wasm_f32x4_add(a.v[0], b.v[0]), wasm_f32x4_add(a.v[1], b.v[1])}};
}

/* f + a * s */
SIMD_INLINE pair pair_mul_add(pair f, pair a, v128_t s) {
    return pair_add(f, (pair){{wasm_f32x4_mul(a.v[0], s), wasm_f32x4_mul(a.v[1], s)}});
}

/* f + (integers * d) * d_a: how every product of quantized weights enters its sum. */
SIMD_INLINE pair pair_scale_add(pair f, pair integers, pair d, v128_t d_a) {
    pair floats = {{wasm_f32x4_convert_i32x4(integers.v[0]), wasm_f32x4_convert_i32x4(integers.v[1])}};
    return pair_mul_add(f, pair_mul(floats, d), d_a);
}

/* Masks and constants of unpacking, kept in locals. */
typedef struct unpack_consts {
    v128_t low;  // the low four bits of each byte
    v128_t high; // where the bits beyond the fourth go
    v128_t six;  // the low six bits of each 16-bit lane
    simd_f16 f16;
} unpack_consts;

SIMD_INLINE unpack_consts unpack_begin(int n_high) {
    return (unpack_consts){simd_const(0x0f0f0f0f), simd_const(n_high == 2 ? 0x30303030 : 0x10101010),
                           simd_const(0x003f003f), simd_f16_consts()};
}

/* The bits beyond the fourth of step j's codes, in place (bits 4 and 5 of each byte), of rows 4k..4k+3. */
SIMD_INLINE v128_t step_high(const uint8_t *unit, int n_high, int j, int k, unpack_consts c) {
    v128_t bits = wasm_v128_load(unit + (n_high == 2 ? j / 4 * 32 : 0) + 16 * k);
    int left = n_high == 2 ? 4 - 2 * (j % 4) : 4 - j;
    bits = left > 0 ? wasm_i16x8_shl(bits, (uint32_t)left) : left < 0 ? wasm_u16x8_shr(bits, (uint32_t)-left) : bits;
    return wasm_v128_and(bits, c.high);
}

/* The codes of step j of a unit, one byte each. */
SIMD_INLINE pair step_bytes(const uint8_t *unit, int n_high, int j, unpack_consts c) {
    v128_t both = wasm_v128_load(unit + 32 * n_high + 16 * j);
    pair codes = {{wasm_v128_and(both, c.low), wasm_v128_and(wasm_u16x8_shr(both, 4), c.low)}};
    if (n_high) {
        codes.v[0] = wasm_v128_or(codes.v[0], step_high(unit, n_high, j, 0, c));
        codes.v[1] = wasm_v128_or(codes.v[1], step_high(unit, n_high, j, 1, c));
    }
    return codes;
}

/* Halves of 8 rows to floats. */
SIMD_INLINE pair f16_pair(const uint8_t *p, unpack_consts c) {
    return (pair){{simd_f16_load4(p, c.f16), simd_f16_load4(p + 8, c.f16)}};
}

/* int16 (8) to floats */
SIMD_INLINE pair i16_pair(v128_t x) {
    return (pair){{wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(x)),
                   wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(x))}};
}

/* The 6-bit scale and min of sub-block s for 8 rows, as block_scale_min. */
SIMD_INLINE void scale_min_pair(const uint8_t *scales, size_t s, unpack_consts c, pair *scale, pair *min) {
    v128_t now = wasm_u16x8_load8x8(scales + L * s), next = wasm_u16x8_load8x8(scales + L * (s + 4));
    v128_t sc = wasm_v128_and(now, c.six), mn = wasm_v128_and(next, c.six);
    if (s >= 4) {
        v128_t past = wasm_u16x8_load8x8(scales + L * (s - 4));
        sc = wasm_v128_or(wasm_v128_and(next, c.low), wasm_i16x8_shl(wasm_u16x8_shr(past, 6), 4));
        mn = wasm_v128_or(wasm_u16x8_shr(next, 4), wasm_i16x8_shl(wasm_u16x8_shr(now, 6), 4));
    }
    *scale = i16_pair(sc), *min = i16_pair(mn);
}

SIMD_INLINE pair pair_neg(pair a) { return (pair){{wasm_f32x4_neg(a.v[0]), wasm_f32x4_neg(a.v[1])}}; }

#endif
