/*
 * A step through the layers: the whole model in reading order. What a block computes is in its own file.
 *
 * Work is cut into regions that the threads of a workspace share; the end of a region is the only barrier.
 * Products are cut by rows (linear.c), attention as attend.c says, everything else by token; with one token
 * the latter is too little work to share, and the caller does it alone.
 */
#include "run/attend.h"
#include "run/block.h"

#include <math.h>
#include <string.h>

forward_step step_of(workspace *ws, const step_row *rows, size_t n) {
    if (ws->model->store) ws->model->store->error.code = NUT_OK;
    return (forward_step){
        .ws = ws, .m = ws->model, .k = ws->model->kernels, .n = n, .rows = rows, .residual = ws->residual};
}

/* ---- regions cut by token ---- */

typedef struct token_region {
    const forward_step *s;
    token_fn *fn;
} token_region;

static void token_member(void *ctx, unsigned i, unsigned n) {
    const token_region *r = ctx;
    size_t begin, end;
    threads_split(r->s->n, i, n, &begin, &end);
    for (size_t t = begin; t < end; t++) r->fn(r->s, t);
}

void step_each_token(const forward_step *s, token_fn *fn) {
    token_region r = {s, fn};
    if (s->n == 1)
        fn(s, 0);
    else
        threads_run(s->ws->team, token_member, &r);
}

typedef struct part_region {
    const forward_step *s;
    part_fn *fn;
    size_t n;
} part_region;

static void part_member(void *ctx, unsigned i, unsigned n) {
    const part_region *r = ctx;
    size_t begin, end;
    threads_split(r->n, i, n, &begin, &end);
    for (size_t k = begin; k < end; k++) r->fn(r->s, k);
}

void step_each_part(const forward_step *s, size_t n, part_fn *fn) {
    part_region r = {s, fn, n};
    threads_run(s->ws->team, part_member, &r);
}

const void *step_weights(const forward_step *s) {
    const model_layer *l = s->layer;
    const void *const weights[STEP_PLACES] = {l->mixer, l->beside, l->ffn, l->after};
    return weights[s->place];
}

float *step_state(const forward_step *s, size_t t) {
    return s->rows[t].seq->state + s->ws->state_at[s->il * STEP_PLACES + s->place];
}

void step_done(const forward_step *s, profile_part part) {
    profile_end(&s->ws->profile, part);
}

kernel_rope step_rope(const forward_step *s, size_t t) {
    const size_t which = s->layer->hp.rope, n_pairs = s->m->hp.rope[which].n_rot / 2;
    const float *row = s->ws->rope + (which * s->ws->n_batch + t) * s->m->hp.n_rot;
    return (kernel_rope){row, row + n_pairs, s->layer->hp.rotates ? n_pairs : 0,
                         s->m->hp.rope_kind == MODEL_ROPE_NORM};
}

/* ---- norms and residual ---- */

/* y = norm(x), (n_embd); y may be x. */
static void norm(const forward_step *s, const norm_weights *w, const float *x, float *y) {
    const size_t n = s->m->hp.n_embd;
    if (s->m->arch->norm == ARCH_LAYER_NORM)
        s->k->layer_norm(x, w->weight, w->bias, n, s->m->hp.norm_eps, y);
    else
        s->k->rms_norm(x, w->weight, n, s->m->hp.norm_eps, y);
    if (w->bias && s->m->arch->norm == ARCH_RMS_NORM) s->k->add(y, w->bias, n);
}

/* The input of a block: the norm of a token's residual, or the residual itself where there is none. */
static void norm_residual(const forward_step *s, size_t t, const norm_weights *w) {
    const size_t n = s->m->hp.n_embd;
    const float *x = s->residual + t * n;
    float *y = s->ws->normed + t * n;
    if (w->weight || (s->m->arch->features & ARCH_BARE_NORM))
        norm(s, w, x, y);
    else
        memcpy(y, x, n * sizeof *x);
}

/* residual += residual_scale * norm(what a block made of token t), the norm being optional; or norm(residual
 * + ..) (Xiong et al. 2020, arXiv 2002.04745, figure 1) */
