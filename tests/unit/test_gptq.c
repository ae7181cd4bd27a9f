/* Quantizers that give coded tensors, and their scales. */
#include "../golden/gptq.h"
#include "base/mem.h"
#include "check.h"
#include "compress/coded_tensor.h"
#include "compress/factor.h"
#include "compress/gptq.h"

#include <math.h>
#include <stdlib.h>

/* The borders are geometric means: between 1 and 9/8 sqrt(9/8) = 1.06066, between 15/8 and 2 sqrt(15/4) =
 * 1.93649. */
static void test_scales(void) {
    static const struct {
        float x;
        int code;
    } nearest[] = {{0, 0},         {-1, 0},        {NAN, 0},       {1e9f, 255},
                   {1, 192},       {240, 255},     {1.0606f, 192}, {1.0607f, 193},
                   {1.9364f, 199}, {1.9365f, 200}, {0.5f, 184},    {0x1p-24f, 0}};
    CHECK(coded_scale(0) == 0x1p-24f && coded_scale(255) == 240 && coded_scale(192) == 1, "ends and middle");
    for (int i = 0; i < 256; i++)
        CHECK(coded_scale_code(coded_scale((uint8_t)i)) == i, "scale %d is its own nearest", i);
    for (size_t i = 0; i < sizeof nearest / sizeof *nearest; i++)
        CHECK(coded_scale_code(nearest[i].x) == nearest[i].code, "%g: code %d, not %d", (double)nearest[i].x,
              coded_scale_code(nearest[i].x), nearest[i].code);
}

/* ---- factors ---- */

static dense *work;

/* The upper half of sum of x x^T / n over n inputs, as tests/golden/gptq.py has them. */
static float *golden_hessian(void) {
    enum { N = GPTQ_COLS };
    double x[N], *sum = calloc(N * N, sizeof *sum);
    float *h = malloc(N * N * sizeof *h);
    for (int t = 0; t < GPTQ_TOKENS; t++) {
        for (int c = 0; c < N; c++)
            x[c] = c == 77 ? 0
                           : (sin(0.37 * t * (c + 1) + c) + sin(1.1 * t) + 0.3 * cos(0.9 * t * (c % 5))) *
                                 (1 + c % 4);
        for (int i = 0; i < N; i++)
            for (int j = i; j < N; j++) sum[i * N + j] += x[i] * x[j];
    }
    for (int i = 0; i < N * N; i++) h[i] = (float)(sum[i] / (double)GPTQ_TOKENS);
    free(sum);
    return h;
}

/* R R^T = H; its diagonal is the golden one. */
static void check_factor(const factor *f, const float *h) {
    enum { N = GPTQ_COLS };
    double mean = 0, worst = 0, spread = 0;
    for (size_t i = 0; i < N; i++) mean += (double)h[i * N + i] / (double)N;
    for (size_t i = 0; i < N; i++)
        for (size_t j = i; j < N; j++) {
            double sum = 0;
            for (size_t k = j; k < N; k++) sum += f->r[i * N + k] * f->r[j * N + k];
            worst = fmax(worst, fabs(sum - (double)h[i * N + j] - (i == j ? f->damping * mean : 0)));
        }
    for (size_t i = 0; i < N; i++) spread = fmax(spread, fabs(factor_spread(f, i) / gptq_spread[i] - 1));
    CHECK(worst < 1e-5 * mean, "R R^T is %g off H", worst);
    CHECK(spread < 1e-5, "U_jj is %g off", spread);
    CHECK(f->damping == 0.003, "damping %g", f->damping);
}

typedef struct square {
    const float *h; // (n, n)
    size_t n;
} square;

static double element(const void *ctx, size_t i, size_t j) {
    const square *s = ctx;
    return (double)s->h[i * s->n + j];
}

static nut_status make_factor(const float *h, size_t n, factor *f, nut_error *err) {
    return factor_new(work, element, &(square){h, n}, n, f, err);
}

/* (n, n) the shares of columns' errors. */
static float *shares_of(const factor *f) {
    float *to = calloc(f->n * f->n, sizeof *to);
    for (size_t i = 0; i < f->n; i++)
        for (size_t j = i + 1; j < f->n; j++) to[i * f->n + j] = (float)factor_share(f, i, j);
    return to;
}

