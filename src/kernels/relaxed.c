/*
 * The relaxed set: products of four columns by the relaxed dot, one instruction where the machine has one
 * (VNNI, ARM's sdot). Its second operand must lie in 0..127: codes of 4 to 6 bits do, with the activations
 * as the first. Q8_0 weights are signed, so w + 127 is split into two halves that both fit: w = half + rest
 * - 127. Only w = -128, which no quantizer writes, does not; groups where it occurs are left to the SIMD128
 * set, whose results have the same bits.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_RELAXED
#include "kernels/steps.h"

#define SET_NAME        relaxed
#define SET_PARTS       1
#define SET_ACT_PARTS   1
#define SET_Q8_0_PARTS  2 // half and rest
#define SET_CHAINS      2 // so that a dot need not wait for the one before
#define SET_Q8_0_OFFSET 127

SIMD_INLINE v128_t set_act(v128_t x, int part) {
    (void)part;
    return x;
}

typedef struct quad_act {
    const int8_t *q;
} quad_act;

SIMD_INLINE quad_act quad_load(const int8_t *q) {
    return (quad_act){q};
}

SIMD_INLINE v128_t quad_step(const quad_act *a, int i, int part) {
    (void)part;
    return wasm_v128_load32_splat(a->q + 4 * i);
}

SIMD_INLINE v128_t set_dot(v128_t acc, v128_t w, v128_t a) {
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, w, acc);
}

SIMD_INLINE v128_t set_codes(v128_t bytes, int part) {
    (void)part;
    return bytes;
}

/* half (part 0) and rest (part 1) of w + 127 */
SIMD_INLINE v128_t set_weights(v128_t bytes, int part) {
    v128_t above = wasm_i8x16_add(bytes, wasm_i8x16_splat(127));
    v128_t half = wasm_u8x16_avgr(above, wasm_i8x16_splat(0));
    return part == 0 ? half : wasm_i8x16_sub(above, half);
}

/* Whether the engine makes the dot of 16-bit instructions that saturate (x86 without VNNI): told by a sum
 * that they cannot hold, the one place where an undefined result is asked for. */
static bool dot_saturates(void) {
    volatile int32_t a = 0x7f7f7f7f, b = -1;
    v128_t sum = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_i32x4_splat(a), wasm_i32x4_splat(b),
                                                        wasm_i32x4_splat(0));
    return wasm_i32x4_extract_lane(sum, 0) == 2 * INT16_MAX;
}

/* There two dots per step cost more than the SIMD128 set's products, which give the same bits. */
static bool set_instead(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y,
                        size_t ldy) {
    if (!dot_saturates()) return false;
    kernel_set_simd128.mul_mat[FORMAT_Q8_0](w, g_begin, g_end, x, y, ldy);
    return true;
}

/* Groups with a weight of -128 again, in the set that takes it. */
static void set_redo(const matrix *w, size_t g, size_t n, const kernel_act *x, float *y, size_t ldy,
                     v128_t lowest) {
    if (wasm_v128_any_true(wasm_i8x16_eq(lowest, wasm_i8x16_splat(-128))))
        kernel_set_simd128.mul_mat[FORMAT_Q8_0](w, g, g + n, x, y, ldy);
}

#include "kernels/mul_mat.h"

const kernel_set *const kernel_linked_relaxed = &kernel_set_relaxed;
#else
const kernel_set *const kernel_linked_relaxed = NULL;
#endif
