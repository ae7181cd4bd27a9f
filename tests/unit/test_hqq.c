/* HQQ: weights beside those of the authors' algorithm in NumPy; what it gains by its own measure; types and
 * weights that it refuses. */
#include "check.h"
#include "../golden/hqq.h"
#include "../golden/type_errors.h"
#include "base/error.h"
#include "compress/method.h"
#include "compress/types.h"
#include "make_gguf.h"
#include "memory_job.h"

#include <math.h>
#include <string.h>

/* Weights as method_hqq writes them, read back. */
static nut_status encode(format_id id, const float *x, size_t n, float *back, nut_error *err) {
    static uint8_t blocks[1 << 14];
    static float weights[1 << 12];
    const format *f = &format_table[id];
    const gguf_tensor t = {.name = {"some.weight", 11}, .dims = {n, 1, 1, 1}};
    const method_slice s = {.tensor = &t, .to = f, .n_rows = 1, .n_cols = n, .weights = weights};
    memcpy(weights, x, n * sizeof *x);
    TRY(method_hqq.encode(&s, blocks, err));
    f->dequantize(blocks, n / f->block, back);
    return NUT_OK;
}

/* Minimums may differ by the last digit of a half float, a 50th of a step at most. */
static void check_golden(format_id id, const float *expected) {
    float x[HQQ_GROUPS * HQQ_COLS], back[HQQ_GROUPS * HQQ_COLS];
    double worst = 0;
    for (int i = 0; i < HQQ_GROUPS * HQQ_COLS; i++)
        x[i] = (float)(pow(sin(1.7 * i + 0.3), 5) * (1 + i / HQQ_COLS) + 0.2 * cos(0.9 * i) + 0.3);
    CHECK(encode(id, x, HQQ_GROUPS * HQQ_COLS, back, NULL) == NUT_OK, "encode");
    for (size_t i = 0; i < HQQ_GROUPS * HQQ_COLS; i++)
        worst = fmax(worst, (double)fabsf(back[i] - expected[i]));
    CHECK(worst < 1e-3, "%s: a weight is %g off", format_table[id].name, worst);
}

/* ---- its measure ---- */

/* Sum of |error|^0.7 in the group's own steps, which are as large with any minimum. */
static double measure(const float *x, const float *back, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += pow((double)fabsf(x[i] - back[i]), 0.7);
    return sum;
}

/* The same scale with the least weight as its minimum. */
static void round_range(const float *x, size_t n, int hi, float *back) {
    for (size_t at = 0; at < n; at += 32) {
        float lo = x[at], most = x[at];
        for (size_t i = at; i < at + 32; i++) lo = fminf(lo, x[i]), most = fmaxf(most, x[i]);
        const float step = most > lo ? (most - lo) / (float)hi : 1;
        for (size_t i = at; i < at + 32; i++) back[i] = floorf((x[i] - lo) / step + 0.5f) * step + lo;
    }
}

static void test_gain(void) {
    float with[TYPES_COLS], without[TYPES_COLS];
    double sum = 0, sum_range = 0;
    for (size_t row = 0; row < TYPES_ROWS; row++) {
        const float *x = types_weights + row * TYPES_COLS;
        CHECK(encode(FORMAT_Q4_1, x, TYPES_COLS, with, NULL) == NUT_OK, "encode");
        round_range(x, TYPES_COLS, 15, without);
        const double a = measure(x, with, TYPES_COLS), b = measure(x, without, TYPES_COLS);
        CHECK(a < 1.01 * b, "row %zu: %g, %g by ranges", row, a, b);
        sum += a, sum_range += b;
    }
    CHECK(sum < 0.99 * sum_range, "%g, %g by ranges", sum, sum_range);
}

/* All types with minimums: no weight is farther off than a step of its block's range and what minimums in
 * few bits add; rows twice as large give weights twice as large. */
