/*
 * Logits, labels and the gradient of the loss. The vocabulary goes by in slices, twice: once for the sum of
 * the exponentials, and once for the probabilities, from which labels are drawn and gradients made; so its
 * logits are never all in memory.
 */
#include "base/rng.h"
#include "kernels/activations.h"
#include "train/pass.h"

#include <math.h>

/* Some tokens and some rows of the vocabulary. */
typedef struct slice {
    pass *p;
    pass_head *h;
    size_t t, n_tokens;
    size_t row, n_rows;
} slice;

static float *logits_of(const slice *s, size_t t) {
    return s->p->logits + t * PASS_HEAD_ROWS;
}

/* Logits of a slice, as the model gives them; its rows are left in p->weights. */
static void finish_logits(pass *p, size_t t, unsigned member, void *ctx) {
    const slice *s = ctx;
    float *x = logits_of(s, t);
    (void)member;
    for (size_t i = 0; i < s->n_rows; i++) x[i] *= p->m->hp.logit_scale;
    for (size_t i = 0; p->m->hp.logit_softcap > 0 && i < s->n_rows; i++)
        x[i] = act_softcap(x[i], p->m->hp.logit_softcap);
}

static void make_logits(slice *s) {
    pass *p = s->p;
    const size_t n = p->m->hp.n_embd;
    const dense_product product = {.m = s->n_tokens, .n = s->n_rows, .k = n, .ldc = PASS_HEAD_ROWS};
    pass_unpack(p, &p->m->output, s->row, s->n_rows);
    dense_mul_f32(p->d, &product, (dense_f32){p->normed + s->t * n, n, 1}, (dense_f32){p->weights, 1, n}, 1,
                  p->logits);
    pass_each(p, s->n_tokens, finish_logits, s);
}

/* ---- the first time: sums ---- */

static void sum_token(pass *p, size_t t, unsigned member, void *ctx) {
    const slice *s = ctx;
    pass_label *l = &p->labels[t];
    const float *x = logits_of(s, t);
    float most = l->most;
    double sum = 0;
    (void)member;
    for (size_t i = 0; i < s->n_rows; i++) most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < s->n_rows; i++) sum += (double)exp_scalar(x[i] - most);
    l->sum = l->sum * exp((double)(l->most - most)) + sum;
    l->most = most;
}

/* ---- the second time: labels and gradients ---- */

/* Whether this row of the vocabulary is the token's label. One that is drawn is the first up to which the
 * probabilities reach a uniform number. */
static bool is_label(pass_label *l, size_t row, size_t n_vocab, double probability) {
    if (l->label >= 0) return (size_t)l->label == row;
    l->left -= probability;
    if (l->left > 0 && row + 1 < n_vocab) return false;
    l->label = (int32_t)row;
    return true;
}

static void gradient_token(pass *p, size_t t, unsigned member, void *ctx) {
    const slice *s = ctx;
    const model_hparams *hp = &p->m->hp;
    pass_label *l = &p->labels[t];
    float *x = logits_of(s, t);
    (void)member;
    for (size_t i = 0; i < s->n_rows; i++) {
        const float capped = hp->logit_softcap > 0 ? x[i] / hp->logit_softcap : 0;
        const double probability = (double)exp_scalar(x[i] - l->most) / l->sum;
        const bool label = is_label(l, s->row + i, hp->n_vocab, probability);
        if (label) l->loss = log(l->sum) - (double)(x[i] - l->most);
        p->probabilities[t * PASS_HEAD_ROWS + i] = (float)probability;
        x[i] = ((float)probability - (label ? 1 : 0)) * (1 - capped * capped) * hp->logit_scale;
    }
}

static void add_variance(pass *p, size_t i, unsigned member, void *ctx) {
    const slice *s = ctx;
    double sum = 0;
    (void)member;
    for (size_t t = 0; t < s->n_tokens; t++) {
        const double probability = (double)p->probabilities[t * PASS_HEAD_ROWS + i];
        sum += probability * (1 - probability);
    }
    s->h->row_variance[s->row + i] += sum;
}

/* The gradient of the normed input, of which each slice of the vocabulary adds a part. */
static void add_gradients(slice *s, float *dx) {
    pass *p = s->p;
    const size_t n = p->m->hp.n_embd;
    const dense_product product = {.m = s->n_tokens, .n = n, .k = s->n_rows, .ldc = n, .add = s->row > 0};
    pass_each(p, s->n_tokens, gradient_token, s);
    dense_mul_f32(p->d, &product, (dense_f32){p->logits, PASS_HEAD_ROWS, 1}, (dense_f32){p->weights, n, 1},
                  1, dx + s->t * n);
    if (s->h->row_variance) pass_each(p, s->n_rows, add_variance, s);
}

/* ---- all of it ---- */

static void begin_labels(slice *s) {
    for (size_t i = 0; i < s->n_tokens; i++) {
        const int32_t *labels = s->h->labels;
        rng r;
        rng_seed(&r, s->h->seed + s->t + i);
        s->p->labels[i] = (pass_label){-INFINITY, 0, rng_f64(&r), 0, labels ? labels[s->t + i] : -1};
    }
}

static void next_rows(slice *s) {
    const size_t left = s->p->m->hp.n_vocab - s->row;
    s->n_rows = left < PASS_HEAD_ROWS ? left : PASS_HEAD_ROWS;
}

static void run_slice(slice *s, float *dx) {
    begin_labels(s);
    for (s->row = 0; s->row < s->p->m->hp.n_vocab; s->row += s->n_rows) {
        next_rows(s);
        make_logits(s);
        pass_each(s->p, s->n_tokens, sum_token, s);
    }
    for (s->row = 0; s->row < s->p->m->hp.n_vocab; s->row += s->n_rows) {
        next_rows(s);
        make_logits(s);
        add_gradients(s, dx);
    }
    for (size_t i = 0; i < s->n_tokens; i++) s->h->loss += s->p->labels[i].loss;
}

void pass_head_input(pass *p, const float *x, float *y) {
    pass_norm(p, &p->m->output_norm, x, y);
    if (p->input) p->input(p->tap_ctx, &p->m->output, y, p->n);
}

void pass_head_gradient(pass *p, pass_head *h, const float *x, float *dx) {
    slice s = {.p = p, .h = h};
    pass_head_input(p, x, p->normed);
    for (s.t = 0; s.t < p->n; s.t += s.n_tokens) {
        s.n_tokens = p->n - s.t < PASS_HEAD_TOKENS ? p->n - s.t : PASS_HEAD_TOKENS;
        run_slice(&s, p->d_normed);
    }
    pass_norm_back(p, &p->m->output_norm, x, p->d_normed, false, dx);
}

/* ---- embeddings ---- */

typedef struct embedding {
    const int32_t *ids;
    float *x;
} embedding;

static void embed_token(pass *p, size_t t, unsigned member, void *ctx) {
    const embedding *e = ctx;
    const size_t n = p->m->hp.n_embd;
    (void)member;
    matrix_row(&p->m->token_embd, (size_t)e->ids[t], e->x + t * n);
    for (size_t i = 0; i < n; i++) e->x[t * n + i] *= p->m->hp.embd_scale;
}

void pass_embed(pass *p, const int32_t *ids, float *x) {
    embedding e = {ids, x};
    pass_each(p, p->n, embed_token, &e);
}
