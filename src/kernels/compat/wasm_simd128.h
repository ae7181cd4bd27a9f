/*
 * The names of <wasm_simd128.h> for native builds, so that tests and sanitizers see the very kernels that a
 * page runs. Put this folder first in the include path. Written with the vector extensions of gcc (12 or
 * later) and clang, and with the machine's own instructions where a compiler does not find them. Only what
 * the kernels use is here. Each function does what the WebAssembly specification says of the instruction in
 * its name.
 */
#ifndef NUT_KERNELS_COMPAT_WASM_SIMD128_H
#define NUT_KERNELS_COMPAT_WASM_SIMD128_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define COMPAT_VECTOR(bytes) __attribute__((vector_size(bytes)))
#define COMPAT               static inline __attribute__((always_inline))

typedef int32_t v128_t COMPAT_VECTOR(16);
typedef int8_t compat_i8 COMPAT_VECTOR(16);
typedef uint8_t compat_u8 COMPAT_VECTOR(16);
typedef int16_t compat_i16 COMPAT_VECTOR(16);
typedef uint16_t compat_u16 COMPAT_VECTOR(16);
typedef int32_t compat_i32 COMPAT_VECTOR(16);
typedef uint32_t compat_u32 COMPAT_VECTOR(16);
typedef int64_t compat_i64 COMPAT_VECTOR(16);
typedef float compat_f32 COMPAT_VECTOR(16);
typedef int8_t compat_i8x8 COMPAT_VECTOR(8);
typedef uint8_t compat_u8x8 COMPAT_VECTOR(8);
typedef int16_t compat_i16x4 COMPAT_VECTOR(8);

/* ---- memory and lanes ---- */

