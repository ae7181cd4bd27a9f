/*
 * Adapters of low rank beside weights that stay as they are: W + scale B A (Hu et al. 2021, LoRA, arXiv
 * 2106.09685, section 4.1). A (rank, n_cols) begins at random as in the authors' code, uniform within 1 /
 * root of n_cols; B (n_rows, rank) begins as zero. The model holds the sum, so that a pass computes with it
 * as with any weights.
 */
#include "train/learn.h"

#include "base/error.h"
#include "base/rng.h"

#include <math.h>

double learn_lora_scale(const learn *l, const learn_tensor *t) {
    const double alpha = l->options.alpha;
    return l->options.scale * (alpha > 0 ? alpha / (double)t->rank : 1);
}

static float *a_of(const learn *l, const learn_tensor *t) {
    return l->numbers + t->at;
}
static float *b_of(const learn *l, const learn_tensor *t) {
    return a_of(l, t) + t->rank * t->n_cols;
}

static size_t n_numbers(const learn *l, const learn_tensor *t) {
    (void)l;
    return t->rank * (t->n_cols + t->n_rows);
}

static nut_status begin(learn *l, learn_tensor *t, nut_error *err) {
    const float reach = 1 / sqrtf((float)t->n_cols);
    float *a = a_of(l, t), *b = b_of(l, t);
    rng r;
    t->base = mem_calloc(t->n_rows, t->n_cols * sizeof *t->base);
    if (!t->base) return error_memory(err, t->n_rows * t->n_cols * sizeof *t->base);
    float *to = t->base;
    for (size_t i = 0; i < BIND_PARTS && t->place->w[i]; i++)
        for (size_t row = 0; row < t->place->w[i]->n_rows; row++, to += t->n_cols)
            matrix_row(t->place->w[i], row, to);
    rng_seed(&r, l->options.seed + t->at);
    for (size_t i = 0; i < t->rank * t->n_cols; i++) a[i] = (float)(2 * rng_f64(&r) - 1) * reach;
    for (size_t i = 0; i < t->n_rows * t->rank; i++) b[i] = 0;
    return NUT_OK;
}

/* dB += scale dy^T (x A^T), dA += scale (dy B)^T x */
static void gradient(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                     size_t n) {
    const size_t rank = t->rank, width = t->n_cols;
    const float scale = (float)learn_lora_scale(l, t), *b = b_of(l, t) + row * rank;
    float *down = l->low[0], *up = l->low[1], *d_a = l->gradients + t->at, *d_b = d_a + rank * width;
    const dense_product to_down = {.m = n, .n = rank, .k = width, .ldc = rank};
    const dense_product to_up = {.m = n, .n = rank, .k = rows, .ldc = rank};
    const dense_product to_a = {.m = rank, .n = width, .k = n, .ldc = width, .add = true};
    const dense_product to_b = {.m = rows, .n = rank, .k = n, .ldc = rank, .add = true};
    dense_mul_f32(l->d, &to_down, (dense_f32){x, width, 1}, (dense_f32){a_of(l, t), 1, width}, 1, down);
    dense_mul_f32(l->d, &to_up, (dense_f32){dy, rows, 1}, (dense_f32){b, rank, 1}, 1, up);
    dense_mul_f32(l->d, &to_b, (dense_f32){dy, 1, rows}, (dense_f32){down, rank, 1}, scale,
                  d_b + row * rank);
    dense_mul_f32(l->d, &to_a, (dense_f32){up, 1, rank}, (dense_f32){x, width, 1}, scale, d_a);
}

static void weights(const learn *l, const learn_tensor *t, size_t row, float *out) {
    const float scale = (float)learn_lora_scale(l, t), *a = a_of(l, t), *b = b_of(l, t) + row * t->rank;
    for (size_t i = 0; i < t->n_cols; i++) out[i] = t->base[row * t->n_cols + i];
    for (size_t k = 0; k < t->rank; k++)
        for (size_t i = 0; i < t->n_cols; i++) out[i] += scale * b[k] * a[k * t->n_cols + i];
}

const learn_kind learn_lora = {"lora", n_numbers, begin, gradient, weights};
