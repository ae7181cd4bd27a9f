/* Types that are written by a search for their scales: the error of what their blocks hold beside that of
 * llama.cpp's quantizers, and blocks that hold what was found. */
#include "compress/types.h"
#include "check.h"
#include "../golden/type_errors.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { ROW_BYTES = 512 };
#define WORST 1.05 // of a single row, which is one block of 256

/* A row as blocks, read back; its weighted error. */
static double row_error(const type_row *t, const float *x, const float *weight) {
    const format *f = &format_table[t->id];
    uint8_t blocks[ROW_BYTES];
    float back[TYPES_COLS];
    double error = 0;
    memset(blocks, 0xa5, sizeof blocks);
    type_encode(t, x, weight, TYPES_COLS / f->block, blocks);
    const size_t n = TYPES_COLS / f->block * f->bytes;
    CHECK(blocks[n] == 0xa5, "%s: wrote behind its blocks", f->name);
    f->dequantize(blocks, TYPES_COLS / f->block, back);
    for (size_t c = 0; c < TYPES_COLS; c++)
        error += (weight ? (double)weight[c] : 1) * pow((double)back[c] - (double)x[c], 2);
    return error;
}

/* The errors of all rows beside llama.cpp's: the mean of the parts, and the largest. */
static void check_rows(const type_row *t, const float *weight, const double *theirs) {
    const char *name = format_table[t->id].name, *how = weight ? "weighted" : "alone";
    double mean = 0;
    for (size_t row = 0; row < TYPES_ROWS; row++) {
        const double error = row_error(t, types_weights + row * TYPES_COLS, weight);
        CHECK(error <= WORST * theirs[row] + 1e-9, "%s, row %zu %s: %.9g, llama.cpp's %.9g", name, row, how,
              error, theirs[row]);
        mean += error / theirs[row] / (double)TYPES_ROWS;
    }
    CHECK(mean < 1, "%s %s: %.3f of llama.cpp's error", name, how, mean);
}

static void test_errors(void) {
    for (size_t i = 0; i < sizeof types_errors / sizeof *types_errors; i++) {
        const type_row *t = type_find(format_by_name(types_errors[i].name)->id);
        if (!CHECK(t != NULL, "%s is not written", types_errors[i].name)) continue;
        check_rows(t, NULL, types_errors[i].alone);
        check_rows(t, types_importance, types_errors[i].weighted);
    }
}

/* What was found is what the blocks hold. */
static void test_blocks(void) {
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *t = type_find((format_id)i);
        if (!t) continue;
        const format *f = &format_table[i];
        float ones[FIT_COLS], back[FIT_COLS];
        uint8_t block[FORMAT_MAX_BYTES];
        fit_block fit;
        for (size_t c = 0; c < FIT_COLS; c++) ones[c] = 1;
        CHECK(t->kind.n_groups * t->kind.n_cols == f->block, "%s: size of a block", f->name);
        fit_find(&t->kind, types_weights, ones, &fit);
        type_encode(t, types_weights, NULL, 1, block);
        f->dequantize(block, 1, back);
        for (size_t c = 0; c < f->block; c++) {
            const size_t g = c / t->kind.n_cols;
            const int v = t->kind.values ? t->kind.values[fit.codes[c]] : fit.codes[c];
            const float y = fit.d * (float)fit.scales[g] * (float)v - fit.dmin * (float)fit.mins[g];
            CHECK(fabsf(back[c] - y) <= 1e-6f, "%s[%zu]: %g, not %g", f->name, c, (double)back[c],
                  (double)y);
        }
    }
}

/* Zeros stay zeros; the smallest and the largest that rounding lets in become finite weights. */
static void test_extremes(void) {
    static const float sizes[] = {0, FLT_TRUE_MIN, 1e-30f, 1e-8f, 65504.0f, -65504.0f};
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *t = type_find((format_id)i);
        for (size_t k = 0; t && k < sizeof sizes / sizeof *sizes; k++) {
            float x[FIT_COLS], back[FIT_COLS];
            uint8_t block[FORMAT_MAX_BYTES];
            for (size_t c = 0; c < FIT_COLS; c++) x[c] = c % 3 ? sizes[k] : 0;
            type_encode(t, x, NULL, 1, block);
            format_table[i].dequantize(block, 1, back);
            for (size_t c = 0; c < format_table[i].block; c++)
                CHECK(fabsf(back[c]) <= 1.35f * fabsf(sizes[k]) + 1e-7f, "%s: %g became %g",
                      format_table[i].name, (double)x[c], (double)back[c]);
        }
    }
}

int main(void) {
    test_errors();
    test_blocks();
    test_extremes();
    return check_report();
}
