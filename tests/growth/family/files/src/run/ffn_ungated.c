/* The feed-forward without a gate: down(act(up(x))) (Vaswani et al. 2017, arXiv 1706.03762, section 3.3). */
#include "run/block.h"

typedef struct ungated_weights {
    linear up;   // (n_ff, n_embd)
    linear down; // (n_embd, n_ff)
} ungated_weights;

#define IN(field) .to = offsetof(ungated_weights, field)

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

/* hidden = act(up), for rows [begin, end) of token t. */
static void activate(const forward_step *s, size_t t, size_t begin, size_t end) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_ungated);
    const size_t n_ff = s->layer->hp.n_ff, row = t * run_pad8(n_ff) + begin;
    s->k->activate(s->m->arch->activation, c->up + row, end - begin);
    memcpy(c->hidden + t * n_ff + begin, c->up + row, (end - begin) * sizeof(float));
}

static void run(forward_step *s, const float *x, float *out) {
    const ungated_weights *w = s->layer->ffn;
    const scratch *c = block_scratch_of(s, BLOCK_ffn_ungated);
    const linear_job up = {&w->up, c->up}, down = {&w->down, out};
    linears_run(s, (linear_input){x, s->m->hp.n_embd, 1, false}, &up, 1, activate);
    step_done(s, PROFILE_GATE_UP);
    linears_run(s, (linear_input){c->hidden, s->layer->hp.n_ff, 1, false}, &down, 1, NULL);
    step_done(s, PROFILE_DOWN);
}

const block_kind block_ffn_ungated = {
    .spec = {"ungated feed-forward", sizeof(ungated_weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
};
