/* The order of channels, and what goes with it. */
#include "compress/permute.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"
#include "compress/layer_weights.h"

/* ---- the order ---- */

typedef struct scored {
    double score;
    uint32_t column;
} scored;

static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

nut_status permute_order(const double *scores, size_t n, unsigned of, uint32_t *order, nut_error *err) {
    const size_t n_groups = n / of;
    scored *sorted = mem_calloc(n, sizeof *sorted);
    if (!sorted) return error_memory(err, n * sizeof *sorted);
    for (size_t i = 0; i < n; i++) sorted[i] = (scored){scores[i], (uint32_t)i};
    sort_rows(sorted, n, sizeof *sorted, by_score);
    for (size_t i = 0; i < n; i++) {
        const size_t round = i / n_groups, at = i % n_groups, group = round % 2 ? n_groups - 1 - at : at;
        order[group * of + round] = sorted[i].column;
    }
    mem_free(sorted);
    return NUT_OK;
}

/* ---- a layer ---- */

static void permute_columns(const layer_weights *w, const uint32_t *list, float *rows) {
    float *to = rows + w->n_cols;
    for (size_t r = 0; r < w->n_rows; r++) {
        layer_weights_get(w, r, 1, rows);
        for (size_t c = 0; c < w->n_cols; c++) to[c] = rows[list[c]];
        layer_weights_set(w, r, 1, to);
    }
}

static void permute_rows(const layer_weights *w, const uint32_t *list, float *rows) {
    layer_weights_get(w, 0, w->n_rows, rows);
    for (size_t r = 0; r < w->n_rows; r++) layer_weights_set(w, r, 1, rows + list[r] * w->n_cols);
}

static void permute_vector(float *x, size_t n, const uint32_t *list, float *room) {
    for (size_t i = 0; i < n; i++) room[i] = x[list[i]];
    for (size_t i = 0; i < n; i++) x[i] = room[i];
}

/* A tensor with n elements of parts. */
static nut_status permute_tensor(const nut_model *m, gguf_str name, const tensor_spec *spec, void *to,
                                 const part_kind *k, const uint32_t *list, size_t n, nut_error *err) {
    const layer_weights w = layer_weights_of(m, name);
    const bool is_vector = spec->kind == TENSOR_VECTOR, columns = parts_in_columns(spec, k);
    const size_t room = is_vector ? n : columns ? 2 * w.n_cols : w.n_rows * w.n_cols;
    float *rows = mem_alloc((room + 1) * sizeof *rows);
    if (!rows) return error_memory(err, (room + 1) * sizeof *rows);
    if (is_vector)
        permute_vector(*(float *const *)to, n, list, rows);
    else if (columns)
        permute_columns(&w, list, rows);
    else
        permute_rows(&w, list, rows);
    mem_free(rows);
    return NUT_OK;
}

nut_status permute_layer(const nut_model *m, uint32_t il, const parts *p, nut_error *err) {
    nut_status status = NUT_OK;
    for (uint64_t i = 0; status == NUT_OK && i < m->header.n_tensors; i++) {
        const gguf_str name = m->header.tensors[i].name;
        void *to;
        uint32_t layer;
        gguf_str rest;
        const tensor_spec *spec = bind_find(m, name, &to);
        if (!spec || !layer_of_tensor(name, &layer, &rest) || layer != il) continue;
        if (!parts_in_columns(spec, p->kind) && !parts_in_rows(spec, p->kind)) continue;
        const size_t n = parts_list(m, il, p, spec, NULL);
        uint32_t *list = mem_alloc(n * sizeof *list);
        if (!list) return error_memory(err, n * sizeof *list);
        parts_list(m, il, p, spec, list);
        status = permute_tensor(m, name, spec, to, p->kind, list, n, err);
        mem_free(list);
    }
    return status;
}

/* ---- statistics ---- */

nut_status permute_statistics(const statistics *from, const uint32_t *order, permuted_statistics *out,
                              nut_error *err) {
    const size_t n = from->n_cols, half = from->hessian ? n * (n + 1) / 2 : 0;
    double *at = out->memory = mem_calloc(2 * n + half, sizeof *at);
    if (!at) return error_memory(err, (2 * n + half) * sizeof *at);
    for (size_t i = 0; i < n; i++) {
        at[i] = from->sum_squares[order[i]];
        if (from->sum) at[n + i] = from->sum[order[i]];
        for (size_t j = 0; j <= i && half; j++)
            at[2 * n + i * (i + 1) / 2 + j] = statistics_hessian(from, order[i], order[j]);
    }
    out->s = (statistics){.kinds = from->kinds,
                          .n_tokens = from->n_tokens,
                          .n_cols = n,
                          .sum_squares = at,
                          .sum = from->sum ? at + n : NULL,
                          .hessian = half ? at + 2 * n : NULL};
    return NUT_OK;
}
