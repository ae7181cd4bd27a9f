/* Mamba (Gu and Dao 2023, arXiv 2312.00752): channels that each keep `state` numbers, which decay and take
 * in as the input itself says. */
#include "kernels/exp.h"
#include "run/block.h"
#include "run/conv.h"
#include "run/lanes.h"

typedef struct weights {
    linear in;                                // (2 inner, n_embd): x, z
    linear select;                            // (rank + 2 state, inner): time steps, B, C
    linear step;                              // (inner, rank)
    linear out;                               // (n_embd, inner)
    const float *conv, *conv_bias;            // (inner, width), (inner)
    const float *a, *d;                       // (inner, state), (inner)
    const float *step_norm, *b_norm, *c_norm; // (rank), (state), (state) or NULL
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    {"ssm_in.weight", IN(in.w), MATRIX("E2")},
    {"ssm_x.weight", IN(select.w), MATRIX("ix")},
    {"ssm_dt.weight", IN(step.w), MATRIX("ri")},
    {"ssm_dt.bias", IN(step.bias), VECTOR("i")},
    {"ssm_out.weight", IN(out.w), MATRIX("iE")},
    {"ssm_conv1d.weight", IN(conv), VECTOR("ci")},
    {"ssm_conv1d.bias", IN(conv_bias), VECTOR("i"), .may = TENSOR_OPTIONAL},
    {"ssm_a", IN(a), VECTOR("ni")},
    {"ssm_d", IN(d), VECTOR("i")},
    {"ssm_dt_norm.weight", IN(step_norm), VECTOR("r"), .may = TENSOR_OPTIONAL},
    {"ssm_b_norm.weight", IN(b_norm), VECTOR("n"), .may = TENSOR_OPTIONAL},
    {"ssm_c_norm.weight", IN(c_norm), VECTOR("n"), .may = TENSOR_OPTIONAL},
};

typedef struct scratch {
    float *in;     // (n_batch, 2 inner padded to 8)
    float *x;      // (n_batch, inner) convolved
    float *select; // (n_batch, rank + 2 state padded to 8)
    float *low;    // (n_batch, rank)
    float *step;   // (n_batch, inner padded to 8)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static size_t select_width(const ssm_hparams *h) {
    return run_pad8(h->rank + 2 * (size_t)h->state);
}

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const ssm_hparams *h = &m->hp.ssm;
    memory_want(w, &c->in, n_batch, run_pad8(2 * (size_t)h->inner) * sizeof(float));
    memory_want(w, &c->x, n_batch, h->inner * sizeof(float));
    memory_want(w, &c->select, n_batch, select_width(h) * sizeof(float));
    memory_want(w, &c->low, n_batch, h->rank * sizeof(float));
    memory_want(w, &c->step, n_batch, run_pad8(h->inner) * sizeof(float));
}

/* Of the convolution, then of the channels. */
static size_t state(const model_hparams *hp) {
    const ssm_hparams *h = &hp->ssm;
    return (size_t)(h->conv - 1) * h->inner + (size_t)h->inner * h->state;
}

static void convolve(const forward_step *s, size_t part) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_mamba);
    const size_t n = s->m->hp.ssm.inner;
    conv_run(s, &(conv_input){w->conv, w->conv_bias, c->in, run_pad8(2 * n), n, c->x}, part);
}

static void norm(const forward_step *s, float *x, const float *weight, size_t n) {
    if (weight || s->m->hp.ssm.normed) s->k->rms_norm(x, weight, n, s->m->hp.norm_eps, x);
}

static void norm_selected(const forward_step *s, size_t t) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_mamba);
    const ssm_hparams *h = &s->m->hp.ssm;
    float *x = c->select + t * select_width(h);
    norm(s, x, w->step_norm, h->rank);
    norm(s, x + h->rank, w->b_norm, h->state);
    norm(s, x + h->rank + h->state, w->c_norm, h->state);
    memcpy(c->low + t * h->rank, x, h->rank * sizeof *x);
}

/* One channel's step: kept (n) decays, takes b * x in, and is read by c. */
static float scan(const float *a, const float *b, const float *by, size_t n, float dt, float x,
                  float *restrict kept) {
    for (size_t k = 0; k < n; k++) kept[k] = exp_scalar(dt * a[k]) * kept[k] + dt * x * b[k];
    return lanes_dot(kept, by, n);
}

static void scan_channels(const forward_step *s, size_t part) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_mamba);
    const ssm_hparams *h = &s->m->hp.ssm;
    const size_t n = h->inner;
    const conv_range r = conv_range_of(part, n);
    for (size_t t = 0; t < s->n; t++) {
        const float *b = c->select + t * select_width(h) + h->rank, *dt = c->step + t * run_pad8(n);
        float *kept = step_state(s, t) + (h->conv - 1) * n, *z = c->in + t * run_pad8(2 * n) + n,
              *x = c->x + t * n;
        s->k->activate(KERNEL_SILU, z + r.begin, r.end - r.begin);
        for (size_t i = r.begin; i < r.end; i++) {
            const float wide = conv_time_step(dt[i]), from = x[i];
            x[i] = scan(w->a + i * h->state, b, b + h->state, h->state, wide, from, kept + i * h->state);
            x[i] = (x[i] + w->d[i] * from) * z[i];
        }
    }
}

static void run(forward_step *s, const float *x, float *out) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_mamba);
    const ssm_hparams *h = &s->m->hp.ssm;
    linear_run(s, &w->in, x, s->m->hp.n_embd, c->in);
    step_done(s, PROFILE_QKV);
    step_each_part(s, conv_parts(h->inner), convolve);
    linear_run(s, &w->select, c->x, h->inner, c->select);
    step_each_token(s, norm_selected);
    linear_run(s, &w->step, c->low, h->rank, c->step);
    step_done(s, PROFILE_STORE);
    step_each_part(s, conv_parts(h->inner), scan_channels);
    step_done(s, PROFILE_ATTEND);
    linear_run(s, &w->out, c->x, h->inner, out);
    step_done(s, PROFILE_WO);
}

const block_kind block_mix_mamba = {
    .spec = {"Mamba", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
    .state = state,
};
