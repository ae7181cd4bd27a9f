/*
 * Whether products that skip zeros would pay: inner loops of one token over weights of which half are zero,
 * beside the loop of dense codes of 4 bits, for each way to multiply (the kernel sets'). Rows are lanes as
 * in the layouts (kernels/formats.h); what a block's scales cost is left out of all, and small.
 *
 *     bench_sparse [SECONDS]
 *
 * dense    4 bits a weight; a vector is four columns of four rows
 * 2:4      two of four columns: 4 bits of value (the sign and a magnitude of eight) and 2 of place, 3 a
 *          weight
 * 4:8      four of eight columns: the sign, 2 bits of magnitude and 3 of place, 3 a weight
 * active   dense codes, of which those are left out that meet four activations of zero: a list says which
 *          vectors are left, a half, a quarter or a tenth of them in random places, or the first tenth, as
 *          where the channels that are active most often come first
 *
 * A sparse vector is eight columns of four rows. The activations that a row multiplies are chosen by a
 * swizzle of 16 bytes: eight columns, and the same negated, so that magnitudes need no sign. Each loop is
 * run in turn, over 256 KB of weights (dense), and the best of each counts: the same ones, which stay in a
 * cache, and others each time out of 64 MB.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_RELAXED
#include "kernels/simd_math.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COLS = 1536, ROWS = 8, SMALL = 256 << 10, LARGE = 64 << 20 };
enum { DENSE_GROUP = COLS * ROWS / 2, SPARSE_GROUP = COLS * ROWS * 3 / 8, GROUPS = SMALL / DENSE_GROUP };

typedef struct acts {
    _Alignas(16) uint8_t q[COLS];          // int8
    _Alignas(16) uint8_t wide[2 * COLS];   // int16, columns 0 and 2 of four, then 1 and 3
    _Alignas(16) uint8_t tables[2 * COLS]; // of eight columns, and negated
    uint16_t steps[COLS / 4];              // (n_steps) of four columns, those that are active
    size_t n_steps;
} acts;

static v128_t low4, ones, tail;

/* ---- the ways ---- */

typedef struct sum {
    v128_t wide, part; // int32; what is not yet in it
} sum;

SIMD_INLINE void relaxed_dot(sum *s, v128_t w, v128_t a) {
    s->wide = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, w, s->wide);
}
SIMD_INLINE void relaxed_close(sum *s) {
    (void)s;
}
SIMD_INLINE void pairs_dot(sum *s, v128_t w, v128_t a) {
    s->part = wasm_i16x8_add(s->part, wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w));
}
SIMD_INLINE void pairs_close(sum *s) {
    s->wide = wasm_i32x4_add(s->wide, wasm_i32x4_dot_i16x8(s->part, ones));
    s->part = wasm_i32x4_splat(0);
}
SIMD_INLINE void simd128_dot(sum *s, v128_t w, v128_t a) {
    const v128_t w0 = wasm_v128_and(w, wasm_i16x8_splat(255)), w1 = wasm_u16x8_shr(w, 8);
    const v128_t a0 = wasm_i16x8_shr(wasm_i16x8_shl(a, 8), 8), a1 = wasm_i16x8_shr(a, 8);
    s->wide = wasm_i32x4_add(s->wide, wasm_i32x4_dot_i16x8(w0, a0));
    s->wide = wasm_i32x4_add(s->wide, wasm_i32x4_dot_i16x8(w1, a1));
}
SIMD_INLINE void simd128_close(sum *s) {
    (void)s;
}

/* A step of dense codes: activations as the set keeps them. */
SIMD_INLINE void relaxed_step(sum *s, v128_t w, const acts *x, size_t step) {
    relaxed_dot(s, w, wasm_v128_load32_splat(x->q + 4 * step));
}
SIMD_INLINE void pairs_step(sum *s, v128_t w, const acts *x, size_t step) {
    pairs_dot(s, w, wasm_v128_load32_splat(x->q + 4 * step));
}
SIMD_INLINE void simd128_step(sum *s, v128_t w, const acts *x, size_t step) {
    const v128_t a0 = wasm_v128_load32_splat(x->wide + 8 * step),
                 a1 = wasm_v128_load32_splat(x->wide + 8 * step + 4);
    s->wide = wasm_i32x4_add(s->wide, wasm_i32x4_dot_i16x8(wasm_v128_and(w, wasm_i16x8_splat(255)), a0));
    s->wide = wasm_i32x4_add(s->wide, wasm_i32x4_dot_i16x8(wasm_u16x8_shr(w, 8), a1));
}

/* ---- the loops ---- */

