/*
 * Latent attention (DeepSeek-AI 2024, arXiv 2405.04434, section 2.1): keys and values of all heads are made
 * of one short row for each token; a part of each key, shared by the heads, is rotated apart.
 *
 * Absorbed, that row and the rotated part are the only key of all heads, and the row their only value:
 * queries are brought into its space, and results out of it (appendix C of the paper says why that is the
 * same).
 */
#include "run/attend.h"
#include "run/block.h"

typedef struct weights {
    linear q;                      // (n_head * key, n_embd), or in two steps:
    linear q_in, q_out;            // (q_rank, n_embd), (n_head * key, q_rank)
    linear kv_in;                  // (kv_rank + n_rot, n_embd)
    linear kv_out;                 // (n_head * (key - n_rot + value), kv_rank), not absorbed
    const matrix *k_out, *v_out;   // (n_head) of (kv_rank, key - n_rot) and (value, kv_rank), absorbed
    linear o;                      // (n_embd, n_head * value)
    const float *q_norm, *kv_norm; // (q_rank), (kv_rank)
} weights;

#define IN(field) .to = offsetof(weights, field)

static const tensor_spec tensors[] = {
    {"attn_q.weight", IN(q.w), MATRIX("Eb"), .when_not = 'q'},
    {"attn_q_a.weight", IN(q_in.w), MATRIX("Eq"), .when = 'q'},
    {"attn_q_b.weight", IN(q_out.w), MATRIX("qb"), .when = 'q'},
    {"attn_q_a_norm.weight", IN(q_norm), VECTOR("q"), .when = 'q'},
    {"attn_kv_a_mqa.weight", IN(kv_in.w), MATRIX("Ea")},
    {"attn_kv_a_norm.weight", IN(kv_norm), VECTOR("v")},
    {"attn_kv_b.weight", IN(kv_out.w), MATRIX("vj"), .when_not = 'u'},
    {"attn_k_b.weight", IN(k_out), STACK("yvH"), .when = 'u'},
    {"attn_v_b.weight", IN(v_out), STACK("vlH"), .when = 'u'},
    {"attn_output.weight", IN(o.w), MATRIX("oE")},
};

typedef struct scratch {
    float *low;   // (n_batch, q_rank padded to 8) compressed queries
    float *low_q; // (n_batch, q_rank)
    float *heads; // (n_batch, n_head * key padded to 8) queries as they are made
    float *kv;    // (n_batch, kv_rank + n_rot padded to 8)
    float *row;   // (n_batch, kv_rank) normed
    float *made;  // (n_batch, n_head * (key - n_rot + value) padded to 8) keys and values of heads
    float *q, *k,
        *v; // (n_batch, n_head * head_dim padded to 8), (n_batch, n_head_kv, ..) as attention reads them
    float *attended; // (n_batch, n_head, head_dim_v)
    float *part;     // (n_batch, the longer of head_dim and key) of one head
    float *part_out; // (n_batch, the longest padded to 8)
    float *joined;   // (n_batch, n_head * value)
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static size_t longest(const nut_model *m) {
    const mla_hparams *h = &m->hp.mla;
    const size_t a = h->key > h->value ? h->key : h->value;
    return run_pad8(a > h->kv_rank ? a : h->kv_rank);
}

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const mla_hparams *h = &m->hp.mla;
    const layer_hparams *most = &m->hp.most;
    const size_t n_head = most->n_head, size = sizeof(float);
    memory_want(w, &c->low, n_batch, run_pad8(h->q_rank) * size);
    memory_want(w, &c->low_q, n_batch, h->q_rank * size);
    memory_want(w, &c->heads, n_batch, run_pad8(n_head * h->key) * size);
    memory_want(w, &c->kv, n_batch, run_pad8((size_t)h->kv_rank + m->hp.n_rot) * size);
    memory_want(w, &c->row, n_batch, h->kv_rank * size);
    memory_want(w, &c->made, n_batch, run_pad8(n_head * ((size_t)h->key + h->value)) * size);
    memory_want(w, &c->q, n_batch, run_pad8(n_head * most->head_dim) * size);
    memory_want(w, &c->k, n_batch, (size_t)most->n_head_kv * most->head_dim * size);
    memory_want(w, &c->v, n_batch, (size_t)most->n_head_kv * most->head_dim_v * size);
    memory_want(w, &c->attended, n_batch, n_head * most->head_dim_v * size);
    memory_want(w, &c->part, n_batch, longest(m) * size);
    memory_want(w, &c->part_out, n_batch, longest(m) * size);
    memory_want(w, &c->joined, n_batch, n_head * h->value * size);
}

