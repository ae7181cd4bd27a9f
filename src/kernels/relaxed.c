/*
 * The relaxed set: products of four columns by the relaxed dot, which engines turn into one instruction where the
 * machine has one (VNNI, ARM's sdot). Its second operand must lie in 0..127: codes of 4 to 6 bits do, and the
 * activations are the first. Q8_0 weights are signed, so w + 127 is split into two halves that both fit,
 * w = half + rest - 127; only w = -128, which no quantizer writes, does not fit, and such a block is computed wide.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_RELAXED
#include "kernels/wide_dot.h"

typedef v128_t step_act;

typedef struct step_codes {
    v128_t bytes[2];
} step_codes;

SIMD_INLINE step_act step_load_act(const int8_t *q) { return wasm_v128_load32_splat(q); }

SIMD_INLINE step_codes step_split(v128_t lo, v128_t hi) { return (step_codes){{lo, hi}}; }

SIMD_INLINE v128_t step_dot(v128_t acc, step_codes w, int k, step_act a) {
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, w.bytes[k], acc);
}

/* acc (m) = products of a Q8_0 block's 8 steps, each acc begun with -127 * sum(a). */
SIMD_INLINE void q8_block_begun(const uint8_t *steps, const int8_t *const *q, size_t u, int m, pair *acc,
                                v128_t *lowest) {
    const v128_t offset = wasm_i8x16_splat(127), zero = wasm_i8x16_splat(0);
    SIMD_UNROLL
    for (int j = 0; j < 8; j++) {
        SIMD_UNROLL
        for (int k = 0; k < 2; k++) {
            v128_t w = wasm_v128_load(steps + 32 * j + 16 * k), above = wasm_i8x16_add(w, offset);
            v128_t half = wasm_u8x16_avgr(above, zero), rest = wasm_i8x16_sub(above, half);
            *lowest = wasm_i8x16_min(*lowest, w);
            SIMD_UNROLL
            for (int i = 0; i < m; i++) {
                step_act act = step_load_act(q[i] + 32 * u + 4 * j);
                acc[i].v[k] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(act, half, acc[i].v[k]);
                acc[i].v[k] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(act, rest, acc[i].v[k]);
            }
        }
    }
}

#define q8_block(steps, a, u, m, acc)                                                                       \
    do {                                                                                                    \
        v128_t lowest = wasm_i8x16_splat(0);                                                                \
        acc_begin(acc, 127, a, u, -1, m);                                                                   \
        q8_block_begun(steps, (a)->q, u, m, acc, &lowest);                                                  \
        if (wasm_v128_any_true(wasm_i8x16_eq(lowest, wasm_i8x16_splat(-128))))                              \
            wide_q8_block(steps, (a)->q, u, m, acc);                                                        \
    } while (0)
#define SET_NAME relaxed
#include "kernels/mul_mat.h"
#else
typedef int kernel_relaxed_is_not_in_this_build;
#endif
