/*
 * The relaxed set on simulated engines (simulated.h). relaxed.c is compiled here a second time, with a dot
 * in plain C in place of the instruction. Expected bits are those of the simd128 set, which has no use for
 * the relaxed dot.
 */
#include "simulated.h"

#ifdef KERNEL_HAS_SIMD128
#ifndef KERNEL_HAS_RELAXED
#define KERNEL_HAS_RELAXED 1
#endif
#define wasm_i32x4_relaxed_dot_i8x16_i7x16_add simulated_dot
#define kernel_set_relaxed                     kernel_set_simulated
#define kernel_linked_relaxed                  kernel_linked_simulated
#include "kernels/relaxed.c"

/* Another engine: what was found out of the last one is forgotten. */
static void engine_start(engine e) {
    engine_now = e;
    set_known_form = -1;
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
    for (size_t id = 0; id < FORMAT_ALL; id++) {
        const format *f = &format_table[id];
        for (size_t i = 0; f->layout->act == FORMAT_ACT_Q8 && i < 6; i++) {
            const bool may = beyond && is_signed(f->layout->id) && tokens[i] > KERNEL_TILE;
            const size_t n = check_simulated(&kernel_set_simulated, f, 3 * (size_t)f->block, tokens[i], r);
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
    check_simulated(&kernel_set_simulated, &format_table[FORMAT_Q8_0], 1536, 33, r); // three panels
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
