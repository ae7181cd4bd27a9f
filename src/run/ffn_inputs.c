/* What a layer makes of numbers that it takes of the token itself: proj(act(gate(x)) * input) (Gemma 3n and
 * 4). */
#include "run/block.h"

typedef struct weights {
    linear gate; // (n_inputs, n_embd)
    linear proj; // (n_embd, n_inputs)
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    {"inp_gate.weight", IN(gate.w), MATRIX("EI")},
    {"proj.weight", IN(proj.w), MATRIX("IE")},
};

typedef struct scratch {
    float *gate;   // (n_batch, n_inputs padded to 8)
    float *hidden; // (n_batch, n_inputs)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    memory_want(w, &c->gate, n_batch, run_pad8(m->hp.n_inputs) * sizeof(float));
    memory_want(w, &c->hidden, n_batch, m->hp.n_inputs * sizeof(float));
}

static void join(const forward_step *s, size_t t) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_inputs);
    const size_t n = s->m->hp.n_inputs, all = n * s->m->hp.n_layer;
    float *gate = c->gate + t * run_pad8(n);
    s->k->activate_mul(s->m->arch->activation, gate, s->ws->inputs + t * run_pad8(all) + s->il * n, n);
    memcpy(c->hidden + t * n, gate, n * sizeof *gate);
}

static void run(forward_step *s, const float *x, float *out) {
    const weights *w = s->layer->after;
    const scratch *c = block_scratch_of(s, BLOCK_ffn_inputs);
    linear_run(s, &w->gate, x, s->m->hp.n_embd, c->gate);
    step_each_token(s, join);
    linear_run(s, &w->proj, c->hidden, s->m->hp.n_inputs, out);
    step_done(s, PROFILE_DOWN);
}

const block_kind block_ffn_inputs = {
    .spec = {"inputs of a layer", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
};