COMPAT v128_t wasm_v128_load(const void *p) {
    v128_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

COMPAT void wasm_v128_store(void *p, v128_t v) {
    memcpy(p, &v, sizeof v);
}

COMPAT v128_t wasm_i32x4_make(int32_t c0, int32_t c1, int32_t c2, int32_t c3) {
    return (v128_t){c0, c1, c2, c3};
}

COMPAT v128_t wasm_i32x4_splat(int32_t x) {
    return (v128_t){x, x, x, x};
}

COMPAT v128_t wasm_i16x8_splat(int16_t x) {
    return (v128_t)(compat_i16){x, x, x, x, x, x, x, x};
}

COMPAT v128_t wasm_i8x16_splat(int8_t x) {
    return (v128_t)(compat_i8){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

COMPAT v128_t wasm_f32x4_splat(float x) {
    return (v128_t)(compat_f32){x, x, x, x};
}

COMPAT v128_t wasm_v128_load32_splat(const void *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return wasm_i32x4_splat(x);
}

COMPAT v128_t wasm_v128_load64_splat(const void *p) {
    int64_t x;
    memcpy(&x, p, sizeof x);
    return (v128_t)(compat_i64){x, x};
}

COMPAT v128_t wasm_i16x8_load8x8(const void *p) {
    compat_i8x8 half;
    memcpy(&half, p, sizeof half);
    return (v128_t) __builtin_convertvector(half, compat_i16);
}

COMPAT v128_t wasm_i32x4_load16x4(const void *p) {
    compat_i16x4 half;
    memcpy(&half, p, sizeof half);
    return (v128_t) __builtin_convertvector(half, compat_i32);
}

#define wasm_i32x4_extract_lane(v, i) (((compat_i32)(v))[i])
#define wasm_f32x4_extract_lane(v, i) (((compat_f32)(v))[i])

#define COMPAT_STORE_LANE(p, type, value)                                                                   \
    do {                                                                                                    \
        const type compat_lane = (value);                                                                   \
        memcpy(p, &compat_lane, sizeof compat_lane);                                                        \
    } while (0)
#define wasm_v128_store32_lane(p, v, i) COMPAT_STORE_LANE(p, int32_t, ((compat_i32)(v))[i])
#define wasm_v128_store16_lane(p, v, i) COMPAT_STORE_LANE(p, int16_t, ((compat_i16)(v))[i])
#define wasm_v128_store8_lane(p, v, i)  COMPAT_STORE_LANE(p, int8_t, ((compat_i8)(v))[i])

#define wasm_i32x4_shuffle(a, b, c0, c1, c2, c3)                                                            \
    ((v128_t)__builtin_shufflevector((compat_i32)(a), (compat_i32)(b), c0, c1, c2, c3))
#define wasm_i64x2_shuffle(a, b, c0, c1)                                                                    \
    ((v128_t)__builtin_shufflevector((compat_i64)(a), (compat_i64)(b), c0, c1))

/* ---- bits ---- */

COMPAT v128_t wasm_v128_and(v128_t a, v128_t b) {
    return a & b;
}

COMPAT v128_t wasm_v128_or(v128_t a, v128_t b) {
    return a | b;
}

COMPAT v128_t wasm_v128_xor(v128_t a, v128_t b) {
    return a ^ b;
}

COMPAT v128_t wasm_v128_not(v128_t a) {
    return ~a;
}

COMPAT v128_t wasm_v128_andnot(v128_t a, v128_t b) {
    return a & ~b;
}

/* a where the mask is 1, else b. */
COMPAT v128_t wasm_v128_bitselect(v128_t a, v128_t b, v128_t mask) {
    return (a & mask) | (b & ~mask);
}

COMPAT v128_t wasm_i32x4_shl(v128_t a, uint32_t n) {
    return (v128_t)((compat_u32)a << (compat_u32)wasm_i32x4_splat((int32_t)(n & 31)));
}

COMPAT v128_t wasm_i16x8_shl(v128_t a, uint32_t n) {
    return (v128_t)((compat_u16)a << (compat_u16)wasm_i16x8_splat((int16_t)(n & 15)));
}

COMPAT v128_t wasm_i16x8_shr(v128_t a, uint32_t n) {
    return (v128_t)((compat_i16)a >> (compat_i16)wasm_i16x8_splat((int16_t)(n & 15)));
}

COMPAT v128_t wasm_u16x8_shr(v128_t a, uint32_t n) {
    return (v128_t)((compat_u16)a >> (compat_u16)wasm_i16x8_splat((int16_t)(n & 15)));
}

/* Byte i is that of a whose number is byte i of b; 0 where there is no such. */
COMPAT v128_t wasm_i8x16_swizzle(v128_t a, v128_t b) {
#if defined(__SSSE3__)
    return (v128_t)_mm_shuffle_epi8((__m128i)a, _mm_adds_epu8((__m128i)b, _mm_set1_epi8(0x70)));
#elif defined(__ARM_NEON)
    return (v128_t)vqtbl1q_u8((uint8x16_t)a, (uint8x16_t)b);
#else
    compat_u8 of = (compat_u8)a, at = (compat_u8)b, to;
    for (int i = 0; i < 16; i++) to[i] = at[i] < 16 ? of[at[i]] : 0;
    return (v128_t)to;
#endif
}

/* ---- integers ---- */

COMPAT v128_t wasm_i32x4_add(v128_t a, v128_t b) {
    return (v128_t)((compat_u32)a + (compat_u32)b);
}

COMPAT v128_t wasm_i32x4_sub(v128_t a, v128_t b) {
    return (v128_t)((compat_u32)a - (compat_u32)b);
}

COMPAT v128_t wasm_i16x8_add(v128_t a, v128_t b) {
    return (v128_t)((compat_u16)a + (compat_u16)b);
}

COMPAT v128_t wasm_i8x16_sub(v128_t a, v128_t b) {
    return (v128_t)((compat_u8)a - (compat_u8)b);
}

COMPAT v128_t wasm_i32x4_max(v128_t a, v128_t b) {
#if defined(__SSE4_1__)
    return (v128_t)_mm_max_epi32((__m128i)a, (__m128i)b);
#else
    return wasm_v128_bitselect(a, b, (v128_t)((compat_i32)a > (compat_i32)b));
#endif
}

COMPAT v128_t wasm_i32x4_min(v128_t a, v128_t b) {
#if defined(__SSE4_1__)
    return (v128_t)_mm_min_epi32((__m128i)a, (__m128i)b);
#else
    return wasm_v128_bitselect(a, b, (v128_t)((compat_i32)a < (compat_i32)b));
#endif
}

COMPAT v128_t wasm_i8x16_max(v128_t a, v128_t b) {
#if defined(__SSE4_1__)
    return (v128_t)_mm_max_epi8((__m128i)a, (__m128i)b);
#else
    return wasm_v128_bitselect(a, b, (v128_t)((compat_i8)a > (compat_i8)b));
#endif
}

COMPAT v128_t wasm_i8x16_lt(v128_t a, v128_t b) {
    return (v128_t)((compat_i8)a < (compat_i8)b);
}

COMPAT v128_t wasm_i8x16_abs(v128_t a) {
#if defined(__SSSE3__)
    return (v128_t)_mm_abs_epi8((__m128i)a);
#else
    const v128_t sign = wasm_i8x16_lt(a, wasm_i32x4_splat(0));
    return (v128_t)((compat_u8)(a ^ sign) - (compat_u8)sign);
#endif
}

#define COMPAT_LOW(v)  __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#define COMPAT_HIGH(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)

COMPAT v128_t wasm_i16x8_extend_low_i8x16(v128_t a) {
    return (v128_t) __builtin_convertvector(COMPAT_LOW((compat_i8)a), compat_i16);
}

COMPAT v128_t wasm_i16x8_extend_high_i8x16(v128_t a) {
    return (v128_t) __builtin_convertvector(COMPAT_HIGH((compat_i8)a), compat_i16);
}

COMPAT v128_t wasm_u16x8_extend_low_u8x16(v128_t a) {
    return (v128_t) __builtin_convertvector(COMPAT_LOW((compat_u8)a), compat_u16);
}

COMPAT v128_t wasm_u16x8_extend_high_u8x16(v128_t a) {
    return (v128_t) __builtin_convertvector(COMPAT_HIGH((compat_u8)a), compat_u16);
}

COMPAT v128_t wasm_i32x4_extend_low_i16x8(v128_t a) {
    const compat_i16 x = (compat_i16)a;
    return (v128_t) __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3), compat_i32);
}

COMPAT v128_t wasm_i32x4_extend_high_i16x8(v128_t a) {
    const compat_i16 x = (compat_i16)a;
    return (v128_t) __builtin_convertvector(__builtin_shufflevector(x, x, 4, 5, 6, 7), compat_i32);
}

/* Numbers of a, then of b, each as the nearest that fits. */
COMPAT v128_t wasm_i16x8_narrow_i32x4(v128_t a, v128_t b) {
#if defined(__SSE2__)
    return (v128_t)_mm_packs_epi32((__m128i)a, (__m128i)b);
#else
    const v128_t least = wasm_i32x4_splat(INT16_MIN), most = wasm_i32x4_splat(INT16_MAX);
    const compat_i16 x = (compat_i16)wasm_i32x4_min(wasm_i32x4_max(a, least), most);
    const compat_i16 y = (compat_i16)wasm_i32x4_min(wasm_i32x4_max(b, least), most);
    return (v128_t)__builtin_shufflevector(x, y, 0, 2, 4, 6, 8, 10, 12, 14);
#endif
}

COMPAT v128_t wasm_i8x16_narrow_i16x8(v128_t a, v128_t b) {
#if defined(__SSE2__)
    return (v128_t)_mm_packs_epi16((__m128i)a, (__m128i)b);
#else
    const compat_i16 least = (compat_i16)wasm_i16x8_splat(INT8_MIN),
                     most = (compat_i16)wasm_i16x8_splat(INT8_MAX);
    compat_i16 x[2] = {(compat_i16)a, (compat_i16)b};
    for (int i = 0; i < 2; i++) {
        x[i] = (compat_i16)wasm_v128_bitselect((v128_t)x[i], (v128_t)least, (v128_t)(x[i] > least));
        x[i] = (compat_i16)wasm_v128_bitselect((v128_t)x[i], (v128_t)most, (v128_t)(x[i] < most));
    }
    return (v128_t)__builtin_shufflevector((compat_i8)x[0], (compat_i8)x[1], 0, 2, 4, 6, 8, 10, 12, 14, 16,
                                           18, 20, 22, 24, 26, 28, 30);
#endif
}

/* Sums of two neighbouring products. */
COMPAT v128_t wasm_i32x4_dot_i16x8(v128_t a, v128_t b) {
#if defined(__SSE2__)
    return (v128_t)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__ARM_NEON) && defined(__aarch64__)
    const int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
    return (v128_t)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
#else
    const compat_i32 even_a = (compat_i32)wasm_i32x4_shl(a, 16) >> 16,
                     even_b = (compat_i32)wasm_i32x4_shl(b, 16) >> 16;
    const compat_i32 odd_a = (compat_i32)a >> 16, odd_b = (compat_i32)b >> 16;
    return (v128_t)((compat_u32)even_a * (compat_u32)even_b + (compat_u32)odd_a * (compat_u32)odd_b);
#endif
}

