/*
 * A mixture of experts: each token goes through those gated feed-forwards that a router chooses for it,
 * whose results are added by weight (Shazeer et al. 2017, arXiv 1701.06538; Fedus et al. 2021, arXiv
 * 2101.03961), and through a shared one where there is that (Dai et al. 2024, arXiv 2401.06066).
 *
 * Each expert runs over the tokens of a batch that chose it, as one product, and the experts one after the
 * other, so a token's results are added in the order of experts whatever else is in the batch. A step of one
 * token is too little work for that: the gates and ups of all its experts are made together.
 *
 * Where the workspace says so, a token runs fewer experts than the model asks for (nut_workspace_experts).
 */
#include "run/block.h"
#include "run/weights.h"

#include <math.h>

#define IN(field) .to = offsetof(expert_weights, field)

static const tensor_spec tensors[] = {
    {"ffn_gate_inp.weight", IN(router.w), MATRIX("EX")},
    {"ffn_gate_inp.bias", IN(router.bias), VECTOR("X"), .may = ARCH_ANY_BIAS},
    {"exp_probs_b.bias", IN(bias), VECTOR("X"), .may = TENSOR_OPTIONAL},
    {"ffn_gate_exps.weight", IN(gate), STACK("EMX")},
    {"ffn_up_exps.weight", IN(up), STACK("EMX")},
    {"ffn_down_exps.weight", IN(down), STACK("MEX")},
    {"ffn_gate_exps.bias", IN(gate_bias), VECTOR("MX"), .may = ARCH_ANY_BIAS},
    {"ffn_up_exps.bias", IN(up_bias), VECTOR("MX"), .may = ARCH_ANY_BIAS},
    {"ffn_down_exps.bias", IN(down_bias), VECTOR("EX"), .may = ARCH_ANY_BIAS},
    {"ffn_gate_shexp.weight", IN(shared_gate.w), MATRIX("ES"), .may = TENSOR_OPTIONAL},
    {"ffn_up_shexp.weight", IN(shared_up.w), MATRIX("ES"), .may = TENSOR_OPTIONAL},
    {"ffn_down_shexp.weight", IN(shared_down.w), MATRIX("SE"), .may = TENSOR_OPTIONAL},
    {"ffn_gate_inp_shexp.weight", IN(shared_router), VECTOR("E"), .may = TENSOR_OPTIONAL},
};

#define NO_EXPERT UINT32_MAX

typedef struct scratch {
    float *scores;    // (n_batch, n_expert padded to 8)
    float *left;      // (n_batch, n_expert) scores of those that may still be chosen
    float *worth;     // (n_batch, n_group)
    uint32_t *chosen; // (n_batch, n_used), NO_EXPERT behind those that run
    float *weights;   // (n_batch, n_used)
    uint32_t *tokens; // (n_batch) of the expert at hand
    float *x;         // (n_batch, n_embd) their inputs
    float *gate, *up; // (n_batch, the wider n_ff padded to 8), or a row for each of one token's experts
    float *hidden;    // (n_batch, the wider n_ff), or that
    float *y;         // (n_batch, n_embd padded to 8)
    size_t n_ff;      // at hand
    size_t n_run;     // of one token's experts
} scratch;
_Static_assert(sizeof(scratch) <= BLOCK_SCRATCH_BYTES, "scratch");

static void want(const nut_model *m, size_t n_batch, void *to, memory_walk *w) {
    scratch *c = to;
    const expert_hparams *h = &m->hp.experts;
    const size_t n_ff = h->n_ff > h->n_ff_shared ? h->n_ff : h->n_ff_shared;
    memory_want(w, &c->scores, n_batch, run_pad8(h->n) * sizeof(float));
    memory_want(w, &c->left, n_batch, h->n * sizeof(float));
    memory_want(w, &c->worth, n_batch, h->n_group * sizeof(float));
    memory_want(w, &c->chosen, n_batch, h->n_used * sizeof(uint32_t));
    memory_want(w, &c->weights, n_batch, h->n_used * sizeof(float));
    memory_want(w, &c->tokens, n_batch, sizeof(uint32_t));
    memory_want(w, &c->x, n_batch, m->hp.n_embd * sizeof(float));
    const size_t rows = n_batch > h->n_used ? n_batch : h->n_used; // those of one token's experts, too
    memory_want(w, &c->gate, rows, run_pad8(n_ff) * sizeof(float));
    memory_want(w, &c->up, rows, run_pad8(n_ff) * sizeof(float));
    memory_want(w, &c->hidden, rows, n_ff * sizeof(float));
    memory_want(w, &c->y, n_batch, run_pad8(m->hp.n_embd) * sizeof(float));
}

