/* RWKV-7's time mixing (Peng et al. 2025, arXiv 2503.14456): heads that each keep a matrix from keys to
 * values, whose columns decay apart and forget along a learnt direction. */
#include "run/wkv.h"

#include "kernels/exp.h"
#include "run/lanes.h"

#include <math.h>

enum { R, W, K, V, A, G, MIXES }; // the order of the mixes in files

typedef struct weights {
    wkv_weights wkv;
    linear w1, w2, a1, a2, v1, v2, g1, g2; // low-rank products: (rank, n_embd), (n_embd, rank)
    const float *w0, *a0, *v0;             // (n_embd) biases of w2, a2, v2
    const float *k_k, *k_a, *r_k;          // (n_embd)
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    WKV_TENSORS("E116"),
    {"time_mix_w1.weight", IN(w1.w), MATRIX("EW")},
    {"time_mix_w2.weight", IN(w2.w), MATRIX("WE")},
    {"time_mix_a1.weight", IN(a1.w), MATRIX("EL")},
    {"time_mix_a2.weight", IN(a2.w), MATRIX("LE")},
    {"time_mix_v1.weight", IN(v1.w), MATRIX("EO")},
    {"time_mix_v2.weight", IN(v2.w), MATRIX("OE")},
    {"time_mix_g1.weight", IN(g1.w), MATRIX("EY"), .when = 'Y'},
    {"time_mix_g2.weight", IN(g2.w), MATRIX("YE"), .when = 'Y'},
    {"time_mix_w0.weight", IN(w0), VECTOR("E")},
    {"time_mix_a0.weight", IN(a0), VECTOR("E")},
    {"time_mix_v0.weight", IN(v0), VECTOR("E")},
    {"time_mix_k_k.weight", IN(k_k), VECTOR("E")},
    {"time_mix_k_a.weight", IN(k_a), VECTOR("E")},
    {"time_mix_r_k.weight", IN(r_k), VECTOR("E")},
};

typedef struct scratch {
    const float *x;           // of the step
    float *mixed;             // (MIXES, n_batch, n_embd)
    float *low, *low_in;      // (n_batch, the largest rank, padded to 8 and not)
    float *r, *k, *v, *w, *a; // (n_batch, n_embd padded to 8)
    float *g, *v_mix;         // the same
    float *v_first;           // the same, of the first layer
    float *y;                 // (n_batch, n_embd)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static size_t most_rank(const wkv_hparams *h) {
    const uint32_t a = h->decay > h->rate ? h->decay : h->rate, b = h->value > h->gate ? h->value : h->gate;
    return a > b ? a : b;
}

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const size_t n = m->hp.n_embd, wide = run_pad8(n) * sizeof(float), rank = most_rank(&m->hp.wkv);
    memory_want(w, &c->mixed, MIXES * n_batch, n * sizeof(float));
    memory_want(w, &c->low, n_batch, run_pad8(rank) * sizeof(float));
    memory_want(w, &c->low_in, n_batch, rank * sizeof(float));
    float **const rows[] = {&c->r, &c->k, &c->v, &c->w, &c->a, &c->g, &c->v_mix, &c->v_first};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) memory_want(w, rows[i], n_batch, wide);
    memory_want(w, &c->y, n_batch, n * sizeof(float));
}

static float sigmoid(float x) {
    return 1 / (1 + exp_scalar(-x));
}

static void mix(const forward_step *s, size_t t) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv7);
    const size_t n = s->m->hp.n_embd;
    for (size_t i = 0; i < MIXES; i++)
        shift_mix(c->x + t * n, shift_before(s, c->x, t), w->wkv.mix + i * n, n,
                  c->mixed + (i * s->ws->n_batch + t) * n);
}

typedef enum between { PLAIN, TANH, SIGMOID } between;

/* y = out(act(in(x))) */
static void run_low(const forward_step *s, const float *x, const linear *in, between act, const linear *out,
                    float *y) {
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv7);
    const size_t rank = in->w.n_rows;
    linear_run(s, in, x, s->m->hp.n_embd, c->low);
    for (size_t t = 0; t < s->n; t++)
        for (size_t i = 0; i < rank; i++) {
            const float v = c->low[t * run_pad8(rank) + i];
            c->low_in[t * rank + i] = act == TANH ? tanhf(v) : act == SIGMOID ? sigmoid(v) : v;
        }
    linear_run(s, out, c->low_in, rank, y);
}

