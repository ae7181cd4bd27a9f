/*
 * Names are parsed, not searched: "blk.12.attn_q.weight" is layer 12 and a suffix in tables of
 * some twenty rows, so a hostile tensor table costs no more than its length.
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

/* The tables of what a layer holds: its own tensors, its mixer's, its feed-forward's. */
typedef struct place {
    const tensor_spec *specs;
    size_t n;
    char *base; // what the specs' offsets are of
} place;

enum { LAYER_PLACES = 5 };

static const block_spec *block_of(const nut_model *m, unsigned id) {
    static const block_spec none = {0};
    return id == BLOCK_NONE ? &none : m->blocks[id];
}

static place model_place(const nut_model *m) {
    return (place){arch_model_tensors, arch_n_model_tensors, (char *)(uintptr_t)m};
}

static place layer_place(const nut_model *m, uint32_t il, int i) {
    model_layer *l = &m->layers[il];
    if (i == 0) return (place){arch_layer_tensors, arch_n_layer_tensors, (char *)l};
    const unsigned ids[] = {l->hp.mixer, l->hp.beside, l->hp.ffn, l->hp.after};
    void *const weights[] = {l->mixer, l->beside, l->ffn, l->after};
    const block_spec *b = block_of(m, ids[i - 1]);
    return (place){b->tensors, b->n_tensors, weights[i - 1]};
}

/* ---- layers ---- */

static size_t count_needed(const nut_model *m, const tensor_spec *specs, size_t n) {
    size_t needed = 0;
    for (size_t i = 0; i < n; i++) needed += arch_needs(m->arch, &specs[i]);
    return needed;
}

/* Whether n_tensors could be those of so many layers. More than twice the layers that they suffice for are
 * no slip of a converter, and memory must not be taken for what a header merely claims. */
static bool plausible(const nut_model *m, uint64_t n_tensors) {
    const block_spec *mixer = block_of(m, m->arch->mixer), *ffn = block_of(m, m->arch->ffn);
    const size_t each = count_needed(m, arch_layer_tensors, arch_n_layer_tensors) +
                        count_needed(m, mixer->tensors, mixer->n_tensors) +
                        count_needed(m, ffn->tensors, ffn->n_tensors);
    return m->hp.n_layer <= n_tensors && (uint64_t)m->hp.n_layer * each <= 2 * n_tensors;
}

/* Takes the structs of the blocks of all layers. */
static bool take_blocks(nut_model *m) {
    arena *a = &m->layer_memory;
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        arena_add(a, 1, block_of(m, m->layers[il].hp.mixer)->weights);
        arena_add(a, 1, block_of(m, m->layers[il].hp.beside)->weights);
        arena_add(a, 1, block_of(m, m->layers[il].hp.ffn)->weights);
        arena_add(a, 1, block_of(m, m->layers[il].hp.after)->weights);
    }
    if (!arena_open(a)) return false;
    for (uint32_t il = 0; il < m->hp.n_layer; il++) {
        m->layers[il].mixer = arena_take(a, 1, block_of(m, m->layers[il].hp.mixer)->weights);
        m->layers[il].beside = arena_take(a, 1, block_of(m, m->layers[il].hp.beside)->weights);
        m->layers[il].ffn = arena_take(a, 1, block_of(m, m->layers[il].hp.ffn)->weights);
        m->layers[il].after = arena_take(a, 1, block_of(m, m->layers[il].hp.after)->weights);
    }
    return true;
}

nut_status bind_layers(nut_model *m, uint64_t n_tensors, nut_error *err) {
    if (!plausible(m, n_tensors))
        return error_set(err, NUT_E_CORRUPT, "the model file is damaged: it has %llu tensors and %u layers",
                         (unsigned long long)n_tensors, m->hp.n_layer);
    arena_add(&m->layer_memory, m->hp.n_layer, sizeof *m->layers);
    if (!arena_open(&m->layer_memory)) return error_memory(err, m->layer_memory.size);
    m->layers = arena_take(&m->layer_memory, m->hp.n_layer, sizeof *m->layers);
    TRY(arch_layers(&m->header, m->arch, &m->hp, m->layers, err));
    return take_blocks(m) ? NUT_OK : error_memory(err, m->layer_memory.size);
}

/* ---- a tensor's place ---- */

