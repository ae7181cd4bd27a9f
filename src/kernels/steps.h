/*
 * What the SIMD products share: pairs of vectors (a group's 8 rows), how codes and scales come out of a
 * packed block (layouts in formats.h), and how an integer product enters a float sum. A step is four
 * columns.
 */
#ifndef NUT_KERNELS_STEPS_H
#define NUT_KERNELS_STEPS_H

#include "kernels/blocks.h"
#include "kernels/sets.h"
#include "kernels/simd_math.h"

enum { L = FORMAT_LANES };

/* Q8_0 is no format of codes, but its blocks are gone through like those. */
static const block_layout block_Q8_0 = {.bytes = 34, .n_units = 1, .n_half = 1};

/* How int8 weights go through a set's dot of many tokens: 128 higher and without a sign, as they are, or in
 * the way of its own that set_signed_product has. */
typedef enum set_signed_form { SET_AS_SPLIT, SET_AS_UNSIGNED, SET_AS_SIGNED } set_signed_form;

/* Eight rows' values, rows 0..3 and 4..7. */
typedef struct pair {
    v128_t v[2];
} pair;

SIMD_INLINE pair pair_zero(void) {
    return (pair){{wasm_i32x4_splat(0), wasm_i32x4_splat(0)}};
}

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

/* Integer sums begin at the bits of this float, 1.5 * 2^23: while they stay below 2^22 their bits are then
 * the float 1.5 * 2^23 + sum, and a subtraction makes a float of them. A conversion would take one of the
 * two ports that multiply. */
#define STEPS_MAGIC 0x4b400000u

/* Masks and constants of unpacking, kept in locals. */
typedef struct unpack_consts {
    v128_t low;    // the low four bits of each byte
    v128_t high;   // where the bits beyond the fourth go
    v128_t magic;  // STEPS_MAGIC
    v128_t fields; // SIMD_F16_FIELDS
} unpack_consts;

SIMD_INLINE unpack_consts unpack_begin(int n_high) {
    return (unpack_consts){simd_const(0x0f0f0f0f), simd_const(n_high == 2 ? 0x30303030 : 0x10101010),
                           simd_const(STEPS_MAGIC), simd_const(SIMD_F16_FIELDS)};
}

/* f + (integers * d) * d_a: how every product of quantized weights enters its sum. */
SIMD_INLINE pair pair_scale_add(pair f, pair integers, pair d, v128_t d_a, unpack_consts c) {
    pair floats = {{wasm_f32x4_sub(integers.v[0], c.magic), wasm_f32x4_sub(integers.v[1], c.magic)}};
    return pair_mul_add(f, pair_mul(floats, d), d_a);
}

/* The bits beyond the fourth of a quad (four steps), each byte's in its low end: 4 of one bit, or 4 of two.
 */
SIMD_INLINE pair quad_high(const uint8_t *unit, int n_high, size_t quad) {
    pair bits = pair_load(unit + (n_high == 2 ? 32 * quad : 0));
    if (n_high == 1 && quad == 1)
        bits = (pair){{wasm_u16x8_shr(bits.v[0], 4), wasm_u16x8_shr(bits.v[1], 4)}};
    return bits;
}

/* Those of step i of the quad, in bits 4 and 5 of each byte. */
SIMD_INLINE v128_t step_high(v128_t bits, int n_high, int i, v128_t mask) {
    int left = 4 - n_high * i;
    bits = left > 0   ? wasm_i16x8_shl(bits, (uint32_t)left)
           : left < 0 ? wasm_u16x8_shr(bits, (uint32_t)-left)
                      : bits;
    return wasm_v128_and(bits, mask);
}

/* The codes of step i of a quad, one byte each; high is quad_high of it. */
SIMD_INLINE pair step_bytes(const uint8_t *unit, int n_high, size_t quad, int i, pair high,
                            unpack_consts c) {
    v128_t both = wasm_v128_load(unit + 32 * n_high + 64 * quad + 16 * i);
    pair codes = {{wasm_v128_and(both, c.low), wasm_v128_and(wasm_u16x8_shr(both, 4), c.low)}};
    if (n_high) {
        codes.v[0] = wasm_v128_or(codes.v[0], step_high(high.v[0], n_high, i, c.high));
        codes.v[1] = wasm_v128_or(codes.v[1], step_high(high.v[1], n_high, i, c.high));
    }
    return codes;
}

/* Scales of 8 rows as pack.c has written them, at KERNEL_SCALE_DOWN of their value. */
SIMD_INLINE pair scale_pair(const uint8_t *p, unpack_consts c) {
    return (pair){{simd_f16_fields(p, c.fields), simd_f16_fields(p + 8, c.fields)}};
}

/* int16 (8) to floats */
SIMD_INLINE pair i16_pair(v128_t x) {
    return (pair){{wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(x)),
                   wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(x))}};
}

SIMD_INLINE pair pair_neg(pair a) {
    return (pair){{wasm_f32x4_neg(a.v[0]), wasm_f32x4_neg(a.v[1])}};
}

/* Stores scales * d and mins * dmin of one sub-block. */
SIMD_INLINE void store_scale_min(v128_t scale, v128_t min, pair d, pair dmin, float *to_d, float *to_min) {
    pair_store(to_d, pair_mul(d, i16_pair(scale)));
    pair_store(to_min, pair_mul(dmin, i16_pair(min)));
}

/* The scales and (negative) minimums of the 8 sub-blocks of a Q4_K or Q5_K block: bit fields as
 * block_scale_min, two sub-blocks at a time. */
SIMD_INLINE void min_k_scales(const uint8_t *block, unpack_consts c, float (*to_d)[L], float (*to_min)[L]) {
    const pair d = scale_pair(block, c), dmin = pair_neg(scale_pair(block + 2 * L, c));
    const v128_t six = simd_const(0x3f3f3f3f);
    const uint8_t *scales = block + 4 * L;
    for (size_t s = 0; s < 4; s += 2) {
        v128_t low = wasm_v128_load(scales + L * s), mid = wasm_v128_load(scales + L * (s + 4));
        v128_t both = wasm_v128_load(scales + L * (s + 8)), top = wasm_i8x16_splat(0x30);
        v128_t sc[2] = {wasm_v128_and(low, six), wasm_v128_and(both, c.low)};
        v128_t mn[2] = {wasm_v128_and(mid, six), wasm_v128_and(wasm_u16x8_shr(both, 4), c.low)};
        sc[1] = wasm_v128_or(sc[1], wasm_v128_and(wasm_u16x8_shr(low, 2), top));
        mn[1] = wasm_v128_or(mn[1], wasm_v128_and(wasm_u16x8_shr(mid, 2), top));
        for (size_t i = 0; i < 2; i++) {
            const size_t at = s + 4 * i;
            store_scale_min(wasm_u16x8_extend_low_u8x16(sc[i]), wasm_u16x8_extend_low_u8x16(mn[i]), d, dmin,
                            to_d[at], to_min[at]);
            store_scale_min(wasm_u16x8_extend_high_u8x16(sc[i]), wasm_u16x8_extend_high_u8x16(mn[i]), d,
                            dmin, to_d[at + 1], to_min[at + 1]);
        }
    }
}

#endif
