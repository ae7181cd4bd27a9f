/* Which tensors are learned, and the way between their numbers and the model. */
#include "train/learn.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

/* ---- kinds ---- */

static const learn_kind *const kinds[] = {
#define NUT_X(name) &learn_##name,
    LEARN_LIST(NUT_X)
#undef NUT_X
};

const learn_kind *learn_kind_by_name(const char *name) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i]->name, name)) return kinds[i];
    return NULL;
}

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

static bool in_layer(const binding *b) {
    return b->spec->kind != TENSOR_VECTOR && fits("blk.*", 5, b->source->name);
}

static bool is_wanted(const learn *l, const binding *b) {
    const learn_kind *kind = l->options.kind;
    if (!b->spec || !is_named(l->options.names, b->source->name)) return false;
    if (kind->outside) return true;
    if (!in_layer(b) || (kind->ranked && !rank_of(l, b->source->name))) return false;
    return !kind->takes || kind->takes(b);
}

static nut_status cannot(const gguf_tensor *t, const char *why, nut_error *err) {
    return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s cannot be learned: %s; leave it out of \"learn\"",
                     (int)t->name.n, t->name.s, why);
}

/* A matrix that the type does not fit is learned as it is, as rounding after training leaves it. */
static nut_status plan_matrix(learn *l, learn_tensor *t, const binding *b, nut_error *err) {
    nut_error why;
    t->kind = in_layer(b) ? l->options.kind : l->options.kind->outside;
    if (!t->kind->plan) return NUT_OK;
    const nut_status status = t->kind->plan(l, t, &why);
    if (status != NUT_E_ARGUMENT || !t->kind->outside)
        return status == NUT_OK ? status : (*err = why, status);
    t->kind = t->kind->outside;
    t->to = (rounding){0};
    error_set(&l->misfit, NUT_E_ARGUMENT, "tensor %.*s: %s", (int)t->source->name.n, t->source->name.s,
              why.message);
    return NUT_OK;
}

static nut_status add_tensor(learn *l, const binding *b, nut_error *err) {
    learn_tensor *t = &l->tensors[l->n_tensors];
    if (b->spec->kind == TENSOR_STACK && l->options.kind->ranked)
        return cannot(b->source, "adapters of stacks of experts are not known here", err);
    if (format_is_coded(b->from)) return cannot(b->source, "it is stored coded", err);
    *t = (learn_tensor){.source = b->source, .place = b, .n_rows = 1, .at = l->n};
    l->n_tensors++;                                     // learn_free frees what it takes
    const bool vector = b->spec->kind == TENSOR_VECTOR; // of several rows where experts have one each
    t->n_cols = (size_t)(vector ? b->source->dims[0] * b->source->dims[1] : b->source->dims[0]);
    t->n = t->n_steady = t->n_cols;
    if (!vector) {
        t->rank = rank_of(l, b->source->name);
        t->n_rows = (size_t)(b->source->dims[1] * b->source->dims[2]);
        TRY(plan_matrix(l, t, b, err));
        t->n = t->kind->n_numbers(l, t);
        t->n_steady = t->kind->n_steady ? t->kind->n_steady(l, t) : 0;
    }
    l->n += t->n;
    return NUT_OK;
}

/* Where nothing is learned as it was asked for, that is told. */
static nut_status check_kind(const learn *l, nut_error *err) {
    const learn_kind *kind = l->options.kind;
    bool found = !kind->block || !l->misfit.code;
    for (size_t i = 0; i < l->n_tensors; i++) found |= l->tensors[i].kind == kind;
    if (!found) *err = l->misfit;
    return found ? NUT_OK : l->misfit.code;
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
    const size_t members = threads_count(dense_team(l->d));
    size_t longest = 1, rank = 1;
    for (size_t i = 0; i < l->n_tensors; i++) {
        if (l->tensors[i].n_cols > longest) longest = l->tensors[i].n_cols;
        if (l->tensors[i].rank > rank) rank = l->tensors[i].rank;
    }
    l->beside = l->n;
    l->n += l->options.n_beside;
    l->gradients = mem_calloc(l->n, sizeof *l->gradients);
    l->longest = longest;
    l->row = mem_calloc(members * longest, sizeof *l->row);
    for (int i = 0; i < 2; i++) l->low[i] = mem_calloc(l->options.n_tokens + 1, rank * sizeof(float));
    return l->gradients && l->row && l->low[0] && l->low[1] ? NUT_OK
                                                            : error_memory(err, l->n * sizeof *l->gradients);
}