#if defined(__wasm_relaxed_simd__) || defined(NUT_COMPAT)
#define CHOOSE_RELAXED wasm_i8x16_relaxed_swizzle
#endif
#define CHOOSE_relaxed CHOOSE_RELAXED
#define CHOOSE_pairs   CHOOSE_RELAXED
#define CHOOSE_simd128 wasm_i8x16_swizzle

#define DENSE(set)                                                                                          \
    static v128_t dense_##set(const uint8_t *w, const acts *x) {                                            \
        sum s[2] = {{0}};                                                                                   \
        for (size_t unit = 0; unit < COLS / 32; unit++, w += 128) {                                         \
            SIMD_UNROLL                                                                                     \
            for (size_t i = 0; i < 8; i++) {                                                                \
                const v128_t both = wasm_v128_load(w + 16 * i);                                             \
                set##_step(&s[0], wasm_v128_and(both, low4), x, 8 * unit + i);                              \
                set##_step(&s[1], wasm_v128_and(wasm_u16x8_shr(both, 4), low4), x, 8 * unit + i);           \
            }                                                                                               \
            set##_close(&s[0]), set##_close(&s[1]);                                                         \
        }                                                                                                   \
        return wasm_i32x4_add(s[0].wide, s[1].wide);                                                        \
    }

#define ACTIVE(set)                                                                                         \
    static v128_t active_##set(const uint8_t *w, const acts *x) {                                           \
        sum s[2] = {{0}};                                                                                   \
        for (size_t k = 0; k < x->n_steps;) {                                                               \
            for (const size_t end = k + 8 < x->n_steps ? k + 8 : x->n_steps; k < end; k++) {                \
                const v128_t both = wasm_v128_load(w + 16 * (size_t)x->steps[k]);                           \
                set##_step(&s[0], wasm_v128_and(both, low4), x, x->steps[k]);                               \
                set##_step(&s[1], wasm_v128_and(wasm_u16x8_shr(both, 4), low4), x, x->steps[k]);            \
            }                                                                                               \
            set##_close(&s[0]), set##_close(&s[1]);                                                         \
        }                                                                                                   \
        return wasm_i32x4_add(s[0].wide, s[1].wide);                                                        \
    }

/* 16 columns of eight rows: 16 bytes of pairs of bits, 32 of four bits. `four` and `two` are a vector's. */
#define SPARSE(name, set, INDEX, VALUE)                                                                     \
    static v128_t name##_##set(const uint8_t *w, const acts *x) {                                           \
        const v128_t table = wasm_v128_load(values), three = simd_const(0x03030303),                        \
                     sign = simd_const(0x08080808);                                                         \
        sum s[2] = {{0}};                                                                                   \
        (void)table, (void)sign;                                                                            \
        for (size_t unit = 0; unit < COLS / 32; unit++, w += 96) {                                          \
            SIMD_UNROLL                                                                                     \
            for (int i = 0; i < 4; i++) {                                                                   \
                const v128_t a = wasm_v128_load(x->tables + 16 * (4 * unit + (size_t)i));                   \
                const v128_t bits = wasm_v128_load(w + 48 * (i / 2)),                                       \
                             both = wasm_v128_load(w + 48 * (i / 2) + 16 + 16 * (i % 2));                   \
                SIMD_UNROLL                                                                                 \
                for (int r = 0; r < 2; r++) {                                                               \
                    const uint32_t shift = (uint32_t)(4 * (i % 2) + 2 * r);                                 \
                    const v128_t two = wasm_v128_and(shift ? wasm_u16x8_shr(bits, shift) : bits, three);    \
                    const v128_t four = wasm_v128_and(r ? wasm_u16x8_shr(both, 4) : both, low4);            \
                    set##_dot(&s[r], VALUE(set), CHOOSE_##set(a, INDEX));                                   \
                }                                                                                           \
            }                                                                                               \
            set##_close(&s[0]), set##_close(&s[1]);                                                         \
        }                                                                                                   \
        return wasm_i32x4_add(s[0].wide, s[1].wide);                                                        \
    }

static uint8_t values[16] = {1, 2, 4, 6, 8, 10, 13, 15, 1, 2, 4, 6, 8, 10, 13, 15};
#define INDEX_24      wasm_v128_or(wasm_v128_or(wasm_v128_and(four, sign), two), tail)
#define VALUE_24(set) CHOOSE_##set(table, four)
#define INDEX_48      four
#define VALUE_48(set) CHOOSE_##set(table, two)

#define ALL(set)                                                                                            \
    DENSE(set)                                                                                              \
    ACTIVE(set)                                                                                             \
    SPARSE(two_of_four, set, INDEX_24, VALUE_24)                                                            \
    SPARSE(four_of_eight, set, INDEX_48, VALUE_48)
