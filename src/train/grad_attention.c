/* The attention mixer, forward and backward. A window's scores are held as a matrix, one query head at a
 * time. */
#include "kernels/activations.h"
#include "kernels/cache.h"
#include "model/tiles.h"
#include "run/weights.h"
#include "train/pass.h"

#include <math.h>
#include <string.h>

typedef struct buffers {
    size_t q_width, k_width, v_width, out_width;
    float *q_made, *k_made;           // (n, width) as the products give them
    float *q, *k, *v;                 // normed and rotated
    float *attended;                  // (n, out_width)
    float *dq, *dk, *dv, *d_attended; // gradients
} buffers;

static size_t n_floats(const nut_model *m, bool backward) {
    const layer_hparams *l = &m->hp.most;
    const size_t q = (size_t)l->n_head * l->head_dim, k = (size_t)l->n_head_kv * l->head_dim,
                 v = (size_t)l->n_head_kv * l->head_dim_v, out = (size_t)l->n_head * l->head_dim_v;
    return 2 * q + 2 * k + v + out + (backward ? q + k + v + out : 0);
}

static buffers buffers_of(const pass *p) {
    const layer_hparams *l = &p->layer->hp;
    buffers b = {.q_width = (size_t)l->n_head * l->head_dim,
                 .k_width = (size_t)l->n_head_kv * l->head_dim,
                 .v_width = (size_t)l->n_head_kv * l->head_dim_v,
                 .out_width = (size_t)l->n_head * l->head_dim_v};
    b.q_made = p->mixer;
    b.q = b.q_made + p->n * b.q_width;
    b.k_made = b.q + p->n * b.q_width;
    b.k = b.k_made + p->n * b.k_width;
    b.v = b.k + p->n * b.k_width;
    b.attended = b.v + p->n * b.v_width;
    if (!p->backward) return b;
    b.dq = b.attended + p->n * b.out_width;
    b.dk = b.dq + p->n * b.q_width;
    b.dv = b.dk + p->n * b.k_width;
    b.d_attended = b.dv + p->n * b.v_width;
    return b;
}

/* ---- heads of queries and keys: norm, then rotation ---- */

static kernel_rope rope_of(const pass *p, size_t t) {
    const size_t which = p->layer->hp.rope, n_pairs = p->m->hp.rope[which].n_rot / 2;
    const float *row = p->rope + (which * p->window + t % p->window) * p->m->hp.n_rot;
    return (kernel_rope){row, row + n_pairs, p->layer->hp.rotates ? n_pairs : 0,
                         p->m->hp.rope_kind == MODEL_ROPE_NORM};
}

/* Heads that share a norm, as one vector. */
static size_t norm_length(const pass *p, size_t n_heads) {
    return p->m->arch->features & ARCH_QK_NORM_FULL ? n_heads * p->layer->hp.head_dim
                                                    : p->layer->hp.head_dim;
}

static void finish_heads(const pass *p, size_t t, size_t n_heads, const float *weight, const float *made,
                         float *to) {
    const size_t width = n_heads * p->layer->hp.head_dim, dim = norm_length(p, n_heads);
    const kernel_rope r = rope_of(p, t);
    memcpy(to + t * width, made + t * width, width * sizeof *to);
    for (size_t i = t * width; weight && i < (t + 1) * width; i += dim)
        p->m->kernels->rms_norm(made + i, weight, dim, p->m->hp.norm_eps, to + i);
    p->m->kernels->rope(to + t * width, n_heads, p->layer->hp.head_dim, &r);
}

/* The gradient of finished heads, d, becomes that of normed ones. Rotating back is rotating by the negated
 * angles, since a rotation's inverse is its transpose, but for the magnitude, which stays. */
static void rotate_heads_back(const pass *p, size_t t, size_t n_heads, float *d) {
    const size_t width = n_heads * p->layer->hp.head_dim;
    kernel_rope r = rope_of(p, t);
    float sine[CACHE_MAX_DIM];
    for (size_t i = 0; i < r.n_pairs; i++) sine[i] = -r.sine[i];
    r.sine = sine;
    p->m->kernels->rope(d + t * width, n_heads, p->layer->hp.head_dim, &r);
}

/* And then that of the products' results. */
static void norm_heads_back(const pass *p, size_t t, size_t n_heads, const float *weight, const float *made,
                            float *d) {
    const size_t width = n_heads * p->layer->hp.head_dim, dim = norm_length(p, n_heads);
    for (size_t i = t * width; weight && i < (t + 1) * width; i += dim)
        pass_rms_norm_back(made + i, weight, d + i, dim, p->m->hp.norm_eps, false, d + i);
}

