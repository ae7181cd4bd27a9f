/* The gated short convolution of LFM2 (Liquid AI 2025, arXiv 2511.23404, section 2.1): out(c * conv(b * x)),
 * where b, c and x are products of the input. */
#include "run/block.h"
#include "run/conv.h"

typedef struct weights {
    linear in;         // (3 n_embd, n_embd): b, c, x
    linear out;        // (n_embd, n_embd)
    const float *conv; // (n_embd, width)
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    {"shortconv.in_proj.weight", IN(in.w), MATRIX("Ee")},
    {"shortconv.out_proj.weight", IN(out.w), MATRIX("EE")},
    {"shortconv.conv.weight", IN(conv), VECTOR("cE")},
};

typedef struct scratch {
    float *in; // (n_batch, 3 n_embd padded to 8)
    float *y;  // (n_batch, n_embd)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    memory_want(w, &c->in, n_batch, run_pad8(3 * (size_t)m->hp.n_embd) * sizeof(float));
    memory_want(w, &c->y, n_batch, m->hp.n_embd * sizeof(float));
}

static size_t state(const model_hparams *hp) {
    return (size_t)(hp->ssm.conv - 1) * hp->n_embd;
}

/* Some channels of all tokens, in order. */
static void convolve(const forward_step *s, size_t part) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_shortconv);
    const size_t n = s->m->hp.n_embd;
    const conv_range r = conv_range_of(part, n);
    for (size_t t = 0; t < s->n; t++) {
        const float *in = c->in + t * run_pad8(3 * n);
        float *kept = step_state(s, t);
        for (size_t i = r.begin; i < r.end; i++)
            c->y[t * n + i] =
                in[n + i] * conv_step(w->conv, NULL, s->m->hp.ssm.conv, kept, n, i, in[i] * in[2 * n + i]);
    }
}

static void run(forward_step *s, const float *x, float *out) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_mix_shortconv);
    const size_t n = s->m->hp.n_embd;
    linear_run(s, &w->in, x, n, c->in);
    step_done(s, PROFILE_QKV);
    step_each_part(s, conv_parts(n), convolve);
    step_done(s, PROFILE_ATTEND);
    linear_run(s, &w->out, c->y, n, out);
    step_done(s, PROFILE_WO);
}

const block_kind block_mix_shortconv = {
    .spec = {"short convolution", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
    .state = state,
};
