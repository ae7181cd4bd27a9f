/* The SIMD128 set: products of four columns by i32x4.dot_i16x8, even and odd columns apart so that every
 * lane stays one row. Exact for every int8. Activations are kept as int16 in that order. */
#include "kernels/sets.h"

#if defined(KERNEL_HAS_SIMD128) && !defined(NUT_RELAXED_ALONE)
#include "kernels/steps.inc"

#define SET_NAME         simd128
#define SET_MORE_LAYOUTS 1
#define SET_PARTS        2 // even columns, odd columns
#define SET_STRAIGHT     0
#define SET_BODY         1

#include "kernels/layouts.inc"

static inline set_signed_form set_form(void) {
    return SET_AS_SPLIT; // the set's own way: its dot takes signed weights as they are
}

SIMD_INLINE v128_t set_dot(v128_t acc, v128_t w, v128_t a) {
    return wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(w, a));
}

#include "kernels/wide.inc"

SIMD_INLINE v128_t set_codes(v128_t bytes, int part) {
    return part == 0 ? wasm_v128_and(bytes, wasm_i16x8_splat(255)) : wasm_u16x8_shr(bytes, 8);
}

SIMD_INLINE v128_t set_weights(v128_t bytes, int part) {
    return wasm_i16x8_shr(part == 0 ? wasm_i16x8_shl(bytes, 8) : bytes, 8);
}

SIMD_INLINE v128_t set_begin_signed(v128_t magic, const int32_t *sum, int m) {
    (void)sum, (void)m;
    return magic;
}

#include "kernels/dots.inc"

SIMD_INLINE const uint8_t *set_signed_act(const uint8_t *q, int m, unpack_consts c, uint8_t *own) {
    (void)m, (void)c, (void)own;
    return q;
}

SIMD_INLINE void set_signed_product(pair bytes, const uint8_t *q, int m, unpack_consts c, pair *acc) {
    (void)c;
    SIMD_UNROLL
    for (int p = 0; p < SET_PARTS; p++)
        part_product((pair){{set_weights(bytes.v[0], p), set_weights(bytes.v[1], p)}}, p, q, m, acc);
}

SIMD_INLINE void set_signed_panel(const uint8_t *codes, const uint8_t *q, int m, unpack_consts c,
                                  pair *acc) {
    (void)c;
    SIMD_UNROLL
    for (int p = 0; p < SET_PARTS; p++) part_product(pair_load(codes + 32 * p), p, q, m, acc);
}

#include "kernels/mul_mat.inc"

const kernel_set *const kernel_linked_simd128 = &kernel_set_simd128;
#else
const kernel_set *const kernel_linked_simd128 = NULL;
#endif
