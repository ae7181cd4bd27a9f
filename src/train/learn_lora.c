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

learn_factors learn_lora_factors(const learn_tensor *t, float *numbers, size_t width) {
    float *a = numbers + t->at;
    return (learn_factors){a, a + t->rank * width};
}

void learn_lora_begin(learn *l, const learn_tensor *t, size_t width) {
    const learn_factors f = learn_lora_factors(t, l->numbers, width);
    const float reach = 1 / sqrtf((float)width);
    rng r;
    rng_seed(&r, l->options.seed + t->at);
    for (size_t i = 0; i < t->rank * width; i++) f.a[i] = (float)(2 * rng_f64(&r) - 1) * reach;
    for (size_t i = 0; i < t->n_rows * t->rank; i++) f.b[i] = 0;
}

/* dB += scale dy^T (x A^T), dA += scale (dy B)^T x */
void learn_lora_gradient(learn *l, const learn_tensor *t, size_t width, size_t row, size_t rows,
                         const float *x, const float *dy, size_t n) {
    const size_t rank = t->rank;
    const float scale = (float)learn_lora_scale(l, t);
    const learn_factors f = learn_lora_factors(t, l->numbers, width),
                        d = learn_lora_factors(t, l->gradients, width);
    float *down = l->low[0], *up = l->low[1];
    const dense_product to_down = {.m = n, .n = rank, .k = width, .ldc = rank};
    const dense_product to_up = {.m = n, .n = rank, .k = rows, .ldc = rank};
    const dense_product to_a = {.m = rank, .n = width, .k = n, .ldc = width, .add = true};
    const dense_product to_b = {.m = rows, .n = rank, .k = n, .ldc = rank, .add = true};
    dense_mul_f32(l->d, &to_down, (dense_f32){x, width, 1}, (dense_f32){f.a, 1, width}, 1, down);
    dense_mul_f32(l->d, &to_up, (dense_f32){dy, rows, 1}, (dense_f32){f.b + row * rank, rank, 1}, 1, up);
    dense_mul_f32(l->d, &to_b, (dense_f32){dy, 1, rows}, (dense_f32){down, rank, 1}, scale,
                  d.b + row * rank);
    dense_mul_f32(l->d, &to_a, (dense_f32){up, 1, rank}, (dense_f32){x, width, 1}, scale, d.a);
}

static size_t n_numbers(const learn *l, const learn_tensor *t) {
    (void)l;
    return t->rank * (t->n_cols + t->n_rows);
}

static nut_status begin(learn *l, learn_tensor *t, nut_error *err) {
    t->base = mem_calloc(t->n_rows, t->n_cols * sizeof *t->base);
    if (!t->base) return error_memory(err, t->n_rows * t->n_cols * sizeof *t->base);
    learn_rows(t, t->base);
    learn_lora_begin(l, t, t->n_cols);
    return NUT_OK;
}

static void gradient(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                     size_t n) {
    learn_lora_gradient(l, t, t->n_cols, row, rows, x, dy, n);
}

static void weights(const learn *l, const learn_tensor *t, size_t row, float *out) {
    const float scale = (float)learn_lora_scale(l, t);
    const learn_factors f = learn_lora_factors(t, l->numbers, t->n_cols);
    const float *a = f.a, *b = f.b + row * t->rank;
    for (size_t i = 0; i < t->n_cols; i++) out[i] = t->base[row * t->n_cols + i];
    for (size_t k = 0; k < t->rank; k++)
        for (size_t i = 0; i < t->n_cols; i++) out[i] += scale * b[k] * a[k * t->n_cols + i];
}

const learn_kind learn_lora = {.name = "lora",
                               .ranked = true,
                               .n_numbers = n_numbers,
                               .begin = begin,
                               .gradient = gradient,
                               .weights = weights};
