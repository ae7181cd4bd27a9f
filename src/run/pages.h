/*
 * The memory of the key/value cache, in pages of one tile of positions for all layers and heads. Sequences
 * hold pages by reference, so that several can share a prefix; one that others hold too is copied before it
 * is written.
 *
 * Pages are promised before they are taken, and the pool takes memory when it promises. So taking a page
 * never fails, and nothing is allocated while tokens are sampled. What is promised is, at any time: for each
 * sequence the pages that its context can still come to have, and for each page one less than its holders,
 * since all but one may come to need a copy.
 */
#ifndef NUT_RUN_PAGES_H
#define NUT_RUN_PAGES_H

#include "base/mem.h"

typedef struct page_pool {
    size_t page_bytes;  // of a page's data
    struct slab *slabs; // all memory
    void *free;         // pages that were given back
    size_t n_free;      // those, and those that no one had yet
    size_t n_promised;  // pages that may still be taken; at most n_free
    size_t n_pages;
} page_pool;

void pages_open(page_pool *p, size_t page_bytes);
void pages_close(page_pool *p);
uint64_t pages_bytes(const page_pool *p); // memory held

/* Promises n more pages; E_MEMORY where there is none for them. */
nut_status pages_promise(page_pool *p, size_t n, nut_error *err);
/* A promised page's data (page_bytes, 64-byte aligned, of any finite content), held once. */
uint8_t *page_take(page_pool *p);
/* Holds a page once more. */
void page_share(uint8_t *page);
bool page_is_shared(const uint8_t *page);
/* Brings pages (n) to new memory and gives the old back, so that the machine has again what pages took that
 * no one holds any more. Only where these are all that are held, each once; else, and where there is no
 * memory for both, nothing changes. */
void pages_renew(page_pool *p, uint8_t **pages, size_t n);
/* Lets a page go; whether nobody holds it any more. */
bool page_release(page_pool *p, uint8_t *page);

#endif
