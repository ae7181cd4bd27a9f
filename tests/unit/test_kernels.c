/*
 * Kernels: one driver for every set of this build, every vector operation, every format, at sizes around the
 * tiles (attention: test_attend.c). Expected values are computed here in double precision from matrix_row
 * and from the definitions in kernels.h. Buffers end in NaNs (and are poisoned under ASan), so that a read
 * outside shows in the result and a write outside is seen.
 */
#include "kernels/sets.h"
#include "base/half.h"
#include "base/rng.h"
#include "check.h"
#include "guard.h"
#include "products.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- mul_mat ---- */

/* The code of token t at column c, wherever the set has put it (kernels.h). */
static int act_code(const kernel_act *a, size_t t, size_t c) {
    const size_t lane = t % a->lanes, step = t / a->lanes * a->n_cols / 4 + c / 4;
    if (a->bytes == 1) return (int8_t)a->q[(step * a->lanes + lane) * 4 + c % 4];
    int16_t wide;
    memcpy(&wide, a->q + ((step * 2 + c % 2) * a->lanes + lane) * 4 + c % 4 / 2 * 2, 2);
    return wide;
}

static size_t act_block(const kernel_act *a, size_t t, size_t c) {
    return (t / a->lanes * a->n_cols + c) / 32;
}

static double act_scale(const kernel_act *a, size_t t, size_t c) {
    return (double)a->d[act_block(a, t, c) * a->lanes + t % a->lanes] * 0x1p-102;
}

static int32_t act_sum(const kernel_act *a, size_t t, size_t c, kernel_sum which) {
    return a->sum[(act_block(a, t, c) * KERNEL_SUMS + which) * a->lanes + t % a->lanes];
}

/* Expected products and sums of magnitudes, (n_tokens, n_rows). */
static void expected_products(const matrix *w, const kernel_act *x, double *y, double *size) {
    float *row = malloc(w->n_cols * sizeof(float));
    for (size_t r = 0; r < w->n_rows; r++) {
        matrix_row(w, r, row);
        for (size_t t = 0; t < x->n_tokens; t++) {
            double sum = 0, magnitude = 0;
            for (size_t c = 0; c < w->n_cols; c++) {
                double v = x->x ? (double)x->x[t * x->n_cols + c] : act_scale(x, t, c) * act_code(x, t, c);
                sum += row[c] * v, magnitude += fabs(row[c] * v);
            }
            y[t * w->n_rows + r] = sum, size[t * w->n_rows + r] = magnitude;
        }
    }
    free(row);
}

typedef struct product_case {
    const kernel_set *set;
    const matrix *w;
    const kernel_act *x;
    const float *floats; // (n_tokens, n_cols) before they were quantized
    size_t ldy;
} product_case;

/* Within the tolerance, padding rows zero, columns beyond untouched. */
static void check_product(const product_case *c, const float *y, const double *expected,
                          const double *size) {
    const size_t rows = c->w->n_rows, padded = matrix_groups(c->w) * FORMAT_LANES;
    const format *f = c->w->format;
    size_t wrong = 0, dirty = 0, touched = 0;
    double worst = 0;
    for (size_t t = 0; t < c->x->n_tokens; t++) {
        for (size_t r = 0; r < rows; r++) {
            double error = fabs((double)y[t * c->ldy + r] - expected[t * rows + r]),
                   scale = size[t * rows + r];
            if (!(error <= (double)f->layout->tolerance * scale + 1e-30)) wrong++;
            if (scale > 0 && error / scale > worst) worst = error / scale;
        }
        for (size_t r = rows; r < padded; r++) dirty += y[t * c->ldy + r] != 0;
        for (size_t r = padded; r < c->ldy; r++)
            touched += half_f32_to_bits(y[t * c->ldy + r]) != 0xffffffffu;
    }
    CHECK(wrong == 0,
          "%s %s, %zu rows, %zu columns, %zu tokens: %zu outputs wrong, worst %.2g of sum |w||x|",
          c->set->name, f->name, rows, c->w->n_cols, c->x->n_tokens, wrong, worst);
    CHECK(dirty == 0, "%s %s: %zu padding rows are not zero", c->set->name, f->name, dirty);
    CHECK(touched == 0, "%s %s: %zu floats beyond the rows written", c->set->name, f->name, touched);
}

