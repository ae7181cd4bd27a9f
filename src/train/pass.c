/* Memory, norms, and the walk through a layer in both directions. run/layers.c is the same walk for
 * inference. */
#include "train/pass.h"

#include "base/error.h"
#include "run/session.h"

#include <math.h>
#include <string.h>

const grad_kind *const grad_kinds[BLOCK_COUNT] = {
    [BLOCK_mix_attention] = &grad_mix_attention,
    [BLOCK_mix_linear] = &grad_mix_linear,
    [BLOCK_ffn_gated] = &grad_ffn_gated,
    [BLOCK_ffn_experts] = &grad_ffn_experts,
};

/* What of families' features this room computes. */
static const uint64_t known_features = ARCH_PRE_NORM | ARCH_POST_NORM | ARCH_NORM_BIAS | ARCH_QKV_BIAS |
                                       ARCH_ANY_BIAS | ARCH_QK_NORM | ARCH_QK_NORM_FULL | ARCH_PARALLEL |
                                       ARCH_EMBD_SQRT | ARCH_FUSED_UP | ARCH_ROPE_IN_WINDOWS |
                                       ARCH_LOCAL_UNSCALED | ARCH_TILES | ARCH_HEAD; // where a file has none

/* ---- memory ---- */

static size_t largest_matrix(const nut_model *m) {
    const layer_hparams *l = &m->hp.most;
    size_t most = PASS_HEAD_ROWS; // rows: the widest output of any linear
    const expert_hparams *e = &m->hp.experts;
    const size_t widths[] = {(size_t)l->n_head * l->head_dim,
                             (size_t)l->n_head * l->head_dim_v,
                             l->n_ff,
                             e->n,
                             e->n_ff,
                             e->n_ff_shared};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        if (widths[i] > most) most = widths[i];
    return most * m->hp.n_embd;
}

/* Floats for a token of the kinds of feed-forwards that layers have. */
static size_t ffn_floats(const pass *p) {
    size_t most = 0;
    for (uint32_t il = 0; il < p->m->hp.n_layer; il++) {
        const size_t n = grad_kinds[p->m->layers[il].hp.ffn]->n_floats(p->m, p->backward);
        most = n > most ? n : most;
    }
    return most;
}

static void want(pass *p, memory_walk *w) {
    const nut_model *m = p->m;
    const size_t row = m->hp.n_embd * sizeof(float), n_members = threads_count(dense_team(p->d));
    const size_t mixer = grad_kinds[m->arch->mixer]->n_floats(m, p->backward), ffn = ffn_floats(p);
    memory_want(w, &p->rope, m->hp.n_ropes * p->window, m->hp.n_rot * sizeof(float));
    memory_want(w, &p->weights, largest_matrix(m), sizeof(float));
    memory_want(w, &p->normed, p->n, row);
    memory_want(w, &p->made, p->n, row);
    memory_want(w, &p->mixer, p->n, mixer * sizeof(float));
    memory_want(w, &p->ffn, p->n, ffn * sizeof(float));
    memory_want(w, &p->scores, n_members * 3, p->window * p->window * sizeof(float));
    if (!p->backward) return;
    memory_want(w, &p->middle, p->n, row);
    memory_want(w, &p->fed, p->n, row);
    memory_want(w, &p->d_made, p->n, row);
    memory_want(w, &p->d_normed, p->n, row);
    memory_want(w, &p->labels, PASS_HEAD_TOKENS, sizeof *p->labels);
    memory_want(w, &p->logits, PASS_HEAD_TOKENS, PASS_HEAD_ROWS * sizeof(float));
    memory_want(w, &p->probabilities, PASS_HEAD_TOKENS, PASS_HEAD_ROWS * sizeof(float));
}

