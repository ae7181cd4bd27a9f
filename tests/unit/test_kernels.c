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

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- mul_mat ---- */

/* Where the f16 scales stand in a file's block. */
static const struct {
    format_id id;
    int at[2];
} half_places[] = {
    {FORMAT_Q8_0, {0, -1}}, {FORMAT_Q4_0, {0, -1}}, {FORMAT_Q4_1, {0, 2}}, {FORMAT_Q5_0, {0, -1}},
    {FORMAT_Q5_1, {0, 2}},  {FORMAT_Q4_K, {0, 2}},  {FORMAT_Q5_K, {0, 2}}, {FORMAT_Q6_K, {208, -1}},
};

/* Random codes, f16 scales of both signs, now and then subnormal or zero; in Q8_0 every byte but, half of
 * the time, -128. */
static void random_block(const format *f, rng *r, uint8_t *block) {
    if (f->act == FORMAT_ACT_F32) {
        float x = random_float(r, 0.1);
        f->quantize(&x, 1, block);
        return;
    }
    bool lowest = rng_u64(r) % 2, extreme = rng_u64(r) % 4 == 0;
    for (size_t i = 0; i < f->bytes; i++) {
        block[i] = (uint8_t)rng_u64(r);
        if (extreme) block[i] = f->id == FORMAT_Q8_0 ? (block[i] & 1 ? 127 : 129) : (block[i] & 1 ? 255 : 0);
        if (f->id == FORMAT_Q8_0 && block[i] == 128 && !lowest) block[i] = 129;
    }
    for (size_t i = 0; i < sizeof half_places / sizeof *half_places; i++) {
        if (half_places[i].id != f->id) continue;
        for (int k = 0; k < 2 && half_places[i].at[k] >= 0; k++) {
            double scale = rng_u64(r) % 8 == 0 ? 2e-5 : rng_u64(r) % 16 == 0 ? 0 : 0.02;
            uint16_t half = half_f32_to_f16(random_float(r, scale));
            memcpy(block + half_places[i].at[k], &half, 2);
        }
    }
}

static matrix random_matrix(const format *f, size_t n_rows, size_t n_cols, rng *r) {
    matrix m = {f, n_rows, n_cols, NULL};
    const size_t n_bytes = matrix_groups(&m) * matrix_group_bytes(&m);
    m.data = guard_new(n_bytes);
    memset(m.data, 0, n_bytes);
    for (size_t row = 0; row < n_rows; row++)
        for (size_t b = 0; b < n_cols / f->block; b++) {
            uint8_t block[FORMAT_MAX_BYTES];
            random_block(f, r, block);
            f->pack(m.data + row / FORMAT_LANES * matrix_group_bytes(&m), row % FORMAT_LANES, b, 1, block);
        }
    return m;
}

/* Activations of one kind; the other pointers stay NULL, so that reading the wrong one is fatal. */
typedef struct acts {
    kernel_act act;
    float *x, *d;
    int8_t *q;
    int32_t *sum;
} acts;

static acts random_acts(format_act kind, size_t n_tokens, size_t n_cols, rng *r) {
    const size_t n = n_tokens * n_cols;
    acts a = {.act = {.n_tokens = n_tokens, .n_cols = n_cols}};
    if (kind == FORMAT_ACT_F32) {
        a.act.x = a.x = guard_floats(n);
        fill(a.x, n, r, 1);
        return a;
    }
    a.act.q = a.q = guard_new(n);
    a.act.d = a.d = guard_floats(n / 32);
    a.act.sum = a.sum = guard_new(n / 16 * sizeof(int32_t));
    memset(a.sum, 0, n / 16 * sizeof(int32_t));
    for (size_t i = 0; i < n / 32; i++) a.d[i] = fabsf(random_float(r, 0.02));
    for (size_t i = 0; i < n; i++) {
        bool extreme = i / 32 % 3 == 1;
        a.q[i] = (int8_t)(extreme ? (rng_u64(r) % 2 ? 127 : -127) : (int)(rng_u64(r) % 255) - 127);
        a.sum[i / 16] += a.q[i];
    }
    return a;
}

static void acts_free(acts *a) {
    if (a->x) guard_free(a->x, "activations");
    if (a->q) guard_free(a->q, "int8 activations"), guard_free(a->d, "scales"), guard_free(a->sum, "sums");
}

