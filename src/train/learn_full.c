/* Weights that are learned as they are. */
#include "train/learn.h"

size_t learn_full_numbers(const learn *l, const learn_tensor *t) {
    (void)l;
    return t->n_rows * t->n_cols;
}

nut_status learn_full_begin(learn *l, learn_tensor *t, nut_error *err) {
    (void)err;
    learn_rows(t, l->numbers + t->at);
    return NUT_OK;
}

/* dW += transposed dy times x */
void learn_full_gradient(learn *l, learn_tensor *t, size_t row, size_t rows, const float *x, const float *dy,
                         size_t n) {
    const dense_product product = {.m = rows, .n = t->n_cols, .k = n, .ldc = t->n_cols, .add = true};
    dense_mul_f32(l->d, &product, (dense_f32){dy, 1, rows}, (dense_f32){x, t->n_cols, 1}, 1,
                  l->gradients + t->at + row * t->n_cols);
}

static void weights(const learn *l, const learn_tensor *t, size_t row, float *out) {
    const float *from = l->numbers + t->at + row * t->n_cols;
    for (size_t i = 0; i < t->n_cols; i++) out[i] = from[i];
}

const learn_kind learn_full = {.name = "full",
                               .outside = &learn_full,
                               .n_numbers = learn_full_numbers,
                               .begin = learn_full_begin,
                               .gradient = learn_full_gradient,
                               .weights = weights};
