/* Mamba-2 (Dao and Gu 2024, arXiv 2405.21060): heads of channels with one decay each; B and C are shared by
 * the heads of a group, and convolved like the channels. */
#include "run/block.h"
#include "run/conv.h"
#include "run/lanes.h"

typedef struct weights {
    linear in;                     // (2 inner + 2 groups * state + heads, n_embd): z, x, B, C, time steps
    linear out;                    // (n_embd, inner)
    const float *conv, *conv_bias; // (inner + 2 groups * state, width), its rows
    const float *a, *d, *step;     // (heads): decay, what passes by, bias of time steps
    const float *norm;             // (inner), by groups; or NULL
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    {"ssm_in.weight", IN(in.w), MATRIX("Ez")},
    {"ssm_in.bias", IN(in.bias), VECTOR("z"), .may = ARCH_ANY_BIAS},
    {"ssm_out.weight", IN(out.w), MATRIX("iE")},
    {"ssm_out.bias", IN(out.bias), VECTOR("E"), .may = ARCH_ANY_BIAS},
    {"ssm_conv1d.weight", IN(conv), VECTOR("cm")},
    {"ssm_conv1d.bias", IN(conv_bias), VECTOR("m"), .may = TENSOR_OPTIONAL},
    {"ssm_a", IN(a), VECTOR("1r")},
    {"ssm_d", IN(d), VECTOR("1r")},
    {"ssm_dt.bias", IN(step), VECTOR("r")},
    {"ssm_norm.weight", IN(norm), VECTOR("pg"), .may = TENSOR_OPTIONAL},
};

typedef struct scratch {
    float *in;    // (n_batch, all padded to 8)
    float *mixed; // (n_batch, inner + 2 groups * state) convolved
    float *y;     // (n_batch, inner)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static size_t in_width(const ssm_hparams *h) {
    return run_pad8(h->inner + conv_mixed_width(h) + h->rank);
}

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const ssm_hparams *h = &m->hp.ssm;
    memory_want(w, &c->in, n_batch, in_width(h) * sizeof(float));
    memory_want(w, &c->mixed, n_batch, conv_mixed_width(h) * sizeof(float));
    memory_want(w, &c->y, n_batch, h->inner * sizeof(float));
}

static void convolve(const forward_step *s, size_t part) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_mamba2);
    const ssm_hparams *h = &s->m->hp.ssm;
    const conv_input in = {w->conv,     w->conv_bias,        c->in + h->inner,
                           in_width(h), conv_mixed_width(h), c->mixed};
    conv_run(s, &in, part);
}

/* y = the channel's read of kept (n) by c, after it decayed and took b * x in. */
static float scan(const float *b, const float *by, size_t n, float decay, float x, float *restrict kept) {
    for (size_t k = 0; k < n; k++) kept[k] = decay * kept[k] + x * b[k];
    return lanes_dot(kept, by, n);
}

static void scan_head(const forward_step *s, size_t head) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_mamba2);
    const ssm_hparams *h = &s->m->hp.ssm;
    const size_t dim = h->inner / h->rank, group = head / (h->rank / h->groups), first = head * dim;
    for (size_t t = 0; t < s->n; t++) {
        const float *x = c->mixed + t * conv_mixed_width(h), *b = x + h->inner + group * h->state,
                    *by = b + (size_t)h->groups * h->state;
        const float raw = c->in[t * in_width(h) + h->inner + conv_mixed_width(h) + head] + w->step[head],
                    dt = conv_time_step(raw), decay = kernel_exp(dt * w->a[head]);
        float *kept = step_state(s, t) + (h->conv - 1) * conv_mixed_width(h);
        for (size_t i = first; i < first + dim; i++)
            c->y[t * h->inner + i] =
                scan(b, by, h->state, decay, dt * x[i], kept + i * h->state) + w->d[head] * x[i];
    }
}

/* y = norm(y * silu(z)), by groups */
static void gate(const forward_step *s, size_t t) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_mamba2);
    const ssm_hparams *h = &s->m->hp.ssm;
    const size_t each = h->inner / h->groups;
    float *z = c->in + t * in_width(h), *y = c->y + t * h->inner;
    s->k->activate_mul(KERNEL_SILU, z, y, h->inner);
    memcpy(y, z, h->inner * sizeof *y);
    for (size_t g = 0; w->norm && g < h->groups; g++)
        s->k->rms_norm(y + g * each, w->norm + g * each, each, s->m->hp.norm_eps, y + g * each);
}

static void run(forward_step *s, const float *x, float *out) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_mamba2);
    const ssm_hparams *h = &s->m->hp.ssm;
    linear_run(s, &w->in, x, s->m->hp.n_embd, c->in);
    step_done(s, PROFILE_QKV);
    step_each_part(s, conv_parts(conv_mixed_width(h)), convolve);
    step_done(s, PROFILE_STORE);
    step_each_part(s, h->rank, scan_head);
    step_each_token(s, gate);
    step_done(s, PROFILE_ATTEND);
    linear_run(s, &w->out, c->y, h->inner, out);
    step_done(s, PROFILE_WO);
}

const block_kind block_mix_mamba2 = {
    .spec = {"Mamba-2", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
    .state = conv_mixed_state,
};