static bool is_passed_over(gguf_str name) {
    for (size_t i = 0; i < sizeof passed_over / sizeof *passed_over; i++)
        if (gguf_str_is(name, passed_over[i])) return true;
    return false;
}

/* Whether layer il must have, or may have, the tensor. */
static bool fits(const nut_model *m, uint32_t il, const tensor_spec *t) {
    return arch_fits(&m->hp, m->layers ? &m->layers[il].hp : &m->hp.most, t);
}

static bool needs(const nut_model *m, uint32_t il, const tensor_spec *t) {
    return arch_needs(m->arch, t) && fits(m, il, t);
}

/* The shape that a tensor must have. */
static gguf_tensor shape_of(const nut_model *m, const tensor_spec *spec, uint32_t layer) {
    const layer_hparams *l = m->layers ? &m->layers[layer].hp : &m->hp.most;
    gguf_tensor t = {.dims = {1, 1, 1, 1}};
    for (; spec->shape[t.n_dims]; t.n_dims++) t.dims[t.n_dims] = arch_size(&m->hp, l, spec->shape[t.n_dims]);
    return t;
}

static bool has_shape(const nut_model *m, const tensor_spec *spec, uint32_t layer, const gguf_tensor *t) {
    const gguf_tensor must = shape_of(m, spec, layer);
    return !memcmp(t->dims, must.dims, sizeof must.dims);
}

/* Where rows have the same name, as those of a matrix and of its form that holds another too, it is the one
 * whose shape fits; or else the first. */
static bool find_in(const nut_model *m, const place *p, gguf_str name, binding *b) {
    const tensor_spec *found = NULL;
    for (size_t i = 0; i < p->n; i++) {
        const tensor_spec *spec = &p->specs[i];
        if (!arch_allows(m->arch, spec) || !fits(m, b->layer, spec) || !gguf_str_is(name, spec->name))
            continue;
        if (!found || (b->source && has_shape(m, spec, b->layer, b->source))) found = spec;
    }
    if (!found) return false;
    b->spec = found;
    b->base = p->base;
    return true;
}

/* Takes ".lora_a" or ".lora_b" off a name. */
static bind_side take_side(gguf_str *name) {
    if (name->n < 8 || memcmp(name->s + name->n - 7, ".lora_", 6)) return BIND_WHOLE;
    const char last = name->s[name->n - 1];
    if (last != 'a' && last != 'b') return BIND_WHOLE;
    name->n -= 7;
    return last == 'a' ? BIND_SIDE_A : BIND_SIDE_B;
}

/* All matrices of these blocks are those of linears. */
static bool takes_sides(const nut_model *m, const binding *b) {
    const model_layer *l = m->layers ? &m->layers[b->layer] : NULL;
    if (!l || b->spec->kind != TENSOR_MATRIX || b->spec->parts) return false;
    return (b->base == l->mixer && l->hp.mixer == BLOCK_mix_attention) ||
           (b->base == l->ffn && (l->hp.ffn == BLOCK_ffn_gated || l->hp.ffn == BLOCK_ffn_plain));
}

/* Whether the tensor has a place in the model; suffix receives its name there. */
static bool find_any(const nut_model *m, binding *b, gguf_str name, gguf_str *suffix, bool *in_layer) {
    *suffix = name;
    *in_layer = parse_layer(name, &b->layer, suffix);
    const gguf_str known = arch_table_name(m->arch, *suffix);
    if (!*in_layer) {
        const place p = model_place(m);
        return find_in(m, &p, known, b);
    }
    for (int i = 0; i < LAYER_PLACES && b->layer < m->hp.n_layer; i++) {
        const place p = layer_place(m, b->layer, i);
        if (find_in(m, &p, known, b)) return true;
    }
    return false;
}

static bool find_place(const nut_model *m, binding *b, gguf_str name, gguf_str *suffix, bool *in_layer) {
    b->side = take_side(&name);
    return find_any(m, b, name, suffix, in_layer) && (!b->side || takes_sides(m, b));
}

/* Where the tensor's matrix is beside that of spec. */
static size_t side_offset(const binding *b) {
    static const size_t at[] = {0, offsetof(linear, side.a), offsetof(linear, side.b)};
    return at[b->side];
}

