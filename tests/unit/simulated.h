/*
 * Engines that compute the relaxed dots in the ways that WebAssembly allows, and some that compute them
 * wrongly, for a kernel set that is compiled a second time with `simulated_pairs` or `simulated_dot` in
 * place of its instruction. Operands for which the specification defines no single result are counted.
 */
#ifndef NUT_TESTS_SIMULATED_H
#define NUT_TESTS_SIMULATED_H

#include "kernels/sets.h"
#include "check.h"
#include "products.h"

#ifdef KERNEL_HAS_SIMD128
#include <wasm_simd128.h>

typedef enum engine {
    READS_UNSIGNED,     // the second operand is 0..255: x86 with VNNI
    READS_SIGNED,       // it is -128..127: ARM with sdot
    SATURATES,          // it is 0..255, and sums of two products saturate in 16 bits: x86 with pmaddubsw
    IGNORES_A_SIGN,     // wrong: the first operand is 0..255
    SATURATES_TOO_SOON, // wrong: sums of two products saturate at 14 bits
} engine;

static engine engine_now;
static size_t n_undefined; // second operands beyond 127, and int16 sums that overflow

static inline int32_t saturated(int32_t x, int32_t most) {
    return x > most ? most : x < -most - 1 ? -most - 1 : x;
}

/* The products of two columns, summed. */
static inline int32_t two_products(const int8_t *x, const int8_t *y) {
    int32_t two = 0;
    for (int k = 0; k < 2; k++) {
        const int32_t first = engine_now == IGNORES_A_SIGN ? (uint8_t)x[k] : x[k];
        n_undefined += y[k] < 0;
        two += first * (engine_now == READS_SIGNED ? y[k] : (uint8_t)y[k]);
    }
    if (engine_now == SATURATES) two = saturated(two, 32767);
    if (engine_now == SATURATES_TOO_SOON) two = saturated(two, 8191);
    return two;
}

static inline v128_t simulated_dot(v128_t a, v128_t b, v128_t acc) {
    int8_t x[16], y[16];
    int32_t sum[4];
    wasm_v128_store(x, a), wasm_v128_store(y, b), wasm_v128_store(sum, acc);
    for (int i = 0; i < 16; i += 2) sum[i / 4] += two_products(x + i, y + i);
    return wasm_v128_load(sum);
}

static inline v128_t simulated_pairs(v128_t a, v128_t b) {
    int8_t x[16], y[16];
    int16_t sum[8];
    wasm_v128_store(x, a), wasm_v128_store(y, b);
    for (int i = 0; i < 16; i += 2) {
        const int32_t two = two_products(x + i, y + i);
        n_undefined += two != saturated(two, 32767);
        sum[i / 2] = (int16_t)two;
    }
    return wasm_v128_load(sum);
}

/* Sums of int16, which must not overflow. */
static inline v128_t simulated_add(v128_t a, v128_t b) {
    int16_t x[8], y[8];
    wasm_v128_store(x, a), wasm_v128_store(y, b);
    for (int i = 0; i < 8; i++) {
        const int32_t sum = x[i] + y[i];
        n_undefined += sum != saturated(sum, 32767);
        x[i] = (int16_t)sum;
    }
    return wasm_v128_load(x);
}

/* A set's product has the bits of simd128. Returns how many operands and sums were undefined. */
static inline size_t check_simulated(const kernel_set *set, const format *f, size_t n_cols, size_t n_tokens,
                                     rng *r) {
    enum { ROWS = 41 };
    matrix w = random_matrix(f, ROWS, n_cols, r);
    float *x = random_x(n_tokens * n_cols, r);
    const kernel_set *sets[2] = {set, &kernel_set_simd128};
    const size_t ldy = matrix_groups(&w) * FORMAT_LANES, n_bytes = n_tokens * ldy * sizeof(float);
    float *y[2];
    n_undefined = 0;
    for (int i = 0; i < 2; i++) {
        kernel_act act = act_new(sets[i], FORMAT_ACT_Q8, x, n_tokens, n_cols);
        y[i] = guard_floats(n_tokens * ldy);
        kernel_mul_mat(sets[i], &w)(&w, 0, matrix_groups(&w), &act, y[i], ldy);
        act_free(&act);
    }
    CHECK(memcmp(y[0], y[1], n_bytes) == 0, "engine %d, %s, %zu columns, %zu tokens: other bits", engine_now,
          f->name, n_cols, n_tokens);
    for (int i = 0; i < 2; i++) guard_free(y[i], "outputs");
    guard_free(w.data, "weights"), free(x);
    return n_undefined;
}

#endif
#endif
