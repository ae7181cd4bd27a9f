/* Vector arithmetic that the SIMD kernels share: half floats to floats, e^x and 2^x, integers of the cache.
 * Each function gives the bits that its scalar counterpart gives (base/half.h, exp.h). */
#ifndef NUT_KERNELS_SIMD_MATH_H
#define NUT_KERNELS_SIMD_MATH_H

#include "kernels/cache.h"
#include "kernels/exp.h"

#include <wasm_simd128.h>

#define SIMD_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define SIMD_UNROLL     _Pragma("unroll")
#define SIMD_NO_UNROLL  _Pragma("nounroll")
#define SIMD_NO_VECTORS _Pragma("clang loop vectorize(disable) unroll(disable)")
#else
#define SIMD_UNROLL     _Pragma("GCC unroll 8")
#define SIMD_NO_UNROLL  _Pragma("GCC unroll 1")
#define SIMD_NO_VECTORS _Pragma("GCC unroll 1")
#endif

/* The compiler moves no load or store beyond this. */
#define SIMD_FENCE() __asm__ volatile("" ::: "memory")

/* A constant vector of 32-bit lanes to be kept in a register through a loop. In wasm it passes through
 * memory: written as a constant, clang and Binaryen repeat it at each use, and V8 makes three instructions
 * of each. */
SIMD_INLINE v128_t simd_const(uint32_t bits) {
#if defined(__wasm__)
    volatile uint32_t cell = bits;
    bits = cell;
#endif
    return wasm_i32x4_splat((int32_t)bits);
}

/* Four halves at p in a float's fields, which is 2^-112 of their value: finite values only, `fields` being
 * simd_const(SIMD_F16_FIELDS). */
#define SIMD_F16_FIELDS 0x8fffe000u
SIMD_INLINE v128_t simd_f16_fields(const void *p, v128_t fields) {
    return wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_load16x4(p), 13), fields);
}

/* Constants of simd_exp. */
typedef struct simd_exp_c {
    v128_t lowest, highest, log2e, round, ln2_hi, ln2_lo, c[6], one;
} simd_exp_c;

SIMD_INLINE v128_t simd_const_f32(float x) {
    return simd_const(half_f32_to_bits(x));
}

SIMD_INLINE simd_exp_c simd_exp_consts(void) {
    return (simd_exp_c){simd_const_f32(EXP_LOWEST),
                        simd_const_f32(EXP_HIGHEST),
                        simd_const_f32(EXP_LOG2E),
                        simd_const_f32(EXP_ROUND),
                        simd_const_f32(EXP_LN2_HI),
                        simd_const_f32(EXP_LN2_LO),
                        {simd_const_f32(EXP_C0), simd_const_f32(EXP_C1), simd_const_f32(EXP_C2),
                         simd_const_f32(EXP_C3), simd_const_f32(EXP_C4), simd_const_f32(EXP_C5)},
                        simd_const_f32(1.0f)};
}

SIMD_INLINE v128_t simd_exp(v128_t x, const simd_exp_c *e) {
    v128_t zero = wasm_f32x4_lt(x, e->lowest);
    x = wasm_f32x4_pmin(x, e->highest);
    v128_t rounded = wasm_f32x4_add(wasm_f32x4_mul(x, e->log2e), e->round);
    v128_t n = wasm_f32x4_sub(rounded, e->round);
    v128_t r = wasm_f32x4_sub(x, wasm_f32x4_mul(n, e->ln2_hi));
    r = wasm_f32x4_sub(r, wasm_f32x4_mul(n, e->ln2_lo));
    v128_t p = e->c[0];
    SIMD_UNROLL
    for (int i = 1; i < 6; i++) p = wasm_f32x4_add(wasm_f32x4_mul(p, r), e->c[i]);
    p = wasm_f32x4_add(wasm_f32x4_mul(p, wasm_f32x4_mul(r, r)), r);
    p = wasm_f32x4_add(p, e->one);
    v128_t power = wasm_i32x4_add(wasm_i32x4_shl(rounded, 23), e->one); // the bits of 2^n
    return wasm_v128_andnot(wasm_f32x4_mul(p, power), zero);
}

/* Degrees of the polynomials of 2^x. */
enum { SIMD_EXP2 = 4, SIMD_EXP2_FINE = 6 };

/* Constants of simd_exp2. */
typedef struct simd_exp2_c {
    v128_t lowest, round, c[SIMD_EXP2_FINE + 1];
} simd_exp2_c;