/* Part i of what a tensor holds: where it goes, and its rows, or its length. False beyond the last. */
static bool part_at(const nut_model *m, const binding *b, size_t i, void **to, uint64_t *size) {
    const tensor_part *parts = b->spec->parts;
    if (parts ? !parts[i].letter : i > 0) return false;
    *to = b->base + (parts ? parts[i].to : b->spec->to) + side_offset(b);
    *size = parts ? arch_size(&m->hp, &m->layers[b->layer].hp, parts[i].letter) : b->source->dims[1];
    return true;
}

const tensor_spec *bind_find(const nut_model *m, gguf_str name, void **to) {
    binding b = {0};
    gguf_str suffix;
    bool in_layer;
    if (!find_place(m, &b, name, &suffix, &in_layer)) return NULL;
    *to = b.base + (b.spec->parts ? b.spec->parts->to : b.spec->to) + side_offset(&b);
    return b.spec;
}

linear *bind_linear(const nut_model *m, gguf_str name) {
    binding b = {0};
    gguf_str suffix;
    bool in_layer;
    if (!find_place(m, &b, name, &suffix, &in_layer) || b.side || !takes_sides(m, &b)) return NULL;
    return (linear *)(b.base + b.spec->to);
}

/* Finds the place of a tensor; it has none where it is not among those to be bound. */
static nut_status choose_place(const nut_model *m, int which, binding *b, nut_error *err) {
    const gguf_str name = b->source->name;
    gguf_str suffix;
    bool in_layer;
    if (!find_place(m, b, name, &suffix, &in_layer) && !is_passed_over(suffix))
        return error_set(
            err, NUT_E_UNSUPPORTED,
            "tensor %.*s is not one that a %s model has here; the model needs a newer engine or another one",
            (int)name.n, name.s, m->arch->name);
    if (which == BIND_MODEL && in_layer) b->spec = NULL;
    if (which >= 0 && (!in_layer || b->layer != (uint32_t)which)) b->spec = NULL;
    return NUT_OK;
}

/* "64 x 512" */
static const char *shape_text(const gguf_tensor *t, char text[96]) {
    size_t n = 0;
    for (uint32_t i = 0; i < t->n_dims; i++)
        n += (size_t)snprintf(text + n, 96 - n, "%s%llu", i ? " x " : "", (unsigned long long)t->dims[i]);
    return text;
}

/* More rows of a vocabulary than it has tokens: a padded checkpoint that was converted without the padding's
 * tokens. */
static nut_status padded_vocabulary(const nut_model *m, const gguf_tensor *t, nut_error *err) {
    return error_set(
        err, NUT_E_CORRUPT,
        "tensor %.*s has %llu rows and the vocabulary %u tokens: the model was not converted well; "
        "convert it again with a tokenizer that has all tokens",
        (int)t->name.n, t->name.s, (unsigned long long)t->dims[1], m->hp.n_vocab);
}

/* Whether a tensor has the one free size, a rank, that is left to matrices of low rank: A's rows, and the
 * columns of what follows. That they agree is known when all are there. */
static bool fits_rank(const binding *b, const gguf_tensor *must) {
    const gguf_tensor *t = b->source;
    const int free_one = b->side == BIND_SIDE_A, other = !free_one;
    return b->spec->kind == TENSOR_MATRIX && t->n_dims == 2 && t->dims[other] == must->dims[other] &&
           t->dims[free_one] % FORMAT_LANES == 0 && t->dims[free_one] <= must->dims[0];
}

static nut_status wrong_shape(const gguf_tensor *t, const gguf_tensor *must, nut_error *err) {
    char found[96], expected[96];
    return error_set(err, NUT_E_CORRUPT, "the model file is damaged: tensor %.*s is %s and must be %s",
                     (int)t->name.n, t->name.s, shape_text(t, found), shape_text(must, expected));
}

static nut_status check_shape(const nut_model *m, const binding *b, nut_error *err) {
    const gguf_tensor *t = b->source, must = shape_of(m, b->spec, b->layer);
    if (!b->side && !memcmp(t->dims, must.dims, sizeof must.dims)) return NUT_OK;
    if (takes_sides(m, b) && fits_rank(b, &must)) return NUT_OK;
    if (b->spec->kind == TENSOR_MATRIX && b->spec->shape[1] == 'V' && t->n_dims == 2 &&
        t->dims[0] == must.dims[0])
        return padded_vocabulary(m, t, err);
    return wrong_shape(t, &must, err);
}

