/*
 * Directions by an adapter, and lengths apart (Liu et al. 2024, DoRA, arXiv 2402.09353, section 4): row r is
 * m_r v / |v|, v being that of W + scale B A. Lengths are those of a matrix' rows, as in the authors' code,
 * and are learned as a part of what they were, so that one rate fits all. The gradient goes through |v| too,
 * which the authors hold constant to save memory (section 4.3).
 */
#include "train/learn.h"

#include "base/error.h"

#include <math.h>

enum { SOME_ROWS = 32 };

static size_t n_lengths(const learn *l, const learn_tensor *t) {
    (void)l;
    return t->n_rows;
}

static size_t n_numbers(const learn *l, const learn_tensor *t) {
    (void)l;
    return t->rank * (t->n_cols + t->n_rows) + t->n_rows;
}

/* ---- where things are: weights, their rows' lengths, and gradients of some rows ---- */

static float *lengths_of(const learn_tensor *t) {
    return t->base + t->n_rows * t->n_cols;
}
static size_t at_length(const learn_tensor *t, size_t row) {
    return t->at + t->rank * (t->n_cols + t->n_rows) + row;
}

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static nut_status begin(learn *l, learn_tensor *t, nut_error *err) {
    const size_t room = (t->n_rows + SOME_ROWS) * t->n_cols + t->n_rows;
    t->base = mem_calloc(room, sizeof *t->base);
    if (!t->base) return error_memory(err, room * sizeof *t->base);
    learn_rows(t, t->base);
    learn_lora_begin(l, t, t->n_cols);
    for (size_t row = 0; row < t->n_rows; row++) {
        const float *w = t->base + row * t->n_cols;
        lengths_of(t)[row] = (float)sqrt(dot(w, w, t->n_cols));
        l->numbers[at_length(t, row)] = 1;
    }
    return NUT_OK;
}

/* v (n_cols) of a row; returns its length. */
static double direction(const learn *l, const learn_tensor *t, size_t row, float *v) {
    learn_lora.weights(l, t, row, v);
    return sqrt(dot(v, v, t->n_cols));
}

/* From the gradient d (n_cols) of a row that of its v, in its place; its length's is added. */
static void back_row(learn *l, const learn_tensor *t, size_t row, float *d) {
    float *v = l->row;
    const double size = direction(l, t, row, v), first = (double)lengths_of(t)[row];
    const double along = size > 0 ? dot(d, v, t->n_cols) / size : 0;
    const double by = size > 0 ? first * (double)l->numbers[at_length(t, row)] / size : 0;
    l->gradients[at_length(t, row)] += (float)(first * along);
    for (size_t i = 0; size > 0 && i < t->n_cols; i++)
        d[i] = (float)(by * ((double)d[i] - along * (double)v[i] / size));
}

/* dB += scale dv A^T, dA += scale B^T dv, of some rows */
static void add_rows(learn *l, const learn_tensor *t, size_t row, size_t rows, const float *d_v) {
    const size_t rank = t->rank, width = t->n_cols;
    const float scale = (float)learn_lora_scale(l, t);
    const learn_factors f = learn_lora_factors(t, l->numbers, width),
                        d = learn_lora_factors(t, l->gradients, width);
    const dense_product to_b = {.m = rows, .n = rank, .k = width, .ldc = rank, .add = true};
    const dense_product to_a = {.m = rank, .n = width, .k = rows, .ldc = width, .add = true};
    dense_mul_f32(l->d, &to_b, (dense_f32){d_v, width, 1}, (dense_f32){f.a, 1, width}, scale,
                  d.b + row * rank);
    dense_mul_f32(l->d, &to_a, (dense_f32){f.b + row * rank, 1, rank}, (dense_f32){d_v, width, 1}, scale,
                  d.a);
}

static void gradient(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                     size_t n) {
    float *made = lengths_of(t) + t->n_rows;
    for (size_t r = 0, some; r < rows; r += some) {
        some = rows - r < SOME_ROWS ? rows - r : SOME_ROWS;
        const dense_product product = {.m = some, .n = t->n_cols, .k = n, .ldc = t->n_cols};
        dense_mul_f32(l->d, &product, (dense_f32){dy + r, 1, rows}, (dense_f32){x, t->n_cols, 1}, 1, made);
        for (size_t i = 0; i < some; i++) back_row(l, t, row + r + i, made + i * t->n_cols);
        add_rows(l, t, row + r, some, made);
    }
}

static void weights(const learn *l, const learn_tensor *t, size_t row, float *out) {
    const double size = direction(l, t, row, out);
    const double length = (double)lengths_of(t)[row] * (double)l->numbers[at_length(t, row)];
    for (size_t i = 0; size > 0 && i < t->n_cols; i++) out[i] = (float)((double)out[i] * length / size);
}

const learn_kind learn_dora = {.name = "dora",
                               .ranked = true,
                               .n_steady = n_lengths,
                               .n_numbers = n_numbers,
                               .begin = begin,
                               .gradient = gradient,
                               .weights = weights};
