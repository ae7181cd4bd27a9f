/* Rounding with feedback into GGUF's types, beside GPTQ with a factor of NumPy; types for a size, beside all
 * that could have been chosen. */
#include "../golden/gptq_blocks.h"
#include "base/half.h"
#include "check.h"
#include "compress/factor.h"
#include "compress/gptq_blocks.h"
#include "compress/mix.h"
#include "compress/sampled.h"

#include <math.h>
#include <string.h>

enum { ROWS = 19, MOST = 512 }; // columns
static dense *work;

/* What is rounded, with n columns, and its H. */
typedef struct sample {
    size_t n;
    float weights[ROWS * MOST];
    double h[MOST * MOST]; // (n, n), damped
    float importance[MOST], diagonal[MOST];
    float shares[MOST * MOST]; // (n, n)
} sample;
static sample s;

static double element(const void *ctx, size_t i, size_t j) {
    (void)ctx;
    return s.h[i * s.n + j];
}

static void add_input(const double *x, double n_tokens) {
    for (size_t i = 0; i < s.n; i++)
        for (size_t j = 0; j < s.n; j++) s.h[i * s.n + j] += x[i] * x[j] / n_tokens;
}

/* The formulas of tests/golden/gptq_blocks.py. */
static void fill_golden(void) {
    double x[MOST];
    for (int t = 0; t < BLOCKS_TOKENS; t++) {
        for (int c = 0; c < BLOCKS_COLS; c++)
            x[c] = c == 50 ? 0
                           : (sin(0.37 * t * (c + 1) + c) + sin(1.1 * t) + 0.3 * cos(0.9 * t * (c % 5))) *
                                 (1 + c % 4);
        add_input(x, BLOCKS_TOKENS);
    }
}

/* Columns that are like their neighbours. */
static void fill_smooth(void) {
    double x[MOST], last = 0;
    uint32_t seed = 1;
    for (int t = 0; t < 1000; t++) {
        for (size_t c = 0; c < s.n; c++) {
            seed = seed * 1664525u + 1013904223u;
            x[c] = last = 0.8 * last + (double)(seed >> 8) / (1 << 23) - 1;
        }
        add_input(x, 1000);
    }
}

static void begin_sample(size_t n) {
    s.n = n;
    memset(s.h, 0, sizeof s.h);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < (int)n; c++)
            s.weights[(size_t)r * n + (size_t)c] =
                (float)(sin(0.7 * r * c + 1.3 * r + 0.1 * c) * (1 + r % 3));
}

static bool factorize(void) {
    factor f;
    double mean = 0;
    if (!CHECK(factor_new(work, element, NULL, s.n, &f, NULL) == NUT_OK, "factor")) return false;
    for (size_t i = 0; i < s.n; i++) mean += s.h[i * s.n + i] / (double)s.n;
    for (size_t i = 0; i < s.n; i++) {
        s.h[i * s.n + i] += f.damping * mean;
        s.importance[i] = (float)(1 / (factor_spread(&f, i) * factor_spread(&f, i)));
        s.diagonal[i] = (float)s.h[i * s.n + i];
        for (size_t j = 0; j < s.n; j++) s.shares[i * s.n + j] = j > i ? (float)factor_share(&f, i, j) : 0;
    }
    factor_free(&f);
    return true;
}

/* e^T H e of each row, of the weights that the blocks stand for. */
static void losses_of(const type_row *type, const uint8_t *blocks, double *loss) {
    const format *f = &format_table[type->id];
    float back[MOST];
    for (size_t r = 0; r < ROWS; r++) {
        f->dequantize(blocks + r * (s.n / f->block * f->bytes), s.n / f->block, back);
        loss[r] = 0;
        for (size_t i = 0; i < s.n; i++)
            for (size_t j = 0; j < s.n; j++)
                loss[r] += ((double)s.weights[r * s.n + i] - (double)back[i]) * s.h[i * s.n + j] *
                           ((double)s.weights[r * s.n + j] - (double)back[j]);
    }
}

static uint8_t blocks[ROWS * MOST * 2];

