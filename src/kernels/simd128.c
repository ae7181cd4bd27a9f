/* The SIMD128 set: products of four columns by i32x4.dot_i16x8, even and odd columns apart so that every lane stays
 * one row. All of it is exact for every int8. */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/wide_dot.h"

typedef wide_act step_act;

typedef struct step_codes {
    v128_t even[2], odd[2]; // int16 of columns 0 and 2, 1 and 3
} step_codes;

SIMD_INLINE step_act step_load_act(const int8_t *q) { return wide_load_act(q); }

SIMD_INLINE step_codes step_split(v128_t lo, v128_t hi) {
    v128_t mask = wasm_i16x8_splat(255);
    return (step_codes){{wasm_v128_and(lo, mask), wasm_v128_and(hi, mask)},
                        {wasm_u16x8_shr(lo, 8), wasm_u16x8_shr(hi, 8)}};
}

SIMD_INLINE v128_t step_dot(v128_t acc, step_codes w, int k, step_act a) {
    return wide_dot(acc, w.even[k], w.odd[k], a);
}

#define q8_block(steps, a, u, m, acc) wide_q8_block(steps, (a)->q, u, m, acc)
#define SET_NAME simd128
#include "kernels/mul_mat.h"
#else
typedef int kernel_simd128_is_not_in_this_build;
#endif
