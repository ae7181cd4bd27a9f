/*
 * The set of pairs on simulated engines (simulated.h): the right bits on all that WebAssembly allows, with
 * no operand beyond 127 and no sum beyond 16 bits, whatever the weights. pairs.c is compiled here a second
 * time, with plain C in place of the relaxed dot and of the addition of its sums. Expected bits are those of
 * the simd128 set, which has no use for either.
 */
#include "simulated.h"

#ifdef KERNEL_HAS_SIMD128
#ifndef KERNEL_HAS_RELAXED
#define KERNEL_HAS_RELAXED 1
#endif
#define wasm_i16x8_relaxed_dot_i8x16_i7x16 simulated_pairs
#define wasm_i16x8_add                     simulated_add
#define kernel_set_pairs                   kernel_set_simulated
#define kernel_linked_pairs                kernel_linked_simulated
#include "kernels/pairs.c"

/* Whether pairs.c makes products of a layout, or a set that is linked does. */
static bool has_products(layout_id id) {
#define NUT_X(name, ...) [LAYOUT_##name] = true,
    static const bool own[LAYOUT_COUNT] = {MAIN_LAYOUT_LIST(NUT_X)};
#undef NUT_X
    return own[id] || kernel_linked_relaxed;
}

static void test_formats(rng *r) {
    static const size_t tokens[] = {1, 2, 4, 5, 9, 70};
    for (size_t id = 0; id < FORMAT_COUNT; id++) {
        const format *f = &format_table[id];
        if (f->layout->act != FORMAT_ACT_Q8 || !has_products(f->layout->id)) continue;
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
            const size_t n = check_simulated(&kernel_set_simulated, f, 3 * (size_t)f->block, tokens[i], r);
            CHECK(n == 0, "engine %d, %s, %zu tokens: %zu operands or sums have no defined result",
                  engine_now, f->name, tokens[i], n);
        }
    }
}

/* The largest codes with activations of one sign: sums that one more step would take beyond 16 bits. */
static void test_extremes(int8_t sign) {
    enum { COLS = FORMAT_MAX_BLOCK, TOKENS = 5 };
    float x[TOKENS * COLS];
    for (size_t i = 0; i < TOKENS * COLS; i++) x[i] = sign;
    for (size_t id = 0; id < FORMAT_COUNT; id++) {
        const format *f = &format_table[id];
        if (f->layout->act != FORMAT_ACT_Q8 || !has_products(f->layout->id)) continue;
        matrix w = {.format = f, .n_rows = FORMAT_LANES, .n_cols = COLS};
        uint8_t block[FORMAT_MAX_BYTES];
        int at[2];
        float y[2][TOKENS * FORMAT_LANES];
        const kernel_set *sets[2] = {&kernel_set_simulated, &kernel_set_simd128};
        memset(block, f->id == FORMAT_Q8_0 ? 0x80 : 0xff, sizeof block);
        for (int k = halves_of(f->id, at); k-- > 0;) half_put(block, at[k], 0x2c00);
        w.data = guard_new(matrix_group_bytes(&w));
        memset(w.data, 0, matrix_group_bytes(&w));
        for (size_t i = 0; i < FORMAT_LANES * COLS / f->block; i++)
            f->pack(w.data, (uint32_t)(i % FORMAT_LANES), i / FORMAT_LANES, 1, block);
        n_undefined = 0;
        for (int i = 0; i < 2; i++) {
            kernel_act act = act_new(sets[i], FORMAT_ACT_Q8, x, TOKENS, COLS);
            kernel_mul_mat(sets[i], &w)(&w, 0, 1, &act, y[i], FORMAT_LANES);
            act_free(&act);
        }
        CHECK(n_undefined == 0 && memcmp(y[0], y[1], sizeof y[0]) == 0, "%s: extremes of sign %d", f->name,
              sign);
        guard_free(w.data, "weights");
    }
}

static void test_simulated(void) {
    rng r;
    rng_seed(&r, 6);
    for (engine_now = READS_UNSIGNED; engine_now <= SATURATES; engine_now++) {
        CHECK(kernel_probe(&kernel_set_simulated), "engine %d fails the probe", engine_now);
        test_formats(&r);
        test_extremes(1), test_extremes(-1);
    }
    for (; engine_now <= SATURATES_TOO_SOON; engine_now++)
        CHECK(!kernel_probe(&kernel_set_simulated), "engine %d computes wrongly and passes the probe",
              engine_now);
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
