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

static void *place_of(nut_model *m, const arch_tensor *spec, uint32_t layer) {
    char *base = spec->in_layer ? (char *)&m->layers[layer] : (char *)m;
    return base + spec->to;
}

static bool is_bound(const nut_model *m, const arch_tensor *spec, uint32_t layer) {
    const char *base = spec->in_layer ? (const char *)&m->layers[layer] : (const char *)m;
    const void *p = base + spec->to;
    return spec->kind == ARCH_MATRIX ? ((const matrix *)p)->format != NULL
                                     : *(const float *const *)p != NULL;
}

/* Names are there once in a file, so it was an earlier one. */
static nut_status check_new(const nut_model *m, const binding *b, nut_error *err) {
    if (!is_bound(m, b->spec, b->layer)) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT,
                     "tensor %.*s was in an earlier part already: these are no parts of one model",
                     (int)b->source->name.n, b->source->name.s);
}

static size_t matrix_bytes(const matrix *w) {
    return matrix_groups(w) * matrix_group_bytes(w);
}

/* Fills the matrix but its data, and plans its memory; a vector's pointer is marked as found. */
static void plan_memory(nut_model *m, const binding *b) {
    size_t cols = (size_t)b->source->dims[0], rows = (size_t)b->source->dims[1];
    if (b->spec->kind == ARCH_VECTOR) {
        static const float found = 0;
        *(const float **)place_of(m, b->spec, b->layer) = &found;
        arena_add(&m->weights, cols, sizeof(float));
        return;
    }
    matrix *w = place_of(m, b->spec, b->layer);
    *w = (matrix){.format = b->to, .n_rows = rows, .n_cols = cols};
    arena_add(&m->weights, matrix_groups(w), matrix_group_bytes(w)); // small factors: arch.c bounds them
}

static int by_offset(const void *a, const void *b) {
    const binding *x = a, *y = b;
    return (x->source->offset > y->source->offset) - (x->source->offset < y->source->offset);
}

/* ---- what is missing ---- */

static bool is_needed(const nut_model *m, const arch_tensor *t) {
    return !t->optional && (!t->flag || (m->arch->flags & t->flag));
}

/* Bytes that a tensor's weights take at least: of 256 weights, which are whole blocks of every format, in
 * the smallest one. */
static uint64_t least_bytes(const nut_model *m, const arch_tensor *t, bool dequantize) {
    const size_t floats = 256 * sizeof(float);
    size_t least = floats;
    for (int id = 0; id < FORMAT_COUNT && !dequantize && t->kind == ARCH_MATRIX; id++) {
        const size_t bytes = 256u / format_table[id].block * format_table[id].bytes;
        if (bytes < least) least = bytes;
    }
    return arch_size(&m->hp, t->rows) * arch_size(&m->hp, t->cols) * least / 256; // arch.c bounds the sizes
}

bind_rest bind_needs(const nut_model *m, bool dequantize) {
    bind_rest rest = {0};
    for (size_t i = 0; i < arch_n_tensors; i++) {
        const arch_tensor *t = &arch_tensors[i];
        const uint64_t n = !is_needed(m, t) ? 0 : t->in_layer ? m->hp.n_layer : 1;
        rest.n_tensors += n;
        rest.bytes += n * least_bytes(m, t, dequantize);
    }
    return rest;
}

static nut_status missing(const arch_tensor *t, uint32_t layer, nut_error *err) {
    if (t->in_layer)
        return error_set(err, NUT_E_CORRUPT,
                         "the model file lacks tensor blk.%u.%s; it was not converted completely", layer,
                         t->name);
    return error_set(err, NUT_E_CORRUPT, "the model file lacks tensor %s; it was not converted completely",
                     t->name);
}

nut_status bind_check(const nut_model *m, const bind_rest *rest, uint64_t n_to_come, nut_error *err) {
    if (rest->n_tensors <= n_to_come) return NUT_OK;
    if (n_to_come)
        return error_set(err, NUT_E_CORRUPT,
                         "the model lacks %llu tensors and the parts to come have only %llu; it was not "
                         "converted completely",
                         (unsigned long long)rest->n_tensors, (unsigned long long)n_to_come);
    for (size_t i = 0; i < arch_n_tensors; i++) {
        const arch_tensor *t = &arch_tensors[i];
        const uint32_t n = !is_needed(m, t) ? 0 : t->in_layer ? m->hp.n_layer : 1;
        for (uint32_t il = 0; il < n; il++)
            if (!is_bound(m, t, il)) return missing(t, il, err);
    }
    return NUT_OK;
}

/* ---- a file ---- */

nut_status bind_plan(nut_model *m, bool dequantize, const gguf_tensor *tensors, size_t n, binding *bindings,
                     bind_rest *rest, nut_error *err) {
    for (size_t i = 0; i < n; i++) {
        binding *b = &bindings[i];
        *b = (binding){.source = &tensors[i]};
        TRY(find_place(m, b, err));
        if (!b->spec) continue;
        TRY(check_new(m, b, err));
        TRY(check_shape(m, b, err));
        TRY(choose_formats(b, dequantize, err));
        plan_memory(m, b);
        if (!is_needed(m, b->spec)) continue;
        rest->n_tensors--;
        rest->bytes -= least_bytes(m, b->spec, dequantize);
    }
    sort_rows(bindings, n, sizeof *bindings, by_offset);
    return NUT_OK;
}

void bind_place(nut_model *m, binding *bindings, size_t n) {
    for (size_t i = 0; i < n; i++) {
        binding *b = &bindings[i];
        if (!b->spec) continue;
        if (b->spec->kind == ARCH_VECTOR) {
            b->data = arena_take(&m->weights, (size_t)b->source->dims[0], sizeof(float));
            *(const float **)place_of(m, b->spec, b->layer) = (const float *)(const void *)b->data;
        } else {
            matrix *w = place_of(m, b->spec, b->layer);
            b->data = w->data = arena_take(&m->weights, matrix_bytes(w), 1);
        }
    }
}

void bind_finish(nut_model *m) {
    if (!m->output.format) m->output = m->token_embd;
}
