/* A counting allocator for nut_set_allocator. It counts the blocks and bytes alive and their peak. The n-th
 * allocation, all from the n-th on, or those above a limit can be made to fail.
 *
 *     counting_start(k);        // the k-th allocation from here fails; 0: none
 *     counting.for_good = true; // optional: and so do all that follow it
 *     counting.limit = bytes;   // optional: and those that would make more than so many bytes alive
 *     ...
 *     CHECK(counting.alive == 0, ...);
 *     counting_stop();
 *
 * For one thread at a time, as the engine allocates. New memory is filled with garbage. */
#ifndef NUT_TESTS_COUNTING_ALLOC_H
#define NUT_TESTS_COUNTING_ALLOC_H

#include "nutshell.h"

#include <stdlib.h>
#include <string.h>

typedef struct counting_state {
    size_t n;       // allocations asked for
    size_t fail_at; // 0: never
    bool for_good;
    size_t n_failed;
    size_t alive; // blocks
    size_t bytes, peak;
    size_t limit; // 0: none
} counting_state;

static counting_state counting;

typedef union counting_head { // in front of each block; keeps its alignment
    size_t n_bytes;
    _Alignas(16) char pad[16];
} counting_head;

/* Whether the allocation that was counted last has to fail. */
static inline bool counting_fails(size_t n_bytes) {
    if (counting.limit && (n_bytes > counting.limit || counting.bytes > counting.limit - n_bytes))
        return true;
    if (!counting.fail_at) return false;
    return counting.for_good ? counting.n >= counting.fail_at : counting.n == counting.fail_at;
}

static inline void *counting_alloc(void *ctx, size_t n_bytes) {
    (void)ctx;
    counting.n++;
    const bool fails = counting_fails(n_bytes) || n_bytes >= SIZE_MAX - sizeof(counting_head);
    counting_head *h = fails ? NULL : malloc(n_bytes + sizeof *h);
    counting.n_failed += !h;
    if (!h) return NULL;
    h->n_bytes = n_bytes;
#ifndef __wasm__ // where mem_calloc knows that new memory is zero
    memset(h + 1, 0xa5, n_bytes);
#endif
    counting.alive++;
    counting.bytes += n_bytes;
    if (counting.bytes > counting.peak) counting.peak = counting.bytes;
    return h + 1;
}

static inline void counting_free(void *ctx, void *p) {
    (void)ctx;
    counting_head *h = (counting_head *)p - 1;
    counting.alive--;
    counting.bytes -= h->n_bytes;
    free(h);
}

static inline void counting_start(size_t fail_at) {
    static const nut_allocator hook = {NULL, counting_alloc, counting_free};
    counting = (counting_state){.fail_at = fail_at};
    nut_set_allocator(&hook);
}

static inline void counting_stop(void) {
    nut_set_allocator(NULL);
}

#endif
