/*
 * The step that makes weights zero: {"step": "prune", "metric": "wanda", "share": 0.5}, or "pattern": "2:4".
 * The matrices of all layers are pruned, each by the same share, or with "by_layer" those of a layer by a
 * share of their own (owl.h); embeddings and output are not, as in the papers (prune.h). "refit": what is
 * left of a matrix is fitted to its old results (reconstruct.h); "revise": before that, weights that went
 * and others change places (revise.h); "permute": with a pattern, channels of feed-forwards take the order
 * that suits it (permute.h). The file stays as large as it was: zeros pay where a coder follows.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/changing.h"
#include "compress/method.h"
#include "compress/owl.h"
#include "compress/permute.h"
#include "compress/prune.h"
#include "compress/reconstruct.h"
#include "compress/revise.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct step_prune {
    changing c;
    prune_options o;
    char pattern[32];
    bool refit, revise, permute;
    permuted_statistics permuted; // of the matrix behind the channels of the layer, where they are permuted
    owl_layer *outside;           // (n_layer), where layers have shares of their own
    double *shares;               // (n_layer) or NULL
    layer_weights now;            // of the tensor that is written
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

static nut_status read_options(const recipe_values *v, prune_options *o, nut_error *err) {
    *o = (prune_options){.share = v->share};
    TRY(read_metric(v->metric, &o->metric, err));
    TRY(read_pattern(v, o, err));
    if (o->of && v->by_layer)
        return error_set(err, NUT_E_ARGUMENT,
                         "a pattern is the same in all layers; give a share, or leave out \"by_layer\"");
    if (v->permute && !o->of)
        return error_set(err, NUT_E_ARGUMENT,
                         "an order of channels matters to patterns; give one, or leave out \"permute\"");
    if (!v->revise || o->metric != PRUNE_sparsegpt) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "sparsegpt changes the weights that stay, so others cannot come back; leave out "
                     "\"revise\", or choose another metric");
}

static nut_status check(const recipe_values *v, nut_error *err) {
    prune_options o;
    return read_options(v, &o, err);
}

/* ---- layers ---- */

static bool is_pruned(const nut_model *m, const prune_options *o, const gguf_tensor *t) {
    uint32_t layer;
    gguf_str rest;
    void *to;
    if (!layer_of_tensor(t->name, &layer, &rest) || !method_is_matrix(t) || method_is_small(t)) return false;
    const tensor_spec *spec = bind_find(m, t->name, &to);
    return spec && spec->kind == TENSOR_MATRIX && !(o->of && t->dims[0] % o->of);
}

/* Whether a tensor changes though it is not pruned: it has channels, which are permuted. */
static bool is_permuted(const step_prune *p, gguf_str name) {
    void *to;
    uint32_t layer;
    gguf_str rest;
    const tensor_spec *spec = bind_find(p->c.m, name, &to);
    return p->permute && spec && layer_of_tensor(name, &layer, &rest) &&
           (parts_in_columns(spec, &parts_channels_kind) || parts_in_rows(spec, &parts_channels_kind));
}

static nut_status plan(changing *c, nut_error *err) {
    step_prune *p = (step_prune *)c;
    gguf_meta *meta = &c->rewrite.meta;
    size_t n = 0;
    for (uint64_t i = 0; i < c->m->header.n_tensors; i++) {
        const bool pruned = is_pruned(c->m, &p->o, c->plan[i].from);
        c->plan[i].computed = pruned || is_permuted(p, c->plan[i].name);
        n += pruned;
    }
    if (!n)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "a %s model of this shape has no matrices here that can be pruned",
                         c->m->arch->name);
    TRY(gguf_meta_str(meta, "nutshell.prune.metric",
                      (gguf_str){names[p->o.metric], strlen(names[p->o.metric])}, err));
    if (p->shares)
        TRY(gguf_meta_array(meta, "nutshell.prune.shares", GGUF_F64, p->shares, c->m->hp.n_layer, err));
    if (p->o.of)
        return gguf_meta_str(meta, "nutshell.prune.pattern", (gguf_str){p->pattern, strlen(p->pattern)},
                             err);
    return gguf_meta_f32(meta, "nutshell.prune.share", (float)p->o.share, err);
}

/* A matrix of the layer that is in memory as floats, to be freed. */
static nut_status copy_weights(const layer_weights *w, float **out, nut_error *err) {
    size_t n = 0;
    const bool fits = size_mul(w->n_rows, w->n_cols, &n) && n < SIZE_MAX / sizeof **out;
    *out = fits ? mem_alloc(n * sizeof **out) : NULL;
    if (!*out) return error_memory(err, n * sizeof **out);
    layer_weights_get(w, 0, w->n_rows, *out);
    return NUT_OK;
}

