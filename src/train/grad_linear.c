/* Linear attention, forward and backward, in its parallel form: a window's products of queries and keys are
 * held as a matrix, one query head at a time, as those of grad_attention.c are (Katharopoulos et al. 2020,
 * arXiv 2006.16236, equations 8 and 9 with the mask of section 3.3; phi(x) = elu(x) + 1). */
#include "kernels/kernels.h"
#include "run/weights.h"
#include "train/pass.h"

#include <string.h>

static const float least = 1e-6f; // of a query's sum, as in run/mix_linear.c

typedef struct buffers {
    size_t q_width, k_width, v_width, out_width;
    float *q, *k, *v;                 // (n, width) phi of queries and keys; values
    float *attended;                  // (n, out_width)
    float *dq, *dk, *dv, *d_attended; // gradients
} buffers;

static size_t n_floats(const nut_model *m, bool backward) {
    const layer_hparams *l = &m->hp.most;
    const size_t q = (size_t)l->n_head * l->head_dim, k = (size_t)l->n_head_kv * l->head_dim,
                 v = (size_t)l->n_head_kv * l->head_dim_v, out = (size_t)l->n_head * l->head_dim_v;
    return (q + k + v + out) * (backward ? 2 : 1);
}

static buffers buffers_of(const pass *p) {
    const layer_hparams *l = &p->layer->hp;
    buffers b = {.q_width = (size_t)l->n_head * l->head_dim,
                 .k_width = (size_t)l->n_head_kv * l->head_dim,
                 .v_width = (size_t)l->n_head_kv * l->head_dim_v,
                 .out_width = (size_t)l->n_head * l->head_dim_v};
    b.q = p->mixer;
    b.k = b.q + p->n * b.q_width;
    b.v = b.k + p->n * b.k_width;
    b.attended = b.v + p->n * b.v_width;
    if (!p->backward) return b;
    b.dq = b.attended + p->n * b.out_width;
    b.dk = b.dq + p->n * b.q_width;
    b.dv = b.dk + p->n * b.k_width;
    b.d_attended = b.dv + p->n * b.v_width;
    return b;
}

/* ---- phi ---- */

static void map(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] > 0 ? x[i] + 1 : kernel_exp(x[i]);
}

/* phi is above 1 where its slope is 1, and its own slope below. */
static void map_back(const float *y, float *d, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (y[i] < 1) d[i] *= y[i];
}

static void map_token(pass *p, size_t t, unsigned member, void *ctx) {
    const buffers *b = ctx;
    (void)p, (void)member;
    map(b->q + t * b->q_width, b->q_width);
    map(b->k + t * b->k_width, b->k_width);
}

static void map_token_back(pass *p, size_t t, unsigned member, void *ctx) {
    const buffers *b = ctx;
    (void)p, (void)member;
    map_back(b->q + t * b->q_width, b->dq + t * b->q_width, b->q_width);
    map_back(b->k + t * b->k_width, b->dk + t * b->k_width, b->k_width);
}

/* ---- one query head over one window ---- */

typedef struct head {
    dense *d;
    const buffers *b;
    size_t n, dim, dim_v;       // tokens of the window; columns
    size_t q_at, v_at, k_at, y; // where the head's first row begins
    float *weights;             // (n, n) products, of which each row is divided by its sum
    float *sums;                // (n)
    float *d_weights;           // (n, n)
} head;

static head head_of(pass *p, const buffers *b, size_t t, size_t i, unsigned member) {
    const layer_hparams *l = &p->layer->hp;
    const size_t square = p->window * p->window, kv = i / (l->n_head / l->n_head_kv);
    float *squares = p->scores + member * 3 * square;
    return (head){.d = p->own[member],
                  .b = b,
                  .n = p->window,
                  .dim = l->head_dim,
                  .dim_v = l->head_dim_v,
                  .q_at = t * b->q_width + i * l->head_dim,
                  .k_at = t * b->k_width + kv * l->head_dim,
                  .v_at = t * b->v_width + kv * l->head_dim_v,
                  .y = t * b->out_width + i * l->head_dim_v,
                  .weights = squares,
                  .sums = squares + square,
                  .d_weights = squares + 2 * square};
}

static void divide_row(const head *h, size_t t) {
    float *row = h->weights + t * h->n, sum = least;
    for (size_t i = 0; i <= t; i++) sum += row[i];
    for (size_t i = 0; i < h->n; i++) row[i] = i <= t ? row[i] / sum : 0;
    h->sums[t] = sum;
}

