/* The allocator hook and the arena. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Not malloc, which aligns to 8 bytes only in some C libraries (Emscripten's). */
static void *libc_alloc(void *ctx, size_t n_bytes) {
    (void)ctx;
    return n_bytes <= SIZE_MAX - 15 ? aligned_alloc(16, (n_bytes + 15) & ~(size_t)15) : NULL;
}
static void libc_free(void *ctx, void *p) {
    (void)ctx;
    free(p);
}

static const nut_allocator libc_allocator = {NULL, libc_alloc, libc_free};
static nut_allocator hook = {NULL, libc_alloc, libc_free};

void nut_set_allocator(const nut_allocator *allocator) {
    hook = allocator ? *allocator : libc_allocator;
}

void *mem_alloc(size_t n_bytes) {
    return hook.alloc(hook.ctx, n_bytes ? n_bytes : 1);
}

/* Memory from this address on was never used: WebAssembly's memory is zero where it grows. */
static uint64_t new_memory_from(void) {
#ifdef __wasm__
    return (uint64_t)__builtin_wasm_memory_size(0) << 16;
#else
    return UINT64_MAX;
#endif
}

enum { EDGE_BYTES = 4096 }; // more than what allocators write at both ends of a block

/* Memory that was never used is not cleared, except at its ends: where no position of a session's cache was
 * used yet, it takes no physical memory and no time. */
void *mem_calloc(size_t n, size_t size) {
    size_t bytes;
    if (!size_mul(n, size, &bytes)) return NULL;
    const uint64_t new_from = new_memory_from();
    uint8_t *p = mem_alloc(bytes);
    if (!p) return NULL;
    const uint64_t at = (uintptr_t)p, old = new_from > at ? new_from - at : 0;
    if (old + 2 * EDGE_BYTES >= bytes) return memset(p, 0, bytes);
    memset(p, 0, (size_t)old + EDGE_BYTES);
    memset(p + bytes - EDGE_BYTES, 0, EDGE_BYTES);
    return p;
}

void *mem_grow(void *p, size_t old_bytes, size_t new_bytes) {
    void *q = mem_alloc(new_bytes);
    if (!q) return NULL;
    if (p) memcpy(q, p, old_bytes < new_bytes ? old_bytes : new_bytes);
    mem_free(p);
    return q;
}

void mem_free(void *p) {
    if (p) hook.free(hook.ctx, p);
}

/* ---- arenas ---- */

/* Bytes behind each allocation of an arena that must not be touched. The fuzzers' build has some, since
 * allocations from one block are adjacent: a read or write beyond one would hit the next unnoticed. */
#ifndef NUT_ARENA_GUARD
#define NUT_ARENA_GUARD 0
#else
void __asan_poison_memory_region(const volatile void *p, size_t n); // AddressSanitizer's
#endif

/* Bytes that n items take in an arena; false on overflow. */
static bool arena_bytes(size_t n, size_t size, size_t *out) {
    size_t bytes;
    if (!size_mul(n, size, &bytes) || !size_add(bytes, NUT_ARENA_GUARD + ARENA_ALIGN - 1, &bytes))
        return false;
    *out = bytes & ~(size_t)(ARENA_ALIGN - 1);
    return true;
}

void arena_add(arena *a, size_t n, size_t size) {
    size_t bytes;
    if (!arena_bytes(n, size, &bytes) || !size_add(a->size, bytes, &a->size)) a->overflow = true;
}

bool arena_open(arena *a) {
    size_t bytes;
    if (a->overflow || !size_add(a->size - a->opened, 2 * ARENA_ALIGN, &bytes)) return false;
    if (a->blocks && a->size == a->opened) return true;
    void **block = mem_calloc(bytes, 1);
    if (!block) return false;
    *block = a->blocks;
    uintptr_t p = (uintptr_t)(block + 1);
    a->next = (uint8_t *)((p + ARENA_ALIGN - 1) & ~(uintptr_t)(ARENA_ALIGN - 1));
    a->left = a->size - a->opened;
    a->opened = a->size;
    a->blocks = block;
    return true;
}

void *arena_take(arena *a, size_t n, size_t size) {
    size_t bytes;
    if (!a->next || !arena_bytes(n, size, &bytes) || bytes > a->left) return NULL;
    void *p = a->next;
    a->next += bytes;
    a->left -= bytes;
#if NUT_ARENA_GUARD
    __asan_poison_memory_region((char *)p + n * size, bytes - n * size);
#endif
    return p;
}

void arena_close(arena *a) {
    while (a->blocks) {
        void **block = a->blocks;
        a->blocks = *block;
        mem_free(block);
    }
    *a = (arena){0};
}