/* ---- choosing ---- */

static void softmax(float *x, size_t n) {
    float most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, x[i]);
    for (size_t i = 0; i < n; i++) sum += x[i] = kernel_exp(x[i] - most);
    for (size_t i = 0; i < n; i++) x[i] /= sum;
}

/* The largest of those that are numbers: what was taken is none. */
static size_t best_of(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best] || isnan(x[best])) best = i;
    return best;
}

/* The best group's experts are worth the sum of their best two (DeepSeek-AI 2024, arXiv 2412.19437, section
 * 2.1.2). */
static float group_worth(const float *x, size_t n) {
    float first = -INFINITY, second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        second = fmaxf(second, fminf(first, x[i]));
        first = fmaxf(first, x[i]);
    }
    return n > 1 ? first + second : first;
}

/* Takes the experts of all groups but the best ones out of the choice; worth (n_group) is scratch. */
static void keep_groups(const expert_hparams *h, float *left, float *worth) {
    const size_t each = h->n / h->n_group;
    if (h->n_group_used == h->n_group) return;
    for (size_t g = 0; g < h->n_group; g++) worth[g] = group_worth(left + g * each, each);
    for (size_t k = 0; k < h->n_group_used; k++) worth[best_of(worth, h->n_group)] = NAN;
    for (size_t i = 0; i < h->n; i++)
        if (!isnan(worth[i / each])) left[i] = -INFINITY;
}

/* The weight of the best of what is left: softmax over those whose scores are near its own. */
static float sparse_weight(const float *scores, const float *left, size_t n, size_t best) {
    const float near = 0.02f; // twice the noise that the routers were trained with
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float size = fmaxf(fabsf(scores[i]), left[best]);
        if (left[i] > -INFINITY && !((left[best] - scores[i]) / size > near))
            sum += kernel_exp(left[i] - left[best]);
    }
    return 1 / sum;
}

/* How many of a token's experts run, by their weights (n) in the order of choice. */
static size_t count_run(const nut_experts_options *o, const float *weights, size_t n) {
    const size_t most = o->most && o->most < n ? o->most : n;
    float all = 0, sum = 0;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) all += weights[i];
    while (k < most && (k == 0 || o->mass == 0 || sum < o->mass * all)) sum += weights[k++];
    return k;
}

static void choose(const forward_step *s, size_t t) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    const expert_weights *w = s->layer->ffn;
    const expert_hparams *h = &s->m->hp.experts;
    float *scores = c->scores + t * run_pad8(h->n), *left = c->left + t * h->n,
          *weights = c->weights + t * h->n_used;
    uint32_t *chosen = c->chosen + t * h->n_used;
    if (h->gating == MODEL_GATE_SOFTMAX) softmax(scores, h->n);
    for (size_t i = 0; i < h->n; i++) {
        if (h->gating == MODEL_GATE_SIGMOID) scores[i] = 1 / (1 + kernel_exp(-scores[i]));
        left[i] = scores[i] + (w->bias ? w->bias[i] : 0);
        if (isnan(left[i])) left[i] = -INFINITY; // of a damaged model: no expert is chosen twice
    }
    keep_groups(h, left, c->worth + t * h->n_group);
    for (size_t i = 0; i < h->n_used; i++) {
        const size_t best = best_of(left, h->n);
        weights[i] = h->gating == MODEL_GATE_SPARSE ? sparse_weight(scores, left, h->n, best) : scores[best];
        chosen[i] = (uint32_t)best;
        left[best] = NAN;
    }
    if (h->gating == MODEL_GATE_CHOSEN) softmax(weights, h->n_used);
    const size_t n = count_run(&s->ws->experts, weights, h->n_used);
    if (h->gating == MODEL_GATE_CHOSEN && n < h->n_used) {
        for (size_t i = 0; i < n; i++) weights[i] = scores[chosen[i]];
        softmax(weights, n);
    }
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += weights[i];
    for (size_t i = 0; i < n; i++) weights[i] *= h->normalize && sum > 0 ? h->scale / sum : h->scale;
    for (size_t i = n; i < h->n_used; i++) chosen[i] = NO_EXPERT;
}

