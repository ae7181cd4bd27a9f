/*
 * The step that takes experts out: {"step": "experts", "keep": 6}, in each layer those that the text uses
 * least, or with "metric": "loss" those whose results are smallest over the text; "merge": true adds them to
 * those that stay (experts.h). The file is an ordinary one of its family.
 *
 * What belongs to an expert is told by the tables of tensors (model/arch.h): where the last dimension has
 * the letter X, one element, row or matrix. Layers behind are calibrated with what all experts gave.
 */
#include "base/error.h"
#include "base/mem.h"
#include "compress/changing.h"
#include "compress/experts.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The three stacks of a layer. */
enum { GATE, UP, DOWN, STACKS };
static const char *const stack_names[STACKS] = {"ffn_gate_exps.weight", "ffn_up_exps.weight",
                                                "ffn_down_exps.weight"};

typedef struct step_experts {
    changing c;
    uint32_t n_keep;
    bool merge, by_loss;
    uint32_t *kept; // (n_layer, n_keep)
    // of the layer at hand
    uint64_t *uses;  // (n)
    double *worth;   // (n)
    uint32_t *into;  // (n) as experts_group has it
    float **merged;  // (n_keep) of (n_ff, 3 n_embd): gate, up and down of each hidden unit; NULL: none was
    float *one;      // (n_ff, 3 n_embd) an expert like them
    float *row;      // (n_ff) of down
    double n_tokens; // all uses, and those of experts that stay
    double n_left;
} step_experts;

static const expert_hparams *experts_of(const changing *c) {
    return &c->m->hp.experts;
}

/* ---- the plan ---- */

static nut_status check(const step_experts *s, nut_error *err) {
    const nut_model *m = s->c.m;
    const expert_hparams *x = &m->hp.experts;
    if (!x->n)
        return error_set(err, NUT_E_UNSUPPORTED, "this %s model has no experts that could go",
                         m->arch->name);
    if (s->n_keep >= x->n)
        return error_set(err, NUT_E_ARGUMENT, "the model has %u experts in a layer; keep fewer",
                         (unsigned)x->n);
    if (s->n_keep % x->n_group)
        return error_set(err, NUT_E_ARGUMENT,
                         "experts are in %u groups of the same size; keep a multiple of that",
                         (unsigned)x->n_group);
    if (x->n_used <= s->n_keep / x->n_group * x->n_group_used) return NUT_OK;
    return error_set(
        err, NUT_E_ARGUMENT,
        "a token goes through %u experts of %u groups, and %u of each group are too few; keep more",
        (unsigned)x->n_used, (unsigned)x->n_group_used, (unsigned)(s->n_keep / x->n_group));
}

static nut_status take_memory(step_experts *s, nut_error *err) {
    const expert_hparams *x = experts_of(&s->c);
    size_t n = 0;
    const bool fits = size_mul(x->n_ff, 3 * (size_t)s->c.m->hp.n_embd, &n) && n < SIZE_MAX / sizeof(float);
    s->kept = mem_calloc(s->c.m->hp.n_layer, s->n_keep * sizeof *s->kept);
    s->uses = mem_calloc(x->n, sizeof *s->uses);
    s->worth = mem_calloc(x->n, sizeof *s->worth);
    s->into = mem_calloc(x->n, sizeof *s->into);
    s->merged = mem_calloc(s->n_keep, sizeof *s->merged);
    s->one = fits && s->merge ? mem_alloc(n * sizeof *s->one) : NULL;
    s->row = mem_calloc(x->n_ff, sizeof *s->row);
    if (s->kept && s->uses && s->worth && s->into && s->merged && s->row && (s->one || !s->merge))
        return NUT_OK;
    return error_memory(err, n * sizeof *s->one);
}

static bool is_stack(const gguf_tensor *t) {
    return t->dims[2] > 1;
}

/* Whether the spec has an element, a row or a matrix for each expert. */
static bool by_expert(const tensor_spec *spec) {
    return spec->shape[strlen(spec->shape) - 1] == 'X';
}

