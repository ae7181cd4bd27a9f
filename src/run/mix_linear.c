/*
 * Linear attention (Katharopoulos et al. 2020, "Transformers are RNNs", arXiv 2006.16236, sections 3.2 to
 * 3.4): what a query takes from a position is phi(q) . phi(k), phi(x) = elu(x) + 1, of the sum over all. So
 * a head keeps two sums, of phi(k) v and of phi(k), whatever the length of a text; queries of a group share
 * them. Positions are not rotated: order is in what the sums have added up so far.
 */
#include "run/block.h"
#include "run/weights.h"

#define IN(field) .to = offsetof(attention_weights, field)

static const tensor_spec tensors[] = {
    {"attn_q.weight", IN(q.w), MATRIX("EQ")},
    {"attn_k.weight", IN(k.w), MATRIX("EK")},
    {"attn_v.weight", IN(v.w), MATRIX("EU")},
    {"attn_output.weight", IN(o.w), MATRIX("PE")},
};

static const float least = 1e-6f; // of a query's sum, as in the authors' code

typedef struct scratch {
    float *q; // (n_batch, n_head * head_dim padded to 8)
    float *k; // (n_batch, n_head_kv * head_dim padded to 8)
    float *v; // (n_batch, n_head_kv * head_dim_v padded to 8)
    float *y; // (n_batch, n_head * head_dim_v)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static size_t state(const model_hparams *hp) {
    return (size_t)hp->most.n_head_kv * hp->most.head_dim * ((size_t)hp->most.head_dim_v + 1);
}

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const layer_hparams *l = &m->hp.most;
    memory_want(w, &c->q, n_batch, run_pad8((size_t)l->n_head * l->head_dim) * sizeof(float));
    memory_want(w, &c->k, n_batch, run_pad8((size_t)l->n_head_kv * l->head_dim) * sizeof(float));
    memory_want(w, &c->v, n_batch, run_pad8((size_t)l->n_head_kv * l->head_dim_v) * sizeof(float));
    memory_want(w, &c->y, n_batch, (size_t)l->n_head * l->head_dim_v * sizeof(float));
}

/* phi, in place. */
static void map(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] > 0 ? x[i] + 1 : kernel_exp(x[i]);
}

/* Adds a position: kept (n, dim) += k v, sums (n) += k. */
static void add(float *restrict kept, float *restrict sums, size_t n, size_t dim, const float *k,
                const float *v) {
    for (size_t j = 0; j < n; j++) {
        sums[j] += k[j];
        for (size_t i = 0; i < dim; i++) kept[j * dim + i] += k[j] * v[i];
    }
}

/* y (dim) = what q (n) takes. */
static void take(const float *kept, const float *sums, size_t n, size_t dim, const float *q,
                 float *restrict y) {
    float all = least;
    for (size_t i = 0; i < dim; i++) y[i] = 0;
    for (size_t j = 0; j < n; j++) {
        all += q[j] * sums[j];
        for (size_t i = 0; i < dim; i++) y[i] += q[j] * kept[j * dim + i];
    }
    for (size_t i = 0; i < dim; i++) y[i] /= all;
}

/* All tokens of a head of keys and values. */
static void run_head(const forward_step *s, size_t head) {
    const scratch *c = block_scratch_of(s, BLOCK_mix_linear);
    const layer_hparams *l = &s->layer->hp;
    const size_t n = l->head_dim, dim = l->head_dim_v, group = l->n_head / l->n_head_kv;
    for (size_t t = 0; t < s->n; t++) {
        float *q = c->q + t * run_pad8(l->n_head * n) + head * group * n,
              *k = c->k + t * run_pad8(l->n_head_kv * n) + head * n,
              *kept = step_state(s, t) + head * n * (dim + 1), *sums = kept + n * dim;
        map(k, n), map(q, group * n);
        add(kept, sums, n, dim, k, c->v + t * run_pad8(l->n_head_kv * dim) + head * dim);
        for (size_t h = 0; h < group; h++)
            take(kept, sums, n, dim, q + h * n, c->y + (t * l->n_head + head * group + h) * dim);
    }
}

static void run(forward_step *s, const float *x, float *out) {
    const attention_weights *w = s->layer->mixer;
    const scratch *c = block_scratch_of(s, BLOCK_mix_linear);
    const layer_hparams *l = &s->layer->hp;
    const linear_job in[] = {{&w->q, c->q}, {&w->k, c->k}, {&w->v, c->v}};
    linears_run(s, (linear_input){x, s->m->hp.n_embd, 1, false}, in, 3, NULL);
    step_done(s, PROFILE_QKV);
    step_each_part(s, l->n_head_kv, run_head);
    step_done(s, PROFILE_ATTEND);
    linear_run(s, &w->o, c->y, (size_t)l->n_head * l->head_dim_v, out);
    step_done(s, PROFILE_WO);
}

const block_kind block_mix_linear = {
    .spec = {"linear attention", sizeof(attention_weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
    .state = state,
};