/* Expected products and sums of magnitudes, (n_tokens, n_rows). */
static void expected_products(const matrix *w, const kernel_act *x, double *y, double *size) {
    float *row = malloc(w->n_cols * sizeof(float));
    for (size_t r = 0; r < w->n_rows; r++) {
        matrix_row(w, r, row);
        for (size_t t = 0; t < x->n_tokens; t++) {
            double sum = 0, magnitude = 0;
            for (size_t c = 0; c < w->n_cols; c++) {
                size_t at = t * x->n_cols + c;
                double v = x->x ? (double)x->x[at] : (double)x->d[at / 32] * x->q[at];
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
            if (!(error <= (double)f->tolerance * scale + 1e-30)) wrong++;
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
    kernel_mul_mat_fn *mul_mat = c->set->mul_mat[c->w->format->id];
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
        kernel_act one = *c->x;
        one.n_tokens = 1;
        if (one.x)
            one.x += t * n;
        else
            one.q += t * n, one.d += t * n / 32, one.sum += t * n / 16;
        mul_mat(c->w, 0, groups, &one, again + t * c->ldy, c->ldy);
    }
    size_t differ = 0;
    for (size_t i = 0; i < n_floats; i++)
        differ += i % c->ldy < padded && half_f32_to_bits(again[i]) != half_f32_to_bits(y[i]);
    CHECK(differ == 0, "%s %s: %zu outputs differ when tokens come alone", c->set->name, c->w->format->name,
          differ);
    guard_free(again, "outputs");
}

static size_t n_products[8][FORMAT_COUNT]; // by set, format: cases that ran

static void test_product(const format *f, size_t n_rows, size_t n_cols, size_t n_tokens, rng *r) {
    matrix w = random_matrix(f, n_rows, n_cols, r);
    acts a = random_acts(f->act, n_tokens, n_cols, r);
    const size_t ldy = matrix_groups(&w) * FORMAT_LANES + 3, n_floats = n_tokens * ldy;
    double *expected = malloc(n_tokens * n_rows * sizeof(double)),
           *size = malloc(n_tokens * n_rows * sizeof(double));
    float *simd = NULL; // what the first SIMD set gave
    expected_products(&w, &a.act, expected, size);
    for (size_t i = 0; i < kernel_count(); i++) {
        product_case c = {kernel_at(i), &w, &a.act, ldy};
        if (!usable(i)) continue;
        float *y = guard_floats(n_floats);
        c.set->mul_mat[f->id](&w, 0, matrix_groups(&w), &a.act, y, ldy);
        check_product(&c, y, expected, size);
        check_same_bits(&c, y, n_floats);
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
    guard_free(w.data, "weights"), acts_free(&a), free(expected), free(size);
}

static void test_products(void) {
    static const size_t rows[] = {1, 7, 8, 9, 17}, blocks[] = {1, 2, 3, 5}, float_cols[] = {1, 2, 3, 33, 64};
    static const size_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 33};
    rng r;
    rng_seed(&r, 3);
    for (size_t id = 0; id < FORMAT_COUNT; id++) {
        const format *f = &format_table[id];
        size_t n_sizes = f->block == 1 ? 5 : f->block == 32 ? 4 : 2;
        for (size_t i = 0; i < 5; i++)
            for (size_t j = 0; j < n_sizes; j++)
                for (size_t k = 0; k < 10; k++)
                    test_product(f, rows[i], f->block == 1 ? float_cols[j] : blocks[j] * f->block, tokens[k],
                                 &r);
        test_product(f, 24, 1536, 5, &r);
    }
    for (size_t i = 0; i < kernel_count(); i++)
        for (size_t id = 0; id < FORMAT_COUNT && usable(i); id++)
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

static void check_quantized(const kernel_set *s, const float *x, size_t n, const int8_t *q, const float *d,
                            const int32_t *sum) {
    size_t wrong = 0;
    for (size_t b = 0; b < n / 32; b++) {
        float amax = 0;
        int32_t sums[2] = {0, 0};
        for (size_t i = 32 * b; i < 32 * b + 32; i++)
            amax = fmaxf(amax, fabsf(x[i])), sums[i / 16 % 2] += q[i];
        wrong += d[b] != amax / 127.0f || sums[0] != sum[2 * b] || sums[1] != sum[2 * b + 1];
        for (size_t i = 32 * b; i < 32 * b + 32; i++) {
            double v = amax > 0 ? (double)x[i] / (double)d[b] : 0;
            wrong += fabs(v - q[i]) > 0.50003 || (fabs(v - q[i]) < 1e-9 && v != 0 && q[i] == 0);
        }
    }
    CHECK(wrong == 0, "%s quantize_q8 (%zu): %zu values wrong", s->name, n, wrong);
}

static void test_quantize_q8(const kernel_set *s, op_counts *ran) {
    static const size_t sizes[] = {32, 64, 96, 576};
    rng r;
    rng_seed(&r, 11);
    for (size_t k = 0; k < 4; k++) {
        const size_t n = sizes[k];
        float *x = guard_floats(n), *d = guard_floats(n / 32), *d_ref = guard_floats(n / 32);
        int8_t *q = guard_new(n), *q_ref = guard_new(n);
        int32_t *sum = guard_new(n / 16 * 4), *sum_ref = guard_new(n / 16 * 4);
        fill(x, n, &r, k % 2 ? 1e-3 : 40);
        for (size_t i = 0; i < 32; i++) x[i] = k == 0 ? 0 : k == 1 ? (float)i - 15.5f : x[i]; // zeros; ties
        if (k == 1) x[0] = 127;
        s->quantize_q8(x, n, q, d, sum);
        check_quantized(s, x, n, q, d, sum);
        if (k == 0) CHECK(d[0] == 0 && sum[0] == 0 && q[5] == 0, "%s quantize_q8: zeros", s->name);
        if (k == 1)
            CHECK(q[1] == -15 && q[15] == -1 && q[16] == 1, "%s quantize_q8: half away from zero", s->name);
        kernel_find("ref")->quantize_q8(x, n, q_ref, d_ref, sum_ref);
        CHECK(memcmp(q, q_ref, n) == 0 && memcmp(d, d_ref, n / 8) == 0 && memcmp(sum, sum_ref, n / 4) == 0,
              "%s quantize_q8 (%zu) and ref give other bits", s->name, n);
        guard_free(x, "x"), guard_free(d, "d"), guard_free(d_ref, "d");
        guard_free(q, "q"), guard_free(q_ref, "q"), guard_free(sum, "sum"), guard_free(sum_ref, "sum");
        ran->quantize_q8++;
    }
    float bad[32] = {0}, d, tiny[32] = {0};
    int8_t q[32];
    int32_t sum[2];
    bad[7] = NAN, bad[9] = 3, tiny[3] = 1e-40f;
    s->quantize_q8(bad, 32, q, &d, sum);
    CHECK(d != d, "%s quantize_q8: a NaN must not vanish", s->name);
    s->quantize_q8(tiny, 32, q, &d, sum);
    CHECK(d == 0 && q[3] == 0, "%s quantize_q8: a subnormal block is zeros", s->name);
}

static const size_t odd_sizes[] = {1, 3, 4, 5, 15, 16, 17, 64, 577};
enum { N_ODD = sizeof odd_sizes / sizeof *odd_sizes };

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
        s->rms_norm(x, w, n, 1e-5f, x);
        CHECK(memcmp(x, y, n * sizeof(float)) == 0, "%s rms_norm (%zu) in place", s->name, n);
        guard_free(x, "x"), guard_free(w, "w"), guard_free(y, "y");
        ran->rms_norm++;
    }
}

static void test_silu_mul(const kernel_set *s, op_counts *ran) {
    rng r;
    rng_seed(&r, 13);
    for (size_t k = 0; k < N_ODD; k++) {
        const size_t n = odd_sizes[k];
        float *gate = guard_floats(n), *up = guard_floats(n), *before = malloc(n * sizeof(float));
        fill(gate, n, &r, k % 2 ? 5 : 50), fill(up, n, &r, 1);
        memcpy(before, gate, n * sizeof(float));
        s->silu_mul(gate, up, n);
        size_t wrong = 0, alone = 0;
        for (size_t i = 0; i < n; i++) {
            double g = before[i], expected = g / (1 + exp(-g)) * up[i];
            wrong += !(fabs(gate[i] - expected) <= 1e-6 * fabs(expected) + 1e-36);
            s->silu_mul(&before[i], &up[i], 1);
            alone += half_f32_to_bits(before[i]) != half_f32_to_bits(gate[i]);
        }
        CHECK(wrong == 0, "%s silu_mul (%zu): %zu wrong", s->name, n, wrong);
        CHECK(alone == 0, "%s silu_mul (%zu): %zu give other bits alone", s->name, n, alone);
        guard_free(gate, "gate"), guard_free(up, "up"), free(before);
        ran->silu_mul++;
    }
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
    kernel_set_ref.mul_mat[w->format->id](w, g_begin, g_end, x, y, ldy);
    if ((x->n_tokens == 1) == wrong_alone) y[FORMAT_LANES - 1] += 1;
}

static void test_probe(void) {
    static const format_id formats[] = {FORMAT_Q8_0, FORMAT_Q4_0};
    CHECK(kernel_probe(&kernel_set_ref), "the reference set must pass");
    for (size_t i = 0; i < 4; i++) {
        kernel_set set = kernel_set_ref;
        set.mul_mat[formats[i % 2]] = wrong_mul_mat;
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
        test_silu_mul(s, &n_ops[i]);
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
    test_exp();
    test_probe();
    test_sets();
    return check_report();
}