/* The same bits when tokens come one by one, and when the groups are shared out to 2 and 3 threads. */
static void check_same_bits(const product_case *c, const float *y, size_t n_floats) {
    const size_t groups = matrix_groups(c->w), padded = groups * FORMAT_LANES, n = c->w->n_cols;
    kernel_mul_mat_fn *mul_mat = kernel_mul_mat(c->set, c->w);
    float *again = guard_floats(n_floats);
    for (size_t n_threads = 2; n_threads <= 3; n_threads++) {
        memset(again, 0xff, n_floats * sizeof(float));
        for (size_t i = 0; i < n_threads; i++)
            mul_mat(c->w, groups * i / n_threads, groups * (i + 1) / n_threads, c->x, again, c->ldy);
        CHECK(memcmp(again, y, n_floats * sizeof(float)) == 0, "%s %s: %zu threads give other bits",
              c->set->name, c->w->format->name, n_threads);
    }
    memset(again, 0xff, n_floats * sizeof(float));
    for (size_t t = 0; t < c->x->n_tokens; t++) {
        kernel_act one = act_new(c->set, c->w->format->layout->act, c->floats + t * n, 1, n);
        mul_mat(c->w, 0, groups, &one, again + t * c->ldy, c->ldy);
        act_free(&one);
    }
    size_t differ = 0;
    for (size_t i = 0; i < n_floats; i++)
        differ += i % c->ldy < padded && half_f32_to_bits(again[i]) != half_f32_to_bits(y[i]);
    CHECK(differ == 0, "%s %s: %zu outputs differ when tokens come alone", c->set->name, c->w->format->name,
          differ);
    guard_free(again, "outputs");
}

static size_t n_products[8][FORMAT_ALL]; // by set, format: cases that ran

static void test_product(const format *f, size_t n_rows, size_t n_cols, size_t n_tokens, rng *r) {
    matrix w = random_matrix(f, n_rows, n_cols, r);
    float *x = random_x(n_tokens * n_cols, r);
    const size_t ldy = matrix_groups(&w) * FORMAT_LANES + 3, n_floats = n_tokens * ldy;
    double *expected = malloc(n_tokens * n_rows * sizeof(double)),
           *size = malloc(n_tokens * n_rows * sizeof(double));
    float *simd = NULL; // what the first SIMD set gave
    for (size_t i = 0; i < kernel_count(); i++) {
        if (!usable(i)) continue;
        kernel_act act = act_new(kernel_at(i), f->layout->act, x, n_tokens, n_cols);
        product_case c = {kernel_at(i), &w, &act, x, ldy};
        float *y = guard_floats(n_floats);
        expected_products(&w, &act, expected, size);
        kernel_mul_mat(c.set, &w)(&w, 0, matrix_groups(&w), &act, y, ldy);
        check_product(&c, y, expected, size);
        check_same_bits(&c, y, n_floats);
        act_free(&act);
        n_products[i][f->id]++;
        bool is_ref = strcmp(c.set->name, "ref") == 0;
        if (simd && !is_ref)
            CHECK(memcmp(simd, y, n_floats * sizeof(float)) == 0, "%s: SIMD sets differ", f->name);
        if (!simd && !is_ref)
            simd = y;
        else
            guard_free(y, "outputs");
    }
    if (simd) guard_free(simd, "outputs");
    guard_free(w.data, "weights"), free(x), free(expected), free(size);
}

/* Activations of which a share is zero, so that steps of four columns are, and whole units. */
static float *zeros_x(size_t n, double share, rng *r) {
    float *x = random_x(n, r);
    for (size_t i = 0; i < n; i++)
        if (rng_f64(r) < share || i / 32 % 5 == 2) x[i] = 0;
    return x;
}

/* Products that pass over zeros have the bits of those that do not, and read as many steps as are not zero.
 */
