/* The SIMD128 set: products of four columns by i32x4.dot_i16x8, even and odd columns apart so that every
 * lane stays one row. Exact for every int8. */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/steps.h"

#define SET_NAME        simd128
#define SET_PARTS       2 // even columns, odd columns
#define SET_ACT_PARTS   2
#define SET_Q8_0_PARTS  2
#define SET_CHAINS      1 // additions are quick
#define SET_Q8_0_OFFSET 0

SIMD_INLINE v128_t even_i16(v128_t x) {
    return wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8);
}
SIMD_INLINE v128_t odd_i16(v128_t x) {
    return wasm_i16x8_shr(x, 8);
}

SIMD_INLINE v128_t set_act(v128_t x, int part) {
    return part == 0 ? even_i16(x) : odd_i16(x);
}

typedef struct quad_act {
    v128_t part[SET_ACT_PARTS];
} quad_act;

SIMD_INLINE quad_act quad_load(const int8_t *q) {
    v128_t x = wasm_v128_load(q);
    return (quad_act){{even_i16(x), odd_i16(x)}};
}

SIMD_INLINE v128_t quad_step(const quad_act *a, int i, int part) {
    switch (i) {
    case 0: return wasm_i32x4_shuffle(a->part[part], a->part[part], 0, 0, 0, 0);
    case 1: return wasm_i32x4_shuffle(a->part[part], a->part[part], 1, 1, 1, 1);
    case 2: return wasm_i32x4_shuffle(a->part[part], a->part[part], 2, 2, 2, 2);
    default: return wasm_i32x4_shuffle(a->part[part], a->part[part], 3, 3, 3, 3);
    }
}

SIMD_INLINE v128_t set_dot(v128_t acc, v128_t w, v128_t a) {
    return wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(w, a));
}

SIMD_INLINE v128_t set_codes(v128_t bytes, int part) {
    return part == 0 ? wasm_v128_and(bytes, wasm_i16x8_splat(255)) : wasm_u16x8_shr(bytes, 8);
}

SIMD_INLINE v128_t set_weights(v128_t bytes, int part) {
    return part == 0 ? even_i16(bytes) : odd_i16(bytes);
}

#define set_instead(w, g_begin, g_end, x, y, ldy) false
#define set_redo(w, g, n, x, y, ldy, lowest)      ((void)(lowest)) // every weight is right
#include "kernels/mul_mat.h"

const kernel_set *const kernel_linked_simd128 = &kernel_set_simd128;
#else
const kernel_set *const kernel_linked_simd128 = NULL;
#endif
