/* A binary heap of candidate merges over a doubly linked list of symbols. A candidate whose symbols have
 * changed is not removed; it is recognized as out of date when it comes to the top. Each merge takes one
 * candidate out and puts at most two in, so there are never more than twice as many candidates as symbols.
 */
#include "model/merge.h"

#include "base/mem.h"

bool merge_grow(merge_work *w) {
    size_t cap = w->cap ? 2 * w->cap : 128, bytes;
    merge_symbol *symbols = NULL;
    if (size_mul(cap, sizeof *symbols, &bytes))
        symbols = mem_grow(w->symbols, w->n * sizeof *symbols, bytes);
    if (!symbols) return false;
    w->symbols = symbols;
    w->cap = cap;
    return true;
}

static bool reserve_heap(merge_work *w) {
    w->n_heap = 0;
    if (w->heap_cap >= 2 * w->n) return true;
    mem_free(w->heap);
    w->heap_cap = 2 * w->cap;
    w->heap = mem_calloc(w->heap_cap, sizeof *w->heap);
    if (!w->heap) w->heap_cap = 0;
    return w->heap != NULL;
}

void merge_free(merge_work *w) {
    mem_free(w->symbols);
    mem_free(w->heap);
    *w = (merge_work){0};
}

static void push(merge_work *w, merge_candidate c) {
    size_t i = w->n_heap++;
    for (size_t up; i && c.order < w->heap[up = (i - 1) / 2].order; i = up) w->heap[i] = w->heap[up];
    w->heap[i] = c;
}

static merge_candidate pop(merge_work *w) {
    merge_candidate *h = w->heap, top = h[0], last = h[--w->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && h[child + 1].order < h[child].order) child++;
        if (last.order <= h[child].order) break;
        h[i] = h[child];
    }
    h[i] = last;
    return top;
}

/* Adds the merge of symbol `left` and the next one as a candidate, if the rule allows it. */
static void propose(merge_work *w, uint32_t left, merge_rule *rule, const void *ctx) {
    const merge_symbol *a = &w->symbols[left];
    if (a->next == MERGE_END) return;
    const merge_symbol *b = &w->symbols[a->next];
    merge_result merged;
    if (rule(ctx, a, b, &merged))
        push(w, (merge_candidate){(uint64_t)merged.rank << 32 | left, a->n + b->n, merged.id});
}

/* Whether both symbols of a candidate are unchanged. If the left one was merged into another, its n is 0; if
 * it or the right one has grown, both together are longer. */
static bool is_current(const merge_work *w, uint32_t left, uint32_t n) {
    const merge_symbol *a = &w->symbols[left];
    return a->n && a->next != MERGE_END && a->n + w->symbols[a->next].n == n;
}

bool merge_run(merge_work *w, merge_rule *rule, const void *ctx) {
    if (!reserve_heap(w)) return false;
    for (uint32_t i = 0; i + 1 < w->n; i++) propose(w, i, rule, ctx);
    while (w->n_heap) {
        merge_candidate c = pop(w);
        uint32_t left = (uint32_t)c.order;
        if (!is_current(w, left, c.n)) continue;
        merge_symbol *a = &w->symbols[left], *b = &w->symbols[a->next];
        a->n = c.n;
        a->id = c.id;
        a->next = b->next;
        b->n = 0;
        if (a->next != MERGE_END) w->symbols[a->next].prev = left;
        if (a->prev != MERGE_END) propose(w, a->prev, rule, ctx);
        propose(w, left, rule, ctx);
    }
    return true;
}