static void finish_token(pass *p, size_t t, unsigned member, void *ctx) {
    const attention_weights *w = p->layer->mixer;
    const buffers *b = ctx;
    (void)member;
    finish_heads(p, t, p->layer->hp.n_head, w->q_norm, b->q_made, b->q);
    finish_heads(p, t, p->layer->hp.n_head_kv, w->k_norm, b->k_made, b->k);
}

static void rotate_token_back(pass *p, size_t t, unsigned member, void *ctx) {
    const buffers *b = ctx;
    (void)member;
    rotate_heads_back(p, t, p->layer->hp.n_head, b->dq);
    rotate_heads_back(p, t, p->layer->hp.n_head_kv, b->dk);
}

static void norm_token_back(pass *p, size_t t, unsigned member, void *ctx) {
    const attention_weights *w = p->layer->mixer;
    const buffers *b = ctx;
    (void)member;
    norm_heads_back(p, t, p->layer->hp.n_head, w->q_norm, b->q_made, b->dq);
    norm_heads_back(p, t, p->layer->hp.n_head_kv, w->k_norm, b->k_made, b->dk);
}

static void learn_norm(pass *p, size_t n_heads, const float *weight, const float *made, const float *d) {
    const size_t dim = norm_length(p, n_heads);
    pass_rms_norm_learn(p, weight, made, d, p->n * n_heads * p->layer->hp.head_dim / dim, dim);
}

/* ---- one query head over one window ---- */

typedef struct head {
    pass *p;
    dense *d;
    const buffers *b;
    size_t t, head, kv; // first token of the window, query head, key/value head
    float *weights;     // (window, window) softmax, row by row
    float *capped;      // (window, window) scores with softcap
    float *d_weights;   // (window, window)
} head;

static float scale_of(const pass *p) {
    const float scale = p->m->hp.attn_scale;
    return scale > 0 ? scale : 1 / sqrtf((float)p->layer->hp.head_dim);
}

static head head_of(pass *p, const buffers *b, size_t t, size_t i, unsigned member) {
    const size_t square = p->window * p->window;
    float *scores = p->scores + member * 3 * square;
    return (head){p,
                  p->own[member],
                  b,
                  t,
                  i,
                  i / (p->layer->hp.n_head / p->layer->hp.n_head_kv),
                  scores,
                  scores + square,
                  scores + 2 * square};
}

static const float *q_of(const head *h) {
    return h->b->q + h->t * h->b->q_width + h->head * h->p->layer->hp.head_dim;
}
static const float *k_of(const head *h) {
    return h->b->k + h->t * h->b->k_width + h->kv * h->p->layer->hp.head_dim;
}
static size_t v_at(const head *h) {
    return h->t * h->b->v_width + h->kv * h->p->layer->hp.head_dim_v;
}
static size_t out_at(const head *h) {
    return h->t * h->b->out_width + h->head * h->p->layer->hp.head_dim_v;
}

/* Positions of tiles that token t does not see get no weight. */
static void hide_tiles(const head *h, size_t t, float *row) {
    const tile_hparams *tiles = &h->p->m->hp.tiles;
    for (size_t i = 0; tiles->local && i < t; i++)
        if (!tiles_see(tiles, t / CACHE_TILE, i / CACHE_TILE)) row[i] = -INFINITY;
}

/* A row of scores becomes weights: only positions [first, t] are seen. */
static void softmax_row(const head *h, size_t t) {
    const size_t n = h->p->window, window = h->p->layer->hp.window;
    const size_t first = kernel_first_seen(t + 1, window);
    const float cap = h->p->m->hp.attn_softcap;
    float *row = h->weights + t * n, *capped = h->capped + t * n, most = -INFINITY, sum = 0;
    for (size_t i = first; cap > 0 && i <= t; i++) row[i] = capped[i] = act_softcap(row[i], cap);
    hide_tiles(h, t, row);
    for (size_t i = first; i <= t; i++) most = row[i] > most ? row[i] : most;
    for (size_t i = first; i <= t; i++) row[i] = exp_scalar(row[i] - most);
    for (size_t i = first; i <= t; i++) sum += row[i];
    for (size_t i = 0; i < n; i++) row[i] = i < first || i > t ? 0 : row[i] / sum;
}

static void attend(const head *h) {
    const size_t n = h->p->window, dim = h->p->layer->hp.head_dim, dim_v = h->p->layer->hp.head_dim_v;
    const dense_product score = {.m = n, .n = n, .k = dim, .ldc = n};
    const dense_product sum = {.m = n, .n = dim_v, .k = n, .ldc = h->b->out_width};
    dense_mul_f32(h->d, &score, (dense_f32){q_of(h), h->b->q_width, 1},
                  (dense_f32){k_of(h), 1, h->b->k_width}, scale_of(h->p), h->weights);
    for (size_t t = 0; t < n; t++) softmax_row(h, t);
    dense_mul_f32(h->d, &sum, (dense_f32){h->weights, n, 1},
                  (dense_f32){h->b->v + v_at(h), h->b->v_width, 1}, 1, h->b->attended + out_at(h));
}

