/*
 * Whether codes of 2 and 3 bits should be multiplied by table look-up (Wei et al. 2024, T-MAC, arXiv
 * 2407.00088, section 3; bitnet.cpp has the same for ternary weights): inner loops of one token, for each
 * way to multiply (the kernel sets'), beside loops of dot products. What a block's scales cost is left out
 * of all, and so is the making of the tables: once for a token and all rows.
 *
 *     bench_tables [SECONDS]
 *
 * 4 bits      codes as the layouts have them (kernels/formats.h): a vector is four columns of eight rows
 * 2 bits      a vector is four columns of 16 rows, each code shifted out for the same dot products
 * tables      a vector is two times four bits of 16 rows: a bit of four columns, from one plane of the
 * codes. They choose one of the 16 sums of the four activations by a swizzle; sums of a plane add up, and
 *             planes count 1, 2 and 4 times
 *
 * Tables are int8, the sums rounded by a scale of 32 columns, as T-MAC has them; or of 7 bits, so that two
 * add up in a byte before they are widened; or exact: a sum of four int8 has 10 bits, those above and below
 * the fifth in a table each, of which the 8 of 32 columns add up in a byte. Each loop's results are compared
 * with plain C first. Each is run in turn, over 256 KB of weights (of 4 bits), and the best of each counts:
 * the same ones, which stay in a cache, and others each time out of 64 MB.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_RELAXED
#include "kernels/simd_math.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COLS = 1536, ROWS = 16, UNIT = 32, FOURS = COLS / 4, SMALL = 256 << 10, LARGE = 64 << 20 };
enum { BITS = COLS * ROWS / 8, GROUPS = SMALL / (4 * BITS) }; // bytes of a group's plane
enum { AT_ONCE = 16, EXACT_BIAS = 512, INT8_BIAS = 128, BITS7_BIAS = 64 };

typedef struct acts {
    _Alignas(16) uint8_t q[COLS];          // int8
    _Alignas(16) uint8_t wide[2 * COLS];   // int16, columns 0 and 2 of four, then 1 and 3
    _Alignas(16) uint8_t low[16 * FOURS];  // of each four columns, sums of those whose bit is set, and
    _Alignas(16) uint8_t high[16 * FOURS]; // EXACT_BIAS: 5 bits each
    _Alignas(16) uint8_t int8[16 * FOURS]; // in steps, and the bias
    _Alignas(16) uint8_t bits7[16 * FOURS];
} acts;

static v128_t low4, ones, bytes;

/* ---- dot products ---- */

typedef struct dot_sum {
    v128_t wide, part; // int32; what is not yet in it
} dot_sum;

SIMD_INLINE void relaxed_step(dot_sum *s, v128_t w, const acts *x, size_t step) {
    s->wide = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_v128_load32_splat(x->q + 4 * step), w, s->wide);
}
SIMD_INLINE void relaxed_close(dot_sum *s) {
    (void)s;
}
SIMD_INLINE void pairs_step(dot_sum *s, v128_t w, const acts *x, size_t step) {
    const v128_t a = wasm_v128_load32_splat(x->q + 4 * step);
    s->part = wasm_i16x8_add(s->part, wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w));
}
SIMD_INLINE void pairs_close(dot_sum *s) {
    s->wide = wasm_i32x4_add(s->wide, wasm_i32x4_dot_i16x8(s->part, ones));
    s->part = wasm_i32x4_splat(0);
}
SIMD_INLINE void simd128_step(dot_sum *s, v128_t w, const acts *x, size_t step) {
    const v128_t a0 = wasm_v128_load32_splat(x->wide + 8 * step),
                 a1 = wasm_v128_load32_splat(x->wide + 8 * step + 4);
    s->wide = wasm_i32x4_add(s->wide, wasm_i32x4_dot_i16x8(wasm_v128_and(w, bytes), a0));
    s->wide = wasm_i32x4_add(s->wide, wasm_i32x4_dot_i16x8(wasm_u16x8_shr(w, 8), a1));
}
SIMD_INLINE void simd128_close(dot_sum *s) {
    (void)s;
}

/* w: units of 32 columns, fields of `bits` bits; out (ROWS). Sums are made in `chains` for each field, since
 * one waits for the dot before. */
