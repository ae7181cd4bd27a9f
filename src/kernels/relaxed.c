/*
 * The relaxed set: products of four columns by the relaxed dot, one instruction where the machine has one
 * (VNNI, ARM's sdot). WebAssembly defines it for a first operand of int8 and a second one of 0..127, while
 * the sum of two neighbouring products fits in 16 bits. Which operands it gets here:
 *
 * - Unsigned codes (4 to 6 bits). The activations come first, -127..127, the codes second, 0..63: defined.
 * - Signed codes (int8). The codes come first, with the signs of the activations, and these second, 0..127:
 * defined. signs.inc says how.
 * - Signed codes and many tokens. Moving signs costs as much as the dot, and beyond 127 WebAssembly leaves
 * an engine the choice how it reads the second operand, which it keeps to. So set_form computes with
 * extremes, once, and the codes come second where that was right: 128 higher where the engine reads 0..255,
 * as they are where it reads -128..127. An engine that is right with neither (its 16-bit sums saturate) goes
 * on with moved signs. This is the only use of operands for which the specification defines no single
 * result.
 *
 * All forms give the same bits. tests/unit/test_relaxed.c runs each on an engine of its own.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_RELAXED
#include "kernels/steps.inc"

#include <stdatomic.h>

#define SET_NAME         relaxed
#define SET_MORE_LAYOUTS 1
#define SET_PARTS        1
#define SET_STRAIGHT     0
#define SET_BODY         2

#include "kernels/layouts.inc"

SIMD_INLINE v128_t set_dot(v128_t acc, v128_t w, v128_t a) {
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, w, acc);
}

#include "kernels/wide.inc"

SIMD_INLINE v128_t set_codes(v128_t bytes, int part) {
    (void)part;
    return bytes;
}

SIMD_INLINE v128_t set_weights(v128_t bytes, int part) {
    (void)part;
    return bytes;
}

SIMD_INLINE v128_t set_signed_dot(v128_t acc, v128_t w, v128_t a, unpack_consts c) {
    (void)c;
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(w, a, acc);
}

#include "kernels/dots.inc"
#include "kernels/signs.inc"

/* The sum of four products of a with b, by the instruction itself. */
static int32_t dot_of(int8_t a, int8_t b) {
    volatile int8_t va = a, vb = b; // see kernels.c
    v128_t dot = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_i8x16_splat(va), wasm_i8x16_splat(vb),
                                                        wasm_i32x4_splat(0));
    return wasm_i32x4_extract_lane(dot, 0);
}

/* Whether four products of every a and b in the list, b read as this form reads it, are exact. */
static bool dot_is_exact(bool with_sign) {
    static const int8_t a[] = {-127, 127, -1, 1, 64}, b[] = {-128, -127, -1, -2, 127, 100, 0};
    for (size_t i = 0; i < sizeof a; i++)
        for (size_t k = 0; k < sizeof b; k++)
            if (dot_of(a[i], b[k]) != 4 * a[i] * (with_sign ? b[k] : (uint8_t)b[k])) return false;
    return true;
}

/* Found at the first product of many tokens; -1 before. Threads may do so at once: they find the same. */
static atomic_int set_known_form = -1;

static set_signed_form set_form(void) {
    int form = atomic_load_explicit(&set_known_form, memory_order_relaxed);
    if (form < 0) {
        form = dot_is_exact(false) ? SET_AS_UNSIGNED : dot_is_exact(true) ? SET_AS_SIGNED : SET_AS_SPLIT;
        atomic_store_explicit(&set_known_form, form, memory_order_relaxed);
    }
    return (set_signed_form)form;
}

#include "kernels/mul_mat.inc"

const kernel_set *const kernel_linked_relaxed = &kernel_set_relaxed;
#else
const kernel_set *const kernel_linked_relaxed = NULL;
#endif
