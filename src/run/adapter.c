/*
 * Adapters of low rank beside the weights of a model that runs (Hu et al. 2021, LoRA, arXiv 2106.09685,
 * section 4.1): W x + s B (A x), where merging would make W + s B A of the weights. The weights stay as they
 * are, of any type, and each session says what each adapter counts. A and B are held as floats, their rank
 * padded to whole groups with zeros.
 */
#include "run/session.h"

#include "base/error.h"
#include "base/xxhash.h"
#include "model/adapter_file.h"
#include "model/bind.h"

#include <string.h>

/* A matrix of the model and what an adapter adds to it. */
typedef struct pair {
    gguf_str name; // of the matrix
    linear *l;
    linear_side *side;
    size_t n_in, rank; // as the adapter has it
} pair;

typedef struct adding {
    nut_model *m;
    adapter file;
    float scale;
    arena memory; // becomes the model's
    pair *pairs;  // (n)
    size_t n;
    float *row; // (longest)
    size_t longest;
} adding;

/* ---- what belongs together ---- */

static nut_status check_model(const nut_model *m, float scale, nut_error *err) {
    if (m->header_only)
        return error_set(err, NUT_E_STATE, "only the header of this model was loaded; load its weights too");
    if (m->store)
        return error_set(err, NUT_E_UNSUPPORTED,
                         "a model whose weights are read as they are needed takes no adapter; load all of "
                         "it, or merge the adapter into it");
    if (m->n_adapters == NUT_ADAPTERS)
        return error_set(err, NUT_E_ARGUMENT, "a model takes %d adapters at most; merge some into it",
                         NUT_ADAPTERS);
    if (scale > -1e6F && scale < 1e6F) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "the scale of an adapter is a number, such as 1");
}

static nut_status check_family(const adding *a, nut_error *err) {
    gguf_str made_for, is;
    TRY(gguf_get_str(&a->file.g, "general.architecture", "", &made_for, err));
    TRY(gguf_get_str(&a->m->header, "general.architecture", "", &is, err));
    if (made_for.n == is.n && !memcmp(made_for.s, is.s, (size_t)is.n)) {
        if (a->file.g.n_tensors <= 2 * a->m->header.n_tensors) return NUT_OK;
        return error_set(err, NUT_E_ARGUMENT,
                         "the adapter has more tensors than there can be for this model; give the model "
                         "that it was made for");
    }
    return error_set(err, NUT_E_ARGUMENT,
                     "the adapter was made for a model of family %.*s, and this one is of family %.*s",
                     (int)(made_for.n < 40 ? made_for.n : 40), made_for.s, (int)is.n, is.s);
}

static nut_status misfit(gguf_str name, nut_error *err) {
    return error_set(err, NUT_E_ARGUMENT,
                     "tensor %.*s of the adapter fits no matrix of this model that takes one; give the "
                     "model that it was made for, or merge it (nutshell merge)",
                     (int)name.n, name.s);
}

/* The matrix that a tensor which ends with .lora_a belongs to. */
static nut_status match(adding *a, const gguf_tensor *t, nut_error *err) {
    pair *p = &a->pairs[a->n];
    if (t->name.n <= ADAPTER_END ||
        memcmp(t->name.s + t->name.n - ADAPTER_END, adapter_ends[0], ADAPTER_END))
        return NUT_OK;
    const gguf_str name = {t->name.s, t->name.n - ADAPTER_END};
    *p = (pair){.name = name, .l = bind_linear(a->m, name), .rank = adapter_rank(&a->file, name)};
    if (!p->l || !p->l->w.format || !p->rank) return misfit(t->name, err);
    p->n_in = linear_has_inner(p->l) ? p->l->side.a.n_cols : p->l->w.n_cols;
    if (p->rank > p->n_in) return misfit(t->name, err);
    const size_t longest = p->n_in > p->rank ? p->n_in : p->rank;
    a->longest = longest > a->longest ? longest : a->longest;
    a->n++;
    return NUT_OK;
}

static nut_status match_all(adding *a, nut_error *err) {
    const gguf *g = &a->file.g;
    a->pairs = mem_calloc((size_t)g->n_tensors + 1, sizeof *a->pairs);
    if (!a->pairs) return error_memory(err, g->n_tensors * sizeof *a->pairs);
    for (uint64_t i = 0; i < g->n_tensors; i++) TRY(match(a, &g->tensors[i], err));
    if (a->n && 2 * a->n == g->n_tensors) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the adapter has %llu tensors, and %zu pairs of .lora_a and .lora_b; it is damaged",
                     (unsigned long long)g->n_tensors, a->n);
}

/* ---- memory ---- */

/* (n_rows, n_cols), packed. */
static matrix floats_of(size_t n_rows, size_t n_cols) {
    return (matrix){.format = &format_table[FORMAT_F32], .n_rows = n_rows, .n_cols = n_cols};
}

