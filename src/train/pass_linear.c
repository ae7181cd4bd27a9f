/* Products forward and backward. */
#include "train/pass.h"

typedef struct unpacking {
    const linear *l;
    size_t row;
} unpacking;

static void unpack_row(pass *p, size_t i, unsigned member, void *ctx) {
    const unpacking *u = ctx;
    const size_t width = u->l->w.n_cols;
    float *to = p->weights + i * width;
    (void)member;
    matrix_row(&u->l->w, u->row + i, to);
    for (size_t c = 0; u->l->input_scale && c < width; c++) to[c] *= u->l->input_scale[c];
}

void pass_unpack(pass *p, const linear *l, size_t row, size_t n) {
    unpacking u = {l, row};
    pass_each(p, n, unpack_row, &u);
}

void pass_linear_of(pass *p, const linear *l, size_t n, const float *x, float *y) {
    const size_t n_in = l->w.n_cols, n_out = l->w.n_rows;
    const dense_product product = {.m = n, .n = n_out, .k = n_in, .ldc = n_out};
    if (p->input) p->input(p->tap_ctx, l, x, n);
    pass_unpack(p, l, 0, n_out);
    dense_mul_f32(p->d, &product, (dense_f32){x, n_in, 1}, (dense_f32){p->weights, 1, n_in}, 1, y);
    for (size_t t = 0; l->bias && t < n; t++)
        for (size_t r = 0; r < n_out; r++) y[t * n_out + r] += l->bias[r];
}

void pass_linear(pass *p, const linear *l, const float *x, float *y) {
    pass_linear_of(p, l, p->n, x, y);
}

void pass_linear_back_of(pass *p, const linear *l, size_t n, const float *x, const float *dy, bool add,
                         float *dx) {
    const size_t n_in = l->w.n_cols, n_out = l->w.n_rows;
    const dense_product product = {.m = n, .n = n_in, .k = n_out, .ldc = n_in, .add = add};
    if (p->gradient) p->gradient(p->tap_ctx, l, dy, n);
    if (p->learner) p->learner->linear(p->learner->ctx, l, x, dy, n);
    pass_bias_learn(p, l->bias, dy, n, n_out);
    pass_unpack(p, l, 0, n_out);
    dense_mul_f32(p->d, &product, (dense_f32){dy, n_out, 1}, (dense_f32){p->weights, n_in, 1}, 1, dx);
}

void pass_linear_back(pass *p, const linear *l, const float *x, const float *dy, bool add, float *dx) {
    pass_linear_back_of(p, l, p->n, x, dy, add, dx);
}
