/*
 * The step that makes two thin matrices of one: {"step": "low_rank", "share": 0.2} takes a fifth of the
 * numbers of the layers' matrices away (low_rank.h), of each the same part, or with "by_layer" where it
 * costs least. A matrix NAME becomes B, under the same name, and A before it, NAME.lora_a: this engine runs
 * both (model/linear.h), other programs refuse the file. Layers behind are fitted to what those before them
 * give.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/changing.h"
#include "compress/low_rank.h"
#include "compress/method.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 80 };

typedef struct step_low_rank {
    changing c;
    double share;
    low_rank_item *items; // (tensors of the source) n_rows 0: one that stays
    size_t n_items;
    char (*names)[NAME]; // (pairs) of A
    float **data;        // (c.n_plan) of computed tensors of the layer, (n_rows, n_cols) each
    double before, after;
} step_low_rank;

static step_low_rank *self(changing *c) {
    return (step_low_rank *)c;
}

/* ---- which matrices ---- */

static bool is_reduced(const nut_model *m, const gguf_tensor *t) {
    return method_is_matrix(t) && t->n_dims == 2 && bind_linear(m, t->name) != NULL;
}

static nut_status take_items(step_low_rank *s, const nut_model *m, nut_error *err) {
    const gguf *g = &m->header;
    if (s->items) return NUT_OK;
    s->items = mem_calloc((size_t)g->n_tensors, sizeof *s->items);
    if (!s->items) return error_memory(err, g->n_tensors * sizeof *s->items);
    s->n_items = (size_t)g->n_tensors;
    size_t n = 0;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const gguf_tensor *t = &g->tensors[i];
        if (!is_reduced(m, t)) continue;
        s->items[i] = (low_rank_item){.n_rows = (size_t)t->dims[1], .n_cols = (size_t)t->dims[0]};
        s->before += low_rank_size(&s->items[i]);
        n++;
    }
    if (n) return NUT_OK;
    return error_set(err, NUT_E_UNSUPPORTED,
                     "a %s model of this shape has no matrices here that can have a low rank",
                     m->arch->name);
}

/* Ranks of those that are matrices. */
static nut_status choose_ranks(step_low_rank *s,
                               nut_status (*choose)(low_rank_item *, size_t, double, nut_error *),
                               nut_error *err) {
    low_rank_item *some = mem_calloc(s->n_items, sizeof *some);
    size_t n = 0;
    if (!some) return error_memory(err, s->n_items * sizeof *some);
    for (size_t i = 0; i < s->n_items; i++)
        if (s->items[i].n_rows) some[n++] = s->items[i];
    const nut_status status = choose(some, n, s->share, err);
    for (size_t i = s->n_items; i-- > 0;)
        if (s->items[i].n_rows) s->items[i].rank = some[--n].rank;
    mem_free(some);
    return status;
}

/* ---- a matrix ---- */

static nut_status reduce(step_low_rank *s, const layer_weights *w, gguf_str name, low_rank *out,
                         nut_error *err) {
    size_t n = 0;
    const bool fits = size_mul(w->n_rows, w->n_cols, &n) && n < SIZE_MAX / sizeof(double);
    float *weights = fits ? mem_alloc(n * sizeof *weights) : NULL;
    if (!weights) return error_memory(err, n * sizeof *weights);
    layer_weights_get(w, 0, w->n_rows, weights);
    const nut_status status =
        low_rank_new(s->c.d, calibrate_find(s->c.calibrate, name), w->n_rows, w->n_cols, weights, out, err);
    mem_free(weights);
    return status;
}

static nut_status measure_tensor(step_low_rank *s, const nut_model *m, size_t i, nut_error *err) {
    const gguf_str name = m->header.tensors[i].name;
    const layer_weights w = layer_weights_of(m, name);
    low_rank l = {0};
    if (!w.n) return NUT_OK;
    const nut_status status = reduce(s, &w, name, &l, err);
    s->items[i].squares = l.squares;
    l.squares = NULL;
    low_rank_free(&l);
    return status;
}

