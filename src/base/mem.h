/*
 * Memory: the only path to the allocator hook, sizes with overflow checks, and an arena.
 * An arena is planned first and filled after: arena_add adds up sizes (checked), arena_open allocates one
 * block for them, and arena_take hands out the memory in the same order. An arena can be planned and opened
 * again: what is added then lies in a block of its own, and nothing moves. Only the whole arena is freed.
 */
#ifndef NUT_BASE_MEM_H
#define NUT_BASE_MEM_H

#include "nutshell.h"

/* Uninitialized / cleared memory, 16-byte aligned; NULL on failure, and for a count that overflows. */
void *mem_alloc(size_t n_bytes);
void *mem_calloc(size_t n, size_t size);
/* Copies min(old, new) bytes into new memory and frees p, which may be NULL; on failure p stays valid. */
void *mem_grow(void *p, size_t old_bytes, size_t new_bytes);
void mem_free(void *p);

/* *out = a * b, a + b; false when it does not fit (then *out is unchanged). */
static inline bool size_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool size_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline bool u64_mul(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool u64_add(uint64_t a, uint64_t b, uint64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

enum { ARENA_ALIGN = 64 };

typedef struct arena {
    uint8_t *next; // the newest block's bytes that were not handed out yet
    size_t left;   // their number
    void **blocks; // the newest block; each begins with the address of the one before
    size_t size;   // bytes planned, for all blocks
    size_t opened; // bytes for which blocks were allocated
    bool overflow; // a plan did not fit in size_t
} arena;

/* Plans memory for n items of `size` bytes, rounded up to ARENA_ALIGN. */
void arena_add(arena *a, size_t n, size_t size);
/* Allocates one block, cleared, for what was planned since the last call. False: no memory, or the plan
 * overflowed. */
bool arena_open(arena *a);
/* Hands out n * size bytes of the newest block, aligned to ARENA_ALIGN; NULL when more is asked for than was
 * planned (a bug that tests catch). */
void *arena_take(arena *a, size_t n, size_t size);
void arena_close(arena *a); // frees all blocks

#endif
