/* Coded tensors: what is written is read again, whatever the integers, in any order of chunks; sizes beside
 * the entropy; damaged bytes. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/xxhash.h"
#include "check.h"
#include "compress/coded_write.h"
#include "model/coded.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- integers ---- */

typedef struct sample {
    coded_tensor t;
    int32_t *z;
    float *row_scale, *col_scale;
} sample;

/* A Laplacian number of deviation 1. */
static double laplace(rng *r) {
    const double u = rng_f64(r) - 0.5, size = -log(1 - 2 * fabs(u) + 1e-300) / sqrt(2);
    return u < 0 ? -size : size;
}

/* Integers whose deviations vary by rows and columns around `deviation`. */
static sample sample_new(size_t n_rows, size_t n_cols, double deviation, double vary, rng *r) {
    sample s = {.z = malloc(n_rows * n_cols * sizeof(int32_t)),
                .row_scale = malloc(n_rows * sizeof(float)),
                .col_scale = malloc(n_cols * sizeof(float))};
    double *row = malloc(n_rows * sizeof(double)), *col = malloc(n_cols * sizeof(double));
    for (size_t i = 0; i < n_rows; i++) row[i] = exp(vary * laplace(r)), s.row_scale[i] = coded_scale((uint8_t)(60 + rng_u64(r) % 100));
    for (size_t i = 0; i < n_cols; i++) col[i] = exp(vary * laplace(r)), s.col_scale[i] = coded_scale((uint8_t)(180 + rng_u64(r) % 40));
    for (size_t i = 0; i < n_rows * n_cols; i++)
        s.z[i] = (int32_t)fmax(-2e9, fmin(2e9, round(laplace(r) * deviation * row[i / n_cols] * col[i % n_cols])));
    free(row), free(col);
    s.t = (coded_tensor){n_rows, n_cols, s.z, s.row_scale, s.col_scale};
    return s;
}

static void sample_free(sample *s) {
    free(s->z), free(s->row_scale), free(s->col_scale);
}

/* ---- decoding ---- */

typedef struct decoded {
    gguf_tensor t;
    matrix w;
    matrix_coded coded;
    coded_target to;
    float *col_scale;
    uint32_t *first;
    matrix_outlier *outliers;
} decoded;

static decoded decoded_new(const coded_tensor *t, const coded_data *d, const format *as) {
    decoded x = {.t = {.name = {"test", 4},
                       .n_dims = 2,
                       .dims = {t->n_cols, t->n_rows, 1, 1},
                       .ggml_type = d->format->ggml_type,
                       .n_bytes = d->n,
                       .n_outliers = d->n_outliers}};
    x.w = (matrix){.format = as, .n_rows = t->n_rows, .n_cols = t->n_cols};
    x.w.data = calloc(matrix_bytes(&x.w), 1);
    x.first = calloc(matrix_groups(&x.w) + 1, sizeof *x.first);
    x.outliers = calloc(d->n_outliers + 1, sizeof *x.outliers);
    x.col_scale = calloc(t->n_cols, sizeof(float));
    return x;
}

static void decoded_point(decoded *x) {
    const bool coded = format_is_coded(x->w.format);
    x->to = (coded_target){{x->w.format, &x->w, coded ? x->first : NULL, x->outliers}, x->col_scale};
    x->coded = (matrix_coded){x->col_scale, x->first, x->outliers};
    if (coded) x->w.coded = &x->coded;
}

static void decoded_free(decoded *x) {
    free(x->w.data), free(x->first), free(x->outliers), free(x->col_scale);
}

/* Rows as floats are the integers times their scales. */
static size_t wrong_weights(const decoded *x, const coded_tensor *t) {
    float *row = malloc(t->n_cols * sizeof(float));
    size_t wrong = 0;
    for (size_t r = 0; r < t->n_rows; r++) {
        matrix_row(&x->w, r, row);
        for (size_t c = 0; c < t->n_cols; c++) {
            const double w = (double)t->z[r * t->n_cols + c] * (double)t->row_scale[r] * (double)t->col_scale[c];
            wrong += !(fabs((double)row[c] - w) <= 2e-7 * fabs(w));
        }
    }
    free(row);
    return wrong;
}

static double entropy_of(const double *counts, size_t n) {
    double total = 0, bits = 0;
    for (size_t i = 0; i < n; i++) total += counts[i];
    for (size_t i = 0; i < n; i++)
        if (counts[i] > 0) bits -= counts[i] * log2(counts[i] / total);
    return bits;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    (void)argv;
    rng r;
    nut_error err;
    rng_seed(&r, 7);
    static const double dev[] = {0, 0.1, 0.3, 1, 2, 3, 6, 20, 100, 1e5};
    static const size_t shapes[][2] = {{1, 32}, {8, 64}, {13, 96}, {200, 288}, {1536, 576}};
    for (size_t k = 0; k < 10; k++)
        for (size_t i = 0; i < 5; i++) {
            sample s = sample_new(shapes[i][0], shapes[i][1], dev[k], 0.5, &r);
            coded_data d;
            nut_status st = coded_write(&s.t, &d, &err);
            if (!CHECK(st == NUT_OK, "%s", err.message)) continue;
            double plain = 0;
            { double *c = calloc(1<<20, 8); for (size_t q = 0; q < s.t.n_rows*s.t.n_cols; q++) c[(s.z[q] + (1 << 19)) & ((1<<20)-1)]++; plain = entropy_of(c, 1<<20); free(c); }
            if (argc > 1) printf("dev %g %zux%zu: %s %zu bytes, %.4f b/w, order 0 %.4f outl %llu\n", dev[k], s.t.n_rows, s.t.n_cols, d.format->name, d.n, 8.0*(double)d.n/(double)(s.t.n_rows*s.t.n_cols), plain/(double)(s.t.n_rows*s.t.n_cols), (unsigned long long)d.n_outliers);
            const format *as[] = {d.format, &format_table[FORMAT_F32]};
            for (int a = 0; a < 2; a++) {
                decoded x = decoded_new(&s.t, &d, as[a]);
                decoded_point(&x);
                coded_feed f = {0};
                st = coded_take(&f, &x.t, &x.to, d.bytes, d.n, &err);
                double best = 1e9;
                for (int q = 0; argc > 1 && i == 4 && q < 20; q++) {
                    memset(x.w.data, 0, matrix_bytes(&x.w));
                    double t0 = now();
                    st = coded_take(&f, &x.t, &x.to, d.bytes, d.n, &err);
                    if (now() - t0 < best) best = now() - t0;
                }
                if (argc > 1 && i == 4) printf("   %.1f M/s\n", (double)(s.t.n_rows*s.t.n_cols) / best * 1e-6);
                CHECK(st == NUT_OK, "%s dev %g shape %zu", err.message, dev[k], i);
                size_t wrong = wrong_weights(&x, &s.t);
                CHECK(wrong == 0, "%zu wrong dev %g shape %zu as %d", wrong, dev[k], i, a);
                coded_drop(&f);
                decoded_free(&x);
            }
            coded_data_free(&d);
            sample_free(&s);
        }
    return check_report();
}