static void fill_rope(pass *p) {
    const model_hparams *hp = &p->m->hp;
    double freq[CACHE_MAX_DIM];
    for (uint32_t i = 0; i < hp->n_ropes; i++) {
        rope_prepare(p->m, (int)i, (uint32_t)p->window, freq);
        for (size_t t = 0; t < p->window; t++)
            rope_table(freq, hp->rope[i].n_rot / 2, (uint32_t)t, (double)hp->rope[i].magnitude,
                       p->rope + (i * p->window + t) * hp->n_rot);
    }
}

static nut_status take_memory(pass *p, nut_error *err) {
    memory_walk w = {.a = &p->memory};
    want(p, &w);
    if (!arena_open(&p->memory)) return error_memory(err, p->memory.size);
    w = (memory_walk){.a = &p->memory, .taking = true};
    want(p, &w);
    fill_rope(p);
    return NUT_OK;
}

static nut_status take_members(pass *p, threads *team, nut_error *err) {
    TRY(dense_new(team, &p->d, err));
    TRY(threads_new(1, &p->alone, err));
    for (unsigned i = 0; i < threads_count(team); i++) TRY(dense_new(p->alone, &p->own[i], err));
    return NUT_OK;
}

/* Whether a kind of block, or the lack of one, has gradients here. */
static bool knows_kind(unsigned block) {
    return block < BLOCK_COUNT && grad_kinds[block];
}

static bool knows_layers(const nut_model *m) {
    bool known = true;
    for (uint32_t il = 0; il < m->hp.n_layer; il++)
        known &= knows_kind(m->layers[il].hp.mixer) && knows_kind(m->layers[il].hp.ffn);
    return known;
}

static bool knows_experts(const expert_hparams *e) {
    return !e->n || (e->gating != MODEL_GATE_SPARSE && e->n_group_used == e->n_group);
}

static nut_status begin(pass *p, threads *team, nut_error *err) {
    const arch *a = p->m->arch;
    const model_hparams *hp = &p->m->hp;
    const bool plain = hp->attn_clamp <= 0 && hp->max_alibi <= 0 && hp->attn_temperature <= 0 &&
                       knows_experts(&hp->experts) && !p->m->head.out.w.format && hp->causal &&
                       !a->recurrent && !a->beside && !a->after;
    if (!knows_layers(p->m) || (a->features & ~known_features) || !plain)
        return error_set(err, NUT_E_UNSUPPORTED, "there are no gradients for models of family %s", a->name);
    if (p->m->n_side_scratch)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "there are no gradients for matrices of low rank; take the model before that step");
    TRY(take_members(p, team, err));
    return take_memory(p, err);
}

nut_status pass_new(const nut_model *m, threads *team, size_t n, size_t window, bool backward, pass **out,
                    nut_error *err) {
    pass *p = mem_calloc(1, sizeof *p);
    if (!p) return error_memory(err, sizeof *p);
    p->m = m;
    p->n = n;
    p->window = window;
    p->backward = backward;
    const nut_status status = begin(p, team, err);
    if (status == NUT_OK)
        *out = p;
    else
        pass_free(p);
    return status;
}

void pass_free(pass *p) {
    if (!p) return;
    for (size_t i = 0; i < PASS_MEMBERS; i++) dense_free(p->own[i]);
    threads_free(p->alone);
    dense_free(p->d);
    arena_close(&p->memory);
    mem_free(p);
}

/* ---- regions ---- */

typedef struct region {
    pass *p;
    size_t n;
    pass_item *fn;
    void *ctx;
} region;

static void region_member(void *ctx, unsigned i, unsigned n) {
    const region *r = ctx;
    size_t begin_at, end;
    threads_split(r->n, i, n, &begin_at, &end);
    for (size_t item = begin_at; item < end; item++) r->fn(r->p, item, i, r->ctx);
}

void pass_each(pass *p, size_t n, pass_item *fn, void *ctx) {
    region r = {p, n, fn, ctx};
    threads_run(dense_team(p->d), region_member, &r);
}

/* ---- norms ---- */