static scratch *scratch_of(const forward_step *s) {
    return block_scratch_of(s, BLOCK_mix_mla);
}

/* ---- into the space of the cache ---- */

static void norm_queries(const forward_step *s, size_t t) {
    const weights *w = s->layer->mixer;
    const scratch *c = scratch_of(s);
    const size_t n = s->m->hp.mla.q_rank;
    s->k->rms_norm(c->low + t * run_pad8(n), w->q_norm, n, s->m->hp.norm_eps, c->low_q + t * n);
}

static void norm_row(const forward_step *s, size_t t) {
    const weights *w = s->layer->mixer;
    const scratch *c = scratch_of(s);
    const size_t n = s->m->hp.mla.kv_rank;
    s->k->rms_norm(c->kv + t * run_pad8(n + s->m->hp.n_rot), w->kv_norm, n, s->m->hp.norm_eps,
                   c->row + t * n);
}

static void make_rows(const forward_step *s, const float *x) {
    const weights *w = s->layer->mixer;
    const scratch *c = scratch_of(s);
    const linear_input in = {x, s->m->hp.n_embd, 1, false};
    const linear_job plain[] = {{&w->kv_in, c->kv}, {&w->q, c->heads}},
                     low[] = {{&w->kv_in, c->kv}, {&w->q_in, c->low}};
    const size_t q_rank = s->m->hp.mla.q_rank;
    linears_run(s, in, q_rank ? low : plain, 2, NULL);
    step_each_token(s, norm_row);
    if (!q_rank) return;
    step_each_token(s, norm_queries);
    linear_run(s, &w->q_out, c->low_q, q_rank, c->heads);
}

/* Each row's n columns from `from` on, a row apart, to part (n_tokens, n). */
static void take_part(const forward_step *s, const float *from, size_t stride, size_t n) {
    const scratch *c = scratch_of(s);
    for (size_t t = 0; t < s->n; t++) memcpy(c->part + t * n, from + t * stride, n * sizeof *from);
}

static void put_part(const forward_step *s, float *to, size_t stride, size_t n) {
    const scratch *c = scratch_of(s);
    for (size_t t = 0; t < s->n; t++) memcpy(to + t * stride, c->part_out + t * run_pad8(n), n * sizeof *to);
}

/* One head's columns of all tokens times w: from (n_tokens, stride) to (n_tokens, to_stride). */
static void map_head(const forward_step *s, const matrix *w, const float *from, size_t stride, float *to,
                     size_t to_stride) {
    const scratch *c = scratch_of(s);
    const linear l = {.w = *w};
    take_part(s, from, stride, w->n_cols);
    linear_run(s, &l, c->part, w->n_cols, c->part_out);
    put_part(s, to, to_stride, w->n_rows);
}

static void absorb_queries(const forward_step *s) {
    const weights *w = s->layer->mixer;
    const scratch *c = scratch_of(s);
    const size_t n_head = s->layer->hp.n_head, key = s->m->hp.mla.key, dim = s->layer->hp.head_dim;
    for (size_t h = 0; h < n_head; h++)
        map_head(s, &w->k_out[h], c->heads + h * key, run_pad8(n_head * key), c->q + h * dim,
                 run_pad8(n_head * dim));
}