/* Matrices; those of a stack, or parts of a tensor, are whole groups. */
static bool can_be_coded(const nut_model *m, const binding *b) {
    void *to;
    uint64_t size;
    bool whole = true;
    for (size_t i = 0; part_at(m, b, i, &to, &size); i++) whole &= size % FORMAT_LANES == 0;
    return b->spec->kind != TENSOR_VECTOR && (whole || (!b->spec->parts && b->source->dims[2] == 1));
}

static nut_status choose_formats(const nut_model *m, binding *b, nut_error *err) {
    const gguf_tensor *t = b->source;
    b->from = format_by_ggml(t->ggml_type);
    if (!b->from)
        return error_set(
            err, NUT_E_UNSUPPORTED,
            "tensor %.*s has type %s (%u), which is not supported; use a Q8_0, Q4_K or Q4_0 file of "
            "this model",
            (int)t->name.n, t->name.s, format_ggml_name(t->ggml_type), t->ggml_type);
    const bool plain = m->hp.reference || b->spec->kind == TENSOR_VECTOR;
    if (format_is_coded(b->from) && !can_be_coded(m, b))
        return error_set(err, NUT_E_CORRUPT, "the model file is damaged: tensor %.*s cannot be coded",
                         (int)t->name.n, t->name.s);
    b->as = plain ? &format_table[FORMAT_F32] : b->from;
    b->apart = m->experts_apart && b->spec->kind == TENSOR_STACK && b->spec->shape[2] == 'X' &&
               !format_is_coded(b->from);
    return NUT_OK;
}

static bool is_bound(const tensor_spec *spec, const void *to) {
    if (spec->kind == TENSOR_MATRIX) return ((const matrix *)to)->format != NULL;
    return *(const void *const *)to != NULL; // of a stack or a vector
}

/* Names are there once in a file, so it was an earlier one, or another name for the same. */
static nut_status check_unbound(const nut_model *m, const binding *b, nut_error *err) {
    void *to;
    uint64_t size;
    for (size_t i = 0; part_at(m, b, i, &to, &size); i++)
        if (is_bound(b->spec, to))
            return error_set(
                err, NUT_E_CORRUPT,
                "tensor %.*s was in an earlier split already: these are not the splits of one model",
                (int)b->source->name.n, b->source->name.s);
    return NUT_OK;
}

static matrix matrix_of(const binding *b, uint64_t n_rows) {
    return (matrix){.format = b->as, .n_rows = (size_t)n_rows, .n_cols = (size_t)b->source->dims[0]};
}

/* Plans the memory of one part of a tensor, and marks its place as found. Factors are small: arch_read.c
 * bounds them. */
static void plan_part(arena *memory, const binding *b, void *to, uint64_t size) {
    static const float found = 0;
    static const matrix found_stack = {0};
    const matrix w = matrix_of(b, size);
    switch (b->spec->kind) {
    case TENSOR_VECTOR: // the parts of one lie together
        *(const float **)to = &found;
        return;
    case TENSOR_MATRIX:
        *(matrix *)to = w;
        arena_add(memory, matrix_groups(&w), matrix_group_bytes(&w));
        return;
    case TENSOR_STACK:
        *(const matrix **)to = &found_stack;
        arena_add(memory, (size_t)b->source->dims[2], sizeof(matrix));
        for (uint64_t i = 0; i < b->source->dims[2] && !b->apart; i++)
            arena_add(memory, matrix_groups(&w), matrix_group_bytes(&w));
    }
}

static uint64_t count_numbers(const gguf_tensor *t) {
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
}

/* Groups of rows of a coded tensor. */
static size_t count_groups(const gguf_tensor *t) {
    return (size_t)((t->dims[1] * t->dims[2] + FORMAT_LANES - 1) / FORMAT_LANES);
}

/* What a coded tensor has beside its codes. */
static void plan_coded(arena *memory, const binding *b) {
    const gguf_tensor *t = b->source;
    arena_add(memory, BIND_PARTS * (size_t)t->dims[2], sizeof(matrix_coded));
    arena_add(memory, (size_t)t->dims[0], sizeof(float));
    arena_add(memory, count_groups(t) + 1, sizeof(uint32_t));
    arena_add(memory, t->n_outliers < SIZE_MAX ? (size_t)t->n_outliers : SIZE_MAX, sizeof(matrix_outlier));
}