void pass_rms_norm_back(const float *x, const float *w, const float *dy, size_t n, float eps, bool add,
                        float *dx) {
    double squares = 0, along = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
        along += (double)x[i] * (double)dy[i] * (w ? (double)w[i] : 1);
    }
    const double scale = 1 / sqrt(squares / (double)n + (double)eps);
    const float s = (float)scale, back = (float)(scale * scale * scale * along / (double)n);
    for (size_t i = 0; i < n; i++) dx[i] = (add ? dx[i] : 0) + s * dy[i] * (w ? w[i] : 1) - back * x[i];
}

/* For g = dy w: dx = s (g - mean(g) - xhat mean(g xhat)) */
static void layer_norm_back(const float *x, const float *w, const float *dy, size_t n, float eps, bool add,
                            float *dx) {
    double mean = 0, squares = 0, mean_g = 0, along = 0;
    for (size_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    const double s = 1 / sqrt(squares + (double)eps);
    for (size_t i = 0; i < n; i++) {
        const double g = (double)dy[i] * (w ? (double)w[i] : 1) / (double)n;
        mean_g += g;
        along += g * ((double)x[i] - mean) * s;
    }
    for (size_t i = 0; i < n; i++) {
        const double g = (double)dy[i] * (w ? (double)w[i] : 1), at = ((double)x[i] - mean) * s;
        dx[i] = (add ? dx[i] : 0) + (float)(s * (g - mean_g - at * along));
    }
}

typedef struct norming {
    const norm_weights *w;
    const float *x, *dy;
    bool add;
    float *y; // or dx
} norming;

static void norm_token(pass *p, size_t t, unsigned member, void *ctx) {
    const norming *c = ctx;
    const size_t n = p->m->hp.n_embd;
    (void)member;
    if (p->m->arch->norm == ARCH_LAYER_NORM)
        p->m->kernels->layer_norm(c->x + t * n, c->w->weight, c->w->bias, n, p->m->hp.norm_eps,
                                  c->y + t * n);
    else
        p->m->kernels->rms_norm(c->x + t * n, c->w->weight, n, p->m->hp.norm_eps, c->y + t * n);
    if (c->w->bias && p->m->arch->norm == ARCH_RMS_NORM) p->m->kernels->add(c->y + t * n, c->w->bias, n);
}

void pass_norm(pass *p, const norm_weights *w, const float *x, float *y) {
    norming c = {.w = w, .x = x, .y = y};
    if (w->weight)
        pass_each(p, p->n, norm_token, &c);
    else if (x != y)
        memcpy(y, x, p->n * p->m->hp.n_embd * sizeof *x);
}

static void norm_token_back(pass *p, size_t t, unsigned member, void *ctx) {
    const norming *c = ctx;
    const size_t n = p->m->hp.n_embd;
    (void)member;
    (p->m->arch->norm == ARCH_LAYER_NORM ? layer_norm_back : pass_rms_norm_back)(
        c->x + t * n, c->w->weight, c->dy + t * n, n, p->m->hp.norm_eps, c->add, c->y + t * n);
}

void pass_norm_back(pass *p, const norm_weights *w, const float *x, const float *dy, bool add, float *dx) {
    norming c = {w, x, dy, add, dx};
    pass_norm_learn(p, w, x, dy);
    if (w->weight) {
        pass_each(p, p->n, norm_token_back, &c);
        return;
    }
    for (size_t i = 0; i < p->n * p->m->hp.n_embd; i++) dx[i] = (add ? dx[i] : 0) + dy[i];
}

/* ---- a layer forward ---- */

/* to = x + residual_scale * norm(made), the norm being optional; made stays. */
static void add_block(pass *p, const norm_weights *post, const float *made, float *scratch, const float *x,
                      float *to) {
    const float scale = p->m->hp.residual_scale;
    if (post->weight) pass_norm(p, post, made, scratch), made = scratch;
    for (size_t i = 0; i < p->n * p->m->hp.n_embd; i++) to[i] = x[i] + scale * made[i];
}

static const grad_kind *mixer_of(const pass *p) {
    return grad_kinds[p->layer->hp.mixer];
}
static const grad_kind *ffn_of(const pass *p) {
    return grad_kinds[p->layer->hp.ffn];
}

static bool is_parallel(const pass *p) {
    return p->m->hp.parallel;
}

/* The input of the feed-forward, p->normed, which holds that of the mixer. */
static void enter_ffn(pass *p, const float *x) {
    if (!is_parallel(p) || p->layer->ffn_norm.weight) pass_norm(p, &p->layer->ffn_norm, x, p->normed);
}

void pass_forward(pass *p, uint32_t il, float *x) {
    const model_layer *l = p->layer = &p->m->layers[il];
    pass_norm(p, &l->attn_norm, x, p->normed);
    mixer_of(p)->forward(p, p->normed, p->made);
    if (is_parallel(p)) enter_ffn(p, x);
    add_block(p, &l->attn_post_norm, p->made, p->made, x, x);
    if (!is_parallel(p)) enter_ffn(p, x);
    ffn_of(p)->forward(p, p->normed, p->made);
    add_block(p, &l->ffn_post_norm, p->made, p->made, x, x);
}

/* ---- and backward ---- */

/* d_made = the gradient of what a block made, from that of the residual */
static void leave_block(pass *p, const norm_weights *post, const float *made, const float *dx) {
    const size_t n = p->n * p->m->hp.n_embd;
    const float scale = p->m->hp.residual_scale;
    pass_norm_back(p, post, made, dx, false, p->d_made);
    for (size_t i = 0; i < n && scale != 1; i++) p->d_made[i] *= scale;
}

static void back_sequential(pass *p, const float *x, float *dx) {
    const model_layer *l = p->layer;
    pass_norm(p, &l->attn_norm, x, p->normed);
    mixer_of(p)->forward(p, p->normed, p->made);
    add_block(p, &l->attn_post_norm, p->made, p->middle, x, p->middle);
    pass_norm(p, &l->ffn_norm, p->middle, p->normed);
    ffn_of(p)->forward(p, p->normed, p->fed);
    leave_block(p, &l->ffn_post_norm, p->fed, dx);
    ffn_of(p)->backward(p, p->normed, p->d_made, p->d_normed);
    pass_norm_back(p, &l->ffn_norm, p->middle, p->d_normed, true, dx);
    leave_block(p, &l->attn_post_norm, p->made, dx);
    pass_norm(p, &l->attn_norm, x, p->normed);
    mixer_of(p)->backward(p, p->normed, p->d_made, p->d_normed);
    pass_norm_back(p, &l->attn_norm, x, p->d_normed, true, dx);
}

/* Both halves read x. The sum of what comes back through both norms is made in p->middle. */
static void back_parallel(pass *p, const float *x, float *dx) {
    const model_layer *l = p->layer;
    const norm_weights *ffn_norm = l->ffn_norm.weight ? &l->ffn_norm : &l->attn_norm;
    const size_t n = p->n * p->m->hp.n_embd;
    pass_norm(p, &l->attn_norm, x, p->normed);
    mixer_of(p)->forward(p, p->normed, p->made);
    leave_block(p, &l->attn_post_norm, p->made, dx);
    mixer_of(p)->backward(p, p->normed, p->d_made, p->d_normed);
    pass_norm_back(p, &l->attn_norm, x, p->d_normed, false, p->middle);
    enter_ffn(p, x);
    ffn_of(p)->forward(p, p->normed, p->fed);
    leave_block(p, &l->ffn_post_norm, p->fed, dx);
    ffn_of(p)->backward(p, p->normed, p->d_made, p->d_normed);
    pass_norm_back(p, ffn_norm, x, p->d_normed, true, p->middle);
    for (size_t i = 0; i < n; i++) dx[i] += p->middle[i];
}

void pass_backward(pass *p, uint32_t il, const float *x, float *dx) {
    p->layer = &p->m->layers[il];
    if (is_parallel(p))
        back_parallel(p, x, dx);
    else
        back_sequential(p, x, dx);
}