SIMD_INLINE simd_exp2_c simd_exp2_consts(int degree) {
    static const float table[][SIMD_EXP2_FINE + 1] = {
        {1, EXP2_C1, EXP2_C2, EXP2_C3, EXP2_C4},
        {1, EXP2_FINE_C1, EXP2_FINE_C2, EXP2_FINE_C3, EXP2_FINE_C4, EXP2_FINE_C5, EXP2_FINE_C6}};
    simd_exp2_c e;
    e.lowest = simd_const_f32(EXP2_LOWEST), e.round = simd_const_f32(EXP_ROUND);
    SIMD_UNROLL
    for (int i = 0; i <= degree; i++) e.c[i] = simd_const_f32(table[degree == SIMD_EXP2_FINE][i]);
    return e;
}

SIMD_INLINE v128_t simd_exp2(v128_t x, const simd_exp2_c *e, int degree) {
    x = wasm_f32x4_pmax(x, e->lowest);
    v128_t rounded = wasm_f32x4_add(x, e->round), f = wasm_f32x4_sub(x, wasm_f32x4_sub(rounded, e->round));
    v128_t p = e->c[degree];
    SIMD_UNROLL
    for (int i = degree - 1; i >= 0; i--) p = wasm_f32x4_add(wasm_f32x4_mul(p, f), e->c[i]);
    return wasm_i32x4_add(p, wasm_i32x4_shl(rounded, 23));
}

/* Constants of simd_tanh. */
typedef struct simd_tanh_c {
    simd_exp_c exp;
    v128_t small, c[5];
} simd_tanh_c;

SIMD_INLINE simd_tanh_c simd_tanh_consts(void) {
    return (simd_tanh_c){simd_exp_consts(),
                         simd_const_f32(TANH_SMALL),
                         {simd_const_f32(TANH_C0), simd_const_f32(TANH_C1), simd_const_f32(TANH_C2),
                          simd_const_f32(TANH_C3), simd_const_f32(TANH_C4)}};
}

SIMD_INLINE v128_t simd_tanh(v128_t x, const simd_tanh_c *c) {
    const v128_t z = wasm_f32x4_abs(x), square = wasm_f32x4_mul(z, z);
    v128_t p = c->c[0];
    SIMD_UNROLL
    for (int i = 1; i < 5; i++) p = wasm_f32x4_add(wasm_f32x4_mul(p, square), c->c[i]);
    const v128_t near = wasm_f32x4_add(wasm_f32x4_mul(wasm_f32x4_mul(p, square), z), z);
    const v128_t below = wasm_f32x4_add(simd_exp(wasm_f32x4_add(z, z), &c->exp), c->exp.one);
    const v128_t far = wasm_f32x4_sub(c->exp.one, wasm_f32x4_div(wasm_f32x4_splat(2), below));
    const v128_t y = wasm_v128_bitselect(near, far, wasm_f32x4_lt(z, c->small));
    return wasm_v128_or(y, wasm_v128_and(x, wasm_i32x4_splat(INT32_MIN)));
}

/* The sum of four lanes, pairs first: (0 + 1) + (2 + 3). */
SIMD_INLINE float simd_sum(v128_t x) {
    return (wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 1)) +
           (wasm_f32x4_extract_lane(x, 2) + wasm_f32x4_extract_lane(x, 3));
}

/* ---- integers of keys, values, queries and softmax weights ---- */

SIMD_INLINE float simd_max(v128_t x) {
    x = wasm_f32x4_pmax(x, wasm_i32x4_shuffle(x, x, 2, 3, 0, 1));
    x = wasm_f32x4_pmax(x, wasm_i32x4_shuffle(x, x, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(x, 0);
}

/* Four floats, of magnitude below 2^22, to the nearest integers; ties to even. round: EXP_ROUND. */
SIMD_INLINE v128_t simd_nearest(v128_t x, v128_t round) {
    return wasm_i32x4_sub(wasm_f32x4_add(x, round), round);
}

/* Eight floats times inverse to int16. */
SIMD_INLINE v128_t simd_to_i16(const float *x, v128_t inverse, v128_t round) {
    return wasm_i16x8_narrow_i32x4(simd_nearest(wasm_f32x4_mul(wasm_v128_load(x), inverse), round),
                                   simd_nearest(wasm_f32x4_mul(wasm_v128_load(x + 4), inverse), round));
}

/* The scale of n columns of x (a multiple of 8): cache_scale. */
static inline float simd_cache_scale(const float *x, size_t n, float most, float length) {
    v128_t largest = wasm_f32x4_splat(0), squares = largest;
    for (size_t i = 0; i < n; i += 4) {
        v128_t v = wasm_v128_load(x + i);
        largest = wasm_f32x4_pmax(largest, wasm_f32x4_abs(v));
        squares = wasm_f32x4_add(squares, wasm_f32x4_mul(v, v));
    }
    return cache_scale(simd_max(largest), simd_sum(squares), most, length);
}

/* What numbers of a scale are multiplied by. */
SIMD_INLINE v128_t simd_cache_inverse(float scale) {
    return wasm_f32x4_splat(scale > 0 ? 1 / scale : 0);
}

#endif