static nut_status measure(changing *c, uint32_t il, nut_error *err) {
    step_low_rank *s = self(c);
    const nut_model *m = calibrate_model(c->calibrate);
    TRY(take_items(s, m, err));
    for (size_t i = 0; i < s->n_items; i++) {
        uint32_t layer;
        gguf_str rest;
        if (!s->items[i].n_rows || !layer_of_tensor(m->header.tensors[i].name, &layer, &rest) || layer != il)
            continue;
        TRY(measure_tensor(s, m, i, err));
    }
    return il + 1 < m->hp.n_layer ? NUT_OK : choose_ranks(s, low_rank_choose, err);
}

/* ---- the plan ---- */

static const low_rank_item *item_of(const step_low_rank *s, const rewrite_tensor *t) {
    return &s->items[t->from - s->c.m->header.tensors];
}

/* A matrix becomes two tensors of the plan, from *n on. */
static void plan_pair(step_low_rank *s, const rewrite_tensor *t, size_t pair, rewrite_tensor *plan,
                      size_t *n) {
    const size_t rank = item_of(s, t)->rank;
    char *name = s->names[pair];
    const int length = snprintf(name, NAME, "%.*s.lora_a", (int)t->name.n, t->name.s);
    rewrite_tensor a = *t, b = *t;
    a.computed = b.computed = true;
    a.name = (gguf_str){name, (uint64_t)length};
    a.n_rows = b.n_cols = rank;
    plan[(*n)++] = a;
    plan[(*n)++] = b;
}

/* Tensors in the same order, with A before B. */
static nut_status split_tensors(step_low_rank *s, nut_error *err) {
    changing *c = &s->c;
    size_t n = 0, pairs = 0, layer = 0;
    rewrite_tensor *plan = mem_calloc(c->n_plan, 2 * sizeof *plan);
    s->names = mem_calloc(c->n_plan, sizeof *s->names);
    s->data = mem_calloc(c->n_plan, 2 * sizeof *s->data);
    if (!plan || !s->names || !s->data) {
        mem_free(plan);
        return error_memory(err, c->n_plan * (2 * sizeof *plan + NAME));
    }
    for (size_t i = 0; i < c->n_plan; i++) {
        for (; c->ends[layer] == i; layer++) c->ends[layer] = n;
        if (item_of(s, &c->plan[i])->rank)
            plan_pair(s, &c->plan[i], pairs++, plan, &n);
        else
            plan[n++] = c->plan[i];
    }
    for (; layer <= c->m->hp.n_layer; layer++) c->ends[layer] = n;
    mem_free(c->plan);
    c->plan = plan;
    c->n_plan = n;
    return NUT_OK;
}

/* The rank of each matrix in the order of the source, 0 for those that stay. */
static nut_status set_ranks(step_low_rank *s, nut_error *err) {
    uint32_t *ranks = mem_calloc(s->n_items, sizeof *ranks);
    size_t n = 0;
    if (!ranks) return error_memory(err, s->n_items * sizeof *ranks);
    for (size_t i = 0; i < s->n_items; i++) {
        if (!s->items[i].n_rows) continue;
        ranks[n++] = (uint32_t)s->items[i].rank;
        s->after += low_rank_size(&s->items[i]);
    }
    const nut_status status =
        gguf_meta_array(&s->c.rewrite.meta, "nutshell.low_rank.ranks", GGUF_U32, ranks, n, err);
    mem_free(ranks);
    return status;
}

static nut_status plan(changing *c, nut_error *err) {
    step_low_rank *s = self(c);
    TRY(take_items(s, c->m, err));
    if (!c->ops->measure) TRY(choose_ranks(s, low_rank_even, err));
    TRY(set_ranks(s, err));
    TRY(gguf_meta_f32(&c->rewrite.meta, "nutshell.low_rank.share", (float)s->share, err));
    return split_tensors(s, err);
}

/* ---- layers ---- */

static void forget_data(step_low_rank *s) {
    for (size_t i = 0; s->data && i < s->c.n_plan; i++) {
        mem_free(s->data[i]);
        s->data[i] = NULL;
    }
}

/* The first `rank` columns of B and rows of A, as floats, at tensors i and i + 1 of the plan: A, B. */
static nut_status keep_factors(step_low_rank *s, size_t i, const low_rank *l, size_t rank, nut_error *err) {
    float *a = s->data[i] = mem_alloc(rank * l->n_cols * sizeof *a);
    float *b = s->data[i + 1] = mem_alloc(rank * l->n_rows * sizeof *b);
    if (!a || !b) return error_memory(err, rank * ((uint64_t)l->n_cols + l->n_rows) * sizeof *a);
    for (size_t k = 0; k < rank * l->n_cols; k++) a[k] = (float)l->a[k];
    for (size_t row = 0; row < l->n_rows; row++)
        for (size_t k = 0; k < rank; k++) b[row * rank + k] = (float)l->b[row * l->n + k];
    return NUT_OK;
}

