/* Vector arithmetic that the SIMD kernels share: half floats to floats and back, e^x. Each function gives the bits
 * that its scalar counterpart gives (base/half.h, exp.h). */
#ifndef NUT_KERNELS_SIMD_MATH_H
#define NUT_KERNELS_SIMD_MATH_H

#include "kernels/exp.h"

#include <wasm_simd128.h>

#define SIMD_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define SIMD_UNROLL _Pragma("unroll")
#else
#define SIMD_UNROLL _Pragma("GCC unroll 8")
#endif

/* Makes a value opaque to clang's wasm back end, where it costs nothing. A constant so treated is kept in a local; else
 * each use writes it out, which V8 turns into three instructions. A sum so treated is computed where it stands; else
 * a chain of dots becomes one expression, whose operands are all loaded before its first dot, and spilled. */
#if defined(__wasm__)
#define SIMD_PIN(v) __asm__("" : "+r"(v))
#else
#define SIMD_PIN(v) ((void)(v))
#endif

/* Four halves at p to floats. Finite values only: an infinity becomes 65536. Subnormals are made by a subtraction, not
 * by multiplying a subnormal float, which some machines do slowly: scales of K-quants often are subnormal. */
SIMD_INLINE v128_t simd_f16_load4(const uint16_t *p) {
    v128_t half = wasm_i32x4_load16x4(p);
    v128_t rest = wasm_v128_and(wasm_i32x4_shl(half, 13), wasm_i32x4_splat(0x0fffe000));
    v128_t sign = wasm_v128_and(half, wasm_i32x4_splat(INT32_MIN));
    v128_t small = wasm_i32x4_lt(rest, wasm_i32x4_splat(0x00800000)); // exponent 0: no implicit one
    rest = wasm_i32x4_add(rest, wasm_i32x4_splat(112 << 23));
    rest = wasm_i32x4_sub(rest, wasm_i32x4_shl(small, 23));
    rest = wasm_f32x4_sub(rest, wasm_v128_and(small, wasm_i32x4_splat(113 << 23)));
    return wasm_v128_or(rest, sign);
}

/* Four halves, in the low 16 bits of each lane and sign-extended, to floats, finite values only; quicker than
 * simd_f16_load4 where subnormals are rare. */
SIMD_INLINE v128_t simd_f16_extended(v128_t half) {
    v128_t bits = wasm_v128_and(wasm_i32x4_shl(half, 13), wasm_i32x4_splat((int32_t)0x8fffe000));
    return wasm_f32x4_mul(bits, wasm_f32x4_splat(0x1p112f));
}

/* Four floats to halves in the low 16 bits of each lane, round to nearest even, as half_f32_to_f16. */
SIMD_INLINE v128_t simd_f32_to_f16(v128_t x) {
    v128_t u = wasm_v128_and(x, wasm_i32x4_splat(0x7fffffff));
    v128_t odd = wasm_v128_and(wasm_u32x4_shr(u, 13), wasm_i32x4_splat(1));
    v128_t bias = wasm_i32x4_splat((int32_t)0xc8000fffu);
    v128_t normal = wasm_u32x4_shr(wasm_i32x4_add(wasm_i32x4_add(u, bias), odd), 13);
    v128_t tiny = wasm_i32x4_sub(wasm_f32x4_add(u, wasm_f32x4_splat(0.5f)), wasm_i32x4_splat(0x3f000000));
    v128_t out = wasm_v128_bitselect(tiny, normal, wasm_i32x4_lt(u, wasm_i32x4_splat(0x38800000)));
    out = wasm_v128_bitselect(out, wasm_i32x4_splat(0x7c00), wasm_i32x4_lt(u, wasm_i32x4_splat(0x477ff000)));
    out = wasm_v128_bitselect(wasm_i32x4_splat(0x7e00), out, wasm_i32x4_gt(u, wasm_i32x4_splat(0x7f800000)));
    return wasm_v128_or(out, wasm_v128_and(wasm_u32x4_shr(x, 16), wasm_i32x4_splat(0x8000)));
}

SIMD_INLINE v128_t simd_exp(v128_t x) {
    v128_t zero = wasm_f32x4_lt(x, wasm_f32x4_splat(EXP_LOWEST));
    x = wasm_f32x4_pmin(x, wasm_f32x4_splat(EXP_HIGHEST));
    v128_t rounded = wasm_f32x4_add(wasm_f32x4_mul(x, wasm_f32x4_splat(EXP_LOG2E)), wasm_f32x4_splat(EXP_ROUND));
    v128_t n = wasm_f32x4_sub(rounded, wasm_f32x4_splat(EXP_ROUND));
    v128_t r = wasm_f32x4_sub(x, wasm_f32x4_mul(n, wasm_f32x4_splat(EXP_LN2_HI)));
    r = wasm_f32x4_sub(r, wasm_f32x4_mul(n, wasm_f32x4_splat(EXP_LN2_LO)));
    v128_t p = wasm_f32x4_splat(EXP_C0);
    p = wasm_f32x4_add(wasm_f32x4_mul(p, r), wasm_f32x4_splat(EXP_C1));
    p = wasm_f32x4_add(wasm_f32x4_mul(p, r), wasm_f32x4_splat(EXP_C2));
    p = wasm_f32x4_add(wasm_f32x4_mul(p, r), wasm_f32x4_splat(EXP_C3));
    p = wasm_f32x4_add(wasm_f32x4_mul(p, r), wasm_f32x4_splat(EXP_C4));
    p = wasm_f32x4_add(wasm_f32x4_mul(p, r), wasm_f32x4_splat(EXP_C5));
    p = wasm_f32x4_add(wasm_f32x4_mul(p, wasm_f32x4_mul(r, r)), r);
    p = wasm_f32x4_add(p, wasm_f32x4_splat(1.0f));
    v128_t power = wasm_i32x4_add(wasm_i32x4_shl(rounded, 23), wasm_i32x4_splat(0x3f800000));
    return wasm_v128_andnot(wasm_f32x4_mul(p, power), zero);
}

/* The sum of four lanes, pairs first: (0 + 1) + (2 + 3). */
SIMD_INLINE float simd_sum(v128_t x) {
    return (wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 1)) +
           (wasm_f32x4_extract_lane(x, 2) + wasm_f32x4_extract_lane(x, 3));
}

#endif
