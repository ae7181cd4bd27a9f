/* Types of which half of the columns are zero: blocks beside those of NumPy; which columns stay; rounding
 * with feedback and learned; products; and a pruned model that becomes one. */
#include "../golden/sparse.h"
#include "base/half.h"
#include "check.h"
#include "compress/descend.h"
#include "compress/factor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct sparse_case {
    format_id id;
    const char *name, *blocks, *floats;
    const unsigned *best;
    int keep, of, bytes;
    format_id dense; // whose layout it has
} sparse_case;

static const sparse_case cases[] = {
    {FORMAT_Q4_24, "q4_24", sparse_q4_24_blocks, sparse_q4_24_floats, sparse_best_4, 2, 4, 13, FORMAT_Q4_0},
    {FORMAT_Q4_48, "q4_48", sparse_q4_48_blocks, sparse_q4_48_floats, sparse_best_8, 4, 8, 14, FORMAT_Q4_0},
    {FORMAT_Q8_24, "q8_24", sparse_q8_24_blocks, sparse_q8_24_floats, sparse_best_4, 2, 4, 21, FORMAT_Q8_0},
};
enum { CASES = sizeof cases / sizeof *cases, FLOATS = SPARSE_BLOCKS * SPARSE_COLS };

static void from_hex(const char *hex, void *out) {
    uint8_t *to = out;
    for (size_t i = 0; hex[2 * i]; i++) {
        const char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        to[i] = (uint8_t)strtoul(two, NULL, 16);
    }
}

/* Whether no group of columns has more than the type may keep. */
static bool is_sparse(const sparse_case *s, const float *x, size_t n) {
    for (size_t at = 0; at < n; at += (size_t)s->of) {
        int n_kept = 0;
        for (int c = 0; c < s->of; c++) n_kept += x[at + (size_t)c] != 0;
        if (n_kept > s->keep) return false;
    }
    return true;
}

/* ---- blocks ---- */

static void test_blocks(const sparse_case *s) {
    uint8_t blocks[SPARSE_BLOCKS * 32], again[sizeof blocks];
    float expected[FLOATS], got[FLOATS];
    const format *f = format_by_name(s->name);
    from_hex(s->blocks, blocks);
    from_hex(s->floats, expected);
    CHECK(f->bytes == (uint32_t)s->bytes && f->block == 32 && f->layout == format_table[s->dense].layout,
          "%s: size and layout", s->name);
    f->dequantize(blocks, SPARSE_BLOCKS, got);
    for (size_t i = 0; i < FLOATS; i++)
        CHECK(got[i] == expected[i], "%s: weight %zu is %g, not %g", s->name, i, (double)got[i],
              (double)expected[i]);
    type_encode(type_with_codes(s->id), expected, NULL, SPARSE_BLOCKS, again);
    f->dequantize(again, SPARSE_BLOCKS, got);
    for (size_t i = 0; i < FLOATS; i++)
        CHECK(got[i] == expected[i], "%s: encoded weight %zu is %g, not %g", s->name, i, (double)got[i],
              (double)expected[i]);
}

/* A block keeps the columns with the largest weighted squares, as NumPy finds them. */
static void test_kept(const sparse_case *s) {
    float x[FLOATS], importance[SPARSE_COLS];
    from_hex(sparse_weights, x);
    from_hex(sparse_importance, importance);
    for (size_t b = 0; b < SPARSE_BLOCKS; b++) {
        fit_block fit;
        fit_find(&type_with_codes(s->id)->kind, x + b * SPARSE_COLS, importance, &fit);
        CHECK(fit.kept == s->best[b], "%s: block %zu keeps %x, not %x", s->name, b, fit.kept, s->best[b]);
        for (int c = 0; c < SPARSE_COLS; c++)
            CHECK((fit.kept >> c & 1) || fit.codes[c] == 0, "%s: a column that goes has a code", s->name);
    }
}

/* Any bytes are a block; what it stands for is what its parts say. */
static void test_any(const sparse_case *s) {
    uint8_t block[32];
    float x[SPARSE_COLS];
    uint32_t seed = 7;
    for (int i = 0; i < 2000; i++) {
        const uint16_t half = half_f32_to_f16(0.5f);
        for (size_t c = 0; c < sizeof block; c++)
            block[c] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
        memcpy(block, &half, 2);
        format_table[s->id].dequantize(block, 1, x);
        for (size_t c = 0; c < SPARSE_COLS; c++)
            CHECK(fabsf(x[c]) <= (s->dense == FORMAT_Q8_0 ? 64 : 4), "%s: %g", s->name, (double)x[c]);
    }
}

