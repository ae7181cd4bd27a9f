/* Columns that are active together. */
#include "compress/activity.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/sort.h"

/* Tokens for which both columns are active. */
static double both(const statistics *s, size_t i, size_t j) {
    return i >= j ? s->together[i * (i + 1) / 2 + j] : s->together[j * (j + 1) / 2 + i];
}

static double shared(const statistics *s, size_t i, size_t j) {
    const double and = both(s, i, j), or = both(s, i, i) + both(s, j, j) - and;
    return or > 0 ? and / or : 0;
}

bool activity_has_zeros(const statistics *s) {
    for (size_t i = 0; i < s->n_cols; i++)
        if (both(s, i, i) < (double)s->n_tokens) return true;
    return false;
}

typedef struct column {
    double n_active, shares; // with the group that is made
    uint32_t number;
} column;

static int by_activity(const void *a, const void *b) {
    const column *x = a, *y = b;
    if (x->n_active != y->n_active) return x->n_active < y->n_active ? 1 : -1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Moves the column that shares most to the front of n, whose order stays; the first of those alike. */
static void take_best(column *left, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (left[i].shares > left[best].shares) best = i;
    const column taken = left[best];
    for (; best; best--) left[best] = left[best - 1];
    left[0] = taken;
}

static void order(const statistics *s, column *all, size_t n) {
    sort_rows(all, n, sizeof *all, by_activity);
    for (size_t at = 1; at < n; at++) {
        if (at % ACTIVITY_GROUP == 0) continue; // the most active one that is left
        for (size_t i = at; i < n; i++) {
            if (at % ACTIVITY_GROUP == 1) all[i].shares = 0;
            all[i].shares += shared(s, all[at - 1].number, all[i].number);
        }
        take_best(all + at, n - at);
    }
}

nut_status activity_order(const statistics *s, size_t n, uint32_t *columns, nut_error *err) {
    column *all = mem_calloc(n, sizeof *all);
    if (!all) return error_memory(err, n * sizeof *all);
    for (size_t i = 0; i < n; i++) all[i] = (column){both(s, columns[i], columns[i]), 0, columns[i]};
    order(s, all, n);
    for (size_t i = 0; i < n; i++) columns[i] = all[i].number;
    mem_free(all);
    return NUT_OK;
}