void bind_measure(const nut_model *m, arena *memory, const binding *b) {
    void *to;
    uint64_t size;
    if (b->spec->kind == TENSOR_VECTOR) arena_add(memory, (size_t)count_numbers(b->source), sizeof(float));
    for (size_t i = 0; part_at(m, b, i, &to, &size); i++) plan_part(memory, b, to, size);
    if (format_is_coded(b->as)) plan_coded(memory, b);
    if (format_has_table(b->as)) arena_add(memory, 1, FORMAT_TABLE);
}

_Static_assert(sizeof(binding) <= SORT_MAX_ROW, "bindings are too large to be sorted");

static int by_offset(const void *a, const void *b) {
    const binding *x = a, *y = b;
    return (x->source->offset > y->source->offset) - (x->source->offset < y->source->offset);
}

/* ---- what is missing ---- */

/* Bytes that a tensor's weights take at least: of 256 weights, which are whole blocks of every layout, in
 * the smallest one. */
static uint64_t least_bytes(const nut_model *m, const tensor_spec *t, uint32_t layer) {
    const size_t floats = 256 * sizeof(float);
    const gguf_tensor shape = shape_of(m, t, layer);
    size_t least = floats;
    for (int id = 0; id < LAYOUT_COUNT && !m->hp.reference && t->kind != TENSOR_VECTOR; id++) {
        const size_t bytes = 256u / layout_table[id].block * layout_table[id].bytes;
        if (bytes < least) least = bytes;
    }
    return shape.dims[0] * shape.dims[1] * shape.dims[2] * least / 256; // arch.c bounds the sizes
}

/* What a bound tensor brings of what is needed: itself, or the tensors whose places its parts take. */
static void take_needs(const nut_model *m, const binding *b, bind_rest *rest) {
    void *to;
    uint64_t size;
    for (int i = 0; i < LAYER_PLACES + 1; i++) {
        const place p = i == LAYER_PLACES ? model_place(m) : layer_place(m, b->layer, i);
        for (size_t k = 0; p.base == b->base && k < p.n; k++) {
            const tensor_spec *spec = &p.specs[k];
            for (size_t j = 0; needs(m, b->layer, spec) && part_at(m, b, j, &to, &size); j++) {
                if (to != p.base + spec->to) continue;
                rest->n_tensors--;
                rest->bytes -= least_bytes(m, spec, b->layer);
            }
        }
    }
}

static void add_needs(const nut_model *m, const place *p, uint32_t layer, bind_rest *rest) {
    for (size_t i = 0; i < p->n; i++) {
        if (!needs(m, layer, &p->specs[i])) continue;
        rest->n_tensors++;
        rest->bytes += least_bytes(m, &p->specs[i], layer);
    }
}

bind_rest bind_needs(const nut_model *m) {
    bind_rest rest = {0};
    const place own = model_place(m);
    add_needs(m, &own, 0, &rest);
    for (uint32_t il = 0; il < m->hp.n_layer; il++)
        for (int i = 0; i < LAYER_PLACES; i++) {
            const place p = layer_place(m, il, i);
            add_needs(m, &p, il, &rest);
        }
    return rest;
}

/* The first tensor of a place that is needed and not bound, or NULL. */
static const char *missing_in(const nut_model *m, const place *p, uint32_t il) {
    for (size_t i = 0; i < p->n; i++)
        if (needs(m, il, &p->specs[i]) && !is_bound(&p->specs[i], p->base + p->specs[i].to))
            return arch_file_name(m->arch, p->specs[i].name);
    return NULL;
}

static nut_status check_layer(const nut_model *m, uint32_t il, nut_error *err) {
    for (int i = 0; i < LAYER_PLACES; i++) {
        const place p = layer_place(m, il, i);
        const char *name = missing_in(m, &p, il);
        if (name)
            return error_set(err, NUT_E_CORRUPT,
                             "the model file lacks tensor blk.%u.%s; it was not converted completely", il,
                             name);
    }
    return NUT_OK;
}

/* ---- sides ---- */