static void attend(const head *h) {
    const buffers *b = h->b;
    const dense_product product = {.m = h->n, .n = h->n, .k = h->dim, .ldc = h->n};
    const dense_product sum = {.m = h->n, .n = h->dim_v, .k = h->n, .ldc = b->out_width};
    dense_mul_f32(h->d, &product, (dense_f32){b->q + h->q_at, b->q_width, 1},
                  (dense_f32){b->k + h->k_at, 1, b->k_width}, 1, h->weights);
    for (size_t t = 0; t < h->n; t++) divide_row(h, t);
    dense_mul_f32(h->d, &sum, (dense_f32){h->weights, h->n, 1}, (dense_f32){b->v + h->v_at, b->v_width, 1},
                  1, b->attended + h->y);
}

/* The gradient of a row's products, in place of that of what they were divided to. */
static void divide_row_back(const head *h, size_t t) {
    const float *w = h->weights + t * h->n;
    float *dw = h->d_weights + t * h->n, sum = 0;
    for (size_t i = 0; i <= t; i++) sum += w[i] * dw[i];
    for (size_t i = 0; i < h->n; i++) dw[i] = i <= t ? (dw[i] - sum) / h->sums[t] : 0;
}

/* Adds to the gradients of the keys and values; dq is the head's own. */
static void attend_back(const head *h) {
    const buffers *b = h->b;
    const dense_f32 dy = {b->d_attended + h->y, b->out_width, 1};
    const dense_product dw = {.m = h->n, .n = h->n, .k = h->dim_v, .ldc = h->n};
    const dense_product dv = {.m = h->n, .n = h->dim_v, .k = h->n, .ldc = b->v_width, .add = true};
    const dense_product dq = {.m = h->n, .n = h->dim, .k = h->n, .ldc = b->q_width};
    const dense_product dk = {.m = h->n, .n = h->dim, .k = h->n, .ldc = b->k_width, .add = true};
    dense_mul_f32(h->d, &dw, dy, (dense_f32){b->v + h->v_at, 1, b->v_width}, 1, h->d_weights);
    dense_mul_f32(h->d, &dv, (dense_f32){h->weights, 1, h->n}, dy, 1, b->dv + h->v_at);
    for (size_t t = 0; t < h->n; t++) divide_row_back(h, t);
    dense_mul_f32(h->d, &dq, (dense_f32){h->d_weights, h->n, 1}, (dense_f32){b->k + h->k_at, b->k_width, 1},
                  1, b->dq + h->q_at);
    dense_mul_f32(h->d, &dk, (dense_f32){h->d_weights, 1, h->n}, (dense_f32){b->q + h->q_at, b->q_width, 1},
                  1, b->dk + h->k_at);
}

/* ---- all of them ---- */

/* An item is a window and a query head. */
static void attend_item(pass *p, size_t item, unsigned member, void *ctx) {
    const size_t n_head = p->layer->hp.n_head;
    const head h = head_of(p, ctx, item / n_head * p->window, item % n_head, member);
    attend(&h);
}

/* An item is a window and a key/value head, whose query heads add to the same gradients. */
static void attend_item_back(pass *p, size_t item, unsigned member, void *ctx) {
    const layer_hparams *l = &p->layer->hp;
    const size_t group = l->n_head / l->n_head_kv, t = item / l->n_head_kv * p->window;
    for (size_t i = 0; i < group; i++) {
        const head h = head_of(p, ctx, t, item % l->n_head_kv * group + i, member);
        attend(&h);
        attend_back(&h);
    }
}

static void forward(pass *p, const float *x, float *y) {
    const attention_weights *w = p->layer->mixer;
    buffers b = buffers_of(p);
    pass_linear(p, &w->q, x, b.q);
    pass_linear(p, &w->k, x, b.k);
    pass_linear(p, &w->v, x, b.v);
    pass_each(p, p->n, map_token, &b);
    pass_each(p, p->n / p->window * p->layer->hp.n_head, attend_item, &b);
    pass_linear(p, &w->o, b.attended, y);
}

static void backward(pass *p, const float *x, const float *dy, float *dx) {
    const attention_weights *w = p->layer->mixer;
    buffers b = buffers_of(p);
    pass_linear_back(p, &w->o, b.attended, dy, false, b.d_attended);
    memset(b.dk, 0, p->n * b.k_width * sizeof *b.dk);
    memset(b.dv, 0, p->n * b.v_width * sizeof *b.dv);
    pass_each(p, p->n / p->window * p->layer->hp.n_head_kv, attend_item_back, &b);
    pass_each(p, p->n, map_token_back, &b);
    pass_linear_back(p, &w->q, x, b.dq, false, dx);
    pass_linear_back(p, &w->k, x, b.dk, true, dx);
    pass_linear_back(p, &w->v, x, b.dv, true, dx);
}

const grad_kind grad_mix_linear = {n_floats, forward, backward};