/* Chosen experts that run, of the step's tokens. */
static size_t count_all(const forward_step *s) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    size_t n = 0;
    for (size_t i = 0; i < s->n * s->m->hp.experts.n_used; i++) n += c->chosen[i] != NO_EXPERT;
    return n;
}

/* ---- experts ---- */

static void limit(float *gate, float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        gate[i] = fminf(gate[i], 7);
        up[i] = 1 + fmaxf(fminf(up[i], 7), -7);
    }
}

/* hidden = act(gate) * up, for rows [begin, end) of token t. */
static void join(const forward_step *s, size_t t, size_t begin, size_t end) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    const size_t row = t * run_pad8(c->n_ff) + begin;
    if (s->m->arch->features & ARCH_CLAMPED_GLU) limit(c->gate + row, c->up + row, end - begin);
    s->k->activate_mul(s->m->arch->activation, c->gate + row, c->up + row, end - begin);
    memcpy(c->hidden + t * c->n_ff + begin, c->gate + row, (end - begin) * sizeof(float));
}

/* y = down(act(gate(x)) * up(x)) of a step's tokens */
static void run_gated(const forward_step *s, const float *x, const linear *gate, const linear *up,
                      const linear *down, float *y) {
    scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    const linear_job in[] = {{gate, c->gate}, {up, c->up}};
    c->n_ff = gate->w.n_rows;
    linears_run(s, (linear_input){x, s->m->hp.n_embd, 1, false}, in, 2, join);
    linear_run(s, down, c->hidden, c->n_ff, y);
}

/* The tokens that chose expert e, and their inputs. */
static size_t gather_tokens(const forward_step *s, uint32_t e, const float *x) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    const size_t n_used = s->m->hp.experts.n_used, n_embd = s->m->hp.n_embd;
    size_t n = 0;
    for (size_t i = 0; i < s->n * n_used; i++) {
        if (c->chosen[i] != e) continue;
        c->tokens[n] = (uint32_t)i;
        memcpy(c->x + n++ * n_embd, x + i / n_used * n_embd, n_embd * sizeof *x);
    }
    return n;
}

/* to += by * from, (n) */
static void add_scaled(float *to, const float *from, float by, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] += by * from[i];
}

static const float *row_of(const float *bias, uint32_t e, size_t n) {
    return bias ? bias + e * n : NULL;
}

/* Whether an expert's weights are in memory; where they could not be read, the step fails behind the layer.
 */
static bool is_there(const forward_step *s, uint32_t e) {
    model_store *store = s->m->store;
    return !store || store->need_expert(store, s->il, e);
}

static void run_expert(const forward_step *s, uint32_t e, const float *x, float *out) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    const expert_weights *w = s->layer->ffn;
    const size_t n_embd = s->m->hp.n_embd, n_ff = s->m->hp.experts.n_ff, width = run_pad8(n_embd);
    forward_step some = *s;
    some.n = gather_tokens(s, e, x);
    if (!some.n || !is_there(s, e)) return;
    const linear gate = {.w = w->gate[e], .bias = row_of(w->gate_bias, e, n_ff)},
                 up = {.w = w->up[e], .bias = row_of(w->up_bias, e, n_ff)},
                 down = {.w = w->down[e], .bias = row_of(w->down_bias, e, n_embd)};
    run_gated(&some, c->x, &gate, &up, &down, c->y);
    for (size_t i = 0; i < some.n; i++)
        add_scaled(out + c->tokens[i] / s->m->hp.experts.n_used * width, c->y + i * width,
                   c->weights[c->tokens[i]], n_embd);
}

/* ---- one token ---- */

enum { MOST_TOGETHER = 16 };