/* Whether a linear and its side fit together; shape is W's without an A in front. */
static bool side_fits(const linear *l, const gguf_tensor *shape) {
    const matrix *a = &l->side.a, *b = &l->side.b;
    if (!a->format) return !b->format && l->w.n_cols == shape->dims[0];
    return b->format ? b->n_cols == a->n_rows && l->w.n_cols == shape->dims[0] : l->w.n_cols == a->n_rows;
}

/* Of a linear whose parts do not fit: the matrix where it is alone, or all. */
static nut_status bad_sides(const linear *l, const char *name, uint32_t il, const gguf_tensor *shape,
                            nut_error *err) {
    char text[64];
    const int n = snprintf(text, sizeof text, "blk.%u.%s", il, name);
    const gguf_tensor is = {.name = {text, (uint64_t)n}, .n_dims = 2, .dims = {l->w.n_cols, l->w.n_rows}};
    if (!l->side.a.format && !l->side.b.format) return wrong_shape(&is, shape, err);
    return error_set(err, NUT_E_CORRUPT,
                     "the model file is damaged: tensor %s and its low-rank parts (.lora_a, .lora_b) do not "
                     "fit together",
                     text);
}

static nut_status check_sides_in(const nut_model *m, const place *p, uint32_t il, nut_error *err) {
    for (size_t i = 0; i < p->n; i++) {
        const binding b = {.spec = &p->specs[i], .base = p->base, .layer = il};
        if (!takes_sides(m, &b) || !is_bound(b.spec, b.base + b.spec->to)) continue;
        const gguf_tensor shape = shape_of(m, b.spec, il);
        const linear *l = (const linear *)(b.base + b.spec->to);
        if (!side_fits(l, &shape))
            return bad_sides(l, arch_file_name(m->arch, b.spec->name), il, &shape, err);
    }
    return NUT_OK;
}

static nut_status check_sides(const nut_model *m, nut_error *err) {
    for (uint32_t il = 0; il < m->hp.n_layer; il++)
        for (int i = 0; i < LAYER_PLACES; i++) {
            const place p = layer_place(m, il, i);
            TRY(check_sides_in(m, &p, il, err));
        }
    return NUT_OK;
}

/* Memory for what sides make of a token. */
static void want_side(nut_model *m, const binding *b) {
    const gguf_tensor must = shape_of(m, b->spec, b->layer);
    const size_t n = linear_side_scratch((size_t)b->source->dims[1], (size_t)must.dims[1]);
    if (b->side == BIND_SIDE_A && n > m->n_side_scratch) m->n_side_scratch = n;
}

nut_status bind_check(const nut_model *m, const bind_rest *rest, uint64_t n_to_come, nut_error *err) {
    if (rest->n_tensors <= n_to_come) return n_to_come ? NUT_OK : check_sides(m, err);
    if (n_to_come)
        return error_set(err, NUT_E_CORRUPT,
                         "the model lacks %llu tensors and the splits to come have only %llu; it was not "
                         "converted completely",
                         (unsigned long long)rest->n_tensors, (unsigned long long)n_to_come);
    const place own = model_place(m);
    const char *name = missing_in(m, &own, 0);
    if (name)
        return error_set(err, NUT_E_CORRUPT,
                         "the model file lacks tensor %s; it was not converted completely", name);
    for (uint32_t il = 0; il < m->hp.n_layer; il++) TRY(check_layer(m, il, err));
    return NUT_OK;
}

/* ---- a file ---- */

nut_status bind_plan(nut_model *m, int which, arena *memory, const gguf_tensor *tensors, size_t n,
                     binding *bindings, bind_rest *rest, nut_error *err) {
    for (size_t i = 0; i < n; i++) {
        binding *b = &bindings[i];
        *b = (binding){.source = &tensors[i]};
        TRY(choose_place(m, which, b, err));
        if (!b->spec) continue;
        TRY(check_shape(m, b, err));
        TRY(check_unbound(m, b, err));
        TRY(choose_formats(m, b, err));
        bind_measure(m, memory, b);
        if (format_is_coded(b->as) && b->source->dims[0] > m->n_scaled)
            m->n_scaled = (size_t)b->source->dims[0];
        want_side(m, b);
        if (rest && !b->side) take_needs(m, b, rest);
    }
    _Static_assert(sizeof *bindings <= SORT_MAX_ROW, "rows that can be sorted");
    sort_rows(bindings, n, sizeof *bindings, by_offset);
    return NUT_OK;
}

