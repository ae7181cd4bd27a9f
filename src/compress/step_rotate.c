/*
 * The step that rotates what blocks hand to each other, so that no column holds larger weights than others,
 * and the model computes the same: {"step": "rotate"}. The values of each head are rotated by the rows of
 * attn_v, and back by the columns of attn_output (QuaRot: Ashkboos et al. 2024, arXiv 2404.00456, section 4;
 * SpinQuant's R2: Liu et al. 2024, arXiv 2405.16406, section 3). "residual": the residual is rotated too
 * (SpinQuant's R1): what reads it takes the gain of its norm first, and all that gives to it is rotated.
 * That needs an output matrix apart from the token embeddings, which has to take the gain of the last norm.
 *
 * What stands between up and down is a product of two, which no rotation goes through. A rotation there
 * would have to be computed for each token, and is not offered.
 *
 * What is rotated is told by the tables of tensors (model/arch.h): by the letter U of attn_v's rows, P of
 * attn_output's columns, and E of all that the residual has.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/layer_weights.h"
#include "compress/recipe.h"
#include "compress/residual.h"
#include "compress/rewrite.h"
#include "compress/rotation.h"
#include "evaluate/model_source.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { SEED_HEADS = 1, SEED_RESIDUAL = 2 };

typedef struct step_rotate {
    nut_job job;
    nut_status (*phase)(struct step_rotate *s, nut_error *err); // what the next step does
    recipe *r;
    bool residual; // is rotated
    model_source source;
    rewrite rewrite;
    rewrite_tensor *plan; // (n_tensors of the source)
    size_t next;          // tensor that is not written yet
    bool loaded;
    int which;         // is loaded: a layer, or BIND_MODEL
    rotation of_heads; // of the layer that is loaded
    rotation of_residual;
    layer_weights now; // of the tensor that is written
    size_t n_layers;   // with heads that were rotated
    char note[200];
} step_rotate;

/* ---- what a tensor is ---- */

/* Where a tensor meets what is rotated. */
typedef struct meeting {
    const tensor_spec *spec; // NULL: nowhere
    void *to;                // bind_find's
    int which;               // a layer, or BIND_MODEL
    bool gives_values, reads_values, gives_residual, reads_residual, is_norm;
} meeting;

static bool has_values(const tensor_spec *spec, char letter) {
    for (const tensor_part *p = spec->parts; p && p->letter; p++)
        if (p->letter == 'U') return true;
    return !spec->parts && letter == 'U';
}

static meeting meet(const step_rotate *s, gguf_str name) {
    const residual_meeting r = residual_meet(s->source.m, name);
    if (!r.spec) return (meeting){0};
    meeting t = {.spec = r.spec, .to = r.to, .which = r.which};
    const bool is_matrix = t.spec->kind == TENSOR_MATRIX, in = t.which != BIND_MODEL;
    t.gives_values = in && has_values(t.spec, t.spec->shape[is_matrix]);
    t.reads_values = in && is_matrix && t.spec->shape[0] == 'P';
    if (!s->residual) return t;
    t.is_norm = r.is_norm, t.reads_residual = r.reads, t.gives_residual = r.gives;
    return t;
}

static bool is_met(const meeting *t) {
    return t->gives_values || t->reads_values || t->gives_residual || t->reads_residual || t->is_norm;
}

/* ---- what cannot be rotated ---- */

static nut_status check_heads(const nut_model *m, nut_error *err) {
    size_t n = 0;
    for (uint32_t il = 0; il < m->hp.n_layer; il++) n += m->layers[il].hp.mixer == BLOCK_mix_attention;
    const char *why = !n                                   ? "no layer has heads of values"
                      : m->arch->features & ARCH_GATED_OUT ? "each of them has a gate of its own"
                      : m->hp.attn_clamp > 0               ? "they are kept within bounds"
                                                           : NULL;
    if (!why) return NUT_OK;
    return error_set(err, NUT_E_UNSUPPORTED, "values cannot be rotated in this %s model: %s", m->arch->name,
                     why);
}

static nut_status check_residual(const nut_model *m, nut_error *err) {
    if (!residual_is_plain(m))
        return error_set(
            err, NUT_E_UNSUPPORTED,
            "\"residual\" cannot be rotated in this %s model: its layers are more than attention "
            "and a feed-forward, each behind an RMS norm; leave \"residual\" out",
            m->arch->name);
    if (residual_has_output(m)) return NUT_OK;
    return error_set(err, NUT_E_UNSUPPORTED,
                     "\"residual\" needs an output matrix apart from the token embeddings, since that takes "
                     "the gain of the last norm; this model has one matrix for both, so leave \"residual\" "
                     "out");
}

/* ---- turning ---- */

/* Rotations of a matrix' columns, behind a gain, and of some of its rows; NULL: none. */
typedef struct turn {
    const rotation *cols, *rows;
    const float *gain;  // (n_cols)
    size_t row, n_rows; // that `rows` is for
} turn;