static void set_shapes(const pair *p, linear_side *side) {
    const size_t rank = run_pad8(p->rank);
    side->a = floats_of(rank, p->n_in);
    side->b = floats_of(p->l->w.n_rows, rank);
}

static nut_status take_memory(adding *a, nut_error *err) {
    arena_add(&a->memory, a->n, sizeof(linear_side));
    for (size_t i = 0; i < a->n; i++) {
        linear_side side;
        set_shapes(&a->pairs[i], &side);
        arena_add(&a->memory, matrix_bytes(&side.a), 1);
        arena_add(&a->memory, matrix_bytes(&side.b), 1);
    }
    a->row = mem_alloc(a->longest * sizeof *a->row);
    if (!a->row || !arena_open(&a->memory)) return error_memory(err, a->memory.size);
    linear_side *sides = arena_take(&a->memory, a->n, sizeof *sides);
    for (size_t i = 0; i < a->n; i++) {
        linear_side *side = a->pairs[i].side = &sides[i];
        set_shapes(&a->pairs[i], side);
        side->a.data = arena_take(&a->memory, matrix_bytes(&side->a), 1);
        side->b.data = arena_take(&a->memory, matrix_bytes(&side->b), 1);
    }
    return NUT_OK;
}

/* ---- numbers ---- */

/* The first n_rows rows of w and n_cols of its columns. */
static nut_status fill(const adding *a, const pair *p, int which, const matrix *w, size_t n_rows,
                       size_t n_cols, nut_error *err) {
    for (size_t row = 0; row < n_rows; row++) {
        TRY(adapter_row(&a->file, p->name, which, n_rows, n_cols, row, a->row, err));
        w->format->pack(matrix_group(w, row), (uint32_t)(row % FORMAT_LANES), 0, n_cols,
                        (const uint8_t *)a->row);
    }
    return NUT_OK;
}

static nut_status fill_all(const adding *a, nut_error *err) {
    for (size_t i = 0; i < a->n; i++) {
        const pair *p = &a->pairs[i];
        TRY(fill(a, p, 0, &p->side->a, p->rank, p->n_in, err));
        TRY(fill(a, p, 1, &p->side->b, p->l->w.n_rows, p->rank, err));
    }
    return NUT_OK;
}

/* ---- the model ---- */

/* Memory for what all sides of a linear make of a token. */
static size_t scratch_of(const linear *l) {
    size_t n = 0;
    for (const linear_side *side = &l->side; side; side = side->next)
        if (side->a.format) n += linear_side_scratch(side->a.n_rows, l->w.n_rows);
    return n;
}

static void attach(adding *a, uint32_t hash) {
    nut_model *m = a->m;
    const uint32_t i = m->n_adapters++;
    m->adapters[i] = (model_adapter){a->memory, a->scale, hash};
    a->memory = (arena){0};
    for (size_t k = 0; k < a->n; k++) {
        const pair *p = &a->pairs[k];
        p->side->adapter = i + 1;
        p->side->scale = (float)(a->file.alpha > 0 ? a->file.alpha / (double)p->rank : 1);
        p->side->next = p->l->side.next;
        p->l->side.next = p->side;
        const size_t n = scratch_of(p->l);
        m->n_side_scratch = n > m->n_side_scratch ? n : m->n_side_scratch;
    }
}

static nut_status read_adapter(adding *a, const void *bytes, size_t n, nut_error *err) {
    TRY(adapter_read(&a->file, bytes, n, err));
    TRY(check_family(a, err));
    TRY(match_all(a, err));
    TRY(take_memory(a, err));
    return fill_all(a, err);
}

nut_status nut_model_add_adapter(nut_model *m, const void *bytes, size_t n, float scale, nut_error *err) {
    adding a = {.m = m, .scale = scale};
    TRY(check_model(m, scale, err));
    const nut_status status = read_adapter(&a, bytes, n, err);
    if (status == NUT_OK) attach(&a, xxhash32(bytes, n));
    arena_close(&a.memory);
    adapter_free(&a.file);
    mem_free(a.pairs);
    mem_free(a.row);
    return status;
}

/* ---- sessions ---- */

nut_status nut_session_set_adapters(nut_session *s, const float *scales, size_t n, nut_error *err) {
    const uint32_t n_adapters = s->seq.ws->model->n_adapters;
    TRY(session_check_idle(s, err));
    if (n != n_adapters)
        return error_set(err, NUT_E_ARGUMENT, "the model has %u adapters, and %zu scales are given",
                         n_adapters, n);
    for (size_t i = 0; i < n; i++)
        if (!(scales[i] > -1e6F && scales[i] < 1e6F))
            return error_set(err, NUT_E_ARGUMENT, "the scale of an adapter is a number, such as 1");
    if (!memcmp(s->seq.adapters, scales, n * sizeof *scales)) return NUT_OK;
    memcpy(s->seq.adapters, scales, n * sizeof *scales);
    return nut_session_truncate(s, 0, err);
}
