/*
 * The relaxed set on engines that compute the relaxed dot in the ways that WebAssembly allows, and on one
 * that computes it wrongly. relaxed.c is compiled here a second time, with a dot in plain C in place of the
 * instruction, which also counts the operands for which the specification defines no single result. Expected
 * bits are those of the simd128 set, which has no use for the relaxed dot.
 */
#include "kernels/sets.h"
#include "check.h"
#include "products.h"

#ifdef KERNEL_HAS_SIMD128
#ifndef KERNEL_HAS_RELAXED
#define KERNEL_HAS_RELAXED 1
#endif
#include <wasm_simd128.h>

typedef enum engine {
    READS_UNSIGNED,     // the second operand is 0..255: x86 with VNNI
    READS_SIGNED,       // it is -128..127: ARM with sdot
    SATURATES,          // it is 0..255, and sums of two products saturate in 16 bits: x86 with pmaddubsw
    IGNORES_A_SIGN,     // wrong: the first operand is 0..255
    SATURATES_TOO_SOON, // wrong: sums of two products saturate at 14 bits
} engine;

static engine engine_now;
static size_t n_undefined; // second operands beyond 127

static int32_t saturated(int32_t x, int32_t most) {
    return x > most ? most : x < -most - 1 ? -most - 1 : x;
}

static v128_t simulated_dot(v128_t a, v128_t b, v128_t acc) {
    int8_t x[16], y[16];
    int32_t sum[4];
    wasm_v128_store(x, a), wasm_v128_store(y, b), wasm_v128_store(sum, acc);
    for (int i = 0; i < 16; i += 2) {
        int32_t two = 0;
        for (int k = i; k < i + 2; k++) {
            const int32_t first = engine_now == IGNORES_A_SIGN ? (uint8_t)x[k] : x[k];
            n_undefined += y[k] < 0;
            two += first * (engine_now == READS_SIGNED ? y[k] : (uint8_t)y[k]);
        }
        if (engine_now == SATURATES) two = saturated(two, 32767);
        if (engine_now == SATURATES_TOO_SOON) two = saturated(two, 8191);
        sum[i / 4] += two;
    }
    return wasm_v128_load(sum);
}

#define wasm_i32x4_relaxed_dot_i8x16_i7x16_add simulated_dot
#define kernel_set_relaxed                     kernel_set_simulated
#define kernel_linked_relaxed                  kernel_linked_simulated
#include "kernels/relaxed.c"

/* Another engine: what was found out of the last one is forgotten. */
static void engine_start(engine e) {
    engine_now = e;
    set_known_form = -1;
}

/* A product has the bits of simd128. Returns how many operands were beyond 127. */
static size_t check_product(const format *f, size_t n_cols, size_t n_tokens, rng *r) {
    enum { ROWS = 41 };
    matrix w = random_matrix(f, ROWS, n_cols, r);
    float *x = random_x(n_tokens * n_cols, r);
    const kernel_set *sets[2] = {&kernel_set_simulated, &kernel_set_simd128};
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

static bool is_signed(layout_id id) {
#define NUT_X(name, ...) [LAYOUT_##name] = &layout_##name,
    static const code_layout *const all[LAYOUT_COUNT] = {CODE_LAYOUT_LIST(NUT_X)};
#undef NUT_X
    return all[id]->codes->is_signed;
}

/* Few tokens, and layouts of unsigned codes, never have an operand beyond 127. */
static void test_formats(bool beyond, rng *r) {
    static const size_t tokens[] = {1, 2, 4, 5, 9, 70};
    for (size_t id = 0; id < FORMAT_COUNT; id++) {
        const format *f = &format_table[id];
        for (size_t i = 0; f->layout->act == FORMAT_ACT_Q8 && i < 6; i++) {
            const bool may = beyond && is_signed(f->layout->id) && tokens[i] > KERNEL_TILE;
            const size_t n = check_product(f, 3 * (size_t)f->block, tokens[i], r);
            CHECK(may ? n > 0 : n == 0, "engine %d, %s, %zu tokens: %zu operands beyond 127", engine_now,
                  f->name, tokens[i], n);
        }
    }
}

static void test_engine(engine e, set_signed_form form, rng *r) {
    engine_start(e);
    CHECK(kernel_probe(&kernel_set_simulated), "engine %d fails the probe", e);
    CHECK(set_form() == form, "engine %d: form %d, not %d", e, set_form(), form);
    test_formats(form != SET_AS_SPLIT, r);
    check_product(&format_table[FORMAT_Q8_0], 1536, 33, r); // three panels
}

/* A form that is wrong for the engine shows in the bits: the tests above see which one ran. */
static void test_wrong_form(engine e, set_signed_form form, rng *r) {
    enum { COLS = 64, TOKENS = 5 };
    engine_start(e);
    set_known_form = (int)form;
    const format *f = &format_table[FORMAT_Q8_0];
    matrix w = random_matrix(f, 8, COLS, r);
    float *x = random_x(TOKENS * COLS, r), y[2][TOKENS * 8];
    const kernel_set *sets[2] = {&kernel_set_simulated, &kernel_set_simd128};
    for (int i = 0; i < 2; i++) {
        kernel_act act = act_new(sets[i], FORMAT_ACT_Q8, x, TOKENS, COLS);
        kernel_mul_mat(sets[i], &w)(&w, 0, 1, &act, y[i], 8);
        act_free(&act);
    }
    CHECK(memcmp(y[0], y[1], sizeof y[0]) != 0, "engine %d: form %d is right too", e, form);
    guard_free(w.data, "weights"), free(x);
}

static void test_simulated(void) {
    rng r;
    rng_seed(&r, 5);
    test_engine(READS_UNSIGNED, SET_AS_UNSIGNED, &r);
    test_engine(READS_SIGNED, SET_AS_SIGNED, &r);
    test_engine(SATURATES, SET_AS_SPLIT, &r);
    test_wrong_form(READS_UNSIGNED, SET_AS_SIGNED, &r);
    test_wrong_form(READS_SIGNED, SET_AS_UNSIGNED, &r);
    test_wrong_form(SATURATES, SET_AS_UNSIGNED, &r);
    for (engine e = IGNORES_A_SIGN; e <= SATURATES_TOO_SOON; e++) {
        engine_start(e);
        CHECK(!kernel_probe(&kernel_set_simulated), "engine %d computes wrongly and passes the probe", e);
    }
}
#else
static void test_simulated(void) {
    CHECK_SKIP("this build has no SIMD kernels");
}
#endif

int main(void) {
    test_simulated();
    return check_report();
}