/* ---- a layer that is seen or pulled ---- */

/* The layer's relation; NULL: it has none, or one of the other use. */
static const pass_relation *relation_of(const head *h, bool pulls) {
    const pass_relation *r = h->p->relation;
    return r && r->layer == h->p->layer && r->pulls == pulls ? r : NULL;
}

/* Which of all windows' query heads, or key/value heads, this is. */
static size_t which_of(const head *h) {
    return h->t / h->p->window * h->p->layer->hp.n_head + h->head;
}
static size_t which_kv(const head *h) {
    return h->t / h->p->window * h->p->layer->hp.n_head_kv + h->kv;
}

/* In place of the weights, how alike a head's values are to those of tokens before: the softmax of their
 * products divided by the root of their length. */
static void relate_values(const head *h) {
    const size_t n = h->p->window, dim = h->p->layer->hp.head_dim_v;
    const float *v = h->b->v + v_at(h);
    const dense_product product = {.m = n, .n = n, .k = dim, .ldc = n};
    dense_mul_f32(h->d, &product, (dense_f32){v, h->b->v_width, 1}, (dense_f32){v, 1, h->b->v_width},
                  1 / sqrtf((float)dim), h->weights);
    for (size_t t = 0; t < n; t++) {
        float *row = h->weights + t * n, most = row[0], sum = 0;
        for (size_t i = 1; i <= t; i++) most = row[i] > most ? row[i] : most;
        for (size_t i = 0; i <= t; i++) sum += row[i] = exp_scalar(row[i] - most);
        for (size_t i = 0; i < n; i++) row[i] = i > t ? 0 : row[i] / sum;
    }
}

static void keep_weights(const head *h) {
    const pass_relation *r = relation_of(h, false);
    const size_t square = h->p->window * h->p->window;
    if (!r) return;
    memcpy(r->weights + which_of(h) * square, h->weights, square * sizeof *h->weights);
    if (!r->alike || h->head % (h->p->layer->hp.n_head / h->p->layer->hp.n_head_kv)) return;
    relate_values(h);
    memcpy(r->alike + which_kv(h) * square, h->weights, square * sizeof *h->weights);
}

/* Adds the gradient of pull KL(target, w) by the scores of row t, which is w - target, and the divergence
 * itself to *sum. */
static void pull_row(const head *h, const float *target, size_t t, double pull, double *sum) {
    const pass_relation *r = h->p->relation;
    const float *w = h->weights + t * h->p->window;
    float *ds = h->d_weights + t * h->p->window;
    if (r->labels[h->t + t] < 0) return;
    for (size_t i = 0; i <= t; i++) {
        if (!(w[i] > 0)) continue; // outside of the layer's window
        ds[i] += (float)pull * (w[i] - target[i]);
        if (target[i] > 0) *sum += (double)target[i] * log((double)target[i] / (double)w[i]);
    }
}

static void pull(const head *h) {
    const pass_relation *r = relation_of(h, true);
    const size_t n = h->p->window;
    double sum = 0;
    if (!r) return;
    for (size_t t = 0; t < n; t++) pull_row(h, r->weights + (which_of(h) * n + t) * n, t, r->pull, &sum);
    r->values[which_of(h)] = sum;
}

/* A product of values has both of them: its gradient s goes to one by the other, (s + s^T) v. */
static void pull_values(const head *h) {
    const pass_relation *r = relation_of(h, true);
    const size_t n = h->p->window, dim = h->p->layer->hp.head_dim_v;
    const dense_product product = {.m = n, .n = dim, .k = n, .ldc = h->b->v_width, .add = true};
    const dense_f32 v = {h->b->v + v_at(h), h->b->v_width, 1};
    const float scale = 1 / sqrtf((float)dim);
    double sum = 0;
    if (!r || !r->alike) return;
    relate_values(h);
    memset(h->d_weights, 0, n * n * sizeof *h->d_weights);
    for (size_t t = 0; t < n; t++) pull_row(h, r->alike + (which_kv(h) * n + t) * n, t, r->pull_alike, &sum);
    r->values_alike[which_kv(h)] = sum;
    dense_mul_f32(h->d, &product, (dense_f32){h->d_weights, n, 1}, v, scale, h->b->dv + v_at(h));
    dense_mul_f32(h->d, &product, (dense_f32){h->d_weights, 1, n}, v, scale, h->b->dv + v_at(h));
}

