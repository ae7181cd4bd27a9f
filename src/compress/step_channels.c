/*
 * The step that makes feed-forwards narrower: {"step": "channels", "share": 0.3}. In each layer the same
 * share of the channels goes, those that the matrix behind them misses least (channels.h), and that matrix
 * is fitted to the others; so layers stay alike, and the file is an ordinary one of its family.
 *
 * What belongs to a channel is told by the tables of tensors (model/arch.h): every dimension of the letter F
 * has one element for it, and a tensor that is made of two matrices of the letter has two. So it is for all
 * families whose feed-forward is gated or plain.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/changing.h"
#include "compress/channels.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Channels of a layer. */
typedef struct width {
    uint32_t n, n_keep;
    uint32_t *rows; // (2 n_keep) those that stay; then those of a second matrix in the same tensor
} width;

typedef struct step_channels {
    changing c;
    double share;
    width *widths; // (n_layer)
    uint32_t *memory;
    float *row;           // (the most channels)
    layer_weights now;    // of the tensor that is written
    double before, after; // parameters
} step_channels;

/* ---- widths ---- */

/* What quantized rows are made of stays whole: 32 channels, where the model has such. */
static uint32_t width_left(uint32_t n, double share) {
    const uint32_t unit = n % 32 ? 1 : 32, left = (uint32_t)((1 - share) * (double)n / unit + 0.5) * unit;
    return left ? left : unit;
}

static nut_status check_layer(const nut_model *m, uint32_t il, nut_error *err) {
    const layer_hparams *l = &m->layers[il].hp;
    if ((l->ffn == BLOCK_ffn_gated && !l->sparse) || l->ffn == BLOCK_ffn_plain) return NUT_OK;
    return error_set(
        err, NUT_E_UNSUPPORTED,
        "channels cannot be taken out of this %s model: the feed-forward of layer %u is neither "
        "gated nor plain",
        m->arch->name, (unsigned)il);
}

static nut_status take_widths(step_channels *s, nut_error *err) {
    const nut_model *m = s->c.m;
    const uint32_t n_layer = m->hp.n_layer, most = m->hp.most.n_ff;
    s->widths = mem_calloc(n_layer, sizeof *s->widths);
    s->memory = mem_calloc(2 * (size_t)n_layer, most * sizeof *s->memory);
    s->row = mem_alloc(most * sizeof *s->row);
    if (!s->widths || !s->memory || !s->row) return error_memory(err, 8 * (uint64_t)n_layer * most);
    for (uint32_t il = 0; il < n_layer; il++) {
        const uint32_t n = m->layers[il].hp.n_ff;
        TRY(check_layer(m, il, err));
        s->widths[il] = (width){n, width_left(n, s->share), s->memory + 2 * (size_t)il * most};
    }
    return NUT_OK;
}

/* "<arch>.feed_forward_length", of all layers or of each. */
static nut_status set_widths(step_channels *s, nut_error *err) {
    char key[96];
    gguf_meta *meta = &s->c.rewrite.meta;
    const uint32_t n_layer = s->c.m->hp.n_layer;
    snprintf(key, sizeof key, "%.64s.feed_forward_length", s->c.m->arch->name);
    const gguf_kv *kv = gguf_find(&s->c.m->header, key);
    if (!kv || kv->type != GGUF_ARRAY) return gguf_meta_int(meta, key, GGUF_U32, s->widths[0].n_keep, err);
    uint32_t *all = mem_alloc(n_layer * sizeof *all);
    if (!all) return error_memory(err, n_layer * sizeof *all);
    for (uint32_t il = 0; il < n_layer; il++) all[il] = s->widths[il].n_keep;
    const nut_status status = gguf_meta_array(meta, key, GGUF_U32, all, n_layer, err);
    mem_free(all);
    return status;
}

/* ---- the plan ---- */

/* Matrices in a tensor that have channels as rows. */
static uint64_t parts_of(const tensor_spec *spec) {
    uint64_t n = 0;
    if (!spec->parts) return spec->shape[1] == 'F';
    for (const tensor_part *p = spec->parts; p->letter; p++) n += p->letter == 'F';
    return n;
}

static void plan_tensor(step_channels *s, rewrite_tensor *t) {
    void *to;
    uint32_t layer;
    gguf_str rest;
    const tensor_spec *spec = bind_find(s->c.m, t->name, &to);
    if (!spec || !layer_of_tensor(t->name, &layer, &rest)) return;
    const width *w = &s->widths[layer];
    if (spec->kind == TENSOR_MATRIX && parts_of(spec)) {
        t->rows = w->rows;
        t->n_rows = parts_of(spec) * w->n_keep;
    } else if (spec->shape[0] == 'F' && !spec->parts) {
        t->computed = true;
        t->n_cols = w->n_keep;
    }
}

