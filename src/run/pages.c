/* Pages lie in slabs, each behind a header with its number of holders. Pages of a slab that no one has had
 * are not touched, so that the machine gives them no memory. */
#include "run/pages.h"

#include "base/error.h"

#include <string.h>

enum { HEADER = ARENA_ALIGN };

typedef struct page_header {
    uint32_t n_holders;
    uint8_t *next; // where it is free
} page_header;

typedef struct slab {
    struct slab *next;
    uint8_t *unused; // first page's header of those that no one has had
    size_t n_unused;
    uint64_t bytes;
    arena memory;
} slab;

static page_header *header_of(const uint8_t *page) {
    return (page_header *)(void *)(uintptr_t)(page - HEADER);
}

void pages_open(page_pool *p, size_t page_bytes) {
    *p = (page_pool){.page_bytes = (page_bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN};
}

void pages_close(page_pool *p) {
    while (p->slabs) {
        slab *s = p->slabs;
        p->slabs = s->next;
        arena_close(&s->memory);
        mem_free(s);
    }
}

uint64_t pages_bytes(const page_pool *p) {
    return (uint64_t)p->n_pages * (p->page_bytes + HEADER);
}

static nut_status add_slab(page_pool *p, size_t n, nut_error *err) {
    slab *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    arena_add(&s->memory, n, p->page_bytes + HEADER);
    if (!arena_open(&s->memory)) {
        const uint64_t bytes = s->memory.size;
        mem_free(s);
        return error_memory(err, bytes);
    }
    s->unused = arena_take(&s->memory, n, p->page_bytes + HEADER);
    s->n_unused = n;
    s->next = p->slabs;
    p->slabs = s;
    p->n_free += n;
    p->n_pages += n;
    return NUT_OK;
}

nut_status pages_promise(page_pool *p, size_t n, nut_error *err) {
    const size_t left = p->n_free - p->n_promised;
    if (n > left) TRY(add_slab(p, n - left, err));
    p->n_promised += n;
    return NUT_OK;
}

static uint8_t *unused_page(page_pool *p) {
    slab *s = p->slabs;
    while (!s->n_unused) s = s->next;
    uint8_t *page = s->unused + HEADER;
    s->unused += HEADER + p->page_bytes;
    s->n_unused--;
    return page;
}

uint8_t *page_take(page_pool *p) {
    uint8_t *page = p->free;
    if (page)
        p->free = header_of(page)->next;
    else
        page = unused_page(p);
    *header_of(page) = (page_header){.n_holders = 1};
    p->n_free--;
    p->n_promised--;
    return page;
}

void page_share(uint8_t *page) {
    header_of(page)->n_holders++;
}

bool page_is_shared(const uint8_t *page) {
    return header_of(page)->n_holders > 1;
}

bool page_release(page_pool *p, uint8_t *page) {
    page_header *h = header_of(page);
    if (--h->n_holders) return false;
    h->next = p->free;
    p->free = page;
    p->n_free++;
    return true;
}