/* ---- and back ---- */

/* Through the cap of a row's scores, which is behind their products. */
static void uncap_row_back(const head *h, size_t t) {
    const size_t n = h->p->window;
    const float *w = h->weights + t * n, *capped = h->capped + t * n, cap = h->p->m->hp.attn_softcap;
    float *ds = h->d_weights + t * n;
    for (size_t i = 0; cap > 0 && i <= t; i++)
        if (w[i] > 0) ds[i] *= 1 - (capped[i] / cap) * (capped[i] / cap);
}

/* The gradient of a row's scores, in place of that of its weights: w (dw - sum of w dw). */
static void softmax_row_back(const head *h, size_t t) {
    const size_t n = h->p->window;
    const float *w = h->weights + t * n;
    float *dw = h->d_weights + t * n, sum = 0;
    for (size_t i = 0; i <= t; i++) sum += w[i] * dw[i];
    for (size_t i = 0; i < n; i++) dw[i] = i <= t ? w[i] * (dw[i] - sum) : 0;
}

/* Adds to the gradients of the keys and values; dq is the head's own. The head's weights are there. */
static void attend_back(const head *h) {
    const buffers *b = h->b;
    const layer_hparams *l = &h->p->layer->hp;
    const size_t n = h->p->window;
    const float *dy = b->d_attended + out_at(h), scale = scale_of(h->p);
    const dense_f32 dy_view = {dy, b->out_width, 1};
    const dense_product dw = {.m = n, .n = n, .k = l->head_dim_v, .ldc = n};
    const dense_product dv = {.m = n, .n = l->head_dim_v, .k = n, .ldc = b->v_width, .add = true};
    const dense_product dq = {.m = n, .n = l->head_dim, .k = n, .ldc = b->q_width};
    const dense_product dk = {.m = n, .n = l->head_dim, .k = n, .ldc = b->k_width, .add = true};
    dense_mul_f32(h->d, &dw, dy_view, (dense_f32){b->v + v_at(h), 1, b->v_width}, 1, h->d_weights);
    dense_mul_f32(h->d, &dv, (dense_f32){h->weights, 1, n}, dy_view, 1, b->dv + v_at(h));
    for (size_t t = 0; t < n; t++) softmax_row_back(h, t);
    pull(h);
    for (size_t t = 0; t < n; t++) uncap_row_back(h, t);
    dense_mul_f32(h->d, &dq, (dense_f32){h->d_weights, n, 1}, (dense_f32){k_of(h), b->k_width, 1}, scale,
                  b->dq + (q_of(h) - b->q));
    dense_mul_f32(h->d, &dk, (dense_f32){h->d_weights, 1, n}, (dense_f32){q_of(h), b->q_width, 1}, scale,
                  b->dk + (k_of(h) - b->k));
}

/* ---- all of them ---- */

/* An item is a window and a query head. */
static void attend_item(pass *p, size_t item, unsigned member, void *ctx) {
    const size_t n_head = p->layer->hp.n_head;
    const head h = head_of(p, ctx, item / n_head * p->window, item % n_head, member);
    attend(&h);
    keep_weights(&h);
}

/* An item is a window and a key/value head, whose query heads add to the same gradients. */
static void attend_item_back(pass *p, size_t item, unsigned member, void *ctx) {
    const layer_hparams *l = &p->layer->hp;
    const size_t group = l->n_head / l->n_head_kv;
    for (size_t i = 0; i < group; i++) {
        const head h =
            head_of(p, ctx, item / l->n_head_kv * p->window, item % l->n_head_kv * group + i, member);
        attend(&h);
        attend_back(&h);
        if (i + 1 == group) pull_values(&h);
    }
}

static void forward(pass *p, const float *x, float *y) {
    const attention_weights *w = p->layer->mixer;
    buffers b = buffers_of(p);
    pass_linear(p, &w->q, x, b.q_made);
    pass_linear(p, &w->k, x, b.k_made);
    pass_linear(p, &w->v, x, b.v);
    pass_each(p, p->n, finish_token, &b);
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
    pass_each(p, p->n, rotate_token_back, &b);
    learn_norm(p, p->layer->hp.n_head, w->q_norm, b.q_made, b.dq);
    learn_norm(p, p->layer->hp.n_head_kv, w->k_norm, b.k_made, b.dk);
    pass_each(p, p->n, norm_token_back, &b);
    pass_linear_back(p, &w->q, x, b.dq, false, dx);
    pass_linear_back(p, &w->k, x, b.dk, true, dx);
    pass_linear_back(p, &w->v, x, b.dv, true, dx);
}

const grad_kind grad_mix_attention = {n_floats, forward, backward};