static void test_live(const kernel_set *set, const format *f, size_t n_rows, size_t n_cols, double share,
                      rng *r) {
    matrix w = random_matrix(f, n_rows, n_cols, r);
    float *x = zeros_x(n_cols, share, r);
    const size_t n = matrix_groups(&w) * FORMAT_LANES;
    float *dense = guard_floats(n), *y = guard_floats(n);
    uint8_t *live = guard_new(n_cols / 32);
    kernel_act act = act_new(set, f->layout->act, x, 1, n_cols);
    size_t expected = 0;
    for (size_t i = 0; i < n_cols; i += 4) {
        bool any = false;
        for (size_t k = i; k < i + 4; k++) any |= act_code(&act, 0, k) != 0;
        expected += any;
    }
    const size_t found = kernel_find_live(&act, live);
    CHECK(found == expected, "%s: %zu steps of %zu", set->name, found, expected);
    act.live = live;
    kernel_mul_mat(set, &w)(&w, 0, matrix_groups(&w), &act, dense, n);
    set->mul_live[f->layout->id](&w, 0, matrix_groups(&w), &act, y, n);
    CHECK(!memcmp(dense, y, n * sizeof *y), "%s %s, %zu columns: other bits", set->name, f->name, n_cols);
    act_free(&act);
    guard_free(dense, "products"), guard_free(y, "products"), guard_free(live, "live");
    guard_free(w.data, "weights"), free(x);
}

static void test_zeros(void) {
    static const size_t rows[] = {1, 8, 17, 264}, cols[] = {32, 64, 384};
    static const double shares[] = {0, 0.7, 0.95, 1};
    rng r;
    size_t n = 0;
    rng_seed(&r, 5);
    for (size_t i = 0; i < kernel_count(); i++)
        for (size_t id = 0; id < FORMAT_ALL && usable(i); id++)
            for (size_t k = 0; k < 48 && kernel_at(i)->mul_live[format_table[id].layout->id]; k++, n++)
                test_live(kernel_at(i), &format_table[id], rows[k % 4], cols[k / 4 % 3], shares[k / 12], &r);
    CHECK(n > 0 || kernel_count() == 1, "no set passes over zeros");
}

static void test_products(void) {
    static const size_t rows[] = {1, 7, 8, 9, 17}, many_rows[] = {129, 264}, blocks[] = {1, 2, 3, 5},
                        float_cols[] = {1, 2, 3, 33, 64};
    static const size_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 33};
    rng r;
    rng_seed(&r, 3);
    for (size_t id = 0; id < FORMAT_ALL; id++) {
        const format *f = &format_table[id];
        size_t n_sizes = f->block == 1 ? 5 : f->block == 32 ? 4 : 2;
        for (size_t i = 0; i < 5; i++)
            for (size_t j = 0; j < n_sizes; j++)
                for (size_t k = 0; k < 10; k++)
                    test_product(f, rows[i], f->block == 1 ? float_cols[j] : blocks[j] * f->block, tokens[k],
                                 &r);
        test_product(f, 24, 1536, 5, &r);
        for (size_t k = 0; k < 4; k++)
            for (size_t i = 0; i < 2; i++)
                test_product(f, many_rows[i], 256, tokens[k], &r); // more than the streams take at once
    }
    for (size_t i = 0; i < kernel_count(); i++)
        for (size_t id = 0; id < FORMAT_ALL && usable(i); id++)
            CHECK(n_products[i][id] > 0, "%s %s ran no case", kernel_at(i)->name, format_table[id].name);
}

/* ---- operations ---- */

/* How often each operation ran, by set. */
typedef struct op_counts {
#define NUT_X(name, params) size_t name;
    KERNEL_VECTOR_OPS(NUT_X)
#undef NUT_X
} op_counts;
static op_counts n_ops[8];