static void turn_cols(const layer_weights *w, const turn *t, float *x) {
    for (size_t r = 0; r < w->n_rows; r++) {
        layer_weights_get(w, r, 1, x);
        for (size_t c = 0; t->gain && c < w->n_cols; c++) x[c] *= t->gain[c];
        for (size_t c = 0; c < w->n_cols; c += t->cols->n) rotation_apply(t->cols, x + c);
        layer_weights_set(w, r, 1, x);
    }
}

/* x (rows->n, n_cols), then a column. */
static void turn_rows(const layer_weights *w, const turn *t, float *x) {
    const size_t n = t->rows->n;
    float *column = x + n * w->n_cols;
    for (size_t from = t->row; from < t->row + t->n_rows; from += n) {
        layer_weights_get(w, from, n, x);
        for (size_t c = 0; c < w->n_cols; c++) {
            for (size_t r = 0; r < n; r++) column[r] = x[r * w->n_cols + c];
            rotation_apply(t->rows, column);
            for (size_t r = 0; r < n; r++) x[r * w->n_cols + c] = column[r];
        }
        layer_weights_set(w, from, n, x);
    }
}

static nut_status turn_matrix(const layer_weights *w, const turn *t, nut_error *err) {
    const size_t n = t->rows ? t->rows->n : 0, room = (n + 1) * w->n_cols + n;
    float *x = mem_calloc(room, sizeof *x);
    if (!x) return error_memory(err, room * sizeof *x);
    if (t->cols) turn_cols(w, t, x);
    if (t->rows) turn_rows(w, t, x);
    mem_free(x);
    return NUT_OK;
}

/* Where a tensor's values begin and how many there are, in rows or numbers of a vector. */
static void find_values(const step_rotate *s, const meeting *t, size_t *begin, size_t *n) {
    const nut_model *m = s->source.m;
    const layer_hparams *l = &m->layers[t->which].hp;
    *begin = 0;
    for (const tensor_part *p = t->spec->parts; p && p->letter != 'U'; p++)
        *begin += (size_t)arch_size(&m->hp, l, p->letter);
    *n = (size_t)arch_size(&m->hp, l, 'U');
}

static nut_status change_matrix(const step_rotate *s, const meeting *t, gguf_str name, nut_error *err) {
    const layer_weights w = layer_weights_of(s->source.m, name);
    turn by = {.n_rows = w.n_rows};
    if (!w.n)
        return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s cannot be rotated here", (int)name.n, name.s);
    if (t->reads_residual) {
        const residual_meeting r = residual_meet(s->source.m, name);
        by.cols = &s->of_residual, by.gain = residual_gain(s->source.m, &r);
    }
    if (t->reads_values) by.cols = &s->of_heads;
    if (t->gives_residual) by.rows = &s->of_residual;
    if (t->gives_values) by.rows = &s->of_heads, find_values(s, t, &by.row, &by.n_rows);
    return turn_matrix(&w, &by, err);
}

/* A bias, or a norm whose gain went into matrices. The memory of what is loaded is the source's. */
static void change_vector(const step_rotate *s, const meeting *t) {
    float *x = *(float *const *)t->to;
    size_t from = 0, n = s->source.m->hp.n_embd;
    const rotation *r = t->gives_residual ? &s->of_residual : &s->of_heads;
    for (size_t i = 0; t->is_norm && i < n; i++) x[i] = 1;
    if (t->is_norm) return;
    if (t->gives_values) {
        find_values(s, t, &from, &n);
        for (const tensor_part *p = t->spec->parts; p && p->letter; p++)
            if (p->letter == 'U')
                x = *(float *const *)(void *)((char *)t->to + (p->to - t->spec->parts->to));
    }
    for (size_t i = 0; i < n; i += r->n) rotation_apply(r, x + i);
}

/* All tensors of what is loaded: matrices first, which need the gains of norms. */
static nut_status change_loaded(step_rotate *s, nut_error *err) {
    const gguf *g = &s->source.m->header;
    for (int vectors = 0; vectors < 2; vectors++)
        for (uint64_t i = 0; i < g->n_tensors; i++) {
            const meeting t = meet(s, g->tensors[i].name);
            if (!is_met(&t) || t.which != s->which || (t.spec->kind == TENSOR_VECTOR) != vectors) continue;
            if (vectors)
                change_vector(s, &t);
            else
                TRY(change_matrix(s, &t, g->tensors[i].name, err));
        }
    return NUT_OK;
}

static nut_status take_heads(step_rotate *s, nut_error *err) {
    if (s->which == BIND_MODEL) return NUT_OK;
    const layer_hparams *l = &s->source.m->layers[s->which].hp;
    s->n_layers++;
    if (s->of_heads.n == l->head_dim_v) return NUT_OK;
    rotation_free(&s->of_heads);
    return rotation_new(l->head_dim_v, SEED_HEADS, &s->of_heads, err);
}

