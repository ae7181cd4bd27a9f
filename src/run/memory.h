/*
 * One description of memory, walked twice: first to measure, then to hand out. What a session needs is so
 * said in one place, to the loader that asks whether a model can fit, and to the session that takes it.
 */
#ifndef NUT_RUN_MEMORY_H
#define NUT_RUN_MEMORY_H

#include "base/mem.h"

#include <string.h>

typedef struct memory_walk {
    arena *a;       // planned in, or taken from; NULL: only counted
    bool taking;    // the arena is open
    uint64_t bytes; // wanted so far, as arenas round them; UINT64_MAX: too many to say
} memory_walk;

static inline void memory_count(memory_walk *w, uint64_t n, uint64_t size) {
    uint64_t bytes;
    if (!u64_mul(n, size, &bytes) || !u64_add(bytes, ARENA_ALIGN - 1, &bytes) ||
        !u64_add(w->bytes, bytes & ~(uint64_t)(ARENA_ALIGN - 1), &bytes))
        bytes = UINT64_MAX;
    w->bytes = bytes;
}

/* n items of `size` bytes, whose address goes to the pointer at `to`. */
static inline void memory_want(memory_walk *w, void *to, uint64_t n, uint64_t size) {
    memory_count(w, n, size);
    if (w->taking) {
        void *p = arena_take(w->a, (size_t)n, (size_t)size);
        memcpy(to, &p, sizeof p);
    } else if (w->a) {
        w->a->overflow |= n > SIZE_MAX || size > SIZE_MAX;
        arena_add(w->a, (size_t)n, (size_t)size);
    }
}

#endif