/* ---- rotation and cache ---- */

/* A query's rotated part, behind its plain one of n columns. */
static void rotate_queries(const forward_step *s, size_t t, size_t n, const kernel_rope *r) {
    const scratch *c = scratch_of(s);
    const size_t n_head = s->layer->hp.n_head, key = s->m->hp.mla.key, dim = s->layer->hp.head_dim,
                 n_rot = s->m->hp.n_rot;
    for (size_t h = 0; h < n_head; h++) {
        const float *from = c->heads + t * run_pad8(n_head * key) + h * key;
        float *q = c->q + t * run_pad8(n_head * dim) + h * dim;
        if (!s->m->hp.mla.absorbed) memcpy(q, from, n * sizeof *q);
        memcpy(q + n, from + key - n_rot, n_rot * sizeof *q);
        s->k->rope(q + n, 1, n_rot, r);
    }
}

static void store_token(const forward_step *s, size_t t) {
    const scratch *c = scratch_of(s);
    const mla_hparams *h = &s->m->hp.mla;
    const layer_hparams *l = &s->layer->hp;
    const size_t n_rot = s->m->hp.n_rot, plain = l->head_dim - n_rot, each = plain + h->value;
    const kernel_rope r = step_rope(s, t), none = {0};
    float *rotated = c->kv + t * run_pad8(h->kv_rank + n_rot) + h->kv_rank,
          *k = c->k + t * l->n_head_kv * l->head_dim, *v = c->v + t * l->n_head_kv * l->head_dim_v;
    rotate_queries(s, t, plain, &r);
    s->k->rope(rotated, 1, n_rot, &r);
    for (size_t i = 0; i < l->n_head_kv; i++) {
        const float *made = c->made + t * run_pad8(l->n_head * each) + i * each,
                    *row = c->row + t * h->kv_rank;
        memcpy(k + i * l->head_dim, h->absorbed ? row : made, plain * sizeof *k);
        memcpy(k + i * l->head_dim + plain, rotated, n_rot * sizeof *k);
        memcpy(v + i * l->head_dim_v, h->absorbed ? row : made + plain, l->head_dim_v * sizeof *v);
    }
    attend_store(s, t, &none, k, v);
}

/* ---- out of it ---- */

static void expand_results(const forward_step *s) {
    const weights *w = s->layer->mixer;
    const scratch *c = scratch_of(s);
    const size_t n_head = s->layer->hp.n_head, dim = s->layer->hp.head_dim_v, value = s->m->hp.mla.value;
    for (size_t h = 0; h < n_head; h++)
        map_head(s, &w->v_out[h], c->attended + h * dim, n_head * dim, c->joined + h * value,
                 n_head * value);
}

static void run(forward_step *s, const float *x, float *out) {
    const weights *w = s->layer->mixer;
    const scratch *c = scratch_of(s);
    const mla_hparams *h = &s->m->hp.mla;
    make_rows(s, x);
    if (h->absorbed)
        absorb_queries(s);
    else
        linear_run(s, &w->kv_out, c->row, h->kv_rank, c->made);
    step_done(s, PROFILE_QKV);
    step_each_token(s, store_token);
    attend_store_ordered(s, NULL, c->k, (size_t)s->layer->hp.n_head_kv * s->layer->hp.head_dim, c->v,
                         (size_t)s->layer->hp.n_head_kv * s->layer->hp.head_dim_v);
    step_done(s, PROFILE_STORE);
    attend(s, c->q, NULL, c->attended);
    if (h->absorbed) expand_results(s);
    step_done(s, PROFILE_ATTEND);
    linear_run(s, &w->o, h->absorbed ? c->joined : c->attended, (size_t)s->layer->hp.n_head * h->value, out);
    step_done(s, PROFILE_WO);
}

const block_kind block_mix_mla = {
    .spec = {"latent attention", sizeof(weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .page_bytes = attend_page_bytes,
    .run = run,
};
