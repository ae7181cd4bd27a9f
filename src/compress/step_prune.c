/*
 * The step that makes weights zero: {"step": "prune", "metric": "wanda", "share": 0.5}, or "pattern": "2:4".
 * The matrices of all layers are pruned, each by the same share; embeddings and output are not, as in the
 * papers (prune.h). The file stays as large as it was: zeros pay where a coder follows.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/changing.h"
#include "compress/method.h"
#include "compress/prune.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct step_prune {
    changing c;
    prune_options o;
    char pattern[32];
    layer_weights now; // of the tensor that is written
    uint64_t n_weights, n_zeros;
} step_prune;

/* ---- options ---- */

static const char *const names[] = {
#define NUT_X(name, statistics) #name,
    PRUNE_METRICS(NUT_X)
#undef NUT_X
};

static nut_status read_metric(const char *text, prune_metric *out, nut_error *err) {
    char list[80] = "";
    if (!*text) return *out = PRUNE_wanda, NUT_OK;
    for (size_t i = 0, n = 0; i < PRUNE_METRIC_COUNT; i++) {
        if (!strcmp(text, names[i])) return *out = (prune_metric)i, NUT_OK;
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", names[i]);
    }
    return error_set(err, NUT_E_ARGUMENT, "there is no metric \"%.20s\"; choose one of %s", text, list);
}

static nut_status read_pattern(const recipe_values *v, prune_options *o, nut_error *err) {
    char rest;
    if (*v->pattern && v->share > 0)
        return error_set(err, NUT_E_ARGUMENT, "give a share or a pattern, not both");
    if (!*v->pattern && !(v->share > 0))
        return error_set(err, NUT_E_ARGUMENT,
                         "say how many weights become zero: \"share\": 0.5, or \"pattern\": \"2:4\"");
    if (!*v->pattern) return NUT_OK;
    if (sscanf(v->pattern, "%2u:%2u%c", &o->keep, &o->of, &rest) == 2 && o->keep && o->keep < o->of &&
        o->of <= 32)
        return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "\"%.20s\" is no pattern; \"2:4\" keeps two of four weights, and there may be 32",
                     v->pattern);
}

/* ---- layers ---- */

static bool is_pruned(const changing *c, const rewrite_tensor *t) {
    const step_prune *p = (const step_prune *)c;
    uint32_t layer;
    gguf_str rest;
    void *to;
    if (!layer_of_tensor(t->name, &layer, &rest) || !method_is_matrix(t->from) || method_is_small(t->from))
        return false;
    const tensor_spec *spec = bind_find(c->m, t->name, &to);
    return spec && spec->kind == TENSOR_MATRIX && !(p->o.of && t->n_cols % p->o.of);
}

static nut_status plan(changing *c, nut_error *err) {
    step_prune *p = (step_prune *)c;
    gguf_meta *meta = &c->rewrite.meta;
    size_t n = 0;
    for (uint64_t i = 0; i < c->m->header.n_tensors; i++)
        n += c->plan[i].computed = is_pruned(c, &c->plan[i]);
    if (!n)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "a %s model of this shape has no matrices here that can be pruned",
                         c->m->arch->name);
    TRY(gguf_meta_str(meta, "nutshell.prune.metric",
                      (gguf_str){names[p->o.metric], strlen(names[p->o.metric])}, err));
    if (p->o.of)
        return gguf_meta_str(meta, "nutshell.prune.pattern", (gguf_str){p->pattern, strlen(p->pattern)},
                             err);
    return gguf_meta_f32(meta, "nutshell.prune.share", (float)p->o.share, err);
}

static nut_status prune_tensor(step_prune *p, gguf_str name, nut_error *err) {
    const layer_weights w = layer_weights_of(p->c.m, name);
    const statistics *s = calibrate_find(p->c.calibrate, name);
    if (!s) return NUT_OK; // it was not used
    float *weights = mem_alloc(w.n_rows * w.n_cols * sizeof *weights);
    if (!weights) return error_memory(err, w.n_rows * w.n_cols * sizeof *weights);
    layer_weights_get(&w, 0, w.n_rows, weights);
    const nut_status status = prune_matrix(p->c.d, &p->o, s, w.n_rows, w.n_cols, weights, err);
    if (status == NUT_OK) layer_weights_set(&w, 0, w.n_rows, weights);
    for (size_t i = 0; status == NUT_OK && i < w.n_rows * w.n_cols; i++) p->n_zeros += weights[i] == 0.0f;
    p->n_weights += w.n_rows * w.n_cols;
    mem_free(weights);
    return status;
}

static nut_status prune_layer(changing *c, uint32_t il, nut_error *err) {
    for (size_t i = c->ends[il]; i < c->ends[il + 1]; i++) {
        const rewrite_tensor *t = &c->plan[i];
        if (!t->computed) continue;
        if (layer_weights_of(c->m, t->name).n_rows != t->n_rows)
            return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s of %s models cannot be changed here",
                             (int)t->name.n, t->name.s, c->m->arch->name);
        TRY(prune_tensor((step_prune *)c, t->name, err));
    }
    return NUT_OK;
}

static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    step_prune *p = ctx;
    (void)err;
    if (!row) p->now = layer_weights_of(p->c.m, p->c.plan[tensor].name);
    layer_weights_get(&p->now, row, n, out);
    return NUT_OK;
}

static void end(changing *c) {
    const step_prune *p = (const step_prune *)c;
    snprintf(
        c->note, sizeof c->note,
        "pruned by %s: %.1f %% of %.1f million weights are zero; the file is no smaller for it, unless a "
        "step \"coded\" follows",
        names[p->o.metric], 100 * (double)p->n_zeros / (double)(p->n_weights ? p->n_weights : 1),
        (double)p->n_weights / 1e6);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const changing_ops ops = {plan, prune_layer, rows, end, NULL};
    prune_options o = {.share = v->share};
    changing *c;
    TRY(read_metric(v->metric, &o.metric, err));
    TRY(read_pattern(v, &o, err));
    TRY(changing_begin(r, &ops, prune_statistics(o.metric) | STATISTICS_SQUARES, (uint32_t)v->window,
                       sizeof(step_prune), &c, err));
    step_prune *p = (step_prune *)c;
    p->o = o;
    memcpy(p->pattern, v->pattern, sizeof p->pattern);
    *out = &c->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"metric", RECIPE_TEXT, offsetof(recipe_values, metric), 0, 0},
    {"share", RECIPE_NUMBER, offsetof(recipe_values, share), 0.01, 0.99},
    {"pattern", RECIPE_TEXT, offsetof(recipe_values, pattern), 0, 0},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_prune = {.name = "prune",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .gives = RECIPE_MODEL,
                                  .share = 40,
                                  .begin = begin};
