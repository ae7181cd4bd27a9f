/*
 * Names are parsed, not searched: "blk.12.attn_q.weight" is layer 12 and a suffix in a table of eighteen
 * rows, so a hostile tensor table costs no more than its length.
 */
#include "model/bind.h"

#include "base/error.h"
#include "base/sort.h"

#include <stdio.h>
#include <string.h>

/* Of a layer, without weights in them: what old converters copied from a checkpoint's buffers. */
static const char *const passed_over[] = {"attn_rot_embd", "attn_rot_embd.weight", "rope_freqs.weight",
                                          "attn.masked_bias"};

/* Splits "blk.N.suffix"; false where the name has no such beginning. Zeros before N are none of its
 * spellings, so that two names cannot mean one place. */
static bool parse_layer(gguf_str name, uint32_t *layer, gguf_str *suffix) {
    const char *p = name.s + 4, *end = name.s + name.n;
    uint32_t n = 0;
    if (name.n < 7 || memcmp(name.s, "blk.", 4)) return false;
    for (; p < end && *p >= '0' && *p <= '9' && n < 100000; p++) n = n * 10 + (uint32_t)(*p - '0');
    if (p == name.s + 4 || p == end || *p != '.' || (name.s[4] == '0' && p > name.s + 5)) return false;
    *layer = n;
    *suffix = (gguf_str){p + 1, (uint64_t)(end - p - 1)};
    return true;
}

static const arch_tensor *find_spec(const nut_model *m, gguf_str name, bool in_layer) {
    for (size_t i = 0; i < arch_n_tensors; i++) {
        const arch_tensor *t = &arch_tensors[i];
        if (t->in_layer == in_layer && (!t->flag || (m->arch->flags & t->flag)) &&
            gguf_str_is(name, t->name))
            return t;
    }
    return NULL;
}

static bool is_passed_over(gguf_str name) {
    for (size_t i = 0; i < sizeof passed_over / sizeof *passed_over; i++)
        if (gguf_str_is(name, passed_over[i])) return true;
    return false;
}

static nut_status find_place(const nut_model *m, binding *b, nut_error *err) {
    gguf_str name = b->source->name, suffix = name;
    bool in_layer = parse_layer(name, &b->layer, &suffix);
    b->spec = !in_layer || b->layer < m->hp.n_layer ? find_spec(m, suffix, in_layer) : NULL;
    if (!b->spec && !is_passed_over(suffix))
        return error_set(
            err, NUT_E_UNSUPPORTED,
            "tensor %.*s is not one that a %s model has here; the model needs a newer engine or another one",
            (int)name.n, name.s, m->arch->name);
    return NUT_OK;
}

/* "64 x 512" */
static const char *shape_text(const gguf_tensor *t, char text[96]) {
    size_t n = 0;
    for (uint32_t i = 0; i < t->n_dims; i++)
        n += (size_t)snprintf(text + n, 96 - n, "%s%llu", i ? " x " : "", (unsigned long long)t->dims[i]);
    return text;
}

static nut_status check_shape(const nut_model *m, const binding *b, nut_error *err) {
    const gguf_tensor *t = b->source;
    const uint64_t cols = arch_size(&m->hp, b->spec->cols), rows = arch_size(&m->hp, b->spec->rows);
    const gguf_tensor must = {.n_dims = b->spec->kind == ARCH_VECTOR ? 1 : 2, .dims = {cols, rows}};
    char found[96], expected[96];
    if (t->dims[0] == cols && t->dims[1] == rows && t->dims[2] == 1 && t->dims[3] == 1) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT, "the model file is damaged: tensor %.*s is %s and must be %s",
                     (int)t->name.n, t->name.s, shape_text(t, found), shape_text(&must, expected));
}