static void add_block(const forward_step *s, size_t t, float *made, const norm_weights *post) {
    const size_t n = s->m->hp.n_embd;
    const bool after = s->m->arch->features & ARCH_NORM_AFTER;
    float *y = made + t * run_pad8(n), *x = s->residual + t * n;
    if (post->weight && !after) norm(s, post, y, y);
    if (s->m->hp.residual_scale != 1.0f) s->k->scale(y, s->m->hp.residual_scale, n);
    s->k->add(x, y, n);
    if (after) norm(s, post, x, x);
}

/* x = (x + y) / sqrt 2, y being what a second mixer made that stands behind the first one's norm. */
static void add_beside(const forward_step *s, size_t t) {
    const size_t n = s->m->hp.n_embd;
    float *x = s->residual + t * n;
    s->k->add(x, s->ws->fed + t * run_pad8(n), n);
    s->k->scale(x, sqrtf(0.5f), n);
}

static void add_mixed(const forward_step *s, size_t t) {
    add_block(s, t, s->ws->mixed, &s->layer->attn_post_norm);
    if (s->m->hp.residuals.n) add_beside(s, t);
}

static void add_fed(const forward_step *s, size_t t) {
    add_block(s, t, s->ws->fed, &s->layer->ffn_post_norm);
}

static void add_both(const forward_step *s, size_t t) {
    add_mixed(s, t);
    add_fed(s, t);
}

/* The same, of which some families leave out what is negative (Mirzadeh et al. 2023, "ReLU Strikes Back",
 * arXiv 2310.04564, section 4.2). */
static void enter(const forward_step *s, size_t t, const norm_weights *w) {
    const size_t n = s->m->hp.n_embd;
    norm_residual(s, t, w);
    if (s->m->arch->features & ARCH_RELU_NORM) s->k->activate(KERNEL_RELU, s->ws->normed + t * n, n);
}

static void enter_mixer(const forward_step *s, size_t t) {
    enter(s, t, &s->layer->attn_norm);
}

static void enter_ffn(const forward_step *s, size_t t) {
    enter(s, t, &s->layer->ffn_norm);
}

static void add_and_enter_ffn(const forward_step *s, size_t t) {
    add_mixed(s, t);
    enter_ffn(s, t);
}

/* ---- a layer ---- */

static void run_mixer(forward_step *s) {
    step_done(s, PROFILE_ATTN_NORM);
    s->place = STEP_MIXER;
    block_kinds[s->layer->hp.mixer]->run(s, s->ws->normed, s->ws->mixed);
    if (s->layer->hp.beside == BLOCK_NONE) return;
    s->place = STEP_BESIDE;
    block_kinds[s->layer->hp.beside]->run(s, s->ws->normed, s->ws->fed);
    if (!s->m->hp.residuals.n) s->k->add(s->ws->mixed, s->ws->fed, s->n * run_pad8(s->m->hp.n_embd));
}

static void run_ffn(forward_step *s) {
    s->place = STEP_FFN;
    block_kinds[s->layer->hp.ffn]->run(s, s->ws->normed, s->ws->fed);
}

/* x += mixer(norm(x)); x += ffn(norm(x)) */
static void run_sequential(forward_step *s) {
    step_each_token(s, enter_mixer);
    run_mixer(s);
    step_each_token(s, add_and_enter_ffn);
    step_done(s, PROFILE_FFN_NORM);
    run_ffn(s);
    step_each_token(s, add_fed);
    step_done(s, PROFILE_ADD);
}

/* x += mixer(norm(x)) + ffn(norm(x)) (Wang and Komatsuzaki 2021, GPT-J); where a norm is missing, both read
 * the other. */
static void run_parallel(forward_step *s) {
    const bool one = !s->layer->attn_norm.weight || !s->layer->ffn_norm.weight;
    step_each_token(s, s->layer->attn_norm.weight ? enter_mixer : enter_ffn);
    run_mixer(s);
    if (!one) step_each_token(s, enter_ffn);
    step_done(s, PROFILE_FFN_NORM);
    run_ffn(s);
    step_each_token(s, add_both);
    step_done(s, PROFILE_ADD);
}

