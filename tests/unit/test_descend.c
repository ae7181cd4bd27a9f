/* Learned rounding: losses that are told are those of the blocks; no row loses more than where it began; all
 * ways of rounding ten columns up or down are not much better. */
#include "check.h"
#include "compress/factor.h"
#include "compress/descend.h"

#include <math.h>
#include <string.h>

enum { ROWS = 70, COLS = 256 }; // more rows than learn at once
static dense *work;

/* What is rounded. */
typedef struct sample {
    float weights[ROWS * COLS], hessian[COLS * COLS], diagonal[COLS];
    float importance[COLS], shares[COLS * COLS]; // of its factor
} sample;
static sample s;
static size_t n_rows = ROWS; // that are rounded

static double random_of(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) / (1 << 23) - 1;
}

static double element(const void *ctx, size_t i, size_t j) {
    (void)ctx;
    return (double)s.hessian[i * COLS + j];
}

/* Inputs of columns that are like their neighbours. */
static bool fill(void) {
    static double h[COLS * COLS];
    factor f;
    uint32_t seed = 1;
    memset(h, 0, sizeof h);
    for (int t = 0; t < 600; t++) {
        double x[COLS], last = 0;
        for (size_t c = 0; c < COLS; c++) x[c] = last = 0.8 * last + random_of(&seed);
        for (size_t i = 0; i < COLS * COLS; i++) h[i] += x[i / COLS] * x[i % COLS] / 600;
    }
    for (size_t i = 0; i < COLS * COLS; i++) s.hessian[i] = (float)h[i];
    for (size_t i = 0; i < ROWS * COLS; i++) s.weights[i] = (float)(random_of(&seed) + random_of(&seed));
    if (!CHECK(factor_new(work, element, NULL, COLS, &f, NULL) == NUT_OK, "factor")) return false;
    double mean = 0;
    for (size_t i = 0; i < COLS; i++) mean += (double)s.hessian[i * COLS + i] / (double)COLS;
    for (size_t i = 0; i < COLS; i++) {
        s.hessian[i * COLS + i] += (float)(f.damping * mean);
        s.diagonal[i] = s.hessian[i * COLS + i];
        s.importance[i] = (float)(1 / (factor_spread(&f, i) * factor_spread(&f, i)));
        for (size_t j = 0; j < COLS; j++) s.shares[i * COLS + j] = j > i ? (float)factor_share(&f, i, j) : 0;
    }
    factor_free(&f);
    return true;
}

static uint8_t blocks[ROWS * COLS * 2];

/* e H e^T of each row, of the weights that the blocks stand for. */
static void losses_of(format_id id, double *loss) {
    const format *f = &format_table[id];
    float back[COLS];
    for (size_t r = 0; r < n_rows; r++) {
        f->dequantize(blocks + r * (COLS / f->block * f->bytes), COLS / f->block, back);
        for (size_t c = 0; c < COLS; c++) back[c] -= s.weights[r * COLS + c];
        loss[r] = 0;
        for (size_t i = 0; i < COLS * COLS; i++)
            loss[r] += (double)back[i / COLS] * (double)s.hessian[i] * (double)back[i % COLS];
    }
}

static gptq_blocks rows_of(format_id id, bool feedback) {
    return (gptq_blocks){.n_rows = n_rows,
                         .n_cols = COLS,
                         .type = type_with_codes(id),
                         .weights = s.weights,
                         .importance = feedback ? s.importance : s.diagonal,
                         .feedback = feedback ? s.shares : NULL};
}

