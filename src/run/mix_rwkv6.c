/* RWKV-6's time mixing (Peng et al. 2024, arXiv 2404.05892, section 4): heads that each keep a matrix from
 * keys to values, whose rows decay apart; how rows are mixed, and how they decay, depends on the input. */
#include "run/wkv.h"

#include <math.h>

enum { W, K, V, R, G, MIXES }; // the order of the mixes in files

typedef struct weights {
    wkv_weights wkv;
    linear g;                   // (n_embd, n_embd)
    linear mix_in;              // (MIXES * rank, n_embd)
    const matrix *mix_out;      // (MIXES) of (n_embd, rank)
    linear decay_in, decay_out; // (rank, n_embd), (n_embd, rank)
    const float *mix_x;         // (n_embd)
    const float *decay, *own;   // (n_embd): bias of decays, weight of a token's own value
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    WKV_TENSORS("E115"),
    {"time_mix_gate.weight", IN(g.w), MATRIX("EE")},
    {"time_mix_w1.weight", IN(mix_in.w), MATRIX("Ef")},
    {"time_mix_w2.weight", IN(mix_out), STACK("ZE5")},
    {"time_mix_decay_w1.weight", IN(decay_in.w), MATRIX("EW")},
    {"time_mix_decay_w2.weight", IN(decay_out.w), MATRIX("WE")},
    {"time_mix_lerp_x.weight", IN(mix_x), VECTOR("E")},
    {"time_mix_decay.weight", IN(decay), VECTOR("E")},
    {"time_mix_first.weight", IN(own), VECTOR("N#")},
};

typedef struct scratch {
    const float *x;           // of the step
    float *mixed;             // (MIXES, n_batch, n_embd)
    float *one;               // (n_batch, n_embd)
    float *low, *low_in;      // (n_batch, the larger rank, padded to 8 and not)
    float *wide;              // (n_batch, n_embd padded to 8)
    float *r, *k, *v, *g, *w; // the same
    float *y;                 // (n_batch, n_embd)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const size_t n = m->hp.n_embd, wide = run_pad8(n) * sizeof(float), mixes = MIXES * (size_t)m->hp.wkv.mix;
    const size_t rank = mixes > m->hp.wkv.decay ? mixes : m->hp.wkv.decay;
    memory_want(w, &c->mixed, MIXES * n_batch, n * sizeof(float));
    memory_want(w, &c->one, n_batch, n * sizeof(float));
    memory_want(w, &c->low, n_batch, run_pad8(rank) * sizeof(float));
    memory_want(w, &c->low_in, n_batch, rank * sizeof(float));
    float **const rows[] = {&c->wide, &c->r, &c->k, &c->v, &c->g, &c->w};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) memory_want(w, rows[i], n_batch, wide);
    memory_want(w, &c->y, n_batch, n * sizeof(float));
}

static void mix_first(const forward_step *s, size_t t) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv6);
    const size_t n = s->m->hp.n_embd;
    shift_mix(c->x + t * n, shift_before(s, c->x, t), w->mix_x, n, c->one + t * n);
}

/* tanh of columns [from, from + n) of the low-rank rows to low_in (n_tokens, n). */
static void take_low(const forward_step *s, size_t stride, size_t from, size_t n) {
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv6);
    for (size_t t = 0; t < s->n; t++)
        for (size_t i = 0; i < n; i++) c->low_in[t * n + i] = tanhf(c->low[t * stride + from + i]);
}

/* Each of the rows is mixed with the one before as a low-rank product of the first mix says. */
static void mix_all(const forward_step *s) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv6);
    const size_t n = s->m->hp.n_embd, rank = s->m->hp.wkv.mix;
    linear_run(s, &w->mix_in, c->one, n, c->low);
    for (size_t i = 0; i < MIXES; i++) {
        const linear out = {.w = w->mix_out[i]};
        take_low(s, run_pad8(MIXES * rank), i * rank, rank);
        linear_run(s, &out, c->low_in, rank, c->wide);
        for (size_t t = 0; t < s->n; t++) {
            float *by = c->wide + t * run_pad8(n);
            s->k->add(by, w->wkv.mix + i * n, n);
            shift_mix(c->x + t * n, shift_before(s, c->x, t), by, n,
                      c->mixed + (i * s->ws->n_batch + t) * n);
        }
    }
}

static void run_products(const forward_step *s) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv6);
    const size_t n = s->m->hp.n_embd, each = s->ws->n_batch * n, rank = s->m->hp.wkv.decay;
    const linear_job jobs[MIXES] = {[W] = {&w->decay_in, c->low},
                                    [K] = {&w->wkv.k, c->k},
                                    [V] = {&w->wkv.v, c->v},
                                    [R] = {&w->wkv.r, c->r},
                                    [G] = {&w->g, c->g}};
    for (size_t i = 0; i < MIXES; i++) linear_run(s, jobs[i].l, c->mixed + i * each, n, jobs[i].y);
    take_low(s, run_pad8(rank), 0, rank);
    linear_run(s, &w->decay_out, c->low_in, rank, c->w);
}

/* kept (n, n): key j by value i. y (n) = what r reads, the token's own value by `own`. */
static void wkv(const float *r, const float *k, const float *v, const float *decay, const float *own,
                size_t n, float *restrict kept, float *restrict y) {
    for (size_t i = 0; i < n; i++) y[i] = 0;
    for (size_t j = 0; j < n; j++, kept += n)
        for (size_t i = 0; i < n; i++) {
            const float kv = k[j] * v[i];
            y[i] += r[j] * (own[j] * kv + kept[i]);
            kept[i] = kept[i] * decay[j] + kv;
        }
}

static void run_head(const forward_step *s, size_t head) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_rwkv6);
    const size_t n = s->m->hp.wkv.head, first = head * n, all = s->m->hp.n_embd;
    for (size_t t = 0; t < s->n; t++) {
        const size_t at = t * run_pad8(all) + first;
        float *decay = c->w + at, *g = c->g + at, *y = c->y + t * all + first;
        for (size_t i = 0; i < n; i++) decay[i] = kernel_exp(-kernel_exp(decay[i] + w->decay[first + i]));
        wkv(c->r + at, c->k + at, c->v + at, decay, w->own + first, n, wkv_kept(s, t, head), y);
        wkv_norm(s, first, y);
        s->k->activate_mul(KERNEL_SILU, g, y, n);
        memcpy(y, g, n * sizeof *y);
    }
}

static void run(forward_step *s, const float *x, float *out) {
    scratch *c = block_scratch_of(s, BLOCK_mix_rwkv6);
    c->x = x;
    step_each_token(s, mix_first);
    mix_all(s);
    shift_keep(s, x);
    run_products(s);
    wkv_finish(s, run_head, c->y, out);
}

const block_kind block_mix_rwkv6 = {
    .spec = {"RWKV-6", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
    .state = wkv_state,
};