/* A token's codes, scales, sums and rest against their definitions. */
static size_t wrong_quantized(const kernel_act *a, size_t t, const float *x, const float *rest) {
    size_t wrong = 0;
    for (size_t c = 0; c < a->n_cols; c += 32) {
        float amax = 0;
        int32_t sums[KERNEL_SUMS] = {0};
        for (size_t i = c; i < c + 32; i++) {
            const int q = act_code(a, t, i);
            amax = fmaxf(amax, fabsf(x[i]));
            sums[KERNEL_SUM_ALL] += q;
            if (i % 32 >= 16) sums[KERNEL_SUM_HALF] += q;
            if (q < 0) sums[KERNEL_SUM_NEGATIVE] -= q;
        }
        const float d = amax / 127.0f;
        wrong += act_scale(a, t, c) != (double)d;
        wrong += a->d_sum[act_block(a, t, c) * a->lanes + t % a->lanes] !=
                 d * 0x1p102f * (float)sums[KERNEL_SUM_ALL];
        for (int k = 0; k < KERNEL_SUMS; k++) wrong += act_sum(a, t, c, (kernel_sum)k) != sums[k];
        for (size_t i = c; i < c + 32; i++) {
            const int q = act_code(a, t, i);
            const double v = amax > 0 ? (double)x[i] / (double)d : 0;
            wrong += fabs(v - q) > 0.50003 || (fabs(v - q) < 1e-9 && v != 0 && q == 0);
            wrong += rest[i] != x[i] - d * (float)q;
        }
    }
    return wrong;
}

/* Tokens together, each in two calls, in the set's layout. */
static void test_quantize_case(const kernel_set *s, const float *x, size_t n_cols, size_t n_tokens) {
    kernel_act a = act_new(s, FORMAT_ACT_Q8, x, n_tokens, n_cols);
    float *rest = guard_floats(n_cols);
    size_t wrong = 0;
    for (size_t t = 0; t < n_tokens; t++) {
        const float *row = x + t * n_cols;
        const size_t first = n_cols / 64 * 32;
        s->quantize_q8(row + first, first, n_cols - first, t, &a, rest + first);
        s->quantize_q8(row, 0, first, t, &a, rest);
        wrong += wrong_quantized(&a, t, row, rest);
    }
    kernel_act ref = act_new(&kernel_set_ref, FORMAT_ACT_Q8, x, n_tokens, n_cols);
    for (size_t i = 0; i < n_tokens * n_cols; i++)
        wrong += act_code(&a, i / n_cols, i % n_cols) != act_code(&ref, i / n_cols, i % n_cols);
    CHECK(wrong == 0, "%s quantize_q8, %zu tokens of %zu: %zu values wrong", s->name, n_tokens, n_cols,
          wrong);
    guard_free(rest, "rest"), act_free(&a), act_free(&ref);
}

/* What one block quantizes to: its scale, and the code at column c. */
static float quantize_block(const kernel_set *s, const float *x, size_t c, int *code) {
    kernel_act a = act_new(s, FORMAT_ACT_Q8, x, 1, 32);
    *code = act_code(&a, 0, c);
    const float d = (float)act_scale(&a, 0, 0);
    act_free(&a);
    return d;
}

static void test_quantize_q8(const kernel_set *s, op_counts *ran) {
    static const size_t sizes[] = {32, 64, 96, 576}, tokens[] = {1, 2, 3, 4, 5, 9};
    rng r;
    rng_seed(&r, 11);
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < 6; i++) {
            float *x = random_x(tokens[i] * sizes[k], &r);
            test_quantize_case(s, x, sizes[k], tokens[i]);
            free(x);
            ran->quantize_q8++;
        }
    float zeros[32] = {0}, ties[32], bad[32] = {0}, tiny[32] = {0};
    int code;
    for (int i = 0; i < 32; i++) ties[i] = (float)i - 15.5f;
    ties[0] = 127, bad[7] = NAN, bad[9] = 3, tiny[3] = 1e-40f;
    CHECK(quantize_block(s, zeros, 5, &code) == 0 && code == 0, "%s quantize_q8: zeros", s->name);
    CHECK(quantize_block(s, ties, 1, &code) == 1 && code == -15, "%s quantize_q8: half away from zero",
          s->name);
    quantize_block(s, ties, 16, &code);
    CHECK(code == 1, "%s quantize_q8: half away from zero", s->name);
    CHECK(isnan(quantize_block(s, bad, 0, &code)), "%s quantize_q8: a NaN must not vanish", s->name);
    CHECK(quantize_block(s, tiny, 3, &code) == 0 && code == 0, "%s quantize_q8: a subnormal block is zeros",
          s->name);
}

static const size_t odd_sizes[] = {1, 3, 4, 5, 15, 16, 17, 64, 577};
enum { N_ODD = sizeof odd_sizes / sizeof *odd_sizes };

