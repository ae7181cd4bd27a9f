/* Which tensors are learned, and the way between their numbers and the model. */
#include "train/learn.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

/* ---- names ---- */

/* Whether a name fits a pattern of n_pattern bytes, in which * stands for any bytes. Greedy: the last *
 * takes one byte more wherever what follows does not fit. */
static bool fits(const char *pattern, size_t n_pattern, gguf_str name) {
    size_t i = 0, at = 0, star = SIZE_MAX, from = 0;
    while (at < name.n) {
        if (i < n_pattern && pattern[i] == '*') {
            star = i++, from = at;
        } else if (i < n_pattern && pattern[i] == name.s[at]) {
            i++, at++;
        } else if (star != SIZE_MAX) {
            i = star + 1, at = ++from;
        } else {
            return false;
        }
    }
    while (i < n_pattern && pattern[i] == '*') i++;
    return i == n_pattern;
}

/* The patterns that words stand for. */
static const char *patterns_of(const char *names) {
    if (!strcmp(names, "all")) return "*";
    if (!strcmp(names, "norms")) return "*norm.weight,*norm.bias";
    return names;
}

/* The next pattern of a list, whose rest is *rest; false behind the last. */
static bool next_pattern(const char **rest, const char **pattern, size_t *n) {
    if (!**rest) return false;
    *pattern = *rest;
    *n = strcspn(*rest, ",");
    *rest += *n;
    if (**rest) ++*rest;
    return true;
}

static bool is_named(const char *names, gguf_str name) {
    const char *rest = patterns_of(names), *pattern;
    size_t n;
    while (next_pattern(&rest, &pattern, &n))
        if (fits(pattern, n, name)) return true;
    return false;
}

/* ---- the choice ---- */

static size_t rank_of(const learn *l, gguf_str name) {
    return l->options.rank_of ? l->options.rank_of(l->options.ctx, name) : l->options.rank;
}

/* Adapters are beside matrices of layers. */
static bool is_wanted(const learn *l, const binding *b) {
    if (!b->spec || !is_named(l->options.names, b->source->name)) return false;
    if (l->options.kind == &learn_full) return true;
    return b->spec->kind == TENSOR_MATRIX && fits("blk.*", 5, b->source->name) &&
           rank_of(l, b->source->name);
}

static nut_status cannot(const gguf_tensor *t, const char *why, nut_error *err) {
    return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s cannot be learned: %s; leave it out of \"learn\"",
                     (int)t->name.n, t->name.s, why);
}

static nut_status add_tensor(learn *l, const binding *b, nut_error *err) {
    learn_tensor *t = &l->tensors[l->n_tensors];
    if (b->spec->kind == TENSOR_STACK) return cannot(b->source, "it is a stack of experts", err);
    if (format_is_coded(b->from)) return cannot(b->source, "it is stored coded", err);
    *t = (learn_tensor){.source = b->source, .place = b, .n_rows = 1, .at = l->n};
    t->n_cols = (size_t)b->source->dims[0];
    t->n = t->n_cols;
    if (b->spec->kind == TENSOR_MATRIX) {
        t->kind = l->options.kind;
        t->rank = rank_of(l, b->source->name);
        t->n_rows = (size_t)b->source->dims[1];
        t->n = t->kind->n_numbers(l, t);
    }
    l->n_tensors++;
    l->n += t->n;
    return NUT_OK;
}

static nut_status choose(learn *l, const layer_load *loads, size_t n_loads, nut_error *err) {
    for (size_t i = 0; i < n_loads; i++)
        for (size_t k = 0; k < loads[i].n_bindings; k++)
            if (is_wanted(l, &loads[i].bindings[k])) TRY(add_tensor(l, &loads[i].bindings[k], err));
    return NUT_OK;
}

/* A pattern that fits nothing is a slip, but for those of a word. */
static nut_status check_names(const learn *l, nut_error *err) {
    const char *rest = patterns_of(l->options.names), *pattern;
    const bool word = rest != l->options.names;
    size_t n;
    while (next_pattern(&rest, &pattern, &n)) {
        bool found = word;
        for (size_t i = 0; i < l->n_tensors; i++) found |= fits(pattern, n, l->tensors[i].source->name);
        if (!found)
            return error_set(err, NUT_E_ARGUMENT,
                             "\"learn\" names \"%.*s\", and no tensor that can be learned is called so; "
                             "`nutshell info` lists names",
                             (int)n, pattern);
    }
    return l->n ? NUT_OK : error_set(err, NUT_E_ARGUMENT, "\"learn\" names no tensor that can be learned");
}

static nut_status take_memory(learn *l, nut_error *err) {
    size_t longest = 1, rank = 1;
    for (size_t i = 0; i < l->n_tensors; i++) {
        if (l->tensors[i].n_cols > longest) longest = l->tensors[i].n_cols;
        if (l->tensors[i].rank > rank) rank = l->tensors[i].rank;
    }
    l->gradients = mem_calloc(l->n, sizeof *l->gradients);
    l->row = mem_calloc(longest, sizeof *l->row);
    for (int i = 0; i < 2; i++) l->low[i] = mem_calloc(l->options.n_tokens + 1, rank * sizeof(float));
    return l->gradients && l->row && l->low[0] && l->low[1] ? NUT_OK
                                                            : error_memory(err, l->n * sizeof *l->gradients);
}

/* ---- what a pass tells ---- */