static nut_status choose_formats(binding *b, bool dequantize, nut_error *err) {
    const gguf_tensor *t = b->source;
    b->from = format_by_ggml(t->ggml_type);
    if (!b->from)
        return error_set(
            err, NUT_E_UNSUPPORTED,
            "tensor %.*s has type %s (%u), which is not supported; use a Q8_0, Q4_K or Q4_0 file of "
            "this model",
            (int)t->name.n, t->name.s, format_ggml_name(t->ggml_type), t->ggml_type);
    bool plain = dequantize || b->spec->kind == ARCH_VECTOR;
    b->to = plain ? &format_table[FORMAT_F32] : b->from;
    return NUT_OK;
}

static void *place_of(nut_model *m, const binding *b) {
    char *base = b->spec->in_layer ? (char *)&m->layers[b->layer] : (char *)m;
    return base + b->spec->to;
}

static size_t matrix_bytes(const matrix *w) {
    return matrix_groups(w) * matrix_group_bytes(w);
}

/* Fills the matrix but its data, and plans its memory; a vector's pointer is marked as found. */
static void plan_memory(nut_model *m, const binding *b) {
    size_t cols = (size_t)b->source->dims[0], rows = (size_t)b->source->dims[1];
    if (b->spec->kind == ARCH_VECTOR) {
        static const float found = 0;
        *(const float **)place_of(m, b) = &found;
        arena_add(&m->weights, cols, sizeof(float));
        return;
    }
    matrix *w = place_of(m, b);
    *w = (matrix){.format = b->to, .n_rows = rows, .n_cols = cols};
    arena_add(&m->weights, matrix_groups(w), matrix_group_bytes(w)); // small factors: arch.c bounds them
}

static int by_offset(const void *a, const void *b) {
    const binding *x = a, *y = b;
    return (x->source->offset > y->source->offset) - (x->source->offset < y->source->offset);
}

static nut_status missing(const arch_tensor *t, uint32_t layer, nut_error *err) {
    if (t->in_layer)
        return error_set(err, NUT_E_CORRUPT,
                         "the model file lacks tensor blk.%u.%s; it was not converted completely", layer,
                         t->name);
    return error_set(err, NUT_E_CORRUPT, "the model file lacks tensor %s; it was not converted completely",
                     t->name);
}

static nut_status check_found(nut_model *m, const arch_tensor *t, uint32_t layer, nut_error *err) {
    if (t->optional || (t->flag && !(m->arch->flags & t->flag))) return NUT_OK;
    binding b = {.spec = t, .layer = layer};
    const void *p = place_of(m, &b);
    bool found =
        t->kind == ARCH_MATRIX ? ((const matrix *)p)->format != NULL : *(const float *const *)p != NULL;
    return found ? NUT_OK : missing(t, layer, err);
}

nut_status bind_plan(nut_model *m, bool dequantize, binding *bindings, nut_error *err) {
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        binding *b = &bindings[i];
        *b = (binding){.source = &m->header.tensors[i]};
        TRY(find_place(m, b, err));
        if (!b->spec) continue;
        TRY(check_shape(m, b, err));
        TRY(choose_formats(b, dequantize, err));
        plan_memory(m, b);
    }
    for (size_t i = 0; i < arch_n_tensors; i++) {
        uint32_t n = arch_tensors[i].in_layer ? m->hp.n_layer : 1;
        for (uint32_t il = 0; il < n; il++) TRY(check_found(m, &arch_tensors[i], il, err));
    }
    sort_rows(bindings, (size_t)m->header.n_tensors, sizeof *bindings, by_offset);
    return NUT_OK;
}

void bind_place(nut_model *m, binding *bindings) {
    for (uint64_t i = 0; i < m->header.n_tensors; i++) {
        binding *b = &bindings[i];
        if (!b->spec) continue;
        if (b->spec->kind == ARCH_VECTOR) {
            b->data = arena_take(&m->weights, (size_t)b->source->dims[0], sizeof(float));
            *(const float **)place_of(m, b) = (const float *)(const void *)b->data;
        } else {
            matrix *w = place_of(m, b);
            b->data = w->data = arena_take(&m->weights, matrix_bytes(w), 1);
        }
    }
    if (!m->output.format) m->output = m->token_embd;
}