static double n_weights(const rewrite_tensor *t) {
    return (double)t->n_cols * (double)t->n_rows;
}

static nut_status plan(changing *c, nut_error *err) {
    step_channels *s = (step_channels *)c;
    TRY(take_widths(s, err));
    TRY(set_widths(s, err));
    for (uint64_t i = 0; i < c->m->header.n_tensors; i++) {
        s->before += n_weights(&c->plan[i]);
        plan_tensor(s, &c->plan[i]);
        s->after += n_weights(&c->plan[i]);
    }
    return gguf_meta_f32(&c->rewrite.meta, "nutshell.channels.share", (float)s->share, err);
}

/* ---- layers ---- */

static nut_status fit_down(step_channels *s, const layer_weights *down, const statistics *of, width *w,
                           nut_error *err) {
    float *weights = mem_alloc(down->n_rows * down->n_cols * sizeof *weights);
    if (!weights) return error_memory(err, down->n_rows * down->n_cols * sizeof *weights);
    layer_weights_get(down, 0, down->n_rows, weights);
    const nut_status status =
        channels_remove(s->c.d, of, down->n_rows, down->n_cols, weights, w->n_keep, w->rows, err);
    if (status == NUT_OK) layer_weights_set(down, 0, down->n_rows, weights);
    for (uint32_t i = 0; i < w->n_keep; i++) w->rows[w->n_keep + i] = w->n + w->rows[i];
    mem_free(weights);
    return status;
}

static nut_status change_layer(changing *c, uint32_t il, nut_error *err) {
    step_channels *s = (step_channels *)c;
    char name[40];
    const int n = snprintf(name, sizeof name, "blk.%u.ffn_down.weight", (unsigned)il);
    const gguf_str down = {name, (uint64_t)n};
    const layer_weights w = layer_weights_of(c->m, down);
    const statistics *of = calibrate_find(c->calibrate, down);
    if (w.n && w.n_cols == s->widths[il].n && of) return fit_down(s, &w, of, &s->widths[il], err);
    return error_set(err, NUT_E_UNSUPPORTED, "layer %u has no ffn_down.weight that can be fitted",
                     (unsigned)il);
}

/* Rows of the matrix behind the channels, or a vector with an element for each. */
static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    step_channels *s = ctx;
    const rewrite_tensor *t = &s->c.plan[tensor];
    const width *w = &s->widths[s->c.layer];
    void *to;
    const tensor_spec *spec = bind_find(s->c.m, t->name, &to);
    const bool is_vector = spec && spec->kind == TENSOR_VECTOR;
    if (!is_vector && !row) s->now = layer_weights_of(s->c.m, t->name);
    if (!is_vector && s->now.n_cols != w->n)
        return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s cannot be changed here", (int)t->name.n,
                         t->name.s);
    for (size_t r = 0; r < n; r++) {
        if (is_vector)
            memcpy(s->row, *(const float *const *)to, w->n * sizeof *s->row);
        else
            layer_weights_get(&s->now, row + r, 1, s->row);
        for (uint32_t i = 0; i < w->n_keep; i++) *out++ = s->row[w->rows[i]];
    }
    return NUT_OK;
}

static void end(changing *c) {
    const step_channels *s = (const step_channels *)c;
    snprintf(c->note, sizeof c->note,
             "feed-forwards have %u of %u channels now; the model %.1f of %.1f million weights",
             (unsigned)s->widths[0].n_keep, (unsigned)s->widths[0].n, s->after / 1e6, s->before / 1e6);
}

static void free_widths(changing *c) {
    step_channels *s = (step_channels *)c;
    mem_free(s->widths);
    mem_free(s->memory);
    mem_free(s->row);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const changing_ops ops = {plan, change_layer, rows, end, free_widths};
    changing *c;
    if (!(v->share > 0))
        return error_set(err, NUT_E_ARGUMENT, "say which part of the channels goes: \"share\": 0.3");
    TRY(changing_begin(r, &ops, STATISTICS_HESSIAN, (uint32_t)v->window, sizeof(step_channels), &c, err));
    ((step_channels *)c)->share = v->share;
    *out = &c->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"share", RECIPE_NUMBER, offsetof(recipe_values, share), 0.01, 0.99},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_channels = {.name = "channels",
                                     .options = options,
                                     .n_options = sizeof options / sizeof *options,
                                     .gives = RECIPE_MODEL,
                                     .share = 40,
                                     .begin = begin};
