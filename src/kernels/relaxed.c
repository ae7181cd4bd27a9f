/*
 * The relaxed set: products of four columns by the relaxed dot, one instruction where the machine has one (VNNI, ARM's
 * sdot). Its second operand must lie in 0..127: codes of 4 to 6 bits do, with the activations as the first. Q8_0
 * weights are signed, so w + 127 is split into two halves that both fit: w = half + rest - 127. Only w = -128, which
 * no quantizer writes, does not; a group where it occurs is left to the SIMD128 set, whose results have the same bits.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_RELAXED
#include "kernels/steps.h"

#define SET_NAME       relaxed
#define SET_PARTS      1
#define SET_ACT_PARTS  1
#define SET_Q8_0_PARTS 2 // half and rest
#define SET_CHAINS     4 // so that a dot need not wait for the one before
#define SET_OFFSETS    1

SIMD_INLINE v128_t set_act(v128_t x, int part) {
    (void)part;
    return x;
}

typedef struct quad_act {
    const int8_t *q;
} quad_act;

SIMD_INLINE quad_act quad_load(const int8_t *q) { return (quad_act){q}; }

SIMD_INLINE v128_t quad_step(const quad_act *a, int i, int part) {
    (void)part;
    return wasm_v128_load32_splat(a->q + 4 * i);
}

SIMD_INLINE v128_t set_dot(v128_t acc, v128_t w, v128_t a) { return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, w, acc); }

SIMD_INLINE v128_t set_codes(v128_t bytes, int part, int offset) {
    (void)part, (void)offset;
    return bytes;
}

/* half (part 0) and rest (part 1) of w + 127 */
SIMD_INLINE v128_t set_weights(v128_t bytes, int part) {
    v128_t above = wasm_i8x16_add(bytes, wasm_i8x16_splat(127));
    v128_t half = wasm_u8x16_avgr(above, wasm_i8x16_splat(0));
    return part == 0 ? half : wasm_i8x16_sub(above, half);
}

/* Groups with a weight of -128 again, in the set that takes it. */
static void set_redo(const matrix *w, size_t g, size_t n, const kernel_act *x, float *y, size_t ldy, v128_t lowest) {
    if (wasm_v128_any_true(wasm_i8x16_eq(lowest, wasm_i8x16_splat(-128))))
        kernel_set_simd128.mul_mat[FORMAT_Q8_0](w, g, g + n, x, y, ldy);
}

#include "kernels/mul_mat.h"

const kernel_set *const kernel_linked_relaxed = &kernel_set_relaxed;
#else
const kernel_set *const kernel_linked_relaxed = NULL;
#endif