/* Rounds all rows; the losses of what was written. Those that are told are the same. */
static void round_all(const type_row *type, bool feedback, double *loss) {
    static float error[ROWS * MOST];
    double told[ROWS];
    const gptq_blocks g = {.n_rows = ROWS,
                           .n_cols = s.n,
                           .type = type,
                           .weights = s.weights,
                           .importance = feedback ? s.importance : s.diagonal,
                           .feedback = feedback ? s.shares : NULL};
    gptq_blocks_round(work, &g, blocks, error, told);
    losses_of(type, blocks, loss);
    for (size_t r = 0; feedback && r < ROWS; r++)
        CHECK(fabs(told[r] - loss[r]) < 2e-3 * loss[r], "%s, row %zu: told %g, is %g",
              format_table[type->id].name, r, told[r], loss[r]);
}

static double sum_of(const double *x) {
    double sum = 0;
    for (size_t r = 0; r < ROWS; r++) sum += x[r];
    return sum;
}

/* ggml-common.h of llama.cpp, kvalues_iq4nl */
static const int nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static int nl_value(int code) {
    return nl[code];
}
static int q5_value(int code) {
    return code - 16;
}

static double nearest(int (*value)(int), int n, double d, double w) {
    double best = INFINITY;
    for (int code = 0; code < n; code++)
        if (fabs(d * value(code) - w) < fabs(best - w)) best = d * value(code);
    return best;
}

/* Algorithm 1 of the paper for one row, with the scales that its blocks have in the file. */
static void algorithm(const format *f, int (*value)(int), int n, const float *row, const uint8_t *at,
                      double *q) {
    double w[BLOCKS_COLS];
    const float *u = blocks_upper; // row j of U, from its diagonal on
    for (int j = 0; j < BLOCKS_COLS; j++) w[j] = (double)row[j];
    for (int j = 0; j < BLOCKS_COLS; u += BLOCKS_COLS - j++) {
        uint16_t half;
        memcpy(&half, at + (size_t)j / 32 * f->bytes, 2);
        q[j] = nearest(value, n, (double)half_f16_to_f32(half), w[j]);
        for (int k = j + 1; k < BLOCKS_COLS; k++) w[k] -= (w[j] - q[j]) / (double)u[0] * (double)u[k - j];
    }
}

static void check_codes(format_id id, int (*value)(int), int n) {
    const format *f = &format_table[id];
    double loss[ROWS], q[BLOCKS_COLS], worst = 0;
    float back[BLOCKS_COLS];
    round_all(type_with_codes(id), true, loss);
    for (size_t r = 0; r < ROWS; r++) {
        const uint8_t *at = blocks + r * (BLOCKS_COLS / 32 * f->bytes);
        f->dequantize(at, BLOCKS_COLS / 32, back);
        algorithm(f, value, n, s.weights + r * BLOCKS_COLS, at, q);
        for (size_t j = 0; j < BLOCKS_COLS; j++) worst = fmax(worst, fabs(q[j] - (double)back[j]));
    }
    CHECK(worst < 1e-5, "%s: a weight is %g off", f->name, worst);
}

static void test_golden(void) {
    begin_sample(BLOCKS_COLS);
    fill_golden();
    if (!factorize()) return;
    check_codes(FORMAT_IQ4_NL, nl_value, 16);
    check_codes(FORMAT_Q5_0, q5_value, 32);
}

/* Every type loses less with feedback than without. */
static void test_types(void) {
    size_t n_types = 0;
    begin_sample(MOST);
    fill_smooth();
    if (!factorize()) return;
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *type = type_with_codes((format_id)i);
        double with[ROWS], without[ROWS];
        if (!type) continue;
        n_types++;
        round_all(type, true, with);
        round_all(type, false, without);
        CHECK(sum_of(with) < 0.95 * sum_of(without), "%s: a loss of %g with feedback, %g without",
              format_table[i].name, sum_of(with), sum_of(without));
    }
    CHECK(n_types >= 15, "%zu types", n_types);
}

/* ---- mixes ---- */

enum { ITEMS = 5, OPTIONS = 4 };

