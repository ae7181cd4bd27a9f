/* A low-rank mixer beside attention, which takes from no other position: x + norm(right(left(x))) (LAuReL:
 * Menghani et al. 2024, arXiv 2411.07501; Gemma 3n, the authors' code). */
#include "run/block.h"

typedef struct weights {
    linear left;       // (rank, n_embd)
    linear right;      // (n_embd, rank)
    const float *norm; // (n_embd)
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    {"laurel_l.weight", IN(left.w), MATRIX("E+")},
    {"laurel_r.weight", IN(right.w), MATRIX("+E")},
    {"laurel_post_norm.weight", IN(norm), VECTOR("E")},
};

typedef struct scratch {
    float *padded;  // (n_batch, rank padded to 8)
    float *low;     // (n_batch, rank)
    const float *x; // of the step
    float *out;
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    memory_want(w, &c->padded, n_batch, run_pad8(m->hp.residuals.rank) * sizeof(float));
    memory_want(w, &c->low, n_batch, m->hp.residuals.rank * sizeof(float));
}

static void take_low(const forward_step *s, size_t t) {
    const scratch *c = block_scratch_of(s, BLOCK_mix_laurel);
    const size_t n = s->m->hp.residuals.rank;
    memcpy(c->low + t * n, c->padded + t * run_pad8(n), n * sizeof *c->low);
}

static void finish(const forward_step *s, size_t t) {
    const scratch *c = block_scratch_of(s, BLOCK_mix_laurel);
    const weights *w = step_weights(s);
    const size_t n = s->m->hp.n_embd;
    float *y = c->out + t * run_pad8(n);
    s->k->rms_norm(y, w->norm, n, s->m->hp.norm_eps, y);
    s->k->add(y, c->x + t * n, n);
}

static void run(forward_step *s, const float *x, float *out) {
    const weights *w = step_weights(s);
    scratch *c = block_scratch_of(s, BLOCK_mix_laurel);
    c->x = x, c->out = out;
    linear_run(s, &w->left, x, s->m->hp.n_embd, c->padded);
    step_each_token(s, take_low);
    linear_run(s, &w->right, c->low, s->m->hp.residuals.rank, out);
    step_each_token(s, finish);
    step_done(s, PROFILE_WO);
}

const block_kind block_mix_laurel = {
    .spec = {"low-rank mixer", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
};
