/*
 * The relaxed set: products of four columns by the relaxed dot, one instruction where the machine has one
 * (VNNI, ARM's sdot). Its second operand must lie in 0..127: codes of 4 to 6 bits do, with the activations
 * as the first. Q8_0 weights are signed, so there the weights come first and the activations are split into
 * a = p - n, both in 0..127. The second product uses ~w = -w - 1, so that all is added: the sum of w * a is
 * that of w * p, of ~w * n and of n.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_RELAXED
#include "kernels/steps.h"

#define SET_NAME  relaxed
#define SET_PARTS 1

SIMD_INLINE v128_t set_dot(v128_t acc, v128_t w, v128_t a) {
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, w, acc);
}

SIMD_INLINE v128_t set_codes(v128_t bytes, int part) {
    (void)part;
    return bytes;
}

SIMD_INLINE v128_t set_weights(v128_t bytes, int part) {
    (void)part;
    return bytes;
}

SIMD_INLINE v128_t set_begin_signed(v128_t magic, const int32_t *sum, int m) {
    return wasm_i32x4_add(magic, wasm_v128_load32_splat(sum + (int)KERNEL_SUM_NEGATIVE * m));
}

SIMD_INLINE void set_signed_product(pair w, const uint8_t *q, int m, pair *acc) {
    const pair inverse = {{wasm_v128_not(w.v[0]), wasm_v128_not(w.v[1])}};
    SIMD_UNROLL
    for (int t = 0; t < m; t++) {
        const v128_t a = wasm_v128_load32_splat(q + 4 * t);
        const v128_t p = wasm_i8x16_max(a, wasm_i32x4_splat(0)), n = wasm_i8x16_sub(p, a);
        SIMD_UNROLL
        for (int k = 0; k < 2; k++) {
            acc[t].v[k] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(w.v[k], p, acc[t].v[k]);
            acc[t].v[k] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(inverse.v[k], n, acc[t].v[k]);
        }
    }
}

SIMD_INLINE void set_signed_panel(const uint8_t *codes, const uint8_t *q, int m, pair *acc) {
    set_signed_product(pair_load(codes), q, m, acc);
}

#include "kernels/mul_mat.h"

const kernel_set *const kernel_linked_relaxed = &kernel_set_relaxed;
#else
const kernel_set *const kernel_linked_relaxed = NULL;
#endif
