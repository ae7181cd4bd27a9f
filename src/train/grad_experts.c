/*
 * The mixture of experts, forward and backward (run/ffn_experts.c is the same walk for inference). Experts
 * run one after the other over the tokens that chose them. Which experts a token chooses has no gradient;
 * their weights have one, through the chosen experts' scores, as in Shazeer et al. 2017, arXiv 1701.06538,
 * section 2.
 */
#include "kernels/activations.h"
#include "run/weights.h"
#include "train/pass.h"

#include <math.h>
#include <string.h>

typedef struct buffers {
    size_t n_used;
    float *scores, *d_scores;  // (n, n_expert) as the gating has made them of the router's
    float *shares, *d_shares;  // (n, n_used) of the chosen
    float *chosen;             // (n, n_used) as numbers
    float *x, *y, *dy, *dx;    // (n, n_embd) of the expert at hand, of which each token has one row at most
    float *gate, *up, *hidden; // (n, the wider n_ff)
    float *weight, *d_weight;  // (n) of the tokens at hand
    float *token;              // (n) their places in `chosen`, as numbers
} buffers;

static size_t widest(const nut_model *m) {
    const expert_hparams *h = &m->hp.experts;
    return h->n_ff > h->n_ff_shared ? h->n_ff : h->n_ff_shared;
}

static size_t n_floats(const nut_model *m, bool backward) {
    const expert_hparams *h = &m->hp.experts;
    (void)backward;
    return 2 * (size_t)h->n + 3 * (size_t)h->n_used + 4 * (size_t)m->hp.n_embd + 3 * widest(m) + 3;
}

/* The next n floats for each token. */
static float *take(const pass *p, float **rest, size_t n) {
    float *at = *rest;
    *rest += p->n * n;
    return at;
}

static buffers buffers_of(const pass *p) {
    const expert_hparams *h = &p->m->hp.experts;
    const size_t width = p->m->hp.n_embd, wide = widest(p->m);
    float *rest = p->ffn;
    buffers b = {.n_used = h->n_used};
    b.scores = take(p, &rest, h->n), b.d_scores = take(p, &rest, h->n);
    b.shares = take(p, &rest, h->n_used), b.d_shares = take(p, &rest, h->n_used);
    b.chosen = take(p, &rest, h->n_used);
    b.x = take(p, &rest, width), b.y = take(p, &rest, width);
    b.dy = take(p, &rest, width), b.dx = take(p, &rest, width);
    b.gate = take(p, &rest, wide), b.up = take(p, &rest, wide), b.hidden = take(p, &rest, wide);
    b.weight = take(p, &rest, 1), b.d_weight = take(p, &rest, 1), b.token = take(p, &rest, 1);
    return b;
}

/* ---- the choice ---- */

static void softmax(float *x, size_t n) {
    float most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, x[i]);
    for (size_t i = 0; i < n; i++) sum += x[i] = exp_scalar(x[i] - most);
    for (size_t i = 0; i < n; i++) x[i] /= sum;
}

/* The best expert that is not among the first n_taken of chosen. */
static size_t best_of(const float *scores, const float *bias, size_t n, const float *chosen,
                      size_t n_taken) {
    size_t best = n;
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        const float score = scores[i] + (bias ? bias[i] : 0);
        bool taken = false;
        for (size_t k = 0; k < n_taken; k++) taken |= (size_t)chosen[k] == i;
        if (!taken && (best == n || score > most)) best = i, most = score;
    }
    return best;
}