/* Layers behind see what is left. */
static nut_status apply(step_low_rank *s, size_t i, const layer_weights *w, size_t rank, nut_error *err) {
    const dense_product p = {.m = w->n_rows, .n = w->n_cols, .k = rank, .ldc = w->n_cols};
    float *product = mem_alloc(w->n_rows * w->n_cols * sizeof *product);
    if (!product) return error_memory(err, (uint64_t)w->n_rows * w->n_cols * sizeof *product);
    dense_mul_f32(s->c.d, &p, (dense_f32){s->data[i + 1], rank, 1}, (dense_f32){s->data[i], w->n_cols, 1}, 1,
                  product);
    layer_weights_set(w, 0, w->n_rows, product);
    mem_free(product);
    return NUT_OK;
}

static nut_status change_tensor(step_low_rank *s, size_t i, nut_error *err) {
    const rewrite_tensor *b = &s->c.plan[i + 1];
    const size_t rank = (size_t)b->n_cols;
    const layer_weights w = layer_weights_of(s->c.m, b->name);
    low_rank l = {0};
    if (w.n_rows != b->n_rows)
        return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s of %s models cannot be changed here",
                         (int)b->name.n, b->name.s, s->c.m->arch->name);
    nut_status status = reduce(s, &w, b->name, &l, err);
    if (status == NUT_OK) status = keep_factors(s, i, &l, rank, err);
    low_rank_free(&l);
    return status == NUT_OK ? apply(s, i, &w, rank, err) : status;
}

static nut_status change_layer(changing *c, uint32_t il, nut_error *err) {
    forget_data(self(c));
    for (size_t i = c->ends[il]; i < c->ends[il + 1]; i++) {
        if (!c->plan[i].computed) continue;
        TRY(change_tensor(self(c), i, err));
        i++; // B follows A
    }
    return NUT_OK;
}

static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    const step_low_rank *s = ctx;
    const size_t width = (size_t)s->c.plan[tensor].n_cols;
    (void)err;
    memcpy(out, s->data[tensor] + row * width, n * width * sizeof *out);
    return NUT_OK;
}

/* ---- the job ---- */

static void end(changing *c) {
    const step_low_rank *s = (const step_low_rank *)c;
    snprintf(c->note, sizeof c->note,
             "the layers' matrices have %.3g of %.3g million numbers now, as products of two; only this "
             "engine runs such a file",
             s->after / 1e6, s->before / 1e6);
}

static void free_step(changing *c) {
    step_low_rank *s = self(c);
    forget_data(s);
    for (size_t i = 0; i < s->n_items; i++) mem_free(s->items[i].squares);
    mem_free(s->items);
    mem_free(s->names);
    mem_free(s->data);
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const changing_ops even = {
        .plan = plan, .layer = change_layer, .rows = rows, .end = end, .free = free_step};
    static const changing_ops by_layer = {.measure = measure,
                                          .plan = plan,
                                          .layer = change_layer,
                                          .rows = rows,
                                          .end = end,
                                          .free = free_step};
    const changing_wants wants = {.kinds = STATISTICS_HESSIAN, .window = (uint32_t)v->window};
    changing *c;
    if (!(v->share > 0))
        return error_set(err, NUT_E_ARGUMENT,
                         "say which part of the matrices' numbers goes: \"share\": 0.2");
    TRY(changing_begin(r, v->by_layer ? &by_layer : &even, &wants, sizeof(step_low_rank), &c, err));
    self(c)->share = v->share;
    *out = &c->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"share", RECIPE_NUMBER, offsetof(recipe_values, share), 0.01, 0.99},
    {"by_layer", RECIPE_FLAG, offsetof(recipe_values, by_layer), 0, 0},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_low_rank = {.name = "low_rank",
                                     .options = options,
                                     .n_options = sizeof options / sizeof *options,
                                     .gives = RECIPE_MODEL,
                                     .share = 60,
                                     .begin = begin};