/* Cosines and sines of the tokens' positions. */
static void fill_rope(const forward_step *s) {
    const size_t n_rot = s->m->hp.n_rot;
    for (size_t i = 0; i < s->m->hp.n_ropes; i++)
        for (size_t t = 0; t < s->n; t++)
            rope_table(s->rows[t].seq->rope_freq + i * (n_rot / 2), s->m->hp.rope[i].n_rot / 2,
                       s->rows[t].pos + s->rows[t].seq->n_skipped, (double)s->m->hp.rope[i].magnitude,
                       s->ws->rope + (i * s->ws->n_batch + t) * n_rot);
}

/* x += block(norm(x)) of a layer that has but one. */
static void run_alone(forward_step *s) {
    const bool mixes = s->layer->hp.mixer != BLOCK_NONE;
    step_each_token(s, enter_mixer);
    if (mixes) run_mixer(s);
    if (!mixes) run_ffn(s);
    step_each_token(s, mixes ? add_mixed : add_fed);
    step_done(s, PROFILE_ADD);
}

static void add_after(const forward_step *s, size_t t) {
    add_block(s, t, s->ws->fed, &s->layer->after_post_norm);
}

static void norm_after(const forward_step *s, size_t t) {
    float *y = s->ws->fed + t * run_pad8(s->m->hp.n_embd);
    norm(s, &s->layer->after_post_norm, y, y);
}

static void scale_residual(const forward_step *s, size_t t) {
    const size_t n = s->m->hp.n_embd;
    s->k->scale(s->residual + t * n, *s->layer->out_scale, n);
}

/* Numbers stay in the range of half floats, as the weights behind expect (RWKV's code). */
static void halve_residual(const forward_step *s, size_t t) {
    const size_t n = s->m->hp.n_embd;
    s->k->scale(s->residual + t * n, 0.5f, n);
}

/* x += norm(block(x)); x *= scale */
static void run_after(forward_step *s) {
    if (s->layer->hp.after != BLOCK_NONE) {
        s->place = STEP_AFTER;
        if (s->m->hp.residuals.n) residuals_correct(s);
        block_kinds[s->layer->hp.after]->run(s, s->residual, s->ws->fed);
        step_each_token(s, s->m->hp.residuals.n ? norm_after : add_after);
        if (s->m->hp.residuals.n) residuals_add(s);
    }
    if (s->layer->out_scale) step_each_token(s, scale_residual);
    if (s->m->hp.halve_every && (s->il + 1) % s->m->hp.halve_every == 0) step_each_token(s, halve_residual);
}

static bool is_alone(const layer_hparams *l) {
    return l->mixer == BLOCK_NONE || l->ffn == BLOCK_NONE;
}

static bool is_parallel(const forward_step *s) {
    return s->m->hp.parallel || ((s->m->arch->features & ARCH_MAY_PARALLEL) && !s->layer->ffn_norm.weight);
}

bool step_ran(const forward_step *s) {
    return !s->m->store || s->m->store->error.code == NUT_OK;
}

/* Sees to it that layer s->il is in memory. */
static bool enter_layer(forward_step *s) {
    model_store *store = s->m->store;
    s->layer = &s->m->layers[s->il];
    return !store || store->need_layer(store, s->il);
}

bool forward_layers(forward_step *s, uint32_t from, uint32_t to) {
    const bool several = s->m->hp.residuals.n > 0;
    fill_rope(s);
    if (several && from == 0) residuals_open(s);
    for (s->il = from; s->il < to; s->il++) {
        if (!enter_layer(s)) return false;
        if (several) residuals_predict(s);
        if (is_alone(&s->layer->hp))
            run_alone(s);
        else if (is_parallel(s))
            run_parallel(s);
        else
            run_sequential(s);
        run_after(s);
    }
    if (several && to == s->m->hp.n_layer) residuals_close(s);
    return step_ran(s);
}

bool forward_without(forward_step *s, const bool *left_out) {
    const uint32_t n_layer = s->m->hp.n_layer;
    for (uint32_t from = 0, to; from < n_layer; from = to) {
        for (to = from; to < n_layer && left_out[to] == left_out[from];) to++;
        if (!left_out[from]) forward_layers(s, from, to);
    }
    return step_ran(s);
}

void forward_keep(forward_step *s, uint32_t from, uint32_t to) {
    fill_rope(s);
    for (s->il = from; s->il < to; s->il++) {
        if (!enter_layer(s)) return;
        s->place = STEP_MIXER;
        step_each_token(s, s->layer->attn_norm.weight || !is_parallel(s) ? enter_mixer : enter_ffn);
        attention_keep(s, s->ws->normed);
    }
}