/* Which of the token's n experts comes next in the order of experts, behind `last`. */
static size_t next_chosen(const scratch *c, size_t n, int64_t last) {
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (c->chosen[i] > last && (best == n || c->chosen[i] < c->chosen[best])) best = i;
    return best;
}

/* Rows [begin, end) of all experts. */
static void join_all(const forward_step *s, size_t t, size_t begin, size_t end) {
    (void)t;
    const scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    for (size_t k = 0; k < c->n_run; k++) join(s, k, begin, end);
}

static void run_together(const forward_step *s, const float *x, float *out) {
    scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    const expert_weights *w = s->layer->ffn;
    const size_t n_embd = s->m->hp.n_embd, n_ff = s->m->hp.experts.n_ff, n = c->n_run;
    linear in[2 * MOST_TOGETHER];
    linear_job jobs[2 * MOST_TOGETHER];
    size_t order[MOST_TOGETHER];
    int64_t last = -1;
    for (size_t k = 0; k < n; k++) {
        const uint32_t e = c->chosen[order[k] = next_chosen(c, n, last)];
        last = e;
        if (!is_there(s, e)) return;
        in[2 * k] = (linear){.w = w->gate[e], .bias = row_of(w->gate_bias, e, n_ff)};
        in[2 * k + 1] = (linear){.w = w->up[e], .bias = row_of(w->up_bias, e, n_ff)};
        jobs[2 * k] = (linear_job){&in[2 * k], c->gate + k * run_pad8(n_ff)};
        jobs[2 * k + 1] = (linear_job){&in[2 * k + 1], c->up + k * run_pad8(n_ff)};
    }
    c->n_ff = n_ff;
    linears_run(s, (linear_input){x, n_embd, 1, false}, jobs, 2 * n, join_all);
    for (size_t k = 0; k < n; k++) {
        const uint32_t e = c->chosen[order[k]];
        const linear down = {.w = w->down[e], .bias = row_of(w->down_bias, e, n_embd)};
        linear_run(s, &down, c->hidden + k * n_ff, n_ff, c->y);
        add_scaled(out, c->y, c->weights[order[k]], n_embd);
    }
}

/* ---- all ---- */

static float shared_weight(const float *router, const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; router && i < n; i++) sum += (double)router[i] * (double)x[i];
    return router ? 1 / (1 + kernel_exp(-(float)sum)) : 1;
}

static void run_shared(const forward_step *s, const float *x, float *out) {
    const scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    const expert_weights *w = s->layer->ffn;
    const size_t n_embd = s->m->hp.n_embd, width = run_pad8(n_embd);
    run_gated(s, x, &w->shared_gate, &w->shared_up, &w->shared_down, c->y);
    for (size_t t = 0; t < s->n; t++)
        add_scaled(out + t * width, c->y + t * width,
                   shared_weight(w->shared_router, x + t * n_embd, n_embd), n_embd);
}

static void run(forward_step *s, const float *x, float *out) {
    const expert_weights *w = s->layer->ffn;
    scratch *c = block_scratch_of(s, BLOCK_ffn_experts);
    linear_run(s, &w->router, x, s->m->hp.n_embd, c->scores);
    step_each_token(s, choose);
    c->n_run = count_all(s);
    s->ws->experts_figures.n_run += c->n_run;
    s->ws->experts_figures.n_asked += s->n * s->m->hp.experts.n_used;
    model_store *store = s->m->store;
    if (store) store->choose_experts(store, s->il, c->chosen, s->n * s->m->hp.experts.n_used);
    step_done(s, PROFILE_GATE_UP);
    memset(out, 0, s->n * run_pad8(s->m->hp.n_embd) * sizeof *out);
    if (s->n == 1 && s->m->hp.experts.n_used <= MOST_TOGETHER)
        run_together(s, x, out);
    else
        for (uint32_t e = 0; e < s->m->hp.experts.n; e++) run_expert(s, e, x, out);
    if (w->shared_gate.w.format) run_shared(s, x, out);
    step_done(s, PROFILE_DOWN);
}

const block_kind block_ffn_experts = {
    .spec = {"mixture of experts", sizeof(expert_weights), tensors, sizeof tensors / sizeof *tensors},
    .want = want,
    .run = run,
};