/* The sum of learned losses beside that of what it began with. */
static double learn(format_id id, bool feedback) {
    static float error[ROWS * COLS];
    const gptq_blocks g = rows_of(id, feedback);
    double told[ROWS], is[ROWS], began[ROWS], sum = 0, sum_began = 0;
    gptq_blocks_round(work, &g, blocks, error, told);
    losses_of(id, began);
    memset(blocks, 0xa5, sizeof blocks);
    if (!CHECK(descend(work, &g, s.hessian, blocks, told, NULL) == NUT_OK, "learn")) return 1;
    losses_of(id, is);
    for (size_t r = 0; r < n_rows; r++) {
        CHECK(fabs(told[r] - is[r]) < 2e-3 * is[r] + 1e-6, "%s, row %zu: told %g, is %g",
              format_table[id].name, r, told[r], is[r]);
        CHECK(is[r] <= 1.001 * began[r] + 1e-6, "%s, row %zu: %g, began with %g", format_table[id].name, r,
              is[r], began[r]);
        sum += is[r], sum_began += began[r];
    }
    return sum / sum_began;
}

static void test_types(void) {
    static const format_id ids[] = {FORMAT_Q4_0, FORMAT_Q4_1, FORMAT_IQ4_NL,
                                    FORMAT_Q2_K, FORMAT_Q5_0, FORMAT_TQ2_0};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        n_rows = i ? 12 : ROWS;
        const double alone = learn(ids[i], false), after = learn(ids[i], true);
        CHECK(alone < 0.7, "%s: %.3f of nearest rounding's loss", format_table[ids[i]].name, alone);
        CHECK(after < 0.98, "%s: %.3f of feedback's loss", format_table[ids[i]].name, after);
    }
}

/* ---- all ways ---- */

enum { FEW = 10 };

/* e H e^T of the first columns, each rounded down or up as the bits say; all others are exact. */
static double loss_of_way(unsigned way, const float *x, float step) {
    double e[FEW], loss = 0;
    for (unsigned c = 0; c < FEW; c++)
        e[c] = (double)(x[c] - step * (floorf(x[c] / step) + (float)(way >> c & 1)));
    for (unsigned i = 0; i < FEW; i++)
        for (unsigned j = 0; j < FEW; j++) loss += e[i] * (double)s.hessian[i * COLS + j] * e[j];
    return loss;
}

/* The least loss of all 2^10 ways with the scale that a block of Q8_0 begins with, whose steps are so small
 * that its factor gains nothing. */
static void test_ways(void) {
    double told[ROWS], sum = 0, best = 0, nearest = 0;
    n_rows = ROWS;
    static float weights[ROWS * COLS], error[ROWS * COLS];
    memset(weights, 0, sizeof weights);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < FEW; c++) weights[r * COLS + c] = s.weights[r * COLS + c] / 40;
        weights[r * COLS + FEW] = 1; // whose step is a 127th
    }
    gptq_blocks g = rows_of(FORMAT_Q8_0, false);
    g.weights = weights;
    gptq_blocks_round(work, &g, blocks, error, told);
    for (size_t r = 0; r < ROWS; r++) {
        float back[32], step, least = INFINITY;
        format_table[FORMAT_Q8_0].dequantize(blocks + r * (COLS / 32 * 34), 1, back);
        step = fabsf(back[FEW]) / 127;
        for (unsigned way = 0; way < 1u << FEW; way++)
            least = fminf(least, (float)loss_of_way(way, weights + r * COLS, step));
        best += (double)least;
    }
    descend(work, &g, s.hessian, blocks, told, NULL);
    for (size_t r = 0; r < ROWS; r++) sum += told[r];
    memcpy(s.weights, weights, sizeof weights);
    gptq_blocks_round(work, &g, blocks, error, told);
    losses_of(FORMAT_Q8_0, told);
    for (size_t r = 0; r < ROWS; r++) nearest += told[r];
    CHECK(sum - best < 0.35 * (nearest - best), "a loss of %g, the best %g, the nearest %g", sum, best,
          nearest);
}

int main(void) {
    threads *team;
    if (threads_new(3, &team, NULL) != NUT_OK || dense_new(team, &work, NULL) != NUT_OK) return 1;
    if (fill()) {
        test_types();
        test_ways();
    }
    dense_free(work);
    threads_free(team);
    return check_report();
}