#define DOTS(name, set, bits, chains)                                                                       \
    static void name##_##set(const uint8_t *w, const acts *x, int32_t *out) {                               \
        const v128_t field = simd_const(0x01010101u * ((1u << (bits)) - 1));                                \
        enum { FIELDS = 8 / (bits), SUMS = FIELDS * (chains) };                                             \
        for (int half = 0; half < ROWS / (4 * FIELDS); half++) {                                            \
            dot_sum s[SUMS] = {{0}};                                                                        \
            for (size_t unit = 0; unit < COLS / UNIT; unit++, w += 128) {                                   \
                SIMD_UNROLL                                                                                 \
                for (size_t i = 0; i < 8; i++) {                                                            \
                    const v128_t all = wasm_v128_load(w + 16 * i);                                          \
                    SIMD_UNROLL                                                                             \
                    for (uint32_t k = 0; k < FIELDS; k++)                                                   \
                        set##_step(&s[(k + FIELDS * i) % SUMS],                                             \
                                   wasm_v128_and(k ? wasm_u16x8_shr(all, (bits) * k) : all, field), x,      \
                                   8 * unit + i);                                                           \
                }                                                                                           \
                SIMD_UNROLL                                                                                 \
                for (int k = 0; k < SUMS; k++) set##_close(&s[k]);                                          \
            }                                                                                               \
            for (int k = FIELDS; k < SUMS; k++)                                                             \
                s[k % FIELDS].wide = wasm_i32x4_add(s[k % FIELDS].wide, s[k].wide);                         \
            for (int k = 0; k < FIELDS; k++) wasm_v128_store(out + 4 * (FIELDS * half + k), s[k].wide);     \
        }                                                                                                   \
    }

/* ---- tables ---- */

typedef v128_t choose_fn(v128_t table, v128_t at);
SIMD_INLINE v128_t choose_swizzle(v128_t table, v128_t at) {
    return wasm_i8x16_relaxed_swizzle(table, at);
}
SIMD_INLINE v128_t choose_simd128(v128_t table, v128_t at) {
    return wasm_i8x16_swizzle(table, at);
}

/* Sums of a plane: of even and odd rows. */
typedef struct plane_sums {
    v128_t even, odd; // int16
} plane_sums;

/* Of byte sums. */
SIMD_INLINE plane_sums plane_of_bytes(v128_t b) {
    return (plane_sums){wasm_v128_and(b, bytes), wasm_u16x8_shr(b, 8)};
}

/* sums (4, int32) of rows 0 2 4 6, 8 10 12 14, 1 3 5 7, 9 11 13 15 += a unit's planes, each twice the one
 * before; bias is that of all its look-ups. */
SIMD_INLINE void close_planes(const plane_sums *p, int n_planes, int bias, v128_t *sums) {
    const v128_t less = wasm_i16x8_splat((int16_t)-bias);
    v128_t even = p[n_planes - 1].even, odd = p[n_planes - 1].odd;
    SIMD_UNROLL
    for (int k = n_planes - 1; k-- > 0;) {
        even = wasm_i16x8_add(wasm_i16x8_add(even, even), p[k].even);
        odd = wasm_i16x8_add(wasm_i16x8_add(odd, odd), p[k].odd);
    }
    even = wasm_i16x8_add(even, less), odd = wasm_i16x8_add(odd, less);
    sums[0] = wasm_i32x4_add(sums[0], wasm_i32x4_extend_low_i16x8(even));
    sums[1] = wasm_i32x4_add(sums[1], wasm_i32x4_extend_high_i16x8(even));
    sums[2] = wasm_i32x4_add(sums[2], wasm_i32x4_extend_low_i16x8(odd));
    sums[3] = wasm_i32x4_add(sums[3], wasm_i32x4_extend_high_i16x8(odd));
}

static void store_sums(const v128_t *sums, int32_t *out) {
    int32_t lanes[ROWS];
    for (int i = 0; i < 4; i++) wasm_v128_store(lanes + 4 * i, sums[i]);
    for (int r = 0; r < ROWS; r++) out[r] = lanes[r % 2 * 8 + r / 2];
}

/* What was looked up for a plane and is not yet in its sums. */
typedef struct looked {
    v128_t one, two, held;
} looked;

/* one: sums in bytes of low tables, two: of high ones; none overflows, so that they are added as 16 bits. */
SIMD_INLINE void exact_step(looked *l, const acts *x, size_t four, v128_t at, choose_fn *choose) {
    l->one = wasm_i16x8_add(l->one, choose(wasm_v128_load(x->low + 16 * four), at));
    l->two = wasm_i16x8_add(l->two, choose(wasm_v128_load(x->high + 16 * four), at));
}
SIMD_INLINE plane_sums exact_close(const looked *l) {
    const plane_sums low = plane_of_bytes(l->one), high = plane_of_bytes(l->two);
    return (plane_sums){wasm_i16x8_add(low.even, wasm_i16x8_shl(high.even, 5)),
                        wasm_i16x8_add(low.odd, wasm_i16x8_shl(high.odd, 5))};
}

