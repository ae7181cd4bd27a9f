/* RWKV's channel mixing: value(relu(key(x))^2), x mixed with the row before; with a gate in RWKV-6 (Peng et
 * al. 2024, arXiv 2404.05892), without in RWKV-7 (Peng et al. 2025, arXiv 2503.14456). */
#include "run/block.h"
#include "run/shift.h"

typedef struct weights {
    linear key;                  // (n_ff, n_embd)
    linear value;                // (n_embd, n_ff)
    linear gate;                 // (n_embd, n_embd), or not there
    const float *mix, *gate_mix; // (n_embd)
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    {"channel_mix_key.weight", IN(key.w), MATRIX("EF")},
    {"channel_mix_value.weight", IN(value.w), MATRIX("FE")},
    {"channel_mix_receptance.weight", IN(gate.w), MATRIX("EE"), .with = ARCH_CHANNEL_GATE},
    {"channel_mix_lerp_k.weight", IN(mix), VECTOR("E")},
    {"channel_mix_lerp_r.weight", IN(gate_mix), VECTOR("E"), .with = ARCH_CHANNEL_GATE},
};

typedef struct scratch {
    const float *x;       // of the step
    float *mixed, *gated; // (n_batch, n_embd)
    float *up;            // (n_batch, n_ff padded to 8)
    float *hidden;        // (n_batch, n_ff)
    float *gate;          // (n_batch, n_embd padded to 8)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const size_t n_ff = m->hp.most.n_ff, n = m->hp.n_embd;
    memory_want(w, &c->mixed, n_batch, n * sizeof(float));
    memory_want(w, &c->gated, n_batch, n * sizeof(float));
    memory_want(w, &c->up, n_batch, run_pad8(n_ff) * sizeof(float));
    memory_want(w, &c->hidden, n_batch, n_ff * sizeof(float));
    memory_want(w, &c->gate, n_batch, run_pad8(n) * sizeof(float));
}

static size_t state(const model_hparams *hp) {
    return hp->n_embd;
}

static void mix(const forward_step *s, size_t t) {
    const weights *w = step_weights(s);
    const scratch *c = block_scratch_of(s, BLOCK_ffn_rwkv);
    const size_t n = s->m->hp.n_embd;
    const float *x = c->x + t * n, *before = shift_before(s, c->x, t);
    shift_mix(x, before, w->mix, n, c->mixed + t * n);
    if (w->gate_mix) shift_mix(x, before, w->gate_mix, n, c->gated + t * n);
}

static void act(const forward_step *s, size_t t, size_t begin, size_t end) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_rwkv);
    const size_t n_ff = s->layer->hp.n_ff;
    float *up = c->up + t * run_pad8(n_ff) + begin;
    s->k->activate(KERNEL_RELU_SQUARED, up, end - begin);
    memcpy(c->hidden + t * n_ff + begin, up, (end - begin) * sizeof(float));
}

static void run(forward_step *s, const float *x, float *out) {
    const weights *w = step_weights(s);
    scratch *c = block_scratch_of(s, BLOCK_ffn_rwkv);
    const linear_job key = {&w->key, c->up}, value = {&w->value, out};
    const size_t n = s->m->hp.n_embd, width = run_pad8(n);
    c->x = x;
    step_each_token(s, mix);
    shift_keep(s, x);
    linears_run(s, (linear_input){c->mixed, n, 1, false}, &key, 1, act);
    step_done(s, PROFILE_GATE_UP);
    linears_run(s, (linear_input){c->hidden, s->layer->hp.n_ff, 1, true}, &value, 1, NULL);
    if (w->gate_mix) linear_run(s, &w->gate, c->gated, n, c->gate);
    for (size_t i = 0; w->gate_mix && i < s->n * width; i++) out[i] /= 1 + kernel_exp(-c->gate[i]);
    step_done(s, PROFILE_DOWN);
}

const block_kind block_ffn_rwkv = {
    .spec = {"channel mixing", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
    .state = state,
};
