/* The knapsack: see mix.h. */
#include "compress/mix.h"

#include "base/error.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

typedef struct table {
    uint64_t unit;        // bytes
    size_t n_units;       // of the budget
    double *before, *now; // (n_units + 1) the least loss of the items so far that take so many units at most
    uint8_t *choice;      // (n_items, n_units + 1)
} table;

static size_t units_of(const table *t, const mix_option *o) {
    return (size_t)((o->bytes + t->unit - 1) / t->unit);
}

static uint64_t least_bytes(const mix_item *item) {
    uint64_t least = item->options[0].bytes;
    for (size_t i = 1; i < item->n; i++)
        if (item->options[i].bytes < least) least = item->options[i].bytes;
    return least;
}

/* One more item. */
static void add_item(table *t, const mix_item *item, uint8_t *choice) {
    for (size_t u = 0; u <= t->n_units; u++) t->now[u] = INFINITY, choice[u] = 0;
    for (size_t i = 0; i < item->n; i++) {
        const size_t takes = units_of(t, &item->options[i]);
        const double loss = item->options[i].loss;
        for (size_t u = takes; u <= t->n_units; u++)
            if (t->before[u - takes] + loss < t->now[u])
                t->now[u] = t->before[u - takes] + loss, choice[u] = (uint8_t)i;
    }
    double *const last = t->before;
    t->before = t->now;
    t->now = last;
}

/* From the whole budget back through the items; false where the rounded sizes do not fit. */
static bool trace(const table *t, mix_item *items, size_t n) {
    size_t left = t->n_units;
    if (!(t->before[left] < INFINITY)) return false;
    for (size_t i = n; i-- > 0;) {
        items[i].chosen = t->choice[i * (t->n_units + 1) + left];
        left -= units_of(t, &items[i].options[items[i].chosen]);
    }
    return true;
}

/* The smallest option of each: what is left where rounding alone makes them too large. */
static void choose_least(mix_item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = items[i].chosen = 0; k < items[i].n; k++)
            if (items[i].options[k].bytes < items[i].options[items[i].chosen].bytes) items[i].chosen = k;
}

nut_status mix_choose(mix_item *items, size_t n, uint64_t budget, uint64_t *least, nut_error *err) {
    table t = {.unit = budget / MIX_UNITS + 1};
    nut_status status = NUT_OK;
    *least = 0;
    for (size_t i = 0; i < n; i++) *least += least_bytes(&items[i]);
    if (!n || *least > budget) return NUT_OK;
    t.n_units = (size_t)(budget / t.unit);
    t.before = mem_calloc(t.n_units + 1, sizeof(double));
    t.now = mem_calloc(t.n_units + 1, sizeof(double));
    t.choice = mem_calloc(n, t.n_units + 1);
    if (t.before && t.now && t.choice) {
        for (size_t i = 0; i < n; i++) add_item(&t, &items[i], t.choice + i * (t.n_units + 1));
        if (!trace(&t, items, n)) choose_least(items, n);
    } else {
        status = error_memory(err, n * (t.n_units + 1));
    }
    mem_free(t.before);
    mem_free(t.now);
    mem_free(t.choice);
    return status;
}