/* ---- ends ---- */

/* x += row i of w (n, n_embd), which a model need not have; other is scratch. */
static void add_row(const forward_step *s, const matrix *w, size_t i, float *other, float *x) {
    if (!w->format) return;
    matrix_row(w, i, other);
    s->k->add(x, other, s->m->hp.n_embd);
}

/* What each layer takes of a token itself: a row of its own, and a normed product of the embedding, averaged
 * as independent numbers are (Gemma 3n and 4, the authors' code). */
static void take_inputs(const forward_step *s, const int32_t *ids) {
    const size_t each = s->m->hp.n_inputs, all = each * s->m->hp.n_layer, n_embd = s->m->hp.n_embd;
    const linear_job job = {&s->m->input_proj, s->ws->inputs};
    linears_run(s, (linear_input){s->residual, n_embd, 1, false}, &job, 1, NULL);
    for (size_t t = 0; t < s->n; t++) {
        float *x = s->ws->inputs + t * run_pad8(all), *own = s->ws->input_row;
        matrix_row(&s->m->input_embd, (size_t)ids[t], own);
        s->k->scale(own, sqrtf((float)each), all);
        s->k->scale(x, 1 / sqrtf((float)n_embd), all);
        for (size_t i = 0; i < all; i += each)
            s->k->rms_norm(x + i, s->m->input_norm, each, s->m->hp.norm_eps, x + i);
        s->k->add(x, own, all);
        s->k->scale(x, sqrtf(0.5f), all);
    }
}

void forward_embed(const forward_step *s, const int32_t *ids) {
    const size_t n_embd = s->m->hp.n_embd;
    for (size_t t = 0; t < s->n; t++) {
        float *x = s->residual + t * n_embd;
        matrix_row(&s->m->token_embd, (size_t)ids[t], x);
        if (s->m->hp.embd_scale != 1.0f) s->k->scale(x, s->m->hp.embd_scale, n_embd);
        add_row(s, &s->m->types, 0, s->ws->normed, x);
        add_row(s, &s->m->positions, s->rows[t].pos, s->ws->normed, x);
        if (s->m->embd_norm.weight) norm(s, &s->m->embd_norm, x, x);
    }
    if (s->m->hp.n_inputs) take_inputs(s, ids);
    step_done(s, PROFILE_EMBED);
}

static void enter_output(const forward_step *s, size_t t) {
    norm_residual(s, t, &s->m->output_norm);
}

static void finish_logits(const forward_step *s, size_t t) {
    const model_hparams *hp = &s->m->hp;
    float *logits = s->ws->logits + t * run_pad8(hp->n_vocab);
    if (hp->logit_scale != 1.0f) s->k->scale(logits, hp->logit_scale, hp->n_vocab);
    if (hp->logit_softcap > 0) s->k->softcap(logits, hp->logit_softcap, hp->n_vocab);
}

void forward_output_norm(forward_step *s, const uint32_t *kept, size_t n_kept) {
    const size_t n_embd = s->m->hp.n_embd;
    for (size_t i = 0; i < n_kept; i++)
        memmove(s->residual + i * n_embd, s->residual + kept[i] * n_embd, n_embd * sizeof(float));
    s->n = n_kept;
    step_each_token(s, enter_output);
    step_done(s, PROFILE_OUTPUT_NORM);
}

void forward_hidden(const forward_step *s) {
    step_each_token(s, enter_output);
    step_done(s, PROFILE_OUTPUT_NORM);
}

/* The vocabulary's rows are the largest product: only for the rows that are kept. */
void forward_head(forward_step *s, const uint32_t *kept, size_t n_kept) {
    const linear_job job = {&s->m->output, s->ws->logits};
    forward_output_norm(s, kept, n_kept);
    linears_run(s, (linear_input){s->ws->normed, s->m->hp.n_embd, 1, false}, &job, 1, NULL);
    if (s->m->hp.logit_scale != 1.0f || s->m->hp.logit_softcap > 0) step_each_token(s, finish_logits);
    step_done(s, PROFILE_OUTPUT);
}