/* ---- writing ---- */

/* A vector's parts, one after the other. */
static void copy_vector(const step_rotate *s, const meeting *t, float *out) {
    const nut_model *m = s->source.m;
    const layer_hparams *l = t->which == BIND_MODEL ? &m->hp.most : &m->layers[t->which].hp;
    const tensor_part whole[] = {{0, t->spec->shape[0]}, {0}};
    const tensor_part *parts = t->spec->parts ? t->spec->parts : whole;
    for (const tensor_part *p = parts; p->letter; p++) {
        const size_t n = (size_t)arch_size(&m->hp, l, p->letter);
        memcpy(out, *(float *const *)(void *)((char *)t->to + (p->to - parts->to)), n * sizeof *out);
        out += n;
    }
}

static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    step_rotate *s = ctx;
    const meeting t = meet(s, s->plan[tensor].name);
    (void)err;
    if (t.spec->kind == TENSOR_VECTOR) {
        copy_vector(s, &t, out);
        return NUT_OK;
    }
    if (!row) s->now = layer_weights_of(s->source.m, s->plan[tensor].name);
    layer_weights_get(&s->now, row, n, out);
    return NUT_OK;
}

static nut_status finish(step_rotate *s, nut_error *err) {
    (void)err;
    job_done(&s->job);
    return NUT_OK;
}

static nut_status write_model(step_rotate *s, nut_error *err);

static nut_status load(step_rotate *s, nut_error *err) {
    bool ready = false;
    TRY(model_source_layer(&s->source, &s->job, s->which, &ready, err));
    if (!ready) return NUT_OK;
    s->loaded = true;
    s->phase = write_model;
    TRY(take_heads(s, err));
    return change_loaded(s, err);
}

/* What the next tensor is of is loaded before it is written. */
static nut_status prepare(step_rotate *s, nut_error *err) {
    const meeting t = meet(s, s->plan[s->next].name);
    (void)err;
    if (!s->plan[s->next].computed || (s->loaded && s->which == t.which)) return NUT_OK;
    model_source_unload(&s->source);
    s->loaded = false;
    s->which = t.which;
    s->phase = load;
    return NUT_OK;
}

static nut_status write_model(step_rotate *s, nut_error *err) {
    const size_t n = (size_t)s->source.m->header.n_tensors;
    bool ready = false;
    TRY(rewrite_step(&s->rewrite, &s->job, s->next, &ready, err));
    if (!ready) return NUT_OK;
    if (s->next < n) {
        TRY(prepare(s, err));
        s->next++;
        return NUT_OK;
    }
    snprintf(s->note, sizeof s->note, "the values of %zu layers were rotated%s", s->n_layers,
             s->residual ? ", and the residual" : "");
    job_note(&s->job, s->note);
    s->phase = finish;
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status begin_write(step_rotate *s, nut_error *err) {
    gguf *g = &s->source.m->header;
    gguf_meta *meta = &s->rewrite.meta;
    const gguf_str what = s->residual ? (gguf_str){"residual", 8} : (gguf_str){"heads", 5};
    TRY(rewrite_plan(g, &s->plan, err));
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const meeting t = meet(s, g->tensors[i].name);
        s->plan[i].computed = is_met(&t);
    }
    TRY(gguf_meta_str(meta, "nutshell.rotated", what, err));
    TRY(gguf_meta_str(meta, COMPRESS_RECIPE, (gguf_str){s->r->json, strlen(s->r->json)}, err));
    s->rewrite.rows = rows, s->rewrite.ctx = s;
    s->phase = write_model;
    return rewrite_begin(&s->rewrite, g, s->plan, (size_t)g->n_tensors, err);
}

static nut_status read_model(step_rotate *s, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&s->source, &s->job, true, &ready, err));
    if (!ready) return NUT_OK;
    TRY(check_heads(s->source.m, err));
    if (s->residual) {
        TRY(check_residual(s->source.m, err));
        TRY(rotation_new(s->source.m->hp.n_embd, SEED_RESIDUAL, &s->of_residual, err));
    }
    return begin_write(s, err);
}

static nut_status step(nut_job *job, nut_error *err) {
    step_rotate *s = (step_rotate *)job;
    return s->phase(s, err);
}

static void free_job(nut_job *job) {
    step_rotate *s = (step_rotate *)job;
    rewrite_free(&s->rewrite);
    rotation_free(&s->of_heads);
    rotation_free(&s->of_residual);
    mem_free(s->plan);
    model_source_free(&s->source);
    mem_free(s);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    step_rotate *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    s->job.ops = &ops;
    s->r = r;
    s->residual = v->residual;
    s->phase = read_model;
    *out = &s->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"residual", RECIPE_FLAG, offsetof(recipe_values, residual), 0, 0},
};

const recipe_kind recipe_rotate = {.name = "rotate",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .gives = RECIPE_MODEL,
                                   .share = 4,
                                   .begin = begin};
