/* Products of four int8 columns in int16: exact for every value, -128 included. */
#ifndef NUT_KERNELS_WIDE_DOT_H
#define NUT_KERNELS_WIDE_DOT_H

#include "kernels/formats.h"
#include "kernels/simd_math.h"

/* Eight rows' values, rows 0..3 and 4..7. */
typedef struct pair {
    v128_t v[2];
} pair;

/* Four columns of one token, the same in every lane: int16 of columns 0 and 2, 1 and 3. */
typedef struct wide_act {
    v128_t even, odd;
} wide_act;

SIMD_INLINE v128_t wide_even(v128_t x) { return wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8); }
SIMD_INLINE v128_t wide_odd(v128_t x) { return wasm_i16x8_shr(x, 8); }

SIMD_INLINE wide_act wide_load_act(const int8_t *q) {
    v128_t four = wasm_v128_load32_splat(q);
    return (wide_act){wide_even(four), wide_odd(four)};
}

SIMD_INLINE v128_t wide_dot(v128_t acc, v128_t even, v128_t odd, wide_act a) {
    acc = wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(even, a.even));
    return wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(odd, a.odd));
}

/* acc (m) = the products of unit u of the tokens q (m) with a Q8_0 block's 8 steps. */
SIMD_INLINE void wide_q8_block(const uint8_t *steps, const int8_t *const *q, size_t u, int m, pair *acc) {
    SIMD_UNROLL
    for (int i = 0; i < m; i++) acc[i].v[0] = acc[i].v[1] = wasm_i32x4_splat(0);
    SIMD_UNROLL
    for (int j = 0; j < 8; j++) {
        SIMD_UNROLL
        for (int k = 0; k < 2; k++) {
            v128_t w = wasm_v128_load(steps + 32 * j + 16 * k), even = wide_even(w), odd = wide_odd(w);
            SIMD_UNROLL
            for (int i = 0; i < m; i++)
                acc[i].v[k] = wide_dot(acc[i].v[k], even, odd, wide_load_act(q[i] + 32 * u + 4 * j));
        }
    }
}

#endif