static nut_status plan_tensor(step_experts *s, rewrite_tensor *t, nut_error *err) {
    void *to;
    uint32_t layer;
    gguf_str rest;
    const tensor_spec *spec = bind_find(s->c.m, t->name, &to);
    if (!spec || !layer_of_tensor(t->name, &layer, &rest) || !by_expert(spec)) return NUT_OK;
    if (s->merge && spec->kind == TENSOR_VECTOR && spec->shape[1])
        return error_set(err, NUT_E_UNSUPPORTED,
                         "experts with biases (%.*s) cannot be merged here; leave out \"merge\"",
                         (int)t->name.n, t->name.s);
    if (!spec->shape[1]) { // a number for each
        t->computed = true;
        t->n_cols = s->n_keep;
        return NUT_OK;
    }
    t->each = t->n_rows / experts_of(&s->c)->n;
    t->rows = s->kept + (size_t)layer * s->n_keep;
    t->n_rows = t->each * s->n_keep;
    t->computed = s->merge && is_stack(t->from);
    return NUT_OK;
}

static nut_status set_meta(step_experts *s, nut_error *err) {
    char key[96];
    gguf_meta *meta = &s->c.rewrite.meta;
    snprintf(key, sizeof key, "%.64s.expert_count", s->c.m->arch->name);
    const gguf_kv *kv = gguf_find(&s->c.m->header, key);
    TRY(gguf_meta_int(meta, key, kv ? kv->type : GGUF_U32, s->n_keep, err));
    TRY(gguf_meta_int(meta, "nutshell.experts.source_count", GGUF_U32, experts_of(&s->c)->n, err));
    return gguf_meta_str(meta, "nutshell.experts.others",
                         s->merge ? (gguf_str){"merged", 6} : (gguf_str){"removed", 7}, err);
}

static nut_status plan(changing *c, nut_error *err) {
    step_experts *s = (step_experts *)c;
    TRY(check(s, err));
    TRY(take_memory(s, err));
    for (uint64_t i = 0; i < c->m->header.n_tensors; i++) TRY(plan_tensor(s, &c->plan[i], err));
    return set_meta(s, err);
}

/* ---- a layer ---- */

static gguf_str name_of(const changing *c, uint32_t il, const char *rest, char name[64]) {
    const int n = snprintf(name, 64, "blk.%u.%s", (unsigned)il, arch_file_name(c->m->arch, rest));
    return (gguf_str){name, (uint64_t)n};
}

/* The matrices of a stack of the layer that is in memory, (n); NULL: it has none. */
static const matrix *stack_of(const changing *c, uint32_t il, int which) {
    char name[64];
    void *to;
    const tensor_spec *spec = bind_find(c->m, name_of(c, il, stack_names[which], name), &to);
    return spec && spec->kind == TENSOR_STACK ? *(const matrix *const *)to : NULL;
}

/* How many tokens went through each expert, and what it is worth; false where the layer has none. */
static bool count_uses(step_experts *s, uint32_t il) {
    char name[64];
    const gguf_str down = name_of(&s->c, il, stack_names[DOWN], name);
    if (!stack_of(&s->c, il, GATE)) return false;
    for (uint32_t e = 0; e < experts_of(&s->c)->n; e++) {
        const statistics *h = calibrate_find_in_stack(s->c.calibrate, down, e);
        s->uses[e] = h ? h->n_tokens : 0;
        s->n_tokens += (double)s->uses[e];
        s->worth[e] =
            s->by_loss ? experts_output(&stack_of(&s->c, il, DOWN)[e], h, s->row) : (double)s->uses[e];
    }
    return true;
}

/* Hidden unit u of expert e: a row of gate, one of up, a column of down; out (n_ff, 3 n_embd). */
static void get_expert(const step_experts *s, uint32_t il, uint32_t e, float *out) {
    const size_t n = s->c.m->hp.n_embd, n_ff = experts_of(&s->c)->n_ff;
    for (size_t u = 0; u < n_ff; u++) {
        matrix_row(&stack_of(&s->c, il, GATE)[e], u, out + u * 3 * n);
        matrix_row(&stack_of(&s->c, il, UP)[e], u, out + u * 3 * n + n);
    }
    for (size_t i = 0; i < n; i++) {
        matrix_row(&stack_of(&s->c, il, DOWN)[e], i, s->row);
        for (size_t u = 0; u < n_ff; u++) out[u * 3 * n + 2 * n + i] = s->row[u];
    }
}

