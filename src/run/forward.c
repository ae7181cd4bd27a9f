/*
 * One batch of tokens through the layers: the whole model in reading order.
 *
 * Letters: n tokens of the batch, n_embd, n_ff, n_head query heads in n_head_kv groups, head_dim values
 * each. Work is cut into regions that the team runs together; a return from threads_run is the only barrier.
 * A product is cut by rows, attention as attend.c says, everything else by token; with one token
 * the latter is too little work to share and the caller does it alone. A layer costs five regions.
 */
#include "run/session.h"

#include <string.h>

enum {
    ROWS_PER_UNIT = 32 / FORMAT_LANES
}; // groups: products are cut at multiples of 32 rows, a whole block of
   // the next activation, so that a member can quantize what it made

typedef struct batch {
    nut_session *s;
    const nut_model *m;
    const model_layer *layer;
    size_t il; // layer index
    size_t n;  // tokens
} batch;

/* ---- activations ---- */

static bool wants_q8(const matrix *w) {
    return w->format->act == FORMAT_ACT_Q8;
}

/* An activation of n tokens, as products read it and as it is quantized. */
static kernel_act act_view(const batch *b, const run_act *a, size_t n, size_t width) {
    return (kernel_act){.n_tokens = n,
                        .n_cols = width,
                        .x = a->x,
                        .lanes = kernel_lanes(n),
                        .bytes = b->m->kernels->act_bytes,
                        .q = a->q,
                        .d = a->d,
                        .d_sum = a->d_sum,
                        .sum = a->sum};
}

/* ---- regions cut by token ---- */

typedef void token_fn(const batch *b, size_t t);
typedef struct token_region {
    const batch *b;
    token_fn *fn;
} token_region;

static void token_member(void *ctx, unsigned i, unsigned n) {
    const token_region *r = ctx;
    size_t begin, end;
    threads_split(r->b->n, i, n, &begin, &end);
    for (size_t t = begin; t < end; t++) r->fn(r->b, t);
}

static void each_token(const batch *b, token_fn *fn) {
    token_region r = {b, fn};
    if (b->n == 1)
        fn(b, 0);
    else
        threads_run(b->s->team, token_member, &r);
}

/* ---- products ---- */

/* Rows [begin, end) of a product that member i of n makes, in groups. */
static void split_groups(const matrix *w, unsigned i, unsigned n, size_t *begin, size_t *end) {
    size_t groups = matrix_groups(w), units = (groups + ROWS_PER_UNIT - 1) / ROWS_PER_UNIT;
    threads_split(units, i, n, begin, end);
    *begin *= ROWS_PER_UNIT;
    *end = *end * ROWS_PER_UNIT < groups ? *end * ROWS_PER_UNIT : groups;
}

static void multiply(const batch *b, const matrix *w, const kernel_act *x, float *y, unsigned i,
                     unsigned n) {
    size_t begin, end;
    split_groups(w, i, n, &begin, &end);
    if (begin < end) b->m->kernels->mul_mat[w->format->id](w, begin, end, x, y, run_pad8(w->n_rows));
}

/* ---- attention ---- */

/* The norm of a token's residual, the input of q/k/v, of gate/up or of the output. Returns it. */
static const float *norm_token(const batch *b, size_t t, const float *weight) {
    const nut_session *s = b->s;
    size_t n_embd = b->m->hp.n_embd;
    float *x = s->buf.act.x + t * n_embd;
    b->m->kernels->rms_norm(s->buf.residual + t * n_embd, weight, n_embd, b->m->hp.rms_eps, x);
    return x;
}

/* The input of queries, keys and values: 2n quantized tokens, token n + t being what int8 left out of token
 * t. */
static kernel_act qkv_view(const batch *b) {
    return act_view(b, &b->s->buf.act, 2 * b->n, b->m->hp.n_embd);
}

static void attn_norm_token(const batch *b, size_t t) {
    const model_layer *l = b->layer;
    const float *x = norm_token(b, t, l->attn_norm);
    if (!wants_q8(&l->wq) && !wants_q8(&l->wk) && !wants_q8(&l->wv)) return;
    const kernel_act to = qkv_view(b);
    float *rest = b->s->buf.act.x + (b->n + t) * to.n_cols;
    b->m->kernels->quantize_q8(x, 0, to.n_cols, t, &to, rest);
    b->m->kernels->quantize_q8(rest, 0, to.n_cols, b->n + t, &to, NULL);
}

/* Queries, keys and values are the sum of two int8 products, rows t and n + t of y: what attention reads is
 * where one int8 term loses most. On SmolLM2-135M this takes the error of the logits from 0.40 to 0.15
 * for 16 % of a layer's work. */