/* Without weights: the bits of weights that are all 1, as these change nothing. */
static void check_plain_norm(const kernel_set *s, const float *x, size_t n) {
    float *ones = guard_floats(n), *y = guard_floats(n), *plain = guard_floats(n);
    for (size_t i = 0; i < n; i++) ones[i] = 1;
    s->rms_norm(x, ones, n, 1e-5f, y), s->rms_norm(x, NULL, n, 1e-5f, plain);
    CHECK(memcmp(y, plain, n * sizeof *y) == 0, "%s rms_norm (%zu) without weights", s->name, n);
    s->layer_norm(x, ones, NULL, n, 1e-5f, y), s->layer_norm(x, NULL, NULL, n, 1e-5f, plain);
    CHECK(memcmp(y, plain, n * sizeof *y) == 0, "%s layer_norm (%zu) without weights", s->name, n);
    guard_free(ones, "ones"), guard_free(y, "y"), guard_free(plain, "plain");
}

static void test_rms_norm(const kernel_set *s, op_counts *ran) {
    rng r;
    rng_seed(&r, 12);
    for (size_t k = 0; k < N_ODD; k++) {
        const size_t n = odd_sizes[k];
        float *x = guard_floats(n), *w = guard_floats(n), *y = guard_floats(n);
        fill(x, n, &r, 3), fill(w, n, &r, 1);
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
        s->rms_norm(x, w, n, 1e-5f, y);
        size_t wrong = 0;
        for (size_t i = 0; i < n; i++) {
            double expected = x[i] / sqrt(sum / (double)n + (double)1e-5f) * w[i];
            wrong += !(fabs(y[i] - expected) <= 1e-6 * fabs(expected));
        }
        CHECK(wrong == 0, "%s rms_norm (%zu): %zu wrong", s->name, n, wrong);
        check_plain_norm(s, x, n);
        s->rms_norm(x, w, n, 1e-5f, x);
        CHECK(memcmp(x, y, n * sizeof(float)) == 0, "%s rms_norm (%zu) in place", s->name, n);
        guard_free(x, "x"), guard_free(w, "w"), guard_free(y, "y");
        ran->rms_norm++;
    }
}

/* The activations by the C library's functions in double. */
static double activation(kernel_activation a, double x) {
    switch (a) {
    case KERNEL_SILU: return x / (1 + exp(-x));
    case KERNEL_GELU: return x / 2 * erfc(-x / sqrt(2));
    case KERNEL_GELU_TANH: return x / 2 * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case KERNEL_GELU_QUICK: return x / (1 + exp(-1.702 * x));
    case KERNEL_RELU: return x > 0 ? x : 0;
    case KERNEL_RELU_SQUARED: return x > 0 ? x * x : 0;
    case KERNEL_ACTIVATION_COUNT: break;
    }
    return NAN;
}

static void test_activate(const kernel_set *s, kernel_activation a, op_counts *ran) {
    rng r;
    rng_seed(&r, 13);
    for (size_t k = 0; k < N_ODD; k++) {
        const size_t n = odd_sizes[k];
        float *gate = guard_floats(n), *up = guard_floats(n), *plain = guard_floats(n);
        float *before = malloc(n * sizeof(float));
        fill(gate, n, &r, k % 2 ? 5 : 50), fill(up, n, &r, 1);
        memcpy(before, gate, n * sizeof(float)), memcpy(plain, gate, n * sizeof(float));
        s->activate_mul(a, gate, up, n);
        s->activate(a, plain, n);
        size_t wrong = 0, alone = 0;
        for (size_t i = 0; i < n; i++) {
            const double want = activation(a, (double)before[i]);
            const double most = 1e-6 * fabs(want) +
                                (a == KERNEL_SILU ? 1e-36 : 1e-7 * (1 + fmin(6, fabs((double)before[i]))));
            wrong += !(fabs((double)plain[i] - want) <= most) || plain[i] * up[i] != gate[i];
            s->activate_mul(a, &before[i], &up[i], 1);
            alone += half_f32_to_bits(before[i]) != half_f32_to_bits(gate[i]);
        }
        CHECK(wrong == 0, "%s activation %d (%zu): %zu wrong", s->name, (int)a, n, wrong);
        CHECK(alone == 0, "%s activation %d (%zu): %zu give other bits alone", s->name, (int)a, n, alone);
        guard_free(gate, "gate"), guard_free(up, "up"), guard_free(plain, "plain"), free(before);
        ran->activate++, ran->activate_mul++;
    }
}