static void run_products(const forward_step *s) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv7);
    const size_t n = s->m->hp.n_embd, each = s->ws->n_batch * n;
    linear_run(s, &w->wkv.r, c->mixed + R * each, n, c->r);
    linear_run(s, &w->wkv.k, c->mixed + K * each, n, c->k);
    linear_run(s, &w->wkv.v, c->mixed + V * each, n, c->v);
    run_low(s, c->mixed + W * each, &w->w1, TANH, &w->w2, c->w);
    run_low(s, c->mixed + A * each, &w->a1, PLAIN, &w->a2, c->a);
    if (s->il > 0) run_low(s, c->mixed + V * each, &w->v1, PLAIN, &w->v2, c->v_mix);
    if (w->g1.w.format) run_low(s, c->mixed + G * each, &w->g1, SIGMOID, &w->g2, c->g);
}

/* Decays, rates and values of a token; the values of the first layer stay for the others. */
static void prepare(const forward_step *s, size_t t) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv7);
    const size_t n = s->m->hp.n_embd, at = t * run_pad8(n);
    for (size_t i = 0; i < n; i++) {
        float *v = &c->v[at + i], *first = &c->v_first[at + i];
        c->w[at + i] = kernel_exp(-0.606530660f * sigmoid(c->w[at + i] + w->w0[i])); // e^-0.5
        c->a[at + i] = sigmoid(c->a[at + i] + w->a0[i]);
        if (s->il == 0) *first = *v;
        if (s->il > 0) *v += (*first - *v) * sigmoid(c->v_mix[at + i] + w->v0[i]);
    }
}

typedef struct head_step {
    const float *r, *w, *k, *v;    // (n)
    float forget[256], learn[256]; // (n) the direction that is forgotten, and how much of it
} head_step;

/* kept (n, n): value i by key j. y (n) = what r reads. */
static void wkv(const head_step *h, size_t n, float *restrict kept, float *restrict y) {
    for (size_t i = 0; i < n; i++, kept += n) {
        const float old = lanes_dot(h->forget, kept, n), v = h->v[i];
        for (size_t j = 0; j < n; j++) kept[j] = kept[j] * h->w[j] + v * h->k[j] + old * h->learn[j];
        y[i] = lanes_dot(kept, h->r, n);
    }
}

/* One token of a head: its key is turned into a direction and a step; the result is normed, and the token's
 * own value added. */
static void head_token(const forward_step *s, size_t t, size_t first, float *kept) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv7);
    const size_t n = s->m->hp.wkv.head, at = t * run_pad8(s->m->hp.n_embd) + first;
    head_step h = {c->r + at, c->w + at, c->k + at, c->v + at, {0}, {0}};
    float *k = c->k + at, *y = c->y + t * s->m->hp.n_embd + first, own = 0;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        h.forget[i] = k[i] * w->k_k[first + i];
        squares += (double)h.forget[i] * (double)h.forget[i];
    }
    const float by = (float)(-1 / fmax(sqrt(squares), 1e-12));
    for (size_t i = 0; i < n; i++) {
        const float rate = c->a[at + i];
        h.forget[i] *= by;
        h.learn[i] = -h.forget[i] * rate;
        k[i] *= 1 + (rate - 1) * w->k_a[first + i];
        own += k[i] * h.r[i] * w->r_k[first + i];
    }
    wkv(&h, n, kept, y);
    wkv_norm(s, first, y);
    for (size_t i = 0; i < n; i++) {
        y[i] += own * h.v[i];
        if (w->g1.w.format) y[i] *= c->g[at + i];
    }
}

static void run_head(const forward_step *s, size_t head) {
    const size_t n = s->m->hp.wkv.head;
    for (size_t t = 0; t < s->n; t++) head_token(s, t, head * n, wkv_kept(s, t, head));
}

static void run(forward_step *s, const float *x, float *out) {
    scratch *c = block_scratch_of(s, BLOCK_mix_rwkv7);
    c->x = x;
    step_each_token(s, mix);
    shift_keep(s, x);
    run_products(s);
    step_each_token(s, prepare);
    wkv_finish(s, run_head, c->y, out);
}

const block_kind block_mix_rwkv7 = {
    .spec = {"RWKV-7", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
    .state = wkv_state,
};