/* Sums of two neighbours. */
COMPAT v128_t wasm_i32x4_extadd_pairwise_i16x8(v128_t a) {
#if defined(__ARM_NEON)
    return (v128_t)vpaddlq_s16((int16x8_t)a);
#else
    return wasm_i32x4_dot_i16x8(a, wasm_i16x8_splat(1));
#endif
}

/* ---- floats ---- */

COMPAT v128_t wasm_f32x4_add(v128_t a, v128_t b) {
    return (v128_t)((compat_f32)a + (compat_f32)b);
}

COMPAT v128_t wasm_f32x4_sub(v128_t a, v128_t b) {
    return (v128_t)((compat_f32)a - (compat_f32)b);
}

COMPAT v128_t wasm_f32x4_mul(v128_t a, v128_t b) {
    return (v128_t)((compat_f32)a * (compat_f32)b);
}

COMPAT v128_t wasm_f32x4_div(v128_t a, v128_t b) {
    return (v128_t)((compat_f32)a / (compat_f32)b);
}

COMPAT v128_t wasm_f32x4_abs(v128_t a) {
    return a & wasm_i32x4_splat(0x7fffffff);
}

COMPAT v128_t wasm_f32x4_neg(v128_t a) {
    return a ^ wasm_i32x4_splat(INT32_MIN);
}