ALL(relaxed)
ALL(pairs)
ALL(simd128)

/* ---- measuring ---- */

typedef v128_t loop_fn(const uint8_t *w, const acts *x);
enum { PLACES_RANDOM, PLACES_FIRST };
static const struct {
    const char *name;
    size_t group; // bytes
    loop_fn *run;
    unsigned one_of; // so many steps is active
    int places;
} loops[] = {
#define LOOPS(set)                                                                                          \
    {#set " dense", DENSE_GROUP, dense_##set, 1, 0}, {#set " 2:4", SPARSE_GROUP, two_of_four_##set, 1, 0},  \
        {#set " 4:8", SPARSE_GROUP, four_of_eight_##set, 1, 0},                                             \
        {#set " 1/2 active", DENSE_GROUP, active_##set, 2, PLACES_RANDOM},                                  \
        {#set " 1/4 active", DENSE_GROUP, active_##set, 4, PLACES_RANDOM},                                  \
        {#set " 1/10 active", DENSE_GROUP, active_##set, 10, PLACES_RANDOM},                                \
        {#set " 1/10 first", DENSE_GROUP, active_##set, 10, PLACES_FIRST},
    LOOPS(relaxed) LOOPS(pairs) LOOPS(simd128)};
enum { LOOPS_ALL = sizeof loops / sizeof *loops, LOOPS_SET = LOOPS_ALL / 3 };

/* Which steps the loop takes: exactly as many as it says. */
static void choose_steps(size_t i, acts *x) {
    const size_t n = COLS / 4, most = n / loops[i].one_of;
    uint32_t seed = 7;
    x->n_steps = 0;
    for (size_t k = 0; k < n; k++) {
        seed = seed * 1664525u + 1013904223u;
        const size_t left = most - x->n_steps;
        const bool takes = loops[i].places == PLACES_FIRST || (seed >> 8) % (n - k) < left;
        if (left && takes) x->steps[x->n_steps++] = (uint16_t)k;
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static volatile int32_t sink;

/* Seconds of one pass. */
static double pass(size_t i, const uint8_t *w, acts *x) {
    v128_t all = wasm_i32x4_splat(0);
    choose_steps(i, x);
    const double begin = now();
    for (size_t g = 0; g < GROUPS; g++) all = wasm_i32x4_add(all, loops[i].run(w + g * loops[i].group, x));
    sink = wasm_i32x4_extract_lane(all, 0);
    return now() - begin;
}

static void measure(const char *where, const uint8_t *w, size_t n_places, acts *x, double seconds) {
    double best[LOOPS_ALL];
    size_t n = 0;
    for (size_t i = 0; i < LOOPS_ALL; i++) best[i] = 1e30;
    for (const double end = now() + seconds; now() < end;)
        for (size_t i = 0; i < LOOPS_ALL; i++) {
            const double t = pass(i, w + n++ % n_places * SMALL, x);
            best[i] = t < best[i] ? t : best[i];
        }
    for (size_t i = 0; i < LOOPS_ALL; i++)
        printf("%-6s %-19s %7.1f GMAC/s, %.2f of dense\n", where, loops[i].name,
               1e-9 * (double)((size_t)GROUPS * ROWS * COLS) / best[i], best[i - i % LOOPS_SET] / best[i]);
}

int main(int argc, char **argv) {
    const double seconds = argc > 1 ? atof(argv[1]) : 3;
    static acts x;
    uint8_t *w = aligned_alloc(64, LARGE);
    uint32_t seed = 1;
    if (!w) return printf("no memory for weights\n"), 1;
    for (size_t i = 0; i < LARGE; i++) w[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
    for (size_t i = 0; i < COLS; i++) {
        const int8_t q = (int8_t)((int)((seed = seed * 1664525u + 1013904223u) >> 24) % 127 - 63);
        const size_t step = i / 4, at = i % 4;
        x.q[i] = (uint8_t)q;
        x.wide[8 * step + 4 * (at % 2) + 2 * (at / 2)] = (uint8_t)q;
        x.wide[8 * step + 4 * (at % 2) + 2 * (at / 2) + 1] = q < 0 ? 255 : 0;
        x.tables[16 * (i / 8) + i % 8] = (uint8_t)q;
        x.tables[16 * (i / 8) + 8 + i % 8] = (uint8_t)-q;
    }
    low4 = simd_const(0x0f0f0f0f), ones = simd_const(0x00010001), tail = simd_const(0x04040000);
    measure("cache", w, 1, &x, seconds);
    measure("memory", w, LARGE / SMALL, &x, seconds);
    free(w);
    return 0;
}
#else
int main(void) {
    return 0;
}
#endif