/* Whether w is a part of a tensor's matrix, and at which row; or what is tied to it. */
static bool find_part(const learn *l, const learn_tensor *t, const matrix *w, size_t *row) {
    *row = 0;
    for (size_t i = 0; i < BIND_PARTS && t->place->w[i]; *row += t->place->w[i++]->n_rows)
        if (t->place->w[i] == w || (w == &l->m->output.w && t->place->w[i]->data == w->data)) return true;
    return false;
}

static void see_linear(void *ctx, const linear *lin, const float *x, const float *dy, size_t n) {
    learn *l = ctx;
    size_t row;
    for (size_t i = 0; i < l->n_tensors; i++) {
        learn_tensor *t = &l->tensors[i];
        if (!t->kind || !find_part(l, t, &lin->w, &row)) continue;
        t->kind->gradient(l, t, row, lin->w.n_rows, x, dy, n);
        return;
    }
}

static float *gradient_of_vector(void *ctx, const float *weights) {
    const learn *l = ctx;
    for (size_t i = 0; i < l->n_tensors; i++) {
        const learn_tensor *t = &l->tensors[i];
        const float *at = t->place->floats;
        if (!t->kind && weights >= at && weights < at + t->n) return l->gradients + t->at + (weights - at);
    }
    return NULL;
}

void learn_embedded(learn *l, const int32_t *ids, const float *dx, size_t n) {
    const size_t width = l->m->hp.n_embd;
    for (size_t i = 0; i < l->n_tensors; i++) {
        const learn_tensor *t = &l->tensors[i];
        if (t->kind != &learn_full || t->place->w[0] != &l->m->token_embd) continue;
        for (size_t k = 0; k < n; k++) {
            float *to = l->gradients + t->at + (size_t)ids[k] * width;
            for (size_t c = 0; c < width; c++) to[c] += l->m->hp.embd_scale * dx[k * width + c];
        }
    }
}

/* ---- numbers and weights ---- */

nut_status learn_begin(learn *l, nut_error *err) {
    for (size_t i = 0; i < l->n_tensors; i++) {
        learn_tensor *t = &l->tensors[i];
        if (t->kind)
            TRY(t->kind->begin(l, t, err));
        else
            memcpy(l->numbers + t->at, t->place->floats, t->n * sizeof(float));
    }
    return NUT_OK;
}

void learn_row(const learn *l, const learn_tensor *t, size_t row, float *out) {
    if (t->kind)
        t->kind->weights(l, t, row, out);
    else
        memcpy(out, l->numbers + t->at, t->n * sizeof *out);
}

static void apply_matrix(learn *l, const learn_tensor *t) {
    const matrix *const *w = (const matrix *const *)t->place->w;
    for (size_t row = 0, of_part = 0; row < t->n_rows; row++, of_part++) {
        if (of_part == (*w)->n_rows) w++, of_part = 0;
        learn_row(l, t, row, l->row);
        (*w)->format->pack(matrix_group(*w, of_part), (uint32_t)(of_part % FORMAT_LANES), 0, t->n_cols,
                           (const uint8_t *)l->row);
    }
}

void learn_apply(learn *l) {
    for (size_t i = 0; i < l->n_tensors; i++) {
        const learn_tensor *t = &l->tensors[i];
        if (t->kind)
            apply_matrix(l, t);
        else
            memcpy(t->place->floats, l->numbers + t->at, t->n * sizeof(float));
    }
}

const learn_tensor *learn_find(const learn *l, const gguf_tensor *source) {
    for (size_t i = 0; i < l->n_tensors; i++)
        if (l->tensors[i].source == source) return &l->tensors[i];
    return NULL;
}

const learn_tensor *learn_worst(const learn *l, const float *x, double *value) {
    const learn_tensor *worst = l->tensors;
    float most = -1;
    for (size_t i = 0; i < l->n_tensors; i++) {
        const learn_tensor *t = &l->tensors[i];
        for (size_t k = t->at; k < t->at + t->n; k++) {
            const float size = fabsf(x[k]);
            if (size <= most) continue;
            worst = t, most = size; // NaN is neither more nor less
            if (size - size != 0) return *value = (double)size, t;
        }
    }
    *value = (double)most;
    return worst;
}

/* ---- */

nut_status learn_new(nut_model *m, const layer_load *loads, size_t n_loads, dense *d,
                     const learn_options *options, learn **out, nut_error *err) {
    learn *l = mem_calloc(1, sizeof *l);
    if (!l) return error_memory(err, sizeof *l);
    *l = (learn){.m = m, .d = d, .options = *options};
    l->hooks = (pass_learner){l, see_linear, gradient_of_vector};
    l->tensors = mem_calloc((size_t)m->header.n_tensors, sizeof *l->tensors);
    nut_status status = l->tensors ? choose(l, loads, n_loads, err)
                                   : error_memory(err, m->header.n_tensors * sizeof *l->tensors);
    if (status == NUT_OK) status = check_names(l, err);
    if (status == NUT_OK) status = take_memory(l, err);
    if (status == NUT_OK)
        *out = l;
    else
        learn_free(l);
    return status;
}

void learn_free(learn *l) {
    if (!l) return;
    for (size_t i = 0; i < l->n_tensors; i++) mem_free(l->tensors[i].base);
    mem_free(l->low[0]);
    mem_free(l->low[1]);
    mem_free(l->tensors);
    mem_free(l->gradients);
    mem_free(l->row);
    mem_free(l);
}