/* ---- what a pass tells ---- */

const matrix *learn_part(const learn_tensor *t, size_t i) {
    size_t n = 0;
    while (n < BIND_PARTS && t->place->w[n]) n++;
    return n && i / n < t->source->dims[2] ? t->place->w[i % n] + i / n : NULL;
}

void learn_rows(const learn_tensor *t, float *to) {
    const matrix *w;
    for (size_t i = 0; (w = learn_part(t, i)); i++)
        for (size_t row = 0; row < w->n_rows; row++, to += t->n_cols) matrix_row(w, row, to);
}

/* Whether w is a part of a tensor's matrix, or tied to it, and at which row. */
static bool find_part(const learn_tensor *t, const matrix *w, size_t *row) {
    const matrix *part;
    *row = 0;
    for (size_t i = 0; (part = learn_part(t, i)); *row += part->n_rows, i++)
        if (part->data == w->data) return true;
    return false;
}

static void see_linear(void *ctx, const linear *lin, const float *x, const float *dy, size_t n) {
    learn *l = ctx;
    size_t row;
    for (size_t i = 0; i < l->n_tensors; i++) {
        learn_tensor *t = &l->tensors[i];
        if (!t->kind || !find_part(t, &lin->w, &row)) continue;
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
    if (l->options.kind->block) learn_apply(l);
    return NUT_OK;
}

void learn_blocks(const learn *l, const learn_tensor *t, size_t row, uint8_t *out) {
    const format *f = t->to.to;
    for (size_t col = 0; col < t->n_cols; col += f->block, out += f->bytes)
        t->kind->block(l, t, row, col, out);
}

static void row_of_blocks(const learn *l, const learn_tensor *t, size_t row, float *out) {
    uint8_t block[FORMAT_MAX_BYTES];
    for (size_t col = 0; col < t->n_cols; col += t->to.to->block) {
        t->kind->block(l, t, row, col, block);
        t->to.to->dequantize(block, 1, out + col);
    }
}

void learn_row(const learn *l, const learn_tensor *t, size_t row, float *out) {
    if (t->kind && t->kind->block)
        row_of_blocks(l, t, row, out);
    else if (t->kind)
        t->kind->weights(l, t, row, out);
    else
        memcpy(out, l->numbers + t->at, t->n * sizeof *out);
}

typedef struct applying {
    const learn *l;
    const learn_tensor *t;
} applying;

/* Rows of a group may be of two members: they write other bytes of it. */
static void apply_member(void *ctx, unsigned member, unsigned n_members) {
    const learn_tensor *t = ((const applying *)ctx)->t;
    const learn *l = ((const applying *)ctx)->l;
    float *made = l->row + member * l->longest;
    size_t row, end, first = 0, part = 0;
    threads_split(t->n_rows, member, n_members, &row, &end);
    for (; row < end; row++) {
        const matrix *w = learn_part(t, part);
        for (; row - first >= w->n_rows; w = learn_part(t, ++part)) first += w->n_rows;
        learn_row(l, t, row, made);
        w->format->pack(matrix_group(w, row - first), (uint32_t)((row - first) % FORMAT_LANES), 0, t->n_cols,
                        (const uint8_t *)made);
    }
}

static void apply_matrix(const learn *l, learn_tensor *t) {
    applying a = {l, t};
    if (t->kind->prepare) t->kind->prepare(l, t);
    threads_run(dense_team(l->d), apply_member, &a);
}

void learn_apply(learn *l) {
    for (size_t i = 0; i < l->n_tensors; i++) {
        learn_tensor *t = &l->tensors[i];
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
    if (status == NUT_OK) status = check_kind(l, err);
    if (status == NUT_OK) status = take_memory(l, err);
    if (status == NUT_OK)
        *out = l;
    else
        learn_free(l);
    return status;
}

void learn_free(learn *l) {
    if (!l) return;
    for (size_t i = 0; i < l->n_tensors; i++) mem_free(l->tensors[i].base), mem_free(l->tensors[i].blocks);
    mem_free(l->low[0]);
    mem_free(l->low[1]);
    mem_free(l->tensors);
    mem_free(l->gradients);
    mem_free(l->row);
    mem_free(l);
}