/* one: sums of 16 bits, as if two bytes were a number, two: of the upper bytes. */
SIMD_INLINE void widen(looked *l, v128_t b) {
    l->one = wasm_i16x8_add(l->one, b);
    l->two = wasm_i16x8_add(l->two, wasm_u16x8_shr(b, 8));
}
SIMD_INLINE plane_sums int8_close(const looked *l) {
    const v128_t less = wasm_v128_not(wasm_i16x8_shl(l->two, 8)); // and 1 makes it negative
    return (plane_sums){wasm_i16x8_add(wasm_i16x8_add(l->one, less), wasm_i16x8_splat(1)), l->two};
}
SIMD_INLINE void int8_step(looked *l, const acts *x, size_t four, v128_t at, choose_fn *choose) {
    widen(l, choose(wasm_v128_load(x->int8 + 16 * four), at));
}
SIMD_INLINE void bits7_step(looked *l, const acts *x, size_t four, v128_t at, choose_fn *choose) {
    const v128_t is = choose(wasm_v128_load(x->bits7 + 16 * four), at);
    if (four % 2)
        widen(l, wasm_i16x8_add(l->held, is));
    else
        l->held = is;
}
#define bits7_close int8_close

/* w: of each unit, vectors of two look-ups; the i-th is for columns 4 (i / n_planes) on and plane i %
 * n_planes.
 */
#define TABLES(kind, n_planes, way, BIAS)                                                                   \
    static void kind##_##n_planes##_##way(const uint8_t *w, const acts *x, int32_t *out) {                  \
        v128_t sums[4] = {wasm_i32x4_splat(0), wasm_i32x4_splat(0), wasm_i32x4_splat(0),                    \
                          wasm_i32x4_splat(0)};                                                             \
        for (size_t unit = 0; unit < COLS / UNIT; unit++, w += 64 * (n_planes)) {                           \
            looked l[n_planes] = {{wasm_i32x4_splat(0), wasm_i32x4_splat(0), wasm_i32x4_splat(0)}};         \
            plane_sums p[n_planes];                                                                         \
            SIMD_UNROLL                                                                                     \
            for (size_t i = 0; i < 8 * (n_planes); i++) {                                                   \
                const v128_t both = wasm_v128_load(w + i / 2 * 16),                                         \
                             at = wasm_v128_and(i % 2 ? wasm_u16x8_shr(both, 4) : both, low4);              \
                kind##_step(&l[i % (n_planes)], x, 8 * unit + i / (n_planes), at, choose_##way);            \
            }                                                                                               \
            SIMD_UNROLL                                                                                     \
            for (int k = 0; k < (n_planes); k++) p[k] = kind##_close(&l[k]);                                \
            close_planes(p, n_planes, 8 * (BIAS) * ((1 << (n_planes)) - 1), sums);                          \
        }                                                                                                   \
        store_sums(sums, out);                                                                              \
    }

#define ALL_DOTS(set, chains)                                                                               \
    DOTS(four_bits, set, 4, chains)                                                                         \
    DOTS(two_bits, set, 2, 1)
ALL_DOTS(relaxed, 2)
ALL_DOTS(pairs, 1)
ALL_DOTS(simd128, 2)
#define ALL_TABLES(way)                                                                                     \
    TABLES(int8, 2, way, INT8_BIAS)                                                                         \
    TABLES(bits7, 2, way, BITS7_BIAS)                                                                       \
    TABLES(exact, 2, way, EXACT_BIAS)                                                                       \
    TABLES(exact, 3, way, EXACT_BIAS)
ALL_TABLES(swizzle)
ALL_TABLES(simd128)