static float sum_of(const float *x, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

static void choose_token(pass *p, size_t t, unsigned member, void *ctx) {
    const buffers *b = ctx;
    const expert_hparams *h = &p->m->hp.experts;
    const expert_weights *w = p->layer->ffn;
    float *scores = b->scores + t * h->n, *shares = b->shares + t * h->n_used,
          *chosen = b->chosen + t * h->n_used;
    (void)member;
    if (h->gating == MODEL_GATE_SOFTMAX) softmax(scores, h->n);
    for (size_t i = 0; h->gating == MODEL_GATE_SIGMOID && i < h->n; i++)
        scores[i] = 1 / (1 + exp_scalar(-scores[i]));
    for (size_t i = 0; i < h->n_used; i++) {
        const size_t best = best_of(scores, w->bias, h->n, chosen, i);
        chosen[i] = (float)best;
        shares[i] = scores[best];
    }
    if (h->gating == MODEL_GATE_CHOSEN) softmax(shares, h->n_used);
}

/* What the experts' results are multiplied by, from the shares of a token. */
static float scale_of(const expert_hparams *h, const float *shares) {
    const float sum = sum_of(shares, h->n_used);
    return h->normalize && sum > 0 ? h->scale / sum : h->scale;
}

/* The gradients of a softmax' inputs from those of its results y, in their place. */
static void softmax_back(const float *y, float *d, size_t n) {
    float along = 0;
    for (size_t i = 0; i < n; i++) along += y[i] * d[i];
    for (size_t i = 0; i < n; i++) d[i] = y[i] * (d[i] - along);
}

/* The gradients of a token's scores, as the router gives them, from those of its experts' weights. */
static void choose_token_back(pass *p, size_t t, unsigned member, void *ctx) {
    const buffers *b = ctx;
    const expert_hparams *h = &p->m->hp.experts;
    const float *scores = b->scores + t * h->n, *shares = b->shares + t * h->n_used,
                *chosen = b->chosen + t * h->n_used;
    float *d = b->d_shares + t * h->n_used, *to = b->d_scores + t * h->n, along = 0;
    const float scale = scale_of(h, shares);
    const bool normed = h->normalize && sum_of(shares, h->n_used) > 0;
    (void)member;
    for (size_t i = 0; normed && i < h->n_used; i++) along += d[i] * shares[i] * scale / h->scale;
    for (size_t i = 0; i < h->n_used; i++) d[i] = scale * (d[i] - along);
    if (h->gating == MODEL_GATE_CHOSEN) softmax_back(shares, d, h->n_used);
    memset(to, 0, h->n * sizeof *to);
    for (size_t i = 0; i < h->n_used; i++) to[(size_t)chosen[i]] = d[i];
    if (h->gating == MODEL_GATE_SOFTMAX) softmax_back(scores, to, h->n);
    for (size_t i = 0; h->gating == MODEL_GATE_SIGMOID && i < h->n; i++)
        to[i] *= scores[i] * (1 - scores[i]);
}

/* ---- an expert ---- */

typedef struct expert {
    linear gate, up, down;
    size_t n; // its tokens
} expert;

static const float *row_of(const float *bias, size_t e, size_t n) {
    return bias ? bias + e * n : NULL;
}

/* Expert e, with the inputs and weights of the tokens that chose it in the buffers. */
static expert gather(const pass *p, const buffers *b, size_t e, const float *x) {
    const expert_weights *w = p->layer->ffn;
    const expert_hparams *h = &p->m->hp.experts;
    const size_t width = p->m->hp.n_embd;
    expert one = {{.w = w->gate[e], .bias = row_of(w->gate_bias, e, h->n_ff)},
                  {.w = w->up[e], .bias = row_of(w->up_bias, e, h->n_ff)},
                  {.w = w->down[e], .bias = row_of(w->down_bias, e, width)},
                  0};
    for (size_t i = 0; i < p->n * h->n_used; i++) {
        const size_t t = i / h->n_used;
        if ((size_t)b->chosen[i] != e) continue;
        memcpy(b->x + one.n * width, x + t * width, width * sizeof *x);
        b->weight[one.n] = b->shares[i] * scale_of(h, b->shares + t * h->n_used);
        b->token[one.n++] = (float)i;
    }
    return one;
}

/* All tokens and the shared one, whose weight is the sigmoid of a product, or 1. */
static expert gather_shared(const pass *p, const buffers *b, const float *x) {
    const expert_weights *w = p->layer->ffn;
    const size_t width = p->m->hp.n_embd;
    memcpy(b->x, x, p->n * width * sizeof *x);
    for (size_t t = 0; t < p->n; t++) {
        double sum = 0;
        for (size_t i = 0; w->shared_router && i < width; i++)
            sum += (double)w->shared_router[i] * (double)x[t * width + i];
        b->weight[t] = w->shared_router ? 1 / (1 + exp_scalar(-(float)sum)) : 1;
        b->token[t] = (float)(t * b->n_used);
    }
    return (expert){w->shared_gate, w->shared_up, w->shared_down, p->n};
}

static bool has_shared(const pass *p) {
    return ((const expert_weights *)p->layer->ffn)->shared_gate.w.format;
}

static size_t row_at(const pass *p, const buffers *b, size_t k) {
    return (size_t)b->token[k] / b->n_used * p->m->hp.n_embd;
}

static void run_expert(pass *p, const buffers *b, const expert *e) {
    const size_t n_ff = e->gate.w.n_rows;
    pass_linear_of(p, &e->gate, e->n, b->x, b->gate);
    pass_linear_of(p, &e->up, e->n, b->x, b->up);
    pass_gate(p, e->n, n_ff, b->gate, b->up, b->hidden);
    pass_linear_of(p, &e->down, e->n, b->hidden, b->y);
}

static void add_expert(pass *p, const buffers *b, const expert *e, float *y) {
    const size_t width = p->m->hp.n_embd;
    if (!e->n) return;
    run_expert(p, b, e);
    for (size_t k = 0; k < e->n; k++)
        for (size_t i = 0; i < width; i++) y[row_at(p, b, k) + i] += b->weight[k] * b->y[k * width + i];
}

static void forward(pass *p, const float *x, float *y) {
    const expert_weights *w = p->layer->ffn;
    buffers b = buffers_of(p);
    pass_linear(p, &w->router, x, b.scores);
    pass_each(p, p->n, choose_token, &b);
    memset(y, 0, p->n * p->m->hp.n_embd * sizeof *y);
    for (size_t e = 0; e < p->m->hp.experts.n; e++) {
        const expert one = gather(p, &b, e, x);
        add_expert(p, &b, &one, y);
    }
    if (!has_shared(p)) return;
    const expert shared = gather_shared(p, &b, x);
    add_expert(p, &b, &shared, y);
}

/* ---- and back ---- */

/* Adds to dx what comes back through an expert; b->d_weight receives the gradients of its tokens' weights.
 */
static void back_expert(pass *p, const buffers *b, const expert *e, const float *dy, float *dx) {
    const size_t width = p->m->hp.n_embd, n_ff = e->gate.w.n_rows;
    run_expert(p, b, e);
    for (size_t k = 0; k < e->n; k++) {
        const float *from = dy + row_at(p, b, k);
        double sum = 0;
        for (size_t i = 0; i < width; i++) {
            sum += (double)from[i] * (double)b->y[k * width + i];
            b->dy[k * width + i] = b->weight[k] * from[i];
        }
        b->d_weight[k] = (float)sum;
    }
    pass_linear_back_of(p, &e->down, e->n, b->hidden, b->dy, false, b->hidden);
    pass_gate_back(p, e->n, n_ff, b->gate, b->up, b->hidden);
    pass_linear_back_of(p, &e->gate, e->n, b->x, b->gate, false, b->dx);
    pass_linear_back_of(p, &e->up, e->n, b->x, b->up, true, b->dx);
    for (size_t k = 0; k < e->n; k++)
        for (size_t i = 0; i < width; i++) dx[row_at(p, b, k) + i] += b->dx[k * width + i];
}

/* Through the shared expert's weight. */
static void back_shared_weight(pass *p, const buffers *b, const float *x, float *dx) {
    const float *router = ((const expert_weights *)p->layer->ffn)->shared_router;
    const size_t width = p->m->hp.n_embd;
    float *learned = router && p->learner ? p->learner->vector(p->learner->ctx, router) : NULL;
    for (size_t t = 0; router && t < p->n; t++) {
        const float d = b->d_weight[t] * b->weight[t] * (1 - b->weight[t]);
        for (size_t i = 0; i < width; i++) dx[t * width + i] += d * router[i];
        for (size_t i = 0; learned && i < width; i++) learned[i] += d * x[t * width + i];
    }
}

static void backward(pass *p, const float *x, const float *dy, float *dx) {
    const expert_weights *w = p->layer->ffn;
    buffers b = buffers_of(p);
    memset(dx, 0, p->n * p->m->hp.n_embd * sizeof *dx);
    for (size_t e = 0; e < p->m->hp.experts.n; e++) {
        const expert one = gather(p, &b, e, x);
        if (!one.n) continue;
        back_expert(p, &b, &one, dy, dx);
        for (size_t k = 0; k < one.n; k++) b.d_shares[(size_t)b.token[k]] = b.d_weight[k];
    }
    if (has_shared(p)) {
        const expert shared = gather_shared(p, &b, x);
        back_expert(p, &b, &shared, dy, dx);
        back_shared_weight(p, &b, x, dx);
    }
    pass_each(p, p->n, choose_token_back, &b);
    pass_linear_back(p, &w->router, x, b.d_scores, true, dx);
}

const grad_kind grad_ffn_experts = {n_floats, forward, backward};
