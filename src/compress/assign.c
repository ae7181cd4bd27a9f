/* Rows are assigned one after the other; a row that comes late may move others along the cheapest path. */
#include "compress/assign.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

/* Costs are -gains; prices u of rows and v of columns keep all costs less prices from being negative. */
typedef struct assignment {
    const float *gains; // (n, n)
    size_t n;
    double *u, *v;        // (n)
    double *least;        // (n) of the way to each column so far
    size_t *row_of, *via; // (n) n: none; the column before it on the way, n: the new row itself
    bool *done;           // (n)
} assignment;

static void free_memory(assignment *a) {
    mem_free(a->u);
    mem_free(a->v);
    mem_free(a->least);
    mem_free(a->row_of);
    mem_free(a->via);
    mem_free(a->done);
}

static nut_status take_memory(assignment *a, nut_error *err) {
    a->u = mem_calloc(a->n, sizeof *a->u);
    a->v = mem_calloc(a->n, sizeof *a->v);
    a->least = mem_calloc(a->n, sizeof *a->least);
    a->row_of = mem_calloc(a->n, sizeof *a->row_of);
    a->via = mem_calloc(a->n, sizeof *a->via);
    a->done = mem_calloc(a->n, sizeof *a->done);
    if (a->u && a->v && a->least && a->row_of && a->via && a->done) return NUT_OK;
    return error_memory(err, 41 * (uint64_t)a->n);
}

/* Ways that lead on from `row`, which was reached at a cost of `so_far` by column `from`. */
static void extend(const assignment *a, size_t row, double so_far, size_t from) {
    const float *gains = a->gains + row * a->n;
    for (size_t j = 0; j < a->n; j++) {
        const double way = so_far - (double)gains[j] - a->u[row] - a->v[j];
        if (!a->done[j] && way < a->least[j]) a->least[j] = way, a->via[j] = from;
    }
}

static size_t nearest(const assignment *a) {
    size_t best = a->n;
    for (size_t j = 0; j < a->n; j++)
        if (!a->done[j] && (best == a->n || a->least[j] < a->least[best])) best = j;
    return best;
}

/* The free column at the end of the cheapest way from a new row. */
static size_t find_way(const assignment *a, size_t row) {
    for (size_t j = 0; j < a->n; j++) a->least[j] = INFINITY, a->done[j] = false;
    extend(a, row, 0, a->n);
    for (;;) {
        const size_t j = nearest(a);
        a->done[j] = true;
        if (a->row_of[j] == a->n) return j;
        extend(a, a->row_of[j], a->least[j], j);
    }
}

static void change_prices(const assignment *a, size_t row, double way) {
    a->u[row] += way;
    for (size_t j = 0; j < a->n; j++) {
        if (!a->done[j] || a->least[j] >= way) continue;
        a->v[j] += a->least[j] - way;
        a->u[a->row_of[j]] += way - a->least[j];
    }
}

/* Columns on the way pass their rows on. */
static void take_way(const assignment *a, size_t row, size_t end) {
    size_t j = end;
    while (a->via[j] < a->n) {
        a->row_of[j] = a->row_of[a->via[j]];
        j = a->via[j];
    }
    a->row_of[j] = row;
}

nut_status assign_most(const float *gains, size_t n, uint32_t *column, nut_error *err) {
    assignment a = {.gains = gains, .n = n};
    const nut_status status = take_memory(&a, err);
    for (size_t j = 0; status == NUT_OK && j < n; j++) a.row_of[j] = n;
    for (size_t i = 0; status == NUT_OK && i < n; i++) {
        const size_t end = find_way(&a, i);
        change_prices(&a, i, a.least[end]);
        take_way(&a, i, end);
    }
    for (size_t j = 0; status == NUT_OK && j < n; j++) column[a.row_of[j]] = (uint32_t)j;
    free_memory(&a);
    return status;
}