static void multiply_twice(const batch *b, const matrix *w, float *y, unsigned i, unsigned n) {
    const kernel_act x = wants_q8(w) ? qkv_view(b) : act_view(b, &b->s->buf.act, b->n, b->m->hp.n_embd);
    multiply(b, w, &x, y, i, n);
}

static void add_rest(const batch *b, const matrix *w, float *y, size_t t) {
    size_t width = run_pad8(w->n_rows);
    if (wants_q8(w)) b->m->kernels->add(y + t * width, y + (b->n + t) * width, width);
}

static void qkv_member(void *ctx, unsigned i, unsigned n) {
    const batch *b = ctx;
    const run_buffers *buf = &b->s->buf;
    multiply_twice(b, &b->layer->wq, buf->q, i, n);
    multiply_twice(b, &b->layer->wk, buf->k, i, n);
    multiply_twice(b, &b->layer->wv, buf->v, i, n);
}

/* Bias and norm of the heads of q or k of one token, in place. */
static void prepare_heads(const batch *b, float *heads, size_t n_heads, const float *bias,
                          const float *norm) {
    size_t dim = b->m->hp.head_dim;
    if (bias) b->m->kernels->add(heads, bias, n_heads * dim);
    for (size_t h = 0; norm && h < n_heads; h++)
        b->m->kernels->rms_norm(heads + h * dim, norm, dim, b->m->hp.rms_eps, heads + h * dim);
}

static void store_token(const batch *b, size_t t) {
    const nut_session *s = b->s;
    const model_hparams *hp = &b->m->hp;
    size_t dim = hp->head_dim, width = hp->n_head_kv * dim;
    float *q = s->buf.q + t * hp->n_head * dim, *k = s->buf.k + t * width, *v = s->buf.v + t * width;
    add_rest(b, &b->layer->wq, s->buf.q, t);
    add_rest(b, &b->layer->wk, s->buf.k, t);
    add_rest(b, &b->layer->wv, s->buf.v, t);
    prepare_heads(b, q, hp->n_head, b->layer->bq, b->layer->q_norm);
    prepare_heads(b, k, hp->n_head_kv, b->layer->bk, b->layer->k_norm);
    if (b->layer->bv) b->m->kernels->add(v, b->layer->bv, width);
    kernel_rope r = rope_of(s, t);
    b->m->kernels->rope(q, hp->n_head, dim, &r);
    attend_store(s, b->il, t, k, v);
}

static attend_batch attend_view(const batch *b) {
    return (attend_batch){.s = b->s, .layer = b->il, .n = b->n, .q = b->s->buf.q, .out = b->s->buf.act.x};
}

static void attended_member(void *ctx, unsigned i, unsigned n) {
    attend_batch a = attend_view(ctx);
    attend_member(&a, i, n);
}

static kernel_act attended_view(const batch *b) {
    return act_view(b, &b->s->buf.act, b->n, b->m->hp.n_head * b->m->hp.head_dim);
}

static void attended_token(const batch *b, size_t t) {
    const kernel_act to = attended_view(b);
    b->m->kernels->quantize_q8(to.x + t * to.n_cols, 0, to.n_cols, t, &to, NULL);
}

static void wo_member(void *ctx, unsigned i, unsigned n) {
    const batch *b = ctx;
    const run_buffers *buf = &b->s->buf;
    const kernel_act x = attended_view(b);
    multiply(b, &b->layer->wo, &x, buf->out, i, n);
}

static void add_out(const batch *b, size_t t) {
    size_t n_embd = b->m->hp.n_embd;
    b->m->kernels->add(b->s->buf.residual + t * n_embd, b->s->buf.out + t * run_pad8(n_embd), n_embd);
}

/* The end of a part of a step. */
static void done(const batch *b, profile_part part) {
    profile_end(&b->s->profile, part);
}

static void attention(batch *b) {
    threads *team = b->s->team;
    each_token(b, attn_norm_token);
    done(b, PROFILE_ATTN_NORM);
    threads_run(team, qkv_member, b);
    done(b, PROFILE_QKV);
    each_token(b, store_token);
    done(b, PROFILE_STORE);
    attend_batch a = attend_view(b);
    threads_run(team, attended_member, b);
    attend_finish(&a);
    if (wants_q8(&b->layer->wo)) each_token(b, attended_token);
    done(b, PROFILE_ATTEND);
    threads_run(team, wo_member, b);
    done(b, PROFILE_WO);
}

/* ---- feed-forward ---- */

static kernel_act norm_view(const batch *b) {
    return act_view(b, &b->s->buf.act, b->n, b->m->hp.n_embd);
}

