/* A binary heap of candidate merges, best first: what both tokenizers turn around. Rank orders; among equals the leftmost
 * goes first. Memory is the caller's. */
#ifndef NUT_MODEL_HEAP_H
#define NUT_MODEL_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct heap_item {
    float rank;      // lower is better
    uint32_t left;   // symbols that would join
    uint32_t right;
    uint32_t length; // bytes of the joined symbol: tells whether the candidate is still true
    int32_t id;      // token of the joined symbol
} heap_item;

typedef struct heap {
    heap_item *items;
    size_t n;
} heap;

static inline bool heap_before(const heap_item *a, const heap_item *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->left < b->left);
}

static inline void heap_push(heap *h, heap_item item) {
    size_t i = h->n++;
    for (; i && heap_before(&item, &h->items[(i - 1) / 2]); i = (i - 1) / 2) h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = item;
}

static inline heap_item heap_pop(heap *h) {
    heap_item top = h->items[0], last = h->items[--h->n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && heap_before(&h->items[child + 1], &h->items[child])) child++;
        if (!heap_before(&h->items[child], &last)) break;
        h->items[i] = h->items[child];
    }
    h->items[i] = last;
    return top;
}

#endif
