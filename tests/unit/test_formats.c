/* Formats: dequantization and quantization against the gguf package's values; layouts: packing against the
 * values before it and against the places that codes_*.inc and scales.inc describe; the tables' look-ups. */
#include "kernels/blocks.h"
#include "base/half.h"
#include "base/rng.h"
#include "check.h"
#include "halves.h"
#include "../golden/formats.h"
#include "../golden/formats_iq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Hexadecimal to bytes; the caller frees. */
static uint8_t *from_hex(const char *hex, size_t n) {
    uint8_t *out = malloc(n);
    for (size_t i = 0; out && i < n; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return out;
}

static void test_dequantize(const golden_blocks *g) {
    const format *f = format_by_name(g->format);
    if (!CHECK(f != NULL, "no format %s", g->format)) return;
    uint8_t *bytes = from_hex(g->bytes, g->n_bytes), *expected = from_hex(g->floats, g->n_floats * 4);
    float *got = malloc(g->n_floats * sizeof(float));
    CHECK(g->n_floats / f->block * f->bytes == g->n_bytes, "%s: block of %u is not %u bytes", f->name,
          f->block, f->bytes);
    f->dequantize(bytes, g->n_floats / f->block, got);
    for (size_t i = 0; i < g->n_floats; i++) {
        float e;
        memcpy(&e, expected + 4 * i, 4);
        CHECK(got[i] == e, "%s[%zu]: %.9g, not %.9g", f->name, i, (double)got[i], (double)e);
    }
    free(bytes), free(expected), free(got);
}

static void test_quantize(const golden_blocks *g) {
    const format *f = format_by_name(g->format);
    if (!CHECK(f && f->quantize, "%s cannot be written", g->format)) return;
    uint8_t *expected = from_hex(g->bytes, g->n_bytes), *raw = from_hex(g->floats, g->n_floats * 4);
    float *floats = malloc(g->n_floats * sizeof(float));
    uint8_t *got = malloc(g->n_bytes);
    memcpy(floats, raw, g->n_floats * sizeof(float));
    memset(got, 0xa5, g->n_bytes);
    f->quantize(floats, g->n_floats / f->block, got);
    for (size_t i = 0; i < g->n_bytes; i++)
        CHECK(got[i] == expected[i], "%s byte %zu: %u, not %u", f->name, i, got[i], expected[i]);
    free(expected), free(raw), free(floats), free(got);
}

/* Largest error of quantize and dequantize, in steps of the block's range (max |x|, or max - min). */
static void test_round_trip_error(const char *name, float steps, bool ranged) {
    const format *f = format_by_name(name);
    rng r;
    rng_seed(&r, 7);
    for (int trial = 0; trial < 200; trial++) {
        float x[32], back[32], lo = INFINITY, hi = -INFINITY;
        uint8_t block[64];
        for (int i = 0; i < 32; i++) {
            x[i] = (float)(rng_f64(&r) + rng_f64(&r) - 1.0) * (trial % 3 ? 0.05f : 30.0f);
            lo = fminf(lo, x[i]), hi = fmaxf(hi, x[i]);
        }
        f->quantize(x, 1, block);
        f->dequantize(block, 1, back);
        float range = ranged ? hi - lo : fmaxf(fabsf(lo), fabsf(hi));
        for (int i = 0; i < 32; i++)
            CHECK(fabsf(back[i] - x[i]) <= range * steps, "%s: %g became %g in a range of %g", name,
                  (double)x[i], (double)back[i], (double)range);
    }
}

enum { ROUND_TRIP_BLOCKS = 5 };

static bool is_half(const format *f, size_t byte) {
    int at[2];
    for (int k = halves_of(f->id, at); k-- > 0;)
        if (byte == (size_t)at[k] || byte == (size_t)at[k] + 1) return true;
    return false;
}

/* Blocks [first, first + n) of row `lane` of a group are the floats of the file's blocks, bit for bit. */
static bool same_floats(const format *f, const uint8_t *group, uint32_t lane, size_t first, size_t n,
                        const uint8_t *blocks) {
    float expected[ROUND_TRIP_BLOCKS * FORMAT_MAX_BLOCK], got[ROUND_TRIP_BLOCKS * FORMAT_MAX_BLOCK];
    f->dequantize(blocks, n, expected);
    f->layout->floats(group, NULL, lane, first, n, got);
    return memcmp(expected, got, n * f->block * sizeof(float)) == 0;
}

/* Every half below 64 is packed as 2^10 times its value, times the format's factor, and stays what it was;
 * all others are refused. */
static void test_pack_halves(const format *f) {
    int at[2];
    const int n = halves_of(f->id, at);
    const float factor = halves_factor(f->id);
    size_t wrong = 0;
    for (uint32_t bits = 0; bits < 0x10000 && n; bits++) {
        uint8_t block[FORMAT_MAX_BYTES], group[FORMAT_MAX_BYTES * FORMAT_LANES] = {0};
        const uint16_t h = (uint16_t)bits;
        uint16_t packed;
        memset(block, 0x11, sizeof block); // codes and scales that are not zero
        for (int k = 0; k < n; k++) half_put(block, at[k], h);
        const bool ordinary = fabsf(half_f16_to_f32(h)) * factor < 64;
        if (f->pack(group, 5, 0, 1, block) != ordinary) wrong++;
        if (!ordinary) continue;
        memcpy(&packed, group + 2 * 5, 2);
        wrong += half_f16_to_f32(packed) != 1024 * factor * half_f16_to_f32(h) ||
                 !same_floats(f, group, 5, 0, 1, block);
    }
    CHECK(wrong == 0, "%s: %zu halves are packed wrongly", f->name, wrong);
}

/* The same of exponents: all up to 2^5 are packed. */
static void test_pack_exponents(const format *f) {
    for (unsigned e = 0; e < 256 && f->id == FORMAT_MXFP4; e++) {
        uint8_t block[17], group[17 * FORMAT_LANES] = {0};
        memset(block, 0x1f, sizeof block);
        block[0] = (uint8_t)e;
        CHECK(f->pack(group, 5, 0, 1, block) == (e < 134), "%s: exponent %u", f->name, e);
        CHECK(e >= 134 || same_floats(f, group, 5, 0, 1, block), "%s: exponent %u is changed", f->name, e);
    }
}

/* The way of pages gives the same floats, and none of a block that is damaged. */
static void test_floats_packed(const format *f, uint8_t *row) {
    float want[FORMAT_MAX_BLOCK], got[FORMAT_MAX_BLOCK];
    int at[2];
    f->dequantize(row, 1, want);
    blocks_floats_packed(f, row, 1, got);
    CHECK(!memcmp(got, want, f->block * sizeof *got), "%s: floats by packing", f->name);
    if (!halves_of(f->id, at) || at[0] == HALF_SPREAD) return;
    half_put(row, at[0], 0x7c00); // infinity
    blocks_floats_packed(f, row, 1, got);
    CHECK(isnan(got[0]) && isnan(got[f->block - 1]), "%s: a damaged block is no number", f->name);
}

/* Random bytes packed into every lane, in several calls, keep their values, and fill exactly the group. */
static void test_pack(const format *f) {
    const size_t row = ROUND_TRIP_BLOCKS * f->bytes, n_rows = row * FORMAT_LANES, guard = 64,
                 group_bytes = ROUND_TRIP_BLOCKS * f->layout->bytes * FORMAT_LANES;
    uint8_t *rows = malloc(n_rows), *group = malloc(group_bytes + 2 * guard);
    rng r;
    rng_seed(&r, 100 + f->id);
    for (size_t i = 0; i < n_rows; i++) rows[i] = (uint8_t)rng_u64(&r);
    for (size_t i = 0; i < n_rows; i += f->bytes) tame_scales(f, rows + i);
    memset(group, 0xee, group_bytes + 2 * guard);
    memset(group + guard, 0, group_bytes);
    for (uint32_t lane = 0; lane < FORMAT_LANES; lane++) {
        const uint8_t *src = rows + lane * row;
        f->pack(group + guard, lane, 3, 2, src + 3 * f->bytes);
        f->pack(group + guard, lane, 0, 3, src);
    }
    for (size_t i = 0; i < guard; i++)
        CHECK(group[i] == 0xee && group[guard + group_bytes + i] == 0xee, "%s: wrote outside its group",
              f->name);
    for (uint32_t lane = 0; lane < FORMAT_LANES; lane++)
        CHECK(same_floats(f, group + guard, lane, 0, 1, rows + lane * row) &&
                  same_floats(f, group + guard, lane, 1, 4, rows + lane * row + f->bytes),
              "%s: lane %u is changed", f->name, lane);
    test_floats_packed(f, rows);
    free(rows), free(group);
}

/* Where a packed block is as large as the file's, every bit of a packed group belongs to one bit of one row:
 * packing a single bit sets a single bit. */
static void test_pack_permutes(const format *f) {
    if (f->bytes != f->layout->bytes) return;
    uint8_t block[FORMAT_MAX_BYTES], group[FORMAT_MAX_BYTES * FORMAT_LANES];
    uint8_t seen[FORMAT_MAX_BYTES * FORMAT_LANES] = {0};
    for (size_t bit = 0; bit < 8 * (size_t)f->bytes * FORMAT_LANES; bit++) {
        size_t at = bit / 8 % f->bytes;
        uint32_t lane = (uint32_t)(bit / 8 / f->bytes), n_set = 0;
        if (is_half(f, at)) continue; // see test_pack_halves
        memset(block, 0, sizeof block), memset(group, 0, sizeof group);
        block[at] = (uint8_t)(1u << bit % 8);
        f->pack(group, lane, 0, 1, block);
        bool shared = false;
        for (size_t i = 0; i < f->bytes * (size_t)FORMAT_LANES; i++) {
            n_set += (uint32_t)__builtin_popcount(group[i]);
            shared |= (group[i] & seen[i]) != 0;
            seen[i] |= group[i];
        }
        CHECK(n_set == 1, "%s: bit %zu of byte %zu became %u bits", f->name, bit % 8, at, n_set);
        CHECK(!shared, "%s: bit %zu of byte %zu has another one's place", f->name, bit % 8, at);
    }
}

/* Spot checks of the layouts that codes_*.inc describe, which kernels of every set rely on. */
static void test_layout(void) {
    uint8_t group[FORMAT_MAX_BYTES * FORMAT_LANES], block[FORMAT_MAX_BYTES];
    memset(group, 0, sizeof group), memset(block, 0, sizeof block);
    block[2 + 13] = 0x5a; // Q8_0, column 13: step 3, column 1 of the step
    format_by_name("q8_0")->pack(group, 6, 0, 1, block);
    CHECK(group[16 + 32 * 3 + 4 * 6 + 1] == 0x5a, "Q8_0 layout");
    memset(group, 0, sizeof group), memset(block, 0, sizeof block);
    block[2 + 5] =
        0xd0; // Q4_0, column 21: step 5, column 1; row 6 stands in the upper half of row 2's bytes
    format_by_name("q4_0")->pack(group, 6, 0, 1, block);
    CHECK(group[16 + 16 * 5 + 4 * 2 + 1] == 0xd0, "Q4_0 layout");
    memset(group, 0, sizeof group), memset(block, 0, sizeof block);
    block[128 + 32 + 9] = 0x30; // Q6_K, columns 128 + 64 + 9: unit 6, step 2, column 1; both high bits
    format_by_name("q6_k")->pack(group, 3, 0, 1, block);
    CHECK(group[16 + 128 + 192 * 6 + 4 * 3 + 1] == 0x30, "Q6_K layout");
}

/* A packed matrix's rows are the file's rows as floats, padding rows are zeros. */
static void test_matrix_row(const format *f) {
    enum { ROWS = 11 };
    const size_t n_cols = 2 * (size_t)f->block;
    matrix m = {.format = f, .n_rows = ROWS, .n_cols = n_cols};
    const size_t row_bytes = 2 * (size_t)f->bytes;
    m.data = calloc(matrix_groups(&m), matrix_group_bytes(&m));
    uint8_t *rows = malloc(ROWS * row_bytes);
    float *got = malloc(n_cols * sizeof(float)), *expected = malloc(n_cols * sizeof(float));
    rng r;
    rng_seed(&r, 9);
    for (size_t i = 0; i < ROWS * row_bytes; i++)
        rows[i] = (uint8_t)(rng_u64(&r) & 0x3b); // no NaN in any place
    for (uint32_t i = 0; i < ROWS; i++)
        f->pack(m.data + i / FORMAT_LANES * matrix_group_bytes(&m), i % FORMAT_LANES, 0, 2,
                rows + i * row_bytes);
    for (size_t i = 0; i < ROWS; i++) {
        matrix_row(&m, i, got);
        f->dequantize(rows + i * row_bytes, 2, expected);
        CHECK(memcmp(got, expected, n_cols * sizeof(float)) == 0, "%s: row %zu differs", f->name, i);
    }
    free(m.data), free(rows), free(got), free(expected);
}

static void test_table(void) {
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const format *f = &format_table[i];
        const layout *l = f->layout;
        CHECK(f->id == (format_id)i && f->block <= FORMAT_MAX_BLOCK && f->bytes <= FORMAT_MAX_BYTES,
              "row %zu", i);
        CHECK(l == &layout_table[l->id] && l->block == f->block && l->bytes >= f->bytes &&
                  l->bytes <= FORMAT_MAX_BYTES,
              "%s: a block is %u weights in %u bytes, in its layout %s %u in %u", f->name, f->block,
              f->bytes, l->name, l->block, l->bytes);
        CHECK(format_by_ggml(f->ggml_type) == f, "%s is not found by its number", f->name);
        CHECK(strcmp(format_ggml_name(f->ggml_type), f->name) == 0, "%s has another name in ggml", f->name);
        test_pack(f);
        test_pack_halves(f);
        test_pack_exponents(f);
        test_pack_permutes(f);
        test_matrix_row(f);
    }
    CHECK(format_by_name("q4_k") == &format_table[FORMAT_Q4_K], "q4_k");
    CHECK(format_by_name("q4_") == NULL && format_by_name("q4_00") == NULL, "parts of names must not match");
    CHECK(format_by_ggml(4) == NULL && format_by_ggml(1000) == NULL, "unknown numbers");
    CHECK(strcmp(format_ggml_name(18), "IQ3_XXS") == 0, "name of type 18");
    CHECK(strcmp(format_ggml_name(UINT32_MAX), "unknown") == 0, "name of no type");
}

int main(void) {
    for (size_t i = 0; i < sizeof golden_dequantize / sizeof *golden_dequantize; i++)
        test_dequantize(&golden_dequantize[i]);
    for (size_t i = 0; i < sizeof golden_dequantize_iq / sizeof *golden_dequantize_iq; i++)
        test_dequantize(&golden_dequantize_iq[i]);
    for (size_t i = 0; i < sizeof golden_quantize / sizeof *golden_quantize; i++)
        test_quantize(&golden_quantize[i]);
    test_round_trip_error("q8_0", 0.5f / 127 + 2e-3f, false);
    test_round_trip_error("q4_0", 1.0f / 8 + 2e-3f, false); // +max has no code of its own: 7 of 8 steps
    test_round_trip_error("q4_1", 0.5f / 15 + 2e-3f, true);
    test_layout();
    test_table();
    return check_report();
}
