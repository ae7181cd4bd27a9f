/* The gated delta net (Yang et al. 2024, arXiv 2412.06464): each head keeps a matrix that maps keys to
 * values; a step lets it decay, and writes the value's difference from what the key gives so far. */
#include "run/block.h"
#include "run/conv.h"

#include <math.h>

typedef struct weights {
    linear qkv;            // (2 key heads * state + inner, n_embd)
    linear z;              // (inner, n_embd)
    linear both;           // (2 value heads, n_embd): beta and alpha by key head; or the two below
    linear alpha, beta;    // (value heads, n_embd)
    linear out;            // (n_embd, inner)
    const float *conv;     // (rows of qkv, width)
    const float *a, *step; // (value heads): decay, bias of time steps
    const float *norm;     // (inner / value heads)
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    {"attn_qkv.weight", IN(qkv.w), MATRIX("Em")},
    {"attn_gate.weight", IN(z.w), MATRIX("Ei")},
    {"ssm_ba.weight", IN(both.w), MATRIX("Et"), .unless = ARCH_TILED_HEADS},
    {"ssm_alpha.weight", IN(alpha.w), MATRIX("Er"), .with = ARCH_TILED_HEADS},
    {"ssm_beta.weight", IN(beta.w), MATRIX("Er"), .with = ARCH_TILED_HEADS},
    {"ssm_out.weight", IN(out.w), MATRIX("iE")},
    {"ssm_conv1d.weight", IN(conv), VECTOR("cm")},
    {"ssm_a", IN(a), VECTOR("r")},
    {"ssm_dt.bias", IN(step), VECTOR("r")},
    {"ssm_norm.weight", IN(norm), VECTOR("w")},
};

typedef struct scratch {
    float *qkv;          // (n_batch, its rows padded to 8)
    float *mixed;        // (n_batch, its rows) convolved
    float *z;            // (n_batch, inner padded to 8)
    float *both;         // (n_batch, 2 value heads padded to 8)
    float *alpha, *beta; // (n_batch, value heads padded to 8)
    float *y;            // (n_batch, inner)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const ssm_hparams *h = &m->hp.ssm;
    memory_want(w, &c->qkv, n_batch, run_pad8(conv_mixed_width(h)) * sizeof(float));
    memory_want(w, &c->mixed, n_batch, conv_mixed_width(h) * sizeof(float));
    memory_want(w, &c->z, n_batch, run_pad8(h->inner) * sizeof(float));
    memory_want(w, &c->both, n_batch, run_pad8(2 * (size_t)h->rank) * sizeof(float));
    memory_want(w, &c->alpha, n_batch, run_pad8(h->rank) * sizeof(float));
    memory_want(w, &c->beta, n_batch, run_pad8(h->rank) * sizeof(float));
    memory_want(w, &c->y, n_batch, h->inner * sizeof(float));
}

static void convolve(const forward_step *s, size_t part) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_delta);
    const ssm_hparams *h = &s->m->hp.ssm;
    const size_t n = conv_mixed_width(h);
    conv_run(s, &(conv_input){w->conv, NULL, c->qkv, run_pad8(n), n, c->mixed}, part);
}

/* x / |x| of each head, in place. */
static void normalize(float *x, size_t n, float eps) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
    const float by = (float)(1 / sqrt(squares + (double)eps));
    for (size_t i = 0; i < n; i++) x[i] *= by;
}

/* Queries and keys to length 1; beta and alpha to where they are read. */
static void prepare(const forward_step *s, size_t t) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_delta);
    const ssm_hparams *h = &s->m->hp.ssm;
    const size_t each = h->rank / h->groups;
    float *x = c->mixed + t * conv_mixed_width(h);
    for (size_t k = 0; k < 2 * (size_t)h->groups; k++)
        normalize(x + k * h->state, h->state, s->m->hp.norm_eps);
    for (size_t k = 0; w->both.w.format && k < h->rank; k++) {
        const float *from = c->both + t * run_pad8(2 * (size_t)h->rank) + k / each * 2 * each + k % each;
        c->beta[t * run_pad8(h->rank) + k] = from[0];
        c->alpha[t * run_pad8(h->rank) + k] = from[each];
    }
}

/* kept (n, dim) decays and writes k (n) -> beta * (v - what k gives so far); y (dim) is what q gives. */
static void delta_step(float *restrict kept, size_t n, size_t dim, const float *q, const float *k,
                       const float *v, float decay, float beta, float *restrict y) {
    for (size_t i = 0; i < dim; i++) y[i] = 0;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < dim; i++) y[i] += k[j] * (kept[j * dim + i] *= decay);
    for (size_t i = 0; i < dim; i++) y[i] = beta * (v[i] - y[i]);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < dim; i++) kept[j * dim + i] += k[j] * y[i];
    for (size_t i = 0; i < dim; i++) y[i] = 0;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < dim; i++) y[i] += q[j] * kept[j * dim + i];
}

static void run_head(const forward_step *s, size_t head) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_delta);
    const ssm_hparams *h = &s->m->hp.ssm;
    const size_t dim = h->inner / h->rank, n = h->state, width = run_pad8(h->rank),
                 of = s->m->arch->features & ARCH_TILED_HEADS ? head % h->groups
                                                              : head / (h->rank / h->groups);
    const float scale = 1 / sqrtf((float)n);
    for (size_t t = 0; t < s->n; t++) {
        const float *x = c->mixed + t * conv_mixed_width(h), *q = x + of * n, *k = q + h->groups * n,
                    *v = x + 2 * h->groups * n + head * dim;
        const float raw = c->alpha[t * width + head] + w->step[head], dt = conv_time_step(raw),
                    beta = 1 / (1 + kernel_exp(-c->beta[t * width + head]));
        float *kept = step_state(s, t) + (h->conv - 1) * conv_mixed_width(h) + head * n * dim;
        float *y = c->y + t * h->inner + head * dim, *z = c->z + t * run_pad8(h->inner) + head * dim;
        delta_step(kept, n, dim, q, k, v, kernel_exp(dt * w->a[head]), beta, y);
        s->k->scale(y, scale, dim);
        s->k->rms_norm(y, w->norm, dim, s->m->hp.norm_eps, y);
        s->k->activate_mul(KERNEL_SILU, z, y, dim);
        memcpy(y, z, dim * sizeof *y);
    }
}

static void run(forward_step *s, const float *x, float *out) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_delta);
    const linear_job in[] = {{&w->qkv, c->qkv}, {&w->z, c->z}, {&w->both, c->both}},
                     apart[] = {{&w->alpha, c->alpha}, {&w->beta, c->beta}};
    const ssm_hparams *h = &s->m->hp.ssm;
    const bool together = w->both.w.format != NULL;
    linears_run(s, (linear_input){x, s->m->hp.n_embd, 1, false}, in, together ? 3 : 2, NULL);
    if (!together) linears_run(s, (linear_input){x, s->m->hp.n_embd, 1, false}, apart, 2, NULL);
    step_done(s, PROFILE_QKV);
    step_each_part(s, conv_parts(conv_mixed_width(h)), convolve);
    step_each_token(s, prepare);
    step_done(s, PROFILE_STORE);
    step_each_part(s, h->rank, run_head);
    step_done(s, PROFILE_ATTEND);
    linear_run(s, &w->out, c->y, h->inner, out);
    step_done(s, PROFILE_WO);
}

const block_kind block_mix_delta = {
    .spec = {"gated delta net", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
    .state = conv_mixed_state,
};
