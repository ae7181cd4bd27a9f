/* An allocator that counts, for nut_set_allocator: what is alive, the peak, and the n-th allocation can be
 * made to fail.
 *
 *     counting_start(k);   // the k-th allocation from here fails; 0: none
 *     ...
 *     CHECK(counting.alive == 0, ...);
 *     counting_stop();
 */
#ifndef NUT_TESTS_COUNTING_ALLOC_H
#define NUT_TESTS_COUNTING_ALLOC_H

#include "nutshell.h"

#include <stdlib.h>

static struct {
    size_t n;       // allocations asked for
    size_t fail_at; // 0: never
    size_t alive;   // blocks
    size_t bytes, peak;
} counting;

typedef union counting_head { // in front of each block; keeps its alignment
    size_t n_bytes;
    _Alignas(16) char pad[16];
} counting_head;

static inline void *counting_alloc(void *ctx, size_t n_bytes) {
    (void)ctx;
    counting.n++;
    if (counting.fail_at && counting.n == counting.fail_at) return NULL;
    counting_head *h = n_bytes < SIZE_MAX - sizeof *h ? malloc(n_bytes + sizeof *h) : NULL;
    if (!h) return NULL;
    h->n_bytes = n_bytes;
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
    counting.n = counting.alive = counting.bytes = counting.peak = 0;
    counting.fail_at = fail_at;
    nut_set_allocator(&hook);
}

static inline void counting_stop(void) {
    nut_set_allocator(NULL);
}

#endif
