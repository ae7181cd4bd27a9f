/*
 * The wasm intrinsics in a native build, through SIMDe 0.8.2, so that the sanitizers see the very kernels
 * that a page runs. Put this folder first in the include path, and SIMDe's by -isystem. What that version
 * lacks of the names that the kernels use is defined here.
 */
#ifndef NUT_KERNELS_COMPAT_WASM_SIMD128_H
#define NUT_KERNELS_COMPAT_WASM_SIMD128_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/wasm/simd128.h>

#if defined(__SSSE3__)
#include <immintrin.h>
#endif

#ifndef wasm_f32x4_const_splat
#define wasm_f32x4_const_splat(x) simde_wasm_f32x4_splat(x)
#endif

/* Four products of int8 a and b in 0..127 added to each lane of acc. */
static inline v128_t wasm_i32x4_relaxed_dot_i8x16_i7x16_add(v128_t a, v128_t b, v128_t acc) {
#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))
    return (v128_t)_mm_dpbusd_epi32((__m128i)acc, (__m128i)b, (__m128i)a);
#elif defined(__SSSE3__)
    __m128i pairs = _mm_maddubs_epi16((__m128i)b, (__m128i)a);
    return (v128_t)_mm_add_epi32((__m128i)acc, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
#else
    v128_t a_even = wasm_i16x8_shr(wasm_i16x8_shl(a, 8), 8), a_odd = wasm_i16x8_shr(a, 8);
    v128_t b_even = wasm_v128_and(b, wasm_i16x8_splat(255)), b_odd = wasm_u16x8_shr(b, 8);
    return wasm_i32x4_add(
        acc, wasm_i32x4_add(wasm_i32x4_dot_i16x8(a_even, b_even), wasm_i32x4_dot_i16x8(a_odd, b_odd)));
#endif
}

#endif