typedef void loop_fn(const uint8_t *w, const acts *x, int32_t *out);
typedef enum tables { DOT, INT8, BITS7, EXACT } tables;
static const struct {
    const char *name;
    loop_fn *run;
    int bits; // of a code
    tables tables;
} loops[] = {
#define DOT_LOOPS(set) {#set " 4 bits", four_bits_##set, 4, DOT}, {#set " 2 bits", two_bits_##set, 2, DOT},
#define TABLE_LOOPS(way)                                                                                    \
    {#way " 2 bits, int8 tables", int8_2_##way, 2, INT8},                                                   \
        {#way " 2 bits, 7-bit tables", bits7_2_##way, 2, BITS7},                                            \
        {#way " 2 bits, exact tables", exact_2_##way, 2, EXACT},                                            \
        {#way " 3 bits, exact tables", exact_3_##way, 3, EXACT},
    DOT_LOOPS(relaxed) DOT_LOOPS(pairs) DOT_LOOPS(simd128) TABLE_LOOPS(swizzle) TABLE_LOOPS(simd128)};
enum { LOOPS = sizeof loops / sizeof *loops };

/* ---- what the loops should give ---- */

/* The bits of a plane for columns 4 `four` on of a row of a group. */
static size_t index_of(const uint8_t *w, int bits, size_t row, size_t four, int plane) {
    const size_t i = four % 8 * (size_t)bits + (size_t)plane; // look-up in its unit
    return w[four / 8 * 64 * (size_t)bits + i / 2 * 16 + row] >> (i % 2 * 4) & 15;
}

/* Code (row, column) of a group in fields, for dot products. */
static int field_of(const uint8_t *w, int bits, size_t row, size_t col) {
    const size_t fields = 8 / (size_t)bits, four = row / 4;
    const uint8_t byte = w[(four / fields * (COLS / 4) + col / 4) * 16 + row % 4 * 4 + col % 4];
    return byte >> (four % fields * (size_t)bits) & ((1 << bits) - 1);
}

static int entry(const acts *x, tables t, size_t four, size_t at) {
    const size_t i = 16 * four + at;
    return t == INT8    ? x->int8[i] - INT8_BIAS
           : t == BITS7 ? x->bits7[i] - BITS7_BIAS
                        : x->low[i] + 32 * x->high[i] - EXACT_BIAS;
}

static int32_t result_of(size_t loop, const uint8_t *w, const acts *x, size_t row) {
    int32_t sum = 0;
    for (size_t col = 0; loops[loop].tables == DOT && col < COLS; col++)
        sum += field_of(w, loops[loop].bits, row, col) * (int8_t)x->q[col];
    for (size_t four = 0; loops[loop].tables != DOT && four < FOURS; four++)
        for (int k = 0; k < loops[loop].bits; k++)
            sum +=
                entry(x, loops[loop].tables, four, index_of(w, loops[loop].bits, row, four, k)) * (1 << k);
    return sum;
}

static bool check(const uint8_t *w, const acts *x) {
    for (size_t i = 0; i < LOOPS; i++) {
        int32_t out[ROWS];
        loops[i].run(w, x, out);
        for (size_t r = 0; r < ROWS; r++)
            if (out[r] != result_of(i, w, x, r))
                return printf("%s: row %zu is %d, not %d\n", loops[i].name, r, (int)out[r],
                              (int)result_of(i, w, x, r)),
                       false;
    }
    return true;
}

/* ---- activations ---- */

static uint32_t seed = 1;
static uint32_t random_bits(void) {
    return (seed = seed * 1664525u + 1013904223u) >> 8;
}
/* About normal, of deviation 1. */
static double normal(void) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += random_bits() / 16777216.0;
    return sum;
}

static int sum_at(const acts *x, size_t four, size_t at) {
    int sum = 0;
    for (size_t i = 0; i < 4; i++)
        if (at >> i & 1) sum += (int8_t)x->q[4 * four + i];
    return sum;
}

/* The tables of 32 columns from column 4 `four` on. Rounded ones are less half of the sum of all four, as
 * T-MAC has them by bits of -1 and 1, so that they use their bits; the rest is one number for all rows.
 * Returns the largest of these. */
static double set_tables(acts *x, size_t four) {
    double most = 0;
    for (size_t i = 0; i < 8 * 16; i++)
        most = fmax(most, fabs(sum_at(x, four + i / 16, i % 16) - sum_at(x, four + i / 16, 15) / 2.0));
    for (size_t i = 0; i < 8 * 16; i++) {
        const size_t at = four + i / 16, to = 16 * at + i % 16;
        const int exact = sum_at(x, at, i % 16) + EXACT_BIAS;
        const double centered = sum_at(x, at, i % 16) - sum_at(x, at, 15) / 2.0;
        x->low[to] = (uint8_t)(exact % 32), x->high[to] = (uint8_t)(exact / 32);
        x->int8[to] = (uint8_t)(INT8_BIAS + (int)rint(centered * (127 / most)));
        x->bits7[to] = (uint8_t)(BITS7_BIAS + (int)rint(centered * (63 / most)));
    }
    return most;
}

/* Normal activations in int8, the largest of 32 columns being 127, and their tables. Beside them what they
 * were, and of each 32 columns the scale and the largest number of a table. */
typedef struct made {
    double real[COLS], scale[COLS / UNIT], most[COLS / UNIT];
} made;

static void make_acts(acts *x, made *m) {
    for (size_t unit = 0; unit < COLS / UNIT; unit++) {
        double largest = 0;
        for (size_t c = UNIT * unit; c < UNIT * (unit + 1); c++)
            largest = fmax(largest, fabs(m->real[c] = normal()));
        m->scale[unit] = largest / 127;
        for (size_t c = UNIT * unit; c < UNIT * (unit + 1); c++) {
            const int q = (int)rint(m->real[c] / m->scale[unit]);
            const size_t step = c / 4, at = c % 4, wide = 8 * step + 4 * (at % 2) + 2 * (at / 2);
            x->q[c] = (uint8_t)q;
            x->wide[wide] = (uint8_t)q, x->wide[wide + 1] = q < 0 ? 255 : 0;
        }
        m->most[unit] = set_tables(x, 8 * unit);
    }
}

/* The product of a row of 2-bit codes less 1.5: by the activations as they were, and by them and the tables
 * in int8. */
static void row_products(const uint8_t *w, size_t row, const acts *x, const made *m, double *is,
                         double *by) {
    *is = by[0] = by[1] = by[2] = 0;
    for (size_t i = 0; i < 2 * FOURS; i++) {
        const size_t four = i / 2, unit = four / 8, at = index_of(w, 2, row, four, (int)(i % 2));
        const double times = (double)(1 + i % 2), scale = times * m->scale[unit];
        for (size_t c = 0; c < 4; c++) *is += times * ((double)(at >> c & 1) - 0.5) * m->real[4 * four + c];
        by[0] += scale * (sum_at(x, four, at) - sum_at(x, four, 15) / 2.0);
        by[1] += scale * entry(x, INT8, four, at) * m->most[unit] / 127;
        by[2] += scale * entry(x, BITS7, four, at) * m->most[unit] / 63;
    }
}

/* What rounding costs: root mean squares, as parts of the products'. */
static void tell_errors(const uint8_t *w, const acts *x, const made *m) {
    double all = 0, lost[3] = {0};
    for (size_t row = 0; row < GROUPS * ROWS; row++) {
        double is, by[3];
        row_products(w + row / ROWS * 2 * BITS, row % ROWS, x, m, &is, by);
        all += is * is;
        for (int i = 0; i < 3; i++) lost[i] += (by[i] - is) * (by[i] - is);
    }
    printf("error of products: activations in int8 %.4f, and tables in int8 %.4f, in 7 bits %.4f\n",
           sqrt(lost[0] / all), sqrt(lost[1] / all), sqrt(lost[2] / all));
}

/* ---- measuring ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static volatile int32_t sink;

/* Seconds of a pass through 256 KB, by the mean of AT_ONCE of them: some clocks have steps of microseconds.
 */
static double pass(size_t i, const uint8_t *w, size_t begin, size_t n_places, const acts *x) {
    int32_t out[ROWS];
    const double from = now();
    for (size_t k = 0; k < AT_ONCE; k++)
        for (size_t g = 0; g < GROUPS; g++) {
            loops[i].run(w + (begin + k) % n_places * SMALL + g * BITS * (size_t)loops[i].bits, x, out);
            sink = out[3];
        }
    return (now() - from) / (double)AT_ONCE;
}

static void measure(const char *where, const uint8_t *w, size_t n_places, const acts *x, double seconds) {
    double best[LOOPS];
    size_t n = 0;
    for (size_t i = 0; i < LOOPS; i++) best[i] = 1e30;
    for (const double end = now() + seconds; now() < end;)
        for (size_t i = 0; i < LOOPS; i++, n += AT_ONCE) {
            const double t = pass(i, w, n, n_places, x);
            best[i] = t < best[i] ? t : best[i];
        }
    for (size_t i = 0; i < LOOPS; i++)
        printf("%-6s %-29s %7.1f GMAC/s\n", where, loops[i].name,
               1e-9 * (double)((size_t)GROUPS * ROWS * COLS) / best[i]);
}

int main(int argc, char **argv) {
    const double seconds = argc > 1 ? atof(argv[1]) : 3;
    static acts x;
    static made m;
    uint8_t *w = aligned_alloc(64, LARGE);
    if (!w) return printf("no memory for weights\n"), 1;
    for (size_t i = 0; i < LARGE; i++) w[i] = (uint8_t)(random_bits() >> 16);
    low4 = simd_const(0x0f0f0f0f), ones = simd_const(0x00010001), bytes = simd_const(0x00ff00ff);
    make_acts(&x, &m);
    if (!check(w, &x)) return 1;
    tell_errors(w, &x, &m);
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
