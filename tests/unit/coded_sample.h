/* Coded tensors for tests: random integers whose deviations vary, and places to decode into. */
#ifndef NUT_TESTS_CODED_SAMPLE_H
#define NUT_TESTS_CODED_SAMPLE_H

#include "base/rng.h"
#include "compress/coded_write.h"
#include "model/coded.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- integers ---- */

typedef struct coded_sample {
    coded_tensor t;
    int32_t *z; // (n_rows, n_cols)
    float *row_scale, *col_scale;
    double *row_dev, *col_dev; // the deviation of an integer is the product
} coded_sample;

/* A Laplacian number of deviation 1. */
static inline double coded_laplace(rng *r) {
    const double u = rng_f64(r) - 0.5, size = -log(1 - 2 * fabs(u) + 1e-300) / sqrt(2);
    return u < 0 ? -size : size;
}

static inline coded_sample coded_sample_new(size_t n_rows, size_t n_cols) {
    coded_sample s = {.z = calloc(n_rows * n_cols, sizeof(int32_t)),
                      .row_scale = calloc(n_rows, sizeof(float)),
                      .col_scale = calloc(n_cols, sizeof(float)),
                      .row_dev = calloc(n_rows, sizeof(double)),
                      .col_dev = calloc(n_cols, sizeof(double))};
    s.t = (coded_tensor){n_rows, n_cols, s.z, s.row_scale, s.col_scale};
    return s;
}

/* Integers around 0, with deviations that differ by e^(vary * a Laplacian number) from row to row and column
 * to column; scales of coded_scale. */
static inline coded_sample coded_sample_random(size_t n_rows, size_t n_cols, double deviation, double vary,
                                               rng *r) {
    coded_sample s = coded_sample_new(n_rows, n_cols);
    for (size_t i = 0; i < n_rows; i++) {
        s.row_dev[i] = deviation * exp(vary * coded_laplace(r));
        s.row_scale[i] = coded_scale((uint8_t)(60 + rng_u64(r) % 100));
    }
    for (size_t i = 0; i < n_cols; i++) {
        s.col_dev[i] = exp(vary * coded_laplace(r));
        s.col_scale[i] = coded_scale((uint8_t)(180 + rng_u64(r) % 40));
    }
    for (size_t i = 0; i < n_rows * n_cols; i++) {
        const double x = round(coded_laplace(r) * s.row_dev[i / n_cols] * s.col_dev[i % n_cols]);
        s.z[i] = (int32_t)fmax(INT32_MIN, fmin(INT32_MAX, x));
    }
    return s;
}

static inline void coded_sample_free(coded_sample *s) {
    free(s->z), free(s->row_scale), free(s->col_scale), free(s->row_dev), free(s->col_dev);
}

/* ---- places ---- */

/* A matrix to decode into, and its file's entry. */
typedef struct coded_place {
    gguf_tensor t;
    matrix w;
    matrix_coded parts;
    coded_target to;
    float *col_scale;
    uint32_t *first;
    matrix_outlier *outliers;
} coded_place;

/* `as`: the format of the data, or F32. */
static inline coded_place *coded_place_new(const coded_tensor *t, const coded_data *d, const format *as) {
    coded_place *p = calloc(1, sizeof *p);
    p->t = (gguf_tensor){.name = {"blk.0.ffn_up.weight", 19},
                         .n_dims = 2,
                         .dims = {t->n_cols, t->n_rows, 1, 1},
                         .ggml_type = d->format->ggml_type,
                         .n_bytes = d->n,
                         .n_outliers = d->n_outliers};
    p->w = (matrix){.format = as, .n_rows = t->n_rows, .n_cols = t->n_cols};
    p->w.data = calloc(matrix_bytes(&p->w), 1);
    p->first = calloc(matrix_groups(&p->w) + 1, sizeof *p->first);
    p->outliers = calloc((size_t)d->n_outliers + 1, sizeof *p->outliers);
    p->col_scale = calloc(t->n_cols, sizeof *p->col_scale);
    p->parts = (matrix_coded){p->col_scale, p->first, p->outliers};
    p->to = (coded_target){{as, {&p->w}, NULL, p->outliers}, p->col_scale};
    if (format_is_coded(as)) p->to.to.first = p->first, p->w.coded = &p->parts;
    return p;
}

static inline void coded_place_free(coded_place *p) {
    free(p->w.data), free(p->first), free(p->outliers), free(p->col_scale);
    free(p);
}

#endif