static nut_status merge_one(step_experts *s, uint32_t il, uint32_t e, float by, nut_error *err) {
    const size_t n = 3 * (size_t)s->c.m->hp.n_embd, n_ff = experts_of(&s->c)->n_ff;
    const uint32_t k = s->into[e], main = s->kept[(size_t)il * s->n_keep + k];
    float *like = mem_alloc(n_ff * n * sizeof *like);
    if (!like) return error_memory(err, n_ff * n * sizeof *like);
    get_expert(s, il, main, like);
    get_expert(s, il, e, s->one);
    if (!s->merged[k]) s->merged[k] = mem_calloc(n_ff, n * sizeof **s->merged);
    const nut_status status = s->merged[k]
                                  ? experts_add(s->c.d, like, s->one, n_ff, n, by, s->merged[k], err)
                                  : error_memory(err, n_ff * n * sizeof **s->merged);
    mem_free(like);
    return status;
}

/* Experts count by their use; where none of those that are merged was used, all alike. */
static float part_of(const step_experts *s, uint32_t e, size_t *n) {
    double all = 0;
    *n = 0;
    for (uint32_t i = 0; i < experts_of(&s->c)->n; i++)
        if (s->into[i] == s->into[e]) all += (double)s->uses[i], ++*n;
    return all > 0 ? (float)((double)s->uses[e] / all) : 1 / (float)*n;
}

static nut_status group_layer(step_experts *s, uint32_t il, const uint32_t *kept, nut_error *err) {
    char name[64];
    const expert_hparams *x = experts_of(&s->c);
    const gguf_str tensor = name_of(&s->c, il, "ffn_gate_inp.weight", name);
    const layer_weights w = layer_weights_of(s->c.m, tensor);
    const statistics *in = calibrate_find(s->c.calibrate, tensor);
    if (!w.n || w.n_rows != x->n || !in)
        return error_set(err, NUT_E_UNSUPPORTED, "layer %u has no router that can be read", (unsigned)il);
    float *router = mem_alloc(w.n_rows * w.n_cols * sizeof *router);
    if (!router) return error_memory(err, w.n_rows * w.n_cols * sizeof *router);
    layer_weights_get(&w, 0, w.n_rows, router);
    const nut_status status = experts_group(router, in, x->n, x->n_group, kept, s->n_keep, s->into, err);
    mem_free(router);
    return status;
}

static void forget_merged(step_experts *s) {
    for (uint32_t k = 0; s->merged && k < s->n_keep; k++) {
        mem_free(s->merged[k]);
        s->merged[k] = NULL;
    }
}

static nut_status merge_layer(step_experts *s, uint32_t il, const uint32_t *kept, nut_error *err) {
    size_t n;
    TRY(group_layer(s, il, kept, err));
    for (uint32_t e = 0; e < experts_of(&s->c)->n; e++) {
        const float by = part_of(s, e, &n);
        if (n > 1) TRY(merge_one(s, il, e, by, err));
    }
    return NUT_OK;
}

static nut_status change_layer(changing *c, uint32_t il, nut_error *err) {
    step_experts *s = (step_experts *)c;
    uint32_t *kept = s->kept + (size_t)il * s->n_keep;
    forget_merged(s);
    if (!count_uses(s, il)) return NUT_OK;
    experts_choose(s->worth, experts_of(c)->n, experts_of(c)->n_group, s->n_keep, kept);
    for (uint32_t k = 0; k < s->n_keep; k++) s->n_left += (double)s->uses[kept[k]];
    return s->merge ? merge_layer(s, il, kept, err) : NUT_OK;
}

/* ---- values ---- */

static int stack_number(const arch *a, gguf_str rest) {
    for (int i = 0; i < STACKS; i++)
        if (gguf_str_is(arch_table_name(a, rest), stack_names[i])) return i;
    return STACKS;
}