static void test_layer_norm(const kernel_set *s, op_counts *ran) {
    rng r;
    rng_seed(&r, 15);
    for (size_t k = 0; k < N_ODD; k++) {
        const size_t n = odd_sizes[k];
        float *x = guard_floats(n), *w = guard_floats(n), *b = guard_floats(n), *y = guard_floats(n);
        double mean = 0, variance = 0;
        fill(x, n, &r, 3), fill(w, n, &r, 1), fill(b, n, &r, 1);
        for (size_t i = 0; i < n; i++) x[i] += 2, mean += (double)x[i] / (double)n;
        for (size_t i = 0; i < n; i++) variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
        for (int with = 0; with < 2; with++) {
            size_t wrong = 0;
            s->layer_norm(x, w, with ? b : NULL, n, 1e-5f, y);
            for (size_t i = 0; i < n; i++) {
                const double unit = ((double)x[i] - mean) / sqrt(variance + 1e-5);
                wrong += !(fabs(unit * (double)w[i] + (with ? (double)b[i] : 0) - (double)y[i]) <= 4e-6);
            }
            CHECK(wrong == 0, "%s layer_norm (%zu): %zu wrong", s->name, n, wrong);
        }
        s->layer_norm(x, w, b, n, 1e-5f, x);
        CHECK(memcmp(x, y, n * sizeof(float)) == 0, "%s layer_norm (%zu) in place", s->name, n);
        guard_free(x, "x"), guard_free(w, "w"), guard_free(b, "b"), guard_free(y, "y");
        ran->layer_norm++;
    }
}

static void test_scale(const kernel_set *s, op_counts *ran) {
    rng r;
    rng_seed(&r, 16);
    for (size_t k = 0; k < N_ODD; k++, ran->scale++) {
        const size_t n = odd_sizes[k];
        float *x = guard_floats(n), *before = malloc(n * sizeof(float));
        size_t wrong = 0;
        fill(x, n, &r, 100);
        memcpy(before, x, n * sizeof(float));
        s->scale(x, 0.37f, n);
        for (size_t i = 0; i < n; i++) wrong += x[i] != before[i] * 0.37f;
        CHECK(wrong == 0, "%s scale (%zu): %zu wrong", s->name, n, wrong);
        guard_free(x, "x"), free(before);
    }
}

/* Numbers from far below the cap to far beyond it, against the C library's tanh in double. */
static void test_softcap(const kernel_set *s, op_counts *ran) {
    static const double scales[] = {1e-3, 1, 30, 100, 1e6};
    rng r;
    rng_seed(&r, 19);
    for (size_t k = 0; k < 5 * N_ODD; k++, ran->softcap++) {
        const size_t n = odd_sizes[k / 5];
        float *x = guard_floats(n), *before = malloc(n * sizeof(float));
        size_t wrong = 0, alone = 0;
        fill(x, n, &r, scales[k % 5]);
        memcpy(before, x, n * sizeof(float));
        s->softcap(x, 30, n);
        for (size_t i = 0; i < n; i++) {
            const double want = 30 * tanh((double)before[i] / 30);
            wrong += !(fabs((double)x[i] - want) <= 5e-7 * fabs(want));
            s->softcap(&before[i], 30, 1);
            alone += half_f32_to_bits(before[i]) != half_f32_to_bits(x[i]);
        }
        CHECK(wrong == 0, "%s softcap of %g (%zu): %zu wrong", s->name, scales[k % 5], n, wrong);
        CHECK(alone == 0, "%s softcap (%zu): %zu give other bits alone", s->name, n, alone);
        guard_free(x, "x"), free(before);
    }
    float special[4] = {NAN, INFINITY, -INFINITY, -0.0f};
    s->softcap(special, 30, 4);
    CHECK(special[0] != special[0] && special[1] == 30 && special[2] == -30 && special[3] == 0,
          "%s softcap of numbers that are not finite: %g %g %g %g", s->name, (double)special[0],
          (double)special[1], (double)special[2], (double)special[3]);
}