static void test_types(void) {
    size_t n_types = 0;
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *t = type_with_codes((format_id)i);
        float x[TYPES_COLS], back[TYPES_COLS], twice[TYPES_COLS];
        if (!t || !t->kind.min_hi) continue;
        n_types++;
        for (size_t row = 0; row < TYPES_ROWS; row++) {
            float lo = 0, hi = 0;
            double worst = 0, apart = 0;
            for (size_t c = 0; c < TYPES_COLS; c++) {
                x[c] = 8 * types_weights[row * TYPES_COLS + c]; // their scales are normal half floats
                lo = fminf(lo, x[c]), hi = fmaxf(hi, x[c]);
            }
            encode((format_id)i, x, TYPES_COLS, back, NULL);
            for (size_t c = 0; c < TYPES_COLS; c++) x[c] *= 2;
            encode((format_id)i, x, TYPES_COLS, twice, NULL);
            for (size_t c = 0; c < TYPES_COLS; c++) {
                worst = fmax(worst, (double)fabsf(x[c] / 2 - back[c]));
                apart = fmax(apart, (double)fabsf(twice[c] - 2 * back[c]));
            }
            const double step = (double)(hi - lo) / t->kind.hi;
            CHECK(worst <= 1.2 * step, "%s, row %zu: a weight is %g off, a step is %g", format_table[i].name,
                  row, worst, step);
            CHECK(apart <= 1e-5, "%s, row %zu: twice is %g off", format_table[i].name, row, apart);
        }
    }
    CHECK(n_types == 5, "%zu types", n_types);
}

/* ---- what is refused ---- */

static void test_extremes(void) {
    float x[TYPES_COLS] = {0}, back[TYPES_COLS];
    nut_error err = {0};
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        const type_row *t = type_with_codes((format_id)i);
        if (!t || !t->kind.min_hi) continue;
        for (size_t c = 0; c < TYPES_COLS; c++) x[c] = 0;
        CHECK(encode((format_id)i, x, TYPES_COLS, back, &err) == NUT_OK && back[3] == 0, "zeros");
        for (size_t c = 0; c < TYPES_COLS; c++) x[c] = -0.5f;
        CHECK(encode((format_id)i, x, TYPES_COLS, back, &err) == NUT_OK && fabsf(back[3] + 0.5f) < 1e-3f,
              "%s: %g", format_table[i].name, (double)back[3]);
        x[7] = 70000;
        CHECK(encode((format_id)i, x, TYPES_COLS, back, &err) == NUT_E_CORRUPT &&
                  strstr(err.message, "some.weight holds weights beyond"),
              "%s", err.message);
    }
}

static nut_status run(const nut_compress_options *o, const uint8_t *file, size_t n, memory_job *m,
                      nut_error *err) {
    nut_job *job;
    *m = (memory_job){.file = {file}, .n_bytes = {n}};
    TRY(nut_compress_begin(o, &job, err));
    return memory_job_run(m, job, err);
}

/* The method is one of those of files; rows that are no blocks of 256 get what rounding gives them. */
static void test_files(void) {
    make_gguf g = make_model(&(make_options){.n_embd = 96, .n_ff = 256});
    nut_error err = {0};
    memory_job m, plain;
    size_t n;
    uint8_t *file = make_file(&g, &n);
    CHECK(run(&(nut_compress_options){.method = "hqq", .type = "q4_0"}, file, n, &m, &err) ==
                  NUT_E_ARGUMENT &&
              strstr(err.message, "type \"q4_0\" has none of; choose one of Q4_1"),
          "%s", err.message);
    free(m.out);
    CHECK(run(&(nut_compress_options){.method = "hqq", .type = "q4_k"}, file, n, &m, &err) == NUT_OK &&
              m.done,
          "%s", err.message);
    CHECK(run(&(nut_compress_options){.type = "q4_k"}, file, n, &plain, &err) == NUT_OK && plain.done, "%s",
          err.message);
    CHECK(m.n_out == plain.n_out && memcmp(m.out, plain.out, m.n_out) != 0, "%zu bytes, %zu by rounding",
          m.n_out, plain.n_out);
    free(m.out), free(plain.out), free(file);
    make_free(&g);
}

int main(void) {
    check_golden(FORMAT_Q4_1, hqq_q4_1);
    check_golden(FORMAT_Q5_1, hqq_q5_1);
    test_gain();
    test_types();
    test_extremes();
    test_files();
    return check_report();
}