static void place_matrix(arena *memory, matrix *w, const matrix *like) {
    *w = *like;
    w->data = arena_take(memory, matrix_bytes(w), 1);
}

/* Part i of a tensor, of which *n_before numbers of a vector were placed. */
static void place_part(arena *memory, binding *b, size_t i, void *to, uint64_t size, uint64_t *n_before) {
    const matrix like = matrix_of(b, size);
    switch (b->spec->kind) {
    case TENSOR_VECTOR:
        *(const float **)to = b->floats + *n_before;
        *n_before += size;
        return;
    case TENSOR_MATRIX:
        b->w[i] = to;
        place_matrix(memory, b->w[i], &like);
        return;
    case TENSOR_STACK:
        b->w[i] = arena_take(memory, (size_t)b->source->dims[2], sizeof(matrix));
        for (uint64_t k = 0; k < b->source->dims[2]; k++)
            if (b->apart)
                b->w[i][k] = like;
            else
                place_matrix(memory, &b->w[i][k], &like);
        *(matrix **)to = b->w[i];
    }
}

/* What plan_coded planned; the matrices follow one another as in the file. */
static void place_coded(arena *memory, binding *b, size_t n_parts) {
    const gguf_tensor *t = b->source;
    coded_target *to = &b->coded;
    matrix_coded *parts = arena_take(memory, BIND_PARTS * (size_t)t->dims[2], sizeof *parts);
    to->col_scale = arena_take(memory, (size_t)t->dims[0], sizeof(float));
    uint32_t *first = to->to.first = arena_take(memory, count_groups(t) + 1, sizeof(uint32_t));
    to->to.outliers = arena_take(memory, (size_t)t->n_outliers, sizeof(matrix_outlier));
    for (size_t k = 0; k < t->dims[2]; k++)
        for (size_t i = 0; i < n_parts; i++, parts++) {
            *parts = (matrix_coded){to->col_scale, first, to->to.outliers};
            first += matrix_groups(&b->w[i][k]);
            b->w[i][k].coded = parts;
        }
}

/* One for all matrices of the tensor. */
static void place_table(arena *memory, binding *b, size_t n_parts) {
    uint8_t *table = arena_take(memory, 1, FORMAT_TABLE);
    memcpy(table, b->source->table, FORMAT_TABLE);
    for (size_t i = 0; i < n_parts; i++)
        for (uint64_t k = 0; k < b->source->dims[2]; k++) b->w[i][k].table = table;
}

void bind_place(const nut_model *m, arena *memory, binding *bindings, size_t n) {
    for (size_t i = 0; i < n; i++) {
        binding *b = &bindings[i];
        void *to;
        uint64_t size, n_before = 0;
        if (!b->spec) continue;
        if (b->spec->kind == TENSOR_VECTOR)
            b->floats = arena_take(memory, (size_t)count_numbers(b->source), sizeof(float));
        size_t n_parts = 0;
        for (; part_at(m, b, n_parts, &to, &size); n_parts++)
            place_part(memory, b, n_parts, to, size, &n_before);
        if (format_is_coded(b->as)) place_coded(memory, b, n_parts);
        if (format_has_table(b->as)) place_table(memory, b, n_parts);
        b->coded.to.format = b->as;
        for (size_t k = 0; k < n_parts; k++) b->coded.to.w[k] = b->w[k];
    }
}

static void forget_place(const nut_model *m, const place *p, uint32_t il) {
    for (size_t k = 0; k < p->n; k++) {
        const binding b = {.spec = &p->specs[k], .base = p->base, .layer = il};
        char *to = b.base + b.spec->to;
        memset(to, 0, b.spec->kind == TENSOR_MATRIX ? sizeof(matrix) : sizeof(void *));
        if (takes_sides(m, &b)) ((linear *)to)->side = (linear_side){0};
    }
}

void bind_forget(nut_model *m, int which) {
    const place own = model_place(m);
    if (which < 0) forget_place(m, &own, 0);
    for (uint32_t il = 0; il < m->hp.n_layer; il++)
        for (int i = 0; i < LAYER_PLACES && (which == BIND_ALL || which == (int)il); i++) {
            const place p = layer_place(m, il, i);
            forget_place(m, &p, il);
        }
}

void bind_finish(nut_model *m) {
    if (!m->output.w.format) m->output.w = m->token_embd;
}
