/*
 * The set of pairs: products by i16x8.relaxed_dot_i8x16_i7x16, whose int16 lanes are sums of two columns.
 * For machines where the relaxed dot of four columns is not one instruction: on x86 without AVX-VNNI this
 * one is (pmaddubsw), and takes the place of five.
 *
 * WebAssembly defines it for a first operand of int8 and a second one of 0..127, while the sum of two
 * products fits in 16 bits, which is so for activations of -127..127. Those of several steps are added up in
 * int16 and widened once: eight steps of codes of 4 bits, four of 5 bits, two of 6 bits. Signed codes are
 * widened at every step: signs.inc.
 *
 * The bits are those of the other sets. tests/unit/test_pairs.c runs this on engines that compute the dot in
 * each of the ways that WebAssembly allows.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_RELAXED
#include "kernels/steps.inc"

#define SET_NAME         pairs
#define SET_MORE_LAYOUTS 0
#define SET_PARTS        1
#define SET_STRAIGHT     1
#define SET_BODY         1

#include "kernels/layouts.inc"

static inline set_signed_form set_form(void) {
    return SET_AS_SPLIT;
}

/* The largest sum of a lane over one step is 2 * 127 * (2^n_bits - 1). Of 8 bits there are no unsigned
 * codes. */
SIMD_INLINE int set_stretch(uint32_t n_bits) {
    const int steps = n_bits < 8 ? INT16_MAX / (2 * 127 * ((1 << n_bits) - 1)) : UNIT_WORDS;
    return steps < UNIT_WORDS ? steps : UNIT_WORDS;
}

SIMD_INLINE v128_t set_open(v128_t acc) {
    (void)acc;
    return wasm_i32x4_splat(0);
}

/* By a product with ones: V8 reads the ones of i32x4.extadd_pairwise_i16x8 from memory, by an address that
 * it reads too. */
SIMD_INLINE v128_t set_close(v128_t acc, v128_t sum, unpack_consts c) {
    return wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(sum, c.ones));
}

SIMD_INLINE v128_t set_dot(v128_t sum, v128_t w, v128_t a) {
    return wasm_i16x8_add(sum, wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w));
}

SIMD_INLINE v128_t set_signed_dot(v128_t acc, v128_t w, v128_t a, unpack_consts c) {
    return set_close(acc, wasm_i16x8_relaxed_dot_i8x16_i7x16(w, a), c);
}

SIMD_INLINE v128_t set_codes(v128_t bytes, int part) {
    (void)part;
    return bytes;
}

SIMD_INLINE v128_t set_weights(v128_t bytes, int part) {
    (void)part;
    return bytes;
}

#include "kernels/dots.inc"
#include "kernels/signs.inc"

/* The other layouts by the relaxed set, which takes the same activations. */
#define NUT_X(name, ...)                                                                                    \
    static void mul_mat_##name(const matrix *w, size_t g, size_t g_end, const kernel_act *x, float *y,      \
                               size_t ldy) {                                                                \
        kernel_linked_relaxed->mul_mat[LAYOUT_##name](w, g, g_end, x, y, ldy);                              \
    }
MORE_LAYOUT_LIST(NUT_X)
#undef NUT_X

#include "kernels/mul_mat.inc"

const kernel_set *const kernel_linked_pairs = &kernel_set_pairs;
#else
const kernel_set *const kernel_linked_pairs = NULL;
#endif