COMPAT v128_t wasm_f32x4_lt(v128_t a, v128_t b) {
    return (v128_t)((compat_f32)a < (compat_f32)b);
}

COMPAT v128_t wasm_f32x4_gt(v128_t a, v128_t b) {
    return (v128_t)((compat_f32)a > (compat_f32)b);
}

/* b < a ? b : a */
COMPAT v128_t wasm_f32x4_pmin(v128_t a, v128_t b) {
#if defined(__SSE2__)
    return (v128_t)_mm_min_ps((__m128)b, (__m128)a);
#else
    return wasm_v128_bitselect(b, a, wasm_f32x4_lt(b, a));
#endif
}

/* a < b ? b : a */
COMPAT v128_t wasm_f32x4_pmax(v128_t a, v128_t b) {
#if defined(__SSE2__)
    return (v128_t)_mm_max_ps((__m128)b, (__m128)a);
#else
    return wasm_v128_bitselect(b, a, wasm_f32x4_lt(a, b));
#endif
}

COMPAT v128_t wasm_f32x4_convert_i32x4(v128_t a) {
    return (v128_t) __builtin_convertvector((compat_i32)a, compat_f32);
}

/* Towards zero; 0 for a NaN, the nearest integer that there is beyond the ends. */
COMPAT v128_t wasm_i32x4_trunc_sat_f32x4(v128_t a) {
    const compat_f32 x = (compat_f32)a;
    const v128_t high = (v128_t)(x >= 0x1p31f), right = (v128_t)(x > -0x1p31f) & ~high;
    const compat_i32 inside = __builtin_convertvector((compat_f32)(a & right), compat_i32);
    const v128_t ends =
        (high & wasm_i32x4_splat(INT32_MAX)) | ((v128_t)(x <= -0x1p31f) & wasm_i32x4_splat(INT32_MIN));
    return (v128_t)inside | ends;
}

/* ---- the relaxed dots ---- */

/* wasm_i8x16_swizzle for numbers of 0..15. */
COMPAT v128_t wasm_i8x16_relaxed_swizzle(v128_t a, v128_t b) {
#if defined(__SSSE3__)
    return (v128_t)_mm_shuffle_epi8((__m128i)a, (__m128i)b);
#else
    return wasm_i8x16_swizzle(a, b);
#endif
}

/* Four products of int8 a and b in 0..127 added to each lane of acc. Beyond 127 machines differ. */
#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))
COMPAT v128_t wasm_i32x4_relaxed_dot_i8x16_i7x16_add(v128_t a, v128_t b, v128_t acc) {
    return (v128_t)_mm_dpbusd_epi32((__m128i)acc, (__m128i)b, (__m128i)a);
}
#elif defined(__SSSE3__)
COMPAT v128_t wasm_i32x4_relaxed_dot_i8x16_i7x16_add(v128_t a, v128_t b, v128_t acc) {
    const __m128i pairs = _mm_maddubs_epi16((__m128i)b, (__m128i)a);
    return (v128_t)_mm_add_epi32((__m128i)acc, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
}
#elif defined(__ARM_FEATURE_DOTPROD)
COMPAT v128_t wasm_i32x4_relaxed_dot_i8x16_i7x16_add(v128_t a, v128_t b, v128_t acc) {
    return (v128_t)vdotq_s32((int32x4_t)acc, (int8x16_t)a, (int8x16_t)b);
}
#endif

/* Sums of two products of int8 a and b in 0..127, in int16. Beyond 127 machines differ. */
#if defined(__SSSE3__)
COMPAT v128_t wasm_i16x8_relaxed_dot_i8x16_i7x16(v128_t a, v128_t b) {
    return (v128_t)_mm_maddubs_epi16((__m128i)b, (__m128i)a);
}
#elif defined(__ARM_NEON) && defined(__aarch64__)
COMPAT v128_t wasm_i16x8_relaxed_dot_i8x16_i7x16(v128_t a, v128_t b) {
    const int8x16_t x = (int8x16_t)a, y = (int8x16_t)b;
    return (v128_t)vpaddq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(y)), vmull_high_s8(x, y));
}
#endif

#endif