static void quantize_norm(const batch *b, size_t t, const float *x) {
    const kernel_act to = norm_view(b);
    b->m->kernels->quantize_q8(x, 0, to.n_cols, t, &to, NULL);
}

static kernel_act hidden_view(const batch *b) {
    return act_view(b, &b->s->buf.hidden, b->n, b->m->hp.n_ff);
}

static void ffn_norm_token(const batch *b, size_t t) {
    add_out(b, t);
    const float *x = norm_token(b, t, b->layer->ffn_norm);
    if (wants_q8(&b->layer->w_gate) || wants_q8(&b->layer->w_up)) quantize_norm(b, t, x);
}

/* Joins rows [begin, end) of gate and up of token t: the input of w_down. */
static void join_gate_up(const batch *b, size_t t, size_t begin, size_t end) {
    const run_buffers *buf = &b->s->buf;
    size_t n_ff = b->m->hp.n_ff, row = t * run_pad8(n_ff) + begin;
    const kernel_act to = hidden_view(b);
    b->m->kernels->silu_mul(buf->gate + row, buf->up + row, end - begin);
    if (wants_q8(&b->layer->w_down))
        b->m->kernels->quantize_q8(buf->gate + row, begin, end - begin, t, &to, NULL);
    else
        memcpy(buf->hidden.x + t * n_ff + begin, buf->gate + row, (end - begin) * sizeof(float));
}

/* A member multiplies its rows of gate and up and goes on with what it made: no barrier between. */
static void gate_up_member(void *ctx, unsigned i, unsigned n) {
    const batch *b = ctx;
    const run_buffers *buf = &b->s->buf;
    size_t begin, end, n_ff = b->m->hp.n_ff;
    const kernel_act x = norm_view(b);
    multiply(b, &b->layer->w_gate, &x, buf->gate, i, n);
    multiply(b, &b->layer->w_up, &x, buf->up, i, n);
    split_groups(&b->layer->w_gate, i, n, &begin, &end);
    begin *= FORMAT_LANES, end *= FORMAT_LANES;
    if (end > n_ff) end = n_ff;
    for (size_t t = 0; t < b->n && begin < end; t++) join_gate_up(b, t, begin, end);
}

static void down_member(void *ctx, unsigned i, unsigned n) {
    const batch *b = ctx;
    const run_buffers *buf = &b->s->buf;
    const kernel_act x = hidden_view(b);
    multiply(b, &b->layer->w_down, &x, buf->out, i, n);
}

static void feed_forward(batch *b) {
    each_token(b, ffn_norm_token);
    done(b, PROFILE_FFN_NORM);
    threads_run(b->s->team, gate_up_member, b);
    done(b, PROFILE_GATE_UP);
    threads_run(b->s->team, down_member, b);
    done(b, PROFILE_DOWN);
    each_token(b, add_out);
    done(b, PROFILE_ADD);
}

/* ---- ends ---- */

static void output_norm_token(const batch *b, size_t t) {
    const float *x = norm_token(b, t, b->m->output_norm);
    if (wants_q8(&b->m->output)) quantize_norm(b, t, x);
}

static void output_member(void *ctx, unsigned i, unsigned n) {
    const batch *b = ctx;
    const run_buffers *buf = &b->s->buf;
    const kernel_act x = norm_view(b);
    multiply(b, &b->m->output, &x, buf->logits, i, n);
}

/* The vocabulary's rows are the largest product: only for the last n_logits tokens, moved to the front
 * first. */
static void output(batch *b, size_t n_logits) {
    float *residual = b->s->buf.residual;
    size_t n_embd = b->m->hp.n_embd;
    memmove(residual, residual + (b->n - n_logits) * n_embd, n_logits * n_embd * sizeof(float));
    b->n = n_logits;
    each_token(b, output_norm_token);
    done(b, PROFILE_OUTPUT_NORM);
    threads_run(b->s->team, output_member, b);
    done(b, PROFILE_OUTPUT);
}

void forward_batch(nut_session *s, const int32_t *ids, size_t n, size_t n_logits) {
    const nut_model *m = s->model;
    batch b = {.s = s, .m = m, .n = n};
    rope_table(s->buf.rope_freq, m->hp.n_rot / 2, s->n_past, n, s->buf.rope);
    for (size_t t = 0; t < n; t++)
        matrix_row(&m->token_embd, (size_t)ids[t], s->buf.residual + t * m->hp.n_embd);
    done(&b, PROFILE_EMBED);
    for (b.il = 0; b.il < m->hp.n_layer; b.il++) {
        b.layer = &m->layers[b.il];
        attention(&b);
        feed_forward(&b);
    }
    if (n_logits) output(&b, n_logits);
}