/* The least loss of all combinations that fit; INFINITY: none does. */
static double least_loss(const mix_item *items, uint64_t budget) {
    double best = INFINITY;
    for (size_t code = 0; code < 1024; code++) { // OPTIONS ^ ITEMS
        uint64_t bytes = 0;
        double loss = 0;
        for (size_t i = 0, k = code; i < ITEMS; i++, k /= OPTIONS) {
            bytes += items[i].options[k % OPTIONS].bytes;
            loss += items[i].options[k % OPTIONS].loss;
        }
        if (bytes <= budget && loss < best) best = loss;
    }
    return best;
}

static void make_items(mix_item *items, uint64_t unit, uint64_t seed) {
    for (size_t i = 0; i < ITEMS; i++) {
        items[i] = (mix_item){.n = OPTIONS};
        for (size_t k = 0; k < OPTIONS; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            items[i].options[k].bytes = (1 + (seed >> 33) % 60) * unit;
            items[i].options[k].loss = (double)(seed >> 50 & 1023) / (double)(k + 1);
        }
    }
}

static void test_mix(void) {
    mix_item items[ITEMS];
    size_t n_fit = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        const uint64_t unit = seed % 2 ? 1 : 3000000001, budget = (20 + 2 * seed) * unit;
        uint64_t least, bytes = 0;
        double loss = 0;
        make_items(items, unit, seed);
        const double best = least_loss(items, budget);
        CHECK(mix_choose(items, ITEMS, budget, &least, NULL) == NUT_OK, "mix");
        CHECK((least <= budget) == (best < INFINITY), "seed %d: whether %llu fit", (int)seed,
              (unsigned long long)least);
        for (size_t i = 0; i < ITEMS; i++) {
            bytes += items[i].options[items[i].chosen].bytes;
            loss += items[i].options[items[i].chosen].loss;
        }
        if (!(best < INFINITY)) continue;
        n_fit++;
        CHECK(bytes <= budget, "seed %d: it fits", (int)seed);
        // sizes that are rounded up may miss what fits to the last unit
        const double slack = seed % 2 ? best : least_loss(items, budget - ITEMS * (budget / MIX_UNITS + 1));
        CHECK(loss >= best - 1e-9 && loss <= slack + 1e-9, "seed %d: a loss of %g, %g would do", (int)seed,
              loss, best);
    }
    CHECK(n_fit > 30, "%zu budgets are enough", n_fit);
}

/* Rows that are sampled tell the sum over all, where few rows have most of the weight as where none has. */
static void test_sampled(void) {
    enum { MOST_ROWS = 20000 };
    static const size_t sizes[] = {1, 7, 48, 300, MOST_ROWS};
    static float felt[MOST_ROWS];
    for (size_t k = 0; k < 2 * sizeof sizes / sizeof *sizes; k++) {
        const size_t n = sizes[k / 2];
        double want = 0, got = 0, all = 0, parts = 0;
        sampled some;
        for (size_t r = 0; r < n; r++) {
            felt[r] = k % 2 ? 1000 / (float)(1 + r * 7919 % n) + 0.01f : 1; // Zipf's law, in another order
            all += (double)felt[r];
            want += (double)felt[r] * (2 + sin(0.37 * (double)r));
        }
        if (!CHECK(sampled_choose(felt, n, &some, NULL) == NUT_OK, "memory")) return;
        for (size_t i = 0; i < some.n; i++) {
            CHECK(some.rows[i] < n && (!i || some.rows[i] > some.rows[i - 1]), "rows rise");
            parts += (double)some.parts[i];
            got += (double)some.parts[i] * (2 + sin(0.37 * (double)some.rows[i]));
        }
        CHECK(fabs(parts - all) < 1e-3 * all, "%zu rows: parts of %g, not %g", n, parts, all);
        CHECK(fabs(got - want) < 0.1 * want, "%zu rows: a sum of %g, not %g", n, got, want);
        sampled_free(&some);
    }
}

int main(void) {
    threads *team;
    if (threads_new(3, &team, NULL) != NUT_OK || dense_new(team, &work, NULL) != NUT_OK) return 1;
    test_golden();
    test_types();
    test_mix();
    test_sampled();
    dense_free(work);
    threads_free(team);
    return check_report();
}