static void test_add(const kernel_set *s, op_counts *ran) {
    rng r;
    rng_seed(&r, 14);
    for (size_t k = 0; k < N_ODD; k++) {
        const size_t n = odd_sizes[k];
        float *x = guard_floats(n), *y = guard_floats(n), *expected = malloc(n * sizeof(float));
        fill(x, n, &r, 1), fill(y, n, &r, 1);
        for (size_t i = 0; i < n; i++) expected[i] = x[i] + y[i];
        s->add(x, y, n);
        CHECK(memcmp(x, expected, n * sizeof(float)) == 0, "%s add (%zu)", s->name, n);
        guard_free(x, "x"), guard_free(y, "y"), free(expected);
        ran->add++;
    }
}

static void test_exp(void) {
    double worst = 0;
    for (float x = -87; x <= 88; x += 0.000731f) {
        double e = exp((double)x), error = fabs((double)kernel_exp(x) - e) / e;
        worst = error > worst ? error : worst;
    }
    CHECK(worst < 2e-7, "kernel_exp: relative error %g", worst);
    CHECK(kernel_exp(0) == 1 && kernel_exp(-87.5f) == 0 && kernel_exp(-INFINITY) == 0,
          "kernel_exp: 0, far below");
    CHECK(kernel_exp(1000) == kernel_exp(88) && kernel_exp(INFINITY) == kernel_exp(88), "kernel_exp: above");
    CHECK(kernel_exp(NAN) != kernel_exp(NAN), "kernel_exp: a NaN must stay one");
}

/* Products of which one is too high by one, for one token alone or for several. */
static bool wrong_alone;
static void wrong_mul_mat(const matrix *w, size_t g_begin, size_t g_end, const kernel_act *x, float *y,
                          size_t ldy) {
    kernel_mul_mat(&kernel_set_ref, w)(w, g_begin, g_end, x, y, ldy);
    if ((x->n_tokens == 1) == wrong_alone) y[FORMAT_LANES - 1] += 1;
}

static void test_probe(void) {
    static const format_id formats[] = {FORMAT_Q8_0, FORMAT_Q4_0};
    CHECK(kernel_probe(&kernel_set_ref), "the reference set must pass");
    for (size_t i = 0; i < 4; i++) {
        kernel_set set = kernel_set_ref;
        set.mul_mat[format_table[formats[i % 2]].layout->id] = wrong_mul_mat;
        wrong_alone = i / 2 == 0;
        CHECK(!kernel_probe(&set), "a wrong %s product passes the probe", format_table[formats[i % 2]].name);
    }
}

static void test_sets(void) {
    for (size_t i = 0; i < kernel_count(); i++) {
        const kernel_set *s = kernel_at(i);
        if (!usable(i)) {
            CHECK_SKIP("this machine computes the relaxed dot wrongly, and the probe says so");
            continue;
        }
        CHECK(kernel_find(s->name) == s, "%s is not found by its name", s->name);
        test_quantize_q8(s, &n_ops[i]);
        test_rms_norm(s, &n_ops[i]);
        for (int a = 0; a < KERNEL_ACTIVATION_COUNT; a++) test_activate(s, (kernel_activation)a, &n_ops[i]);
        test_layer_norm(s, &n_ops[i]);
        test_scale(s, &n_ops[i]);
        test_softcap(s, &n_ops[i]);
        test_add(s, &n_ops[i]);
#define NUT_X(op, params) CHECK(n_ops[i].op > 0, "%s " #op " ran no case", s->name);
        KERNEL_VECTOR_OPS(NUT_X)
#undef NUT_X
    }
    CHECK(kernel_at(kernel_count()) == NULL && kernel_find("avx") == NULL, "sets that do not exist");
    CHECK(strcmp(kernel_at(kernel_count() - 1)->name, "ref") == 0, "ref must be the last set");
    CHECK(kernel_find(NULL) != NULL, "no set computes rightly");
}

int main(void) {
    printf("sets:");
    for (size_t i = 0; i < kernel_count(); i++) printf(" %s", kernel_at(i)->name);
    printf("; in use: %s\n", kernel_find(NULL)->name);
    test_products();
    test_zeros();
    test_exp();
    test_probe();
    test_sets();
    return check_report();
}
