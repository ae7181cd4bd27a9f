/* The gated feed-forward: down(act(gate(x)) * up(x)) (Shazeer 2020, arXiv 2002.05202). In a sparse layer
 * only the largest gates are on: what lies below so many deviations above their mean is cut off, which
 * leaves a share of them that is known beforehand, were they distributed normally (Gemma 3n, the authors'
 * code). */
#include "run/block.h"
#include "run/weights.h"

#include <math.h>

#define IN(field) .to = offsetof(gated_weights, field)

static const tensor_part gate_up[] = {
    {offsetof(gated_weights, gate.w), 'F'}, {offsetof(gated_weights, up.w), 'F'}, {0}};
static const tensor_part gate_up_bias[] = {
    {offsetof(gated_weights, gate.bias), 'F'}, {offsetof(gated_weights, up.bias), 'F'}, {0}};

static const tensor_spec tensors[] = {
    {"ffn_up.weight", MATRIX("EG"), .with = ARCH_FUSED_UP, .parts = gate_up},
    {"ffn_up.bias", VECTOR("G"), .may = ARCH_FUSED_UP, .parts = gate_up_bias},
    {"ffn_gate.weight", IN(gate.w), MATRIX("EF")},
    {"ffn_up.weight", IN(up.w), MATRIX("EF")},
    {"ffn_down.weight", IN(down.w), MATRIX("FE")},
    {"ffn_gate.bias", IN(gate.bias), VECTOR("F"), .may = ARCH_ANY_BIAS},
    {"ffn_up.bias", IN(up.bias), VECTOR("F"), .may = ARCH_ANY_BIAS},
    {"ffn_down.bias", IN(down.bias), VECTOR("E"), .may = ARCH_ANY_BIAS},
};

typedef struct scratch {
    float *gate, *up; // (n_batch, n_ff padded to 8)
    float *hidden;    // (n_batch, n_ff)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const size_t n_ff = m->hp.most.n_ff;
    memory_want(w, &c->gate, n_batch, run_pad8(n_ff) * sizeof(float));
    memory_want(w, &c->up, n_batch, run_pad8(n_ff) * sizeof(float));
    memory_want(w, &c->hidden, n_batch, n_ff * sizeof(float));
}

/* hidden = act(gate) * up, for rows [begin, end) of token t. */
static void join(const forward_step *s, size_t t, size_t begin, size_t end) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_gated);
    const size_t n_ff = s->layer->hp.n_ff, row = t * run_pad8(n_ff) + begin;
    s->k->activate_mul(s->m->arch->activation, c->gate + row, c->up + row, end - begin);
    memcpy(c->hidden + t * n_ff + begin, c->gate + row, (end - begin) * sizeof(float));
}

/* gate = max(gate - mean - cutoff * deviation, 0) of a whole token */
static void cut_off(const forward_step *s, size_t t) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_gated);
    const size_t n = s->layer->hp.n_ff;
    float *gate = c->gate + t * run_pad8(n);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += (double)gate[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += ((double)gate[i] - mean) * ((double)gate[i] - mean);
    const float below = (float)(mean + (double)s->layer->hp.cutoff * sqrt(squares / (double)n));
    for (size_t i = 0; i < n; i++) gate[i] = fmaxf(gate[i] - below, 0);
    join(s, t, 0, n);
}

static void run(forward_step *s, const float *x, float *out) {
    const gated_weights *w = s->layer->ffn;
    const scratch *c = block_scratch_of(s, BLOCK_ffn_gated);
    const linear_job in[] = {{&w->gate, c->gate}, {&w->up, c->up}};
    const linear_job down = {&w->down, out};
    const bool sparse = s->layer->hp.sparse, zeros = sparse || kernel_gives_zeros(s->m->arch->activation);
    linears_run(s, (linear_input){x, s->m->hp.n_embd, 1, s->m->arch->features & ARCH_RELU_NORM}, in, 2,
                sparse ? NULL : join);
    if (sparse) step_each_token(s, cut_off);
    step_done(s, PROFILE_GATE_UP);
    linears_run(s, (linear_input){c->hidden, s->layer->hp.n_ff, 1, zeros}, &down, 1, NULL);
    step_done(s, PROFILE_DOWN);
}

const block_kind block_ffn_gated = {
    .spec = {"gated feed-forward", sizeof(gated_weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
};