/* What is made better once a mask is there: weights were `before`. */
static nut_status mend(step_prune *p, const layer_weights *w, const statistics *s, const float *before,
                       float *weights, nut_error *err) {
    if (p->revise) TRY(revise_mask(p->c.d, s, p->o.of, w->n_rows, w->n_cols, before, weights, err));
    return p->refit ? reconstruct(p->c.d, s, w->n_rows, w->n_cols, before, weights, err) : NUT_OK;
}

static nut_status prune_weights(step_prune *p, const layer_weights *w, const prune_options *o,
                                const statistics *s, float *weights, nut_error *err) {
    float *before;
    TRY(prune_matrix(p->c.d, o, s, w->n_rows, w->n_cols, weights, err));
    if (!p->refit && !p->revise) return NUT_OK;
    TRY(copy_weights(w, &before, err));
    const nut_status status = mend(p, w, s, before, weights, err);
    mem_free(before);
    return status;
}

/* ---- channels in another order ---- */

static gguf_str behind_channels(const step_prune *p, uint32_t il, char name[64]) {
    const char *in_layer = arch_file_name(p->c.m->arch, parts_channels_kind.behind);
    return (gguf_str){name, (uint64_t)snprintf(name, 64, "blk.%u.%s", (unsigned)il, in_layer)};
}

static nut_status find_order(step_prune *p, const layer_weights *w, const statistics *s, uint32_t *order,
                             nut_error *err) {
    float *weights;
    double *sums = mem_calloc(w->n_cols, sizeof *sums);
    if (!sums) return error_memory(err, w->n_cols * sizeof *sums);
    nut_status status = copy_weights(w, &weights, err);
    if (status == NUT_OK) {
        status = prune_column_scores(p->o.metric, s, w->n_rows, w->n_cols, weights, sums, err);
        mem_free(weights);
    }
    if (status == NUT_OK) status = permute_order(sums, w->n_cols, p->o.of, order, err);
    mem_free(sums);
    return status;
}

/* All tensors of a layer that have channels, and the statistics of the matrix behind them. */
static nut_status permute_channels(step_prune *p, uint32_t il, nut_error *err) {
    char name[64];
    const gguf_str behind = behind_channels(p, il, name);
    const layer_weights w = layer_weights_of(p->c.m, behind);
    const statistics *s = calibrate_find(p->c.calibrate, behind);
    parts all = {.n = (uint32_t)w.n_cols, .n_keep = (uint32_t)w.n_cols};
    TRY(parts_channels(p->c.m, il, &all.kind, err));
    if (!s || w.n_cols % p->o.of) return NUT_OK; // the matrix is not pruned
    all.kept = mem_calloc(w.n_cols, sizeof *all.kept);
    if (!all.kept) return error_memory(err, w.n_cols * sizeof *all.kept);
    nut_status status = find_order(p, &w, s, all.kept, err);
    if (status == NUT_OK) status = permute_layer(p->c.m, il, &all, err);
    if (status == NUT_OK) status = permute_statistics(s, all.kept, &p->permuted, err);
    mem_free(all.kept);
    return status;
}

static void forget_order(step_prune *p) {
    mem_free(p->permuted.memory);
    p->permuted = (permuted_statistics){0};
}

static const statistics *find_statistics(const step_prune *p, gguf_str name) {
    char behind[64];
    behind_channels(p, p->c.layer, behind);
    if (p->permuted.memory && gguf_str_is(name, behind)) return &p->permuted.s;
    return calibrate_find(p->c.calibrate, name);
}

static nut_status prune_tensor(step_prune *p, gguf_str name, nut_error *err) {
    const layer_weights w = layer_weights_of(p->c.m, name);
    const statistics *s = find_statistics(p, name);
    prune_options o = p->o;
    float *weights;
    if (!s) return NUT_OK; // it was not used
    if (p->shares) o.share = p->shares[p->c.layer];
    TRY(copy_weights(&w, &weights, err));
    const nut_status status = prune_weights(p, &w, &o, s, weights, err);
    if (status == NUT_OK) layer_weights_set(&w, 0, w.n_rows, weights);
    for (size_t i = 0; status == NUT_OK && i < w.n_rows * w.n_cols; i++) p->n_zeros += weights[i] == 0.0f;
    p->n_weights += w.n_rows * w.n_cols;
    mem_free(weights);
    return status;
}

