/* Pages lie in slabs, each behind a header with its number of holders. Pages of a slab that no one has had
 * are not touched, so that the machine gives them no memory; a page is cleared when it is first taken. */
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
    void *memory;
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
        mem_free(s->memory);
        mem_free(s);
    }
}

uint64_t pages_bytes(const page_pool *p) {
    return (uint64_t)p->n_pages * (p->page_bytes + HEADER);
}

static nut_status add_slab(page_pool *p, size_t n, nut_error *err) {
    size_t bytes;
    slab *s = mem_calloc(1, sizeof *s);
    if (!s) return error_memory(err, sizeof *s);
    if (!size_mul(n, p->page_bytes + HEADER, &bytes) || !size_add(bytes, ARENA_ALIGN, &bytes))
        bytes = SIZE_MAX;
    s->memory = mem_alloc(bytes);
    if (!s->memory) {
        mem_free(s);
        return error_memory(err, bytes);
    }
    s->unused = (uint8_t *)(((uintptr_t)s->memory + ARENA_ALIGN - 1) & ~(uintptr_t)(ARENA_ALIGN - 1));
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
    return memset(page, 0, p->page_bytes);
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

/* WebAssembly's memory grows and never gets smaller. */
#ifdef __wasm__
static const bool gives_back = false;
#else
static const bool gives_back = true;
#endif

static bool holds_all(const page_pool *p, uint8_t *const *pages, size_t n) {
    bool all = p->n_pages - p->n_free == n;
    for (size_t i = 0; i < n; i++) all = all && !page_is_shared(pages[i]);
    return all;
}

void pages_renew(page_pool *p, uint8_t **pages, size_t n) {
    page_pool fresh;
    pages_open(&fresh, p->page_bytes);
    if (!gives_back || !holds_all(p, pages, n) || pages_promise(&fresh, p->n_pages, NULL) != NUT_OK) return;
    for (size_t i = 0; i < n; i++) {
        uint8_t *page = page_take(&fresh);
        memcpy(page, pages[i], p->page_bytes);
        pages[i] = page;
    }
    fresh.n_promised = p->n_promised;
    pages_close(p);
    *p = fresh;
}