/* ---- rounding with feedback ---- */

enum { ROWS = 24, COLS = 128 };
static dense *work;
static struct sample {
    float weights[ROWS * COLS], hessian[COLS * COLS], diagonal[COLS];
    float importance[COLS], shares[COLS * COLS]; // of its factor
} sample;

static double random_of(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) / (1 << 23) - 1;
}

static double element(const void *ctx, size_t i, size_t j) {
    (void)ctx;
    return (double)sample.hessian[i * COLS + j];
}

/* Inputs of columns that are like their neighbours. */
static bool fill(void) {
    uint32_t seed = 1;
    factor f;
    for (int t = 0; t < 400; t++) {
        double x[COLS], last = 0;
        for (size_t c = 0; c < COLS; c++) x[c] = last = 0.8 * last + random_of(&seed);
        for (size_t i = 0; i < COLS * COLS; i++)
            sample.hessian[i] += (float)(x[i / COLS] * x[i % COLS] / 400);
    }
    for (size_t i = 0; i < ROWS * COLS; i++)
        sample.weights[i] = (float)(random_of(&seed) + random_of(&seed));
    if (!CHECK(factor_new(work, element, NULL, COLS, &f, NULL) == NUT_OK, "factor")) return false;
    for (size_t i = 0; i < COLS; i++) {
        sample.diagonal[i] = sample.hessian[i * COLS + i];
        sample.importance[i] = (float)(1 / (factor_spread(&f, i) * factor_spread(&f, i)));
        for (size_t j = i + 1; j < COLS; j++) sample.shares[i * COLS + j] = (float)factor_share(&f, i, j);
    }
    factor_free(&f);
    return true;
}

/* What blocks lose, e H e^T of all rows; they have the zeros that they must. */
static double loss_of(const sparse_case *s, const uint8_t *blocks) {
    const format *f = &format_table[s->id];
    float e[COLS];
    double loss = 0;
    for (size_t r = 0; r < ROWS; r++) {
        f->dequantize(blocks + r * (COLS / f->block * f->bytes), COLS / f->block, e);
        CHECK(is_sparse(s, e, COLS), "%s: row %zu", s->name, r);
        for (size_t c = 0; c < COLS; c++) e[c] -= sample.weights[r * COLS + c];
        for (size_t i = 0; i < COLS * COLS; i++)
            loss += (double)e[i / COLS] * (double)sample.hessian[i] * (double)e[i % COLS];
    }
    return loss;
}

/* Errors of weights that went are passed on to those that stay, and learning goes on from there. */
static void test_feedback(const sparse_case *s) {
    static uint8_t blocks[ROWS * COLS];
    static float error[ROWS * COLS];
    double told[ROWS];
    gptq_blocks g = {.n_rows = ROWS,
                     .n_cols = COLS,
                     .type = type_with_codes(s->id),
                     .weights = sample.weights,
                     .importance = sample.diagonal};
    gptq_blocks_round(work, &g, blocks, error, told);
    const double nearest = loss_of(s, blocks);
    CHECK(descend(work, &g, sample.hessian, blocks, told, NULL) == NUT_OK, "memory");
    const double learned = loss_of(s, blocks);
    g.importance = sample.importance, g.feedback = sample.shares;
    gptq_blocks_round(work, &g, blocks, error, told);
    const double feedback = loss_of(s, blocks);
    CHECK(feedback < 0.8 * nearest, "%s: loss %g with feedback, %g without", s->name, feedback, nearest);
    CHECK(learned < 0.8 * nearest, "%s: loss %g learned, %g nearest", s->name, learned, nearest);
}

int main(void) {
    threads *team;
    if (!CHECK(threads_new(1, &team, NULL) == NUT_OK && dense_new(team, &work, NULL) == NUT_OK, "memory"))
        return check_report();
    if (!fill()) return check_report();
    for (size_t i = 0; i < CASES; i++) {
        test_blocks(&cases[i]);
        test_kept(&cases[i]);
        test_any(&cases[i]);
        test_feedback(&cases[i]);
    }
    dense_free(work);
    threads_free(team);
    return check_report();
}