/* A row of one of the stacks of merged units. */
static void merged_row(const step_experts *s, const float *units, int which, size_t row, float *out) {
    const size_t n = s->c.m->hp.n_embd, n_ff = experts_of(&s->c)->n_ff;
    if (which != DOWN)
        memcpy(out, units + row * 3 * n + (size_t)which * n, n * sizeof *out);
    else
        for (size_t u = 0; u < n_ff; u++) out[u] = units[u * 3 * n + 2 * n + row];
}

static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    step_experts *s = ctx;
    const rewrite_tensor *t = &s->c.plan[tensor];
    const uint32_t *kept = s->kept + (size_t)s->c.layer * s->n_keep;
    void *to;
    uint32_t layer;
    gguf_str rest = {0};
    (void)err;
    layer_of_tensor(t->name, &layer, &rest);
    bind_find(s->c.m, t->name, &to);
    if (!t->each)
        for (uint32_t k = 0; k < s->n_keep; k++) out[k] = (*(const float *const *)to)[kept[k]];
    for (size_t r = row; t->each && r < row + n; r++, out += t->n_cols) {
        const size_t k = r / t->each;
        if (s->merged[k])
            merged_row(s, s->merged[k], stack_number(s->c.m->arch, rest), r % t->each, out);
        else
            matrix_row(&(*(const matrix *const *)to)[kept[k]], r % t->each, out);
    }
    return NUT_OK;
}

static void end(changing *c) {
    const step_experts *s = (const step_experts *)c;
    snprintf(c->note, sizeof c->note,
             "layers have %u of %u experts now, which got %.1f %% of the text's tokens; the others were %s",
             (unsigned)s->n_keep, (unsigned)experts_of(c)->n,
             100 * s->n_left / (s->n_tokens > 0 ? s->n_tokens : 1),
             s->merge ? "merged into them" : "removed");
}

static void free_experts(changing *c) {
    step_experts *s = (step_experts *)c;
    forget_merged(s);
    mem_free(s->kept);
    mem_free(s->uses);
    mem_free(s->worth);
    mem_free(s->into);
    mem_free(s->merged);
    mem_free(s->one);
    mem_free(s->row);
}

static nut_status check_values(const recipe_values *v, nut_error *err) {
    if (*v->metric && strcmp(v->metric, "use") != 0 && strcmp(v->metric, "loss") != 0)
        return error_set(err, NUT_E_ARGUMENT,
                         "there is no metric \"%.20s\" of experts; choose one of use, loss", v->metric);
    if (v->keep >= 1) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "say how many experts of a layer stay: \"keep\": 6");
}

static nut_status begin(recipe *r, const recipe_values *v, nut_job **out, nut_error *err) {
    static const changing_ops ops = {
        .plan = plan, .layer = change_layer, .rows = rows, .end = end, .free = free_experts};
    const changing_wants wants = {.kinds = v->merge ? STATISTICS_HESSIAN : STATISTICS_SQUARES,
                                  .window = (uint32_t)v->window,
                                  .apart = true};
    changing *c;
    TRY(changing_begin(r, &ops, &wants, sizeof(step_experts), &c, err));
    ((step_experts *)c)->n_keep = (uint32_t)v->keep;
    ((step_experts *)c)->merge = v->merge;
    ((step_experts *)c)->by_loss = !strcmp(v->metric, "loss");
    *out = &c->job;
    return NUT_OK;
}

static const recipe_option options[] = {
    {"keep", RECIPE_NUMBER, offsetof(recipe_values, keep), 1, 4096},
    {"metric", RECIPE_TEXT, offsetof(recipe_values, metric), 0, 0},
    {"merge", RECIPE_FLAG, offsetof(recipe_values, merge), 0, 0},
    {"window", RECIPE_NUMBER, offsetof(recipe_values, window), 16, 4096},
};

const recipe_kind recipe_experts = {.name = "experts",
                                    .options = options,
                                    .n_options = sizeof options / sizeof *options,
                                    .gives = RECIPE_MODEL,
                                    .share = 20,
                                    .begin = begin,
                                    .check = check_values};
