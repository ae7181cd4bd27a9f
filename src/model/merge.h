/*
 * The inner loop of both tokenizers: in a list of symbols, the adjacent pair of lowest merge rank is merged,
 * the leftmost among equals, until no pair can be merged. A heap of candidates makes this O(n log n) for n
 * symbols, however long the word is.
 */
#ifndef NUT_MODEL_MERGE_H
#define NUT_MODEL_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MERGE_END UINT32_MAX // no neighbour

typedef struct merge_symbol {
    uint32_t at;         // offset of its bytes
    uint32_t n;          // bytes; 0: it was merged into its left neighbour
    uint32_t prev, next; // neighbours
    int32_t id;          // token; the rule's business
} merge_symbol;

typedef struct merge_candidate {
    uint64_t order; // merge rank, then index of the left symbol
    uint32_t n;     // bytes of both symbols; out of date when they have another number
    int32_t id;     // of the merged symbol
} merge_candidate;

typedef struct merge_work {
    merge_symbol *symbols;
    size_t n, cap;
    merge_candidate *heap;
    size_t n_heap, heap_cap;
} merge_work;

/* What the adjacent symbols a and b become; a rule returns false where they do not merge. */
typedef struct merge_result {
    uint32_t rank;
    int32_t id;
} merge_result;
typedef bool merge_rule(const void *ctx, const merge_symbol *a, const merge_symbol *b, merge_result *out);

/* Empties the list; its memory is kept. */
static inline void merge_begin(merge_work *w) {
    w->n = 0;
}
void merge_free(merge_work *w);

bool merge_grow(merge_work *w); // for merge_add

/* Adds a symbol of n > 0 bytes on the right (less than 2^32 - 1 in all); false: no memory. */
static inline bool merge_add(merge_work *w, uint32_t at, uint32_t n, int32_t id) {
    if (w->n == w->cap && !merge_grow(w)) return false;
    uint32_t i = (uint32_t)w->n++;
    w->symbols[i] = (merge_symbol){at, n, i ? i - 1 : MERGE_END, MERGE_END, id};
    if (i) w->symbols[i - 1].next = i;
    return true;
}

/* Merges; false: no memory. The result is the list from symbols[0] along `next`. */
bool merge_run(merge_work *w, merge_rule *rule, const void *ctx);

#endif
