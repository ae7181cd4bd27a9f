/* Statistics while linears run. */
#include "evaluate/gather.h"

#include "base/error.h"
#include "kernels/gemm.h"

#include <float.h>
#include <math.h>
#include <string.h>

static size_t count_matrices(const binding *bindings, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (bindings[i].w[0]) count += (size_t)bindings[i].source->dims[2];
    return count;
}

/* Parts of one tensor have the same input: the first stands for all. */
static void add_matrices(gather *g, const binding *b) {
    for (uint32_t e = 0; b->w[0] && e < b->source->dims[2]; e++, g->n_rows++)
        g->rows[g->n_rows] = (gather_row){
            .data = b->w[0][e].data, .tensor = b->source->name, .which = e, .s.n_cols = b->w[0][e].n_cols};
}

nut_status gather_begin(gather *g, unsigned kinds, threads *team, const binding *bindings, size_t n,
                        nut_error *err) {
    const size_t most = count_matrices(bindings, n);
    *g = (gather){.kinds = kinds | STATISTICS_SQUARES, .team = team};
    g->rows = mem_calloc(most + 1, sizeof *g->rows);
    if (!g->rows) return error_memory(err, most * sizeof *g->rows);
    for (size_t i = 0; i < n; i++) add_matrices(g, &bindings[i]);
    for (size_t i = 0; i < g->n_rows; i++) g->rows[i].shared = i;
    return NUT_OK;
}

void gather_free(gather *g) {
    for (size_t i = 0; i < g->n_rows; i++) mem_free(g->rows[i].memory);
    mem_free(g->rows);
    mem_free(g->packed);
    mem_free(g->active);
    *g = (gather){0};
}

/* ---- memory ---- */

typedef struct gather_walk {
    arena a;
    double *sum_squares, *sum, *hessian;
    float *max_abs;
} gather_walk;

uint64_t gather_bytes(unsigned kinds, uint64_t n_cols) {
    const uint64_t half = n_cols < UINT32_MAX / 2 ? n_cols * (n_cols + 1) / 2 : UINT64_MAX / 16;
    return n_cols * sizeof(double) +
           (kinds & STATISTICS_RANGES ? n_cols * (sizeof(double) + sizeof(float)) : 0) +
           (kinds & STATISTICS_HESSIAN ? half * sizeof(double) : 0) +
           (kinds & STATISTICS_TOGETHER ? half * sizeof(double) : 0);
}

/* Doubles first, then floats, in one block. */
static bool take_memory(const gather *g, gather_row *row) {
    const size_t n = row->s.n_cols;
    const uint64_t bytes = gather_bytes(g->kinds, n);
    double *at = bytes < SIZE_MAX ? row->memory = mem_calloc(1, (size_t)bytes) : NULL;
    if (!at) return false;
    row->s.kinds = g->kinds;
    row->s.sum_squares = at, at += n;
    if (g->kinds & STATISTICS_HESSIAN) row->s.hessian = at, at += gemm_half(n);
    if (g->kinds & STATISTICS_TOGETHER) row->s.together = at, at += gemm_half(n);
    if (g->kinds & STATISTICS_RANGES) row->s.sum = at, row->s.max_abs = (float *)(at + n);
    return true;
}

static bool reserve(float **floats, size_t *room, size_t n) {
    if (n <= *room) return true;
    mem_free(*floats);
    *room = 0;
    *floats = n < SIZE_MAX / sizeof(float) ? mem_alloc(n * sizeof(float)) : NULL;
    if (*floats) *room = n;
    return *floats;
}

/* ---- sums ---- */

typedef struct gather_call {
    const gather *g;
    const gather_row *row;
    const float *x; // (n_tokens, n_cols)
    size_t n_tokens;
    double *products; // the half that x x^T is added to
} gather_call;

static void pack_member(void *ctx, unsigned i, unsigned n) {
    const gather_call *c = ctx;
    gemm_gram_pack(c->x, c->n_tokens, c->row->s.n_cols, c->g->packed, i, n);
}

static void products_member(void *ctx, unsigned i, unsigned n) {
    const gather_call *c = ctx;
    gemm_gram_add(c->g->packed, c->n_tokens, c->row->s.n_cols, c->products, i, n);
}

static void add_squares(const gather_call *c, size_t begin, size_t end) {
    double *squares = (double *)c->row->s.sum_squares;
    for (size_t t = 0; t < c->n_tokens; t++) {
        const float *x = c->x + t * c->row->s.n_cols;
        for (size_t i = begin; i < end; i++) squares[i] += (double)x[i] * (double)x[i];
    }
}

