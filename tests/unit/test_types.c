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

/* The errors of all rows beside llama.cpp's: the mean of the parts, where it loses any, and the largest. */
static void check_rows(const type_row *t, const float *weight, const double *theirs) {
    const char *name = format_table[t->id].name, *how = weight ? "weighted" : "alone";
    double mean = 0, n_lossy = 0;
    for (size_t row = 0; row < TYPES_ROWS; row++) {
        const double error = row_error(t, types_weights + row * TYPES_COLS, weight);
        CHECK(error <= WORST * theirs[row] + 1e-9, "%s, row %zu %s: %.9g, llama.cpp's %.9g", name, row, how,
              error, theirs[row]);
        if (theirs[row] > 0) mean += error / theirs[row], n_lossy++;
    }
    CHECK(mean < n_lossy, "%s %s: %.3f of llama.cpp's error", name, how, mean / n_lossy);
}

static void test_errors(void) {
    for (size_t i = 0; i < sizeof types_errors / sizeof *types_errors; i++) {
        const type_row *t = type_any(format_by_name(types_errors[i].name)->id);
        if (!CHECK(t != NULL, "%s is not written", types_errors[i].name)) continue;
        check_rows(t, NULL, types_errors[i].alone);
        check_rows(t, types_importance, types_errors[i].weighted);
    }
}

/* What was found is what the blocks hold. */
static void test_blocks(void) {
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *t = type_any((format_id)i);
        if (!t || t->book) continue;
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

/* ---- code books ---- */

static const type_row *find_book(format_id i) {
    const type_row *t = type_any(i);
    return t && t->book ? t : NULL;
}

/* The error that was found is that of the block. */
static void test_book_blocks(void) {
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *t = find_book((format_id)i);
        for (size_t row = 0; t && row < TYPES_ROWS; row++) {
            book_block fit;
            book_fit(t->book, types_weights + row * TYPES_COLS, types_importance, &fit);
            const double error = row_error(t, types_weights + row * TYPES_COLS, types_importance);
            CHECK(fabs(error - fit.error) <= 1e-4 * error + 1e-9, "%s, row %zu: %g, found %g",
                  format_table[i].name, row, error, fit.error);
        }
    }
}

/* The error of eight columns, or four, with entry e of the book. */
static double entry_error(const book_kind *k, uint32_t e, const float *x, const float *weight, double scale,
                          unsigned signs) {
    double error = 0;
    for (uint32_t c = 0; c < k->n_dims; c++) {
        double v = (double)k->values[e >> k->n_bits * c & ((1u << k->n_bits) - 1)];
        if (k->signs == BOOK_SHIFTS)
            v += signs & 1 ? -0.125 : 0.125;
        else if (signs >> c & 1)
            v = -v;
        error += (double)weight[c] * pow((double)x[c] - scale * v, 2);
    }
    return error;
}

/* With the scale, the signs and the shift that a block has, no entry of the book is nearer. */
static void test_entries(void) {
    static const uint32_t sizes[GRID_COUNT] = {256, 512, 1024, 2048, 256, 512};
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *t = find_book((format_id)i);
        book_block fit;
        if (!t) continue;
        const book_kind *k = t->book;
        const uint16_t *book = grid_entries(k->grid);
        book_fit(k, types_weights, types_importance, &fit);
        for (uint32_t at = 0; at < BOOK_COLS; at += k->n_dims) {
            const double scale = (double)fit.d * (2 * fit.scales[at / k->n_cols] + 1);
            const unsigned signs = fit.signs[at / 8] >> at % 8;
            double least = INFINITY;
            for (uint32_t e = 0; e < sizes[k->grid]; e++)
                least = fmin(
                    least, entry_error(k, book[e], types_weights + at, types_importance + at, scale, signs));
            const double is = entry_error(k, book[fit.codes[at / k->n_dims]], types_weights + at,
                                          types_importance + at, scale, signs);
            CHECK(is <= least * (1 + 1e-4) + 1e-12, "%s, column %u: %g, the best %g", format_table[i].name,
                  at, is, least);
        }
    }
}

/* ---- extremes ---- */

/* Zeros stay zeros; the smallest and the largest that rounding lets in become finite weights. */
static void test_extremes(void) {
    static const float sizes[] = {0, FLT_TRUE_MIN, 1e-30f, 1e-8f, 65504.0f, -65504.0f};
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *t = type_any((format_id)i);
        const float most = t && t->book ? 1.5f : 1.35f; // a book need not have what is nearest
        for (size_t k = 0; t && k < sizeof sizes / sizeof *sizes; k++) {
            float x[FIT_COLS], back[FIT_COLS];
            uint8_t block[FORMAT_MAX_BYTES];
            for (size_t c = 0; c < FIT_COLS; c++) x[c] = c % 3 ? sizes[k] : 0;
            type_encode(t, x, NULL, 1, block);
            format_table[i].dequantize(block, 1, back);
            for (size_t c = 0; c < format_table[i].block; c++)
                CHECK(fabsf(back[c]) <= most * fabsf(sizes[k]) + 1e-7f, "%s: %g became %g",
                      format_table[i].name, (double)x[c], (double)back[c]);
        }
    }
}

int main(void) {
    test_errors();
    test_blocks();
    test_book_blocks();
    test_entries();
    test_extremes();
    return check_report();
}
