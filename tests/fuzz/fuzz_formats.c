/*
 * Blocks of any bytes in every tensor format: packing, dequantizing and quantizing. Packed blocks keep their
 * values, other lanes do not change, and nothing is read or written out of bounds.
 */
#include "fuzz.h"

#include "kernels/formats.h"

#include <math.h>

enum { MOST_BLOCKS = 4 };

/* Bytes of a packed group of n blocks. */
static size_t group_size(const format *f, size_t n) {
    return matrix_group_bytes(&(matrix){.format = f, .n_cols = n * f->block});
}

static uint8_t *new_group(const format *f, size_t n) {
    return aligned_alloc(64, (group_size(f, n) + 63) / 64 * 64 + 64);
}

/* Packs n blocks into one lane of a group of n + 1; whether they were taken. */
static bool pack(const format *f, uint32_t lane, const uint8_t *blocks, size_t n, uint8_t *group) {
    memset(group, 0, group_size(f, n + 1));
    return f->pack(group, lane, 1, n, blocks);
}

/* The floats of blocks [first, first + n) of a lane are zeros. */
static bool is_zero(const format *f, const uint8_t *group, uint32_t lane, size_t first, size_t n) {
    float row[(MOST_BLOCKS + 1) * FORMAT_MAX_BLOCK];
    f->layout->floats(group, NULL, lane, first, n, row);
    for (size_t c = 0; c < n * f->block; c++)
        if (row[c] != 0) return false;
    return true;
}

static void check_packing(const format *f, uint32_t lane, const uint8_t *blocks, size_t n) {
    uint8_t *group = new_group(f, n + 1);
    if (pack(f, lane, blocks, n, group)) {
        for (uint32_t other = 0; other < FORMAT_LANES; other++)
            EXPECT(other == lane || is_zero(f, group, other, 0, n + 1), "%s: lane %u was written to",
                   f->name, other);
        for (size_t i = 0; i < group_size(f, 1); i++)
            EXPECT(group[i] == 0, "%s: the block before was written to", f->name);
    }
    free(group);
}

/* A row of a packed matrix equals its dequantized blocks. */
static void check_row(const format *f, uint32_t lane, const uint8_t *blocks, size_t n) {
    const size_t cols = n * f->block;
    uint8_t *group = new_group(f, n);
    float *row = malloc((cols + 1) * sizeof *row), *direct = malloc((cols + 1) * sizeof *direct);
    memset(group, 0, group_size(f, n));
    f->dequantize(blocks, n, direct);
    if (f->pack(group, lane, 0, n, blocks)) {
        const matrix m = {.format = f, .n_rows = lane + 1, .n_cols = cols, .data = group};
        matrix_row(&m, lane, row);
        EXPECT(!memcmp(row, direct, cols * sizeof *row), "%s: a row differs", f->name);
    }
    free(direct);
    free(row);
    free(group);
}

/* Any floats can be quantized; the blocks of moderate ones can be packed, and dequantize to finite
 * numbers. */
static void check_quantize(const format *f, fuzz_input in) {
    const size_t n =
        in.n / (f->block * sizeof(float)) < MOST_BLOCKS ? in.n / (f->block * sizeof(float)) : MOST_BLOCKS;
    const size_t cols = n * f->block;
    float *x = malloc((cols + 1) * sizeof *x), *y = malloc((cols + 1) * sizeof *y);
    uint8_t *blocks = malloc(n * f->bytes + 1);
    bool tame = true;
    if (cols) memcpy(x, in.p, cols * sizeof *x);
    for (size_t i = 0; i < cols; i++) tame = tame && fabsf(x[i]) < 63; // scales below 64 pack
    f->quantize(x, n, blocks);
    f->dequantize(blocks, n, y);
    for (size_t i = 0; tame && i < cols; i++)
        EXPECT(fabsf(y[i]) < 70, "%s: %g becomes %g", f->name, (double)x[i], (double)y[i]);
    uint8_t *group = new_group(f, n + 1);
    const bool packs = pack(f, 5, blocks, n, group);
    EXPECT(packs || !tame, "%s: tame weights do not pack", f->name);
    free(group);
    free(blocks);
    free(y);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_input in = {bytes, n};
    const format *f = &format_table[fuzz_u8(&in) % FORMAT_COUNT];
    const uint32_t lane = fuzz_u8(&in) % FORMAT_LANES;
    const size_t n_blocks = in.n / f->bytes < MOST_BLOCKS ? in.n / f->bytes : MOST_BLOCKS;
    uint8_t *blocks = fuzz_copy((fuzz_input){in.p, n_blocks * f->bytes});
    check_packing(f, lane, blocks, n_blocks);
    check_row(f, lane, blocks, n_blocks);
    if (f->quantize) check_quantize(f, in);
    free(blocks);
    return 0;
}