static void add_ranges(const gather_call *c, size_t begin, size_t end) {
    double *sum = (double *)c->row->s.sum;
    float *most = (float *)c->row->s.max_abs;
    for (size_t t = 0; t < c->n_tokens; t++) {
        const float *x = c->x + t * c->row->s.n_cols;
        for (size_t i = begin; i < end; i++) {
            sum[i] += (double)x[i];
            most[i] = fabsf(x[i]) > most[i] ? fabsf(x[i]) : most[i];
        }
    }
}

static void sums_member(void *ctx, unsigned i, unsigned n) {
    const gather_call *c = ctx;
    size_t begin, end;
    threads_split(c->row->s.n_cols, i, n, &begin, &end);
    add_squares(c, begin, end);
    if (c->g->kinds & STATISTICS_RANGES) add_ranges(c, begin, end);
}

static bool add_products(gather *g, gather_call *c, const double *to) {
    if (!reserve(&g->packed, &g->n_packed, gemm_gram_room(c->n_tokens, c->row->s.n_cols))) return false;
    c->products = (double *)to; // the gatherer owns the memory that everyone else only reads
    threads_run(g->team, pack_member, c);
    threads_run(g->team, products_member, c);
    return true;
}

static bool add_together(gather *g, const gather_call *c) {
    const size_t n = c->n_tokens * c->row->s.n_cols;
    if (!reserve(&g->active, &g->n_active, n)) return false;
    for (size_t i = 0; i < n; i++) g->active[i] = c->x[i] < 0 || c->x[i] > 0;
    gather_call of_active = *c;
    of_active.x = g->active;
    return add_products(g, &of_active, c->row->s.together);
}

/* Adds an input to what is gathered for the row. */
static bool add_input(gather *g, gather_row *row, const float *x, size_t n_tokens) {
    gather_call c = {g, row, x, n_tokens, NULL};
    if (!row->memory && !take_memory(g, row)) return false;
    threads_run(g->team, sums_member, &c);
    row->s.n_tokens += n_tokens;
    if (g->kinds & STATISTICS_HESSIAN && !add_products(g, &c, row->s.hessian)) return false;
    return !(g->kinds & STATISTICS_TOGETHER) || add_together(g, &c);
}

/* ---- linears ---- */

static gather_row *find_row(const gather *g, const uint8_t *data) {
    for (size_t i = 0; i < g->n_rows; i++)
        if (g->rows[i].data == data) return &g->rows[i];
    return NULL;
}

void gather_tap(void *ctx, const linear *l, const float *x, size_t n_tokens, bool again) {
    gather *g = ctx;
    gather_row *row = find_row(g, l->w.data);
    if (!row || g->no_memory) return;
    row->n_used += n_tokens;
    if (g->kinds & STATISTICS_POOLED) row -= row->which;
    const size_t at = (size_t)(row - g->rows);
    if (again && !row->memory) row->shared = g->rows[g->last].shared;
    if (row->shared == at && !add_input(g, row, x, n_tokens)) g->no_memory = true;
    g->last = at;
}

/* ---- results ---- */

/* Of a row that was seen. */
static bool is_finite(const statistics *s) {
    size_t wrong = 0;
    for (size_t i = 0; i < s->n_cols; i++) wrong += !(s->sum_squares[i] <= DBL_MAX);
    return !wrong;
}

nut_status gather_check(const gather *g, nut_error *err) {
    if (g->no_memory) return error_set(err, NUT_E_MEMORY, "out of memory for the statistics of a layer");
    for (size_t i = 0; i < g->n_rows; i++)
        if (g->rows[i].memory && !is_finite(&g->rows[i].s))
            return error_set(err, NUT_E_CORRUPT,
                             "the input of tensor %.*s is infinite or no number; the model is damaged",
                             (int)g->rows[i].tensor.n, g->rows[i].tensor.s);
    return NUT_OK;
}

static const gather_row *find_matrix(const gather *g, gguf_str tensor, uint32_t which) {
    for (size_t i = 0; i < g->n_rows; i++) {
        const gather_row *row = &g->rows[i];
        if (row->which == which && row->tensor.n == tensor.n &&
            !memcmp(row->tensor.s, tensor.s, (size_t)tensor.n))
            return row;
    }
    return NULL;
}

const statistics *gather_find(const gather *g, gguf_str tensor, uint32_t which) {
    const gather_row *row = find_matrix(g, tensor, g->kinds & STATISTICS_POOLED ? 0 : which);
    return row && g->rows[row->shared].memory ? &g->rows[row->shared].s : NULL;
}

uint64_t gather_used(const gather *g, gguf_str tensor, uint32_t which) {
    const gather_row *row = find_matrix(g, tensor, which);
    return row ? row->n_used : 0;
}