static nut_status prune_layer(changing *c, uint32_t il, nut_error *err) {
    step_prune *p = (step_prune *)c;
    forget_order(p);
    if (p->permute) TRY(permute_channels(p, il, err));
    for (size_t i = c->ends[il]; i < c->ends[il + 1]; i++) {
        const rewrite_tensor *t = &c->plan[i];
        if (!is_pruned(c->m, &p->o, t->from)) continue;
        if (layer_weights_of(c->m, t->name).n_rows != t->n_rows)
            return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s of %s models cannot be changed here",
                             (int)t->name.n, t->name.s, c->m->arch->name);
        TRY(prune_tensor(p, t->name, err));
    }
    return NUT_OK;
}

/* ---- shares of layers ---- */

typedef void look_at(owl_layer *l, const statistics *s, const float *weights, size_t n_rows, size_t n_cols);

/* All matrices of the layer that is complete. */
static nut_status look_at_layer(step_prune *p, uint32_t il, look_at *look, nut_error *err) {
    const nut_model *m = calibrate_model(p->c.calibrate);
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        const gguf_tensor *t = &m->header.tensors[i];
        const layer_weights w = layer_weights_of(m, t->name);
        uint32_t layer;
        gguf_str rest;
        const statistics *s = calibrate_find(p->c.calibrate, t->name);
        float *weights;
        if (!layer_of_tensor(t->name, &layer, &rest) || layer != il || !s || !w.n || !is_pruned(m, &p->o, t))
            continue;
        TRY(copy_weights(&w, &weights, err));
        look(&p->outside[il], s, weights, w.n_rows, w.n_cols);
        mem_free(weights);
    }
    return NUT_OK;
}

static nut_status measure(changing *c, uint32_t il, nut_error *err) {
    step_prune *p = (step_prune *)c;
    const uint32_t n_layer = calibrate_model(c->calibrate)->hp.n_layer;
    if (!p->outside) p->outside = mem_calloc(n_layer, sizeof *p->outside);
    if (!p->outside) return error_memory(err, n_layer * sizeof *p->outside);
    TRY(look_at_layer(p, il, owl_add, err));
    TRY(look_at_layer(p, il, owl_count, err));
    if (il + 1 < n_layer) return NUT_OK;
    p->shares = mem_calloc(n_layer, sizeof *p->shares);
    if (!p->shares) return error_memory(err, n_layer * sizeof *p->shares);
    owl_shares(p->outside, n_layer, p->o.share, p->shares);
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    step_prune *p = ctx;
    const rewrite_tensor *t = &p->c.plan[tensor];
    void *to;
    (void)err;
    if (bind_find(p->c.m, t->name, &to)->kind == TENSOR_VECTOR)
        return memcpy(out, *(const float *const *)to, (size_t)t->n_cols * sizeof *out), NUT_OK;
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

static void free_prune(changing *c) {
    step_prune *p = (step_prune *)c;
    forget_order(p);
    mem_free(p->outside);
    mem_free(p->shares);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const changing_ops even = {
        .plan = plan, .layer = prune_layer, .rows = rows, .end = end, .free = free_prune};
    static const changing_ops by_layer = {.measure = measure,
                                          .plan = plan,
                                          .layer = prune_layer,
                                          .rows = rows,
                                          .end = end,
                                          .free = free_prune};
    prune_options o;
    changing *c;
    TRY(read_options(v, &o, err));
    const changing_wants wants = {.kinds = prune_statistics(o.metric) | STATISTICS_SQUARES |
                                           (v->refit ? STATISTICS_HESSIAN : 0u) |
                                           (v->revise ? STATISTICS_RANGES : 0u),
                                  .window = (uint32_t)v->window};
    TRY(changing_begin(r, v->by_layer ? &by_layer : &even, &wants, sizeof(step_prune), &c, err));
    step_prune *p = (step_prune *)c;
    p->o = o;
    p->refit = v->refit;
    p->revise = v->revise;
    p->permute = v->permute;
    memcpy(p->pattern, v->pattern, sizeof p->pattern);
    *out = &c->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"metric", RECIPE_TEXT, offsetof(recipe_values, metric), 0, 0},
    {"share", RECIPE_NUMBER, offsetof(recipe_values, share), 0.01, 0.99},
    {"pattern", RECIPE_TEXT, offsetof(recipe_values, pattern), 0, 0},
    {"by_layer", RECIPE_FLAG, offsetof(recipe_values, by_layer), 0, 0},
    {"permute", RECIPE_FLAG, offsetof(recipe_values, permute), 0, 0},
    {"revise", RECIPE_FLAG, offsetof(recipe_values, revise), 0, 0},
    {"refit", RECIPE_FLAG, offsetof(recipe_values, refit), 0, 0},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_prune = {.name = "prune",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options,
                                  .gives = RECIPE_MODEL,
                                  .share = 40,
                                  .begin = begin,
                                  .check = check};