static void test_factor(void) {
    nut_error err = {0};
    factor f;
    float *h = golden_hessian();
    if (CHECK(make_factor(h, GPTQ_COLS, &f, &err) == NUT_OK, "%s", err.message)) check_factor(&f, h);
    factor_free(&f);
    const float indefinite[4] = {1, 1.1f, 0, 1}, empty[4] = {0}, wrong[4] = {1, NAN, 0, 1};
    CHECK(make_factor(indefinite, 2, &f, &err) == NUT_OK && f.damping > 0.1 && f.damping < 10,
          "more damping where it is needed: %g", f.damping);
    factor_free(&f);
    CHECK(make_factor(empty, 2, &f, &err) == NUT_E_CORRUPT && !f.r, "no inputs");
    CHECK(make_factor(wrong, 2, &f, &err) == NUT_E_CORRUPT && !f.r, "an input that is no number");
    free(h);
}

/* ---- rounding ---- */

static void check_rounded(const char *what, const gptq_rows *g, const int16_t *want) {
    int32_t z[GPTQ_ROWS * GPTQ_COLS];
    float error[GPTQ_ROWS * GPTQ_COLS];
    size_t n_wrong = 0;
    double worst = 0;
    gptq_round(work, g, z, error);
    for (size_t i = 0; i < GPTQ_ROWS * GPTQ_COLS; i++) {
        const size_t r = i / GPTQ_COLS, c = i % GPTQ_COLS;
        const float stands_for = (float)z[i] * (g->row_scale[r] * g->col_scale[c]);
        n_wrong += z[i] != want[i];
        worst = fmax(worst, fabs((double)(g->weights[i] - stands_for - error[i])));
    }
    CHECK(!n_wrong, "%s: %zu integers differ", what, n_wrong);
    CHECK(worst < 1e-5, "%s: errors are %g off", what, worst);
}

static void test_rounding(void) {
    float w[GPTQ_ROWS * GPTQ_COLS], row[GPTQ_ROWS], col[GPTQ_COLS], *h = golden_hessian();
    factor f;
    for (int r = 0; r < GPTQ_ROWS; r++) {
        row[r] = 0.2713f * (float)(1 << r % 4);
        for (int c = 0; c < GPTQ_COLS; c++)
            w[r * GPTQ_COLS + c] = (float)(sin(0.7 * r * c + 1.3 * r + 0.1 * c) * (1 + r % 3));
    }
    for (int c = 0; c < GPTQ_COLS; c++) col[c] = exp2f(roundf(log2f((float)gptq_spread[c])));
    if (!CHECK(make_factor(h, GPTQ_COLS, &f, NULL) == NUT_OK, "factor")) return;
    float *shares = shares_of(&f);
    gptq_rows g = {GPTQ_ROWS, GPTQ_COLS, w, row, col, shares, NULL};
    check_rounded("feedback", &g, gptq_nearest);
    float shrink[GPTQ_ROWS];
    for (int r = 0; r < GPTQ_ROWS; r++) shrink[r] = 0.9f - 0.01f * (float)r;
    g.shrink = shrink;
    check_rounded("shrunk", &g, gptq_shrunk);
    g.shrink = NULL, g.feedback = NULL;
    check_rounded("alone", &g, gptq_alone);
    const float huge = 1e30f, one = 1;
    int32_t z;
    float error;
    gptq_round(work, &(gptq_rows){1, 1, &huge, &one, &one, NULL, NULL}, &z, &error);
    CHECK(fabsf(gptq_shrink(2) - 48.0f / 49) < 1e-6f && fabsf(gptq_shrink(0) - 24.0f / 25) < 1e-6f,
          "shrink %g, %g", (double)gptq_shrink(2), (double)gptq_shrink(0));
    CHECK(z == GPTQ_MOST, "an integer is bounded: %d", z);
    factor_free(&f);
    free(shares);
    free(h);
}

int main(void) {
    threads *team;
    if (threads_new(3, &team, NULL) != NUT_OK || dense_new(team, &work, NULL) != NUT_OK) return 1;
    test_scales();
    test_factor();
    test_rounding();
    dense_free(work);
    threads_free(team);
    return check_report();
}
