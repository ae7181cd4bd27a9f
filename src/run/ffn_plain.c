/* The plain feed-forward: down(act(up(x))) (Vaswani et al. 2017, arXiv 1706.03762, section 3.3). */
#include "run/block.h"

#include <math.h>

typedef struct plain_weights {
    linear up;   // (n_ff, n_embd)
    linear down; // (n_embd, n_ff)
} plain_weights;

#define IN(field) .to = offsetof(plain_weights, field)

static const tensor_spec tensors[] = {
    {"ffn_up.weight", IN(up.w), MATRIX("EF")},
    {"ffn_down.weight", IN(down.w), MATRIX("FE")},
    {"ffn_up.bias", IN(up.bias), VECTOR("F"), .may = ARCH_ANY_BIAS},
    {"ffn_down.bias", IN(down.bias), VECTOR("E"), .may = ARCH_ANY_BIAS},
};

typedef struct scratch {
    float *up;     // (n_batch, n_ff padded to 8)
    float *hidden; // (n_batch, n_ff)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const size_t n_ff = m->hp.most.n_ff;
    memory_want(w, &c->up, n_batch, run_pad8(n_ff) * sizeof(float));
    memory_want(w, &c->hidden, n_batch, n_ff * sizeof(float));
}

/* x (n) = a_p x^2 + b x for x > 0, else (e^min(x, eps) - 1 - x) a_n + b x (Huang 2025, arXiv 2411.13010). */
static void xielu(const float *p, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double v = (double)x[i], low = fmin(v, (double)p[3]);
        x[i] = (float)(v > 0 ? (double)p[0] * v * v + (double)p[2] * v
                             : (expm1(low) - v) * (double)p[1] + (double)p[2] * v);
    }
}

/* hidden = act(up), for rows [begin, end) of token t. */
static void act(const forward_step *s, size_t t, size_t begin, size_t end) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_plain);
    const size_t n_ff = s->layer->hp.n_ff;
    float *up = c->up + t * run_pad8(n_ff) + begin;
    if (s->m->arch->features & ARCH_XIELU)
        xielu(s->layer->hp.xielu, up, end - begin);
    else
        s->k->activate(s->m->arch->activation, up, end - begin);
    memcpy(c->hidden + t * n_ff + begin, up, (end - begin) * sizeof(float));
}

static void run(forward_step *s, const float *x, float *out) {
    const plain_weights *w = s->layer->ffn;
    const scratch *c = block_scratch_of(s, BLOCK_ffn_plain);
    const linear_job up = {&w->up, c->up}, down = {&w->down, out};
    const bool zeros = kernel_gives_zeros(s->m->arch->activation);
    linears_run(s, (linear_input){x, s->m->hp.n_embd, 1, false}, &up, 1, act);
    step_done(s, PROFILE_GATE_UP);
    linears_run(s, (linear_input){c->hidden, s->layer->hp.n_ff, 1, zeros}, &down, 1, NULL);
    step_done(s, PROFILE_DOWN);
}

const block_kind block_ffn_plain = {
    .spec = {"plain feed-forward", sizeof(plain_weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
};
