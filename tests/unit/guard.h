/* For tests of kernels: buffers between NaNs (poisoned under ASan), so that a read out of bounds changes
 * the result and a write is detected; random numbers; and which kernel sets are to be tested. */
#ifndef NUT_TESTS_GUARD_H
#define NUT_TESTS_GUARD_H

#include "base/rng.h"
#include "check.h"
#include "kernels/sets.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif
#ifdef TEST_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { GUARD = 256 };

/* n_bytes of 0xff (NaN as floats), 64-byte aligned, between two guards of the same. */
static inline void *guard_new(size_t n_bytes) {
    uint8_t *block = aligned_alloc(64, (2 * GUARD + n_bytes + 63) / 64 * 64 + 64);
    size_t after = (2 * GUARD + n_bytes + 63) / 64 * 64 + 64 - GUARD - n_bytes;
    memset(block, 0xff, GUARD + n_bytes + after);
    memcpy(block, &n_bytes, sizeof n_bytes);
    POISON(block + sizeof n_bytes, GUARD - sizeof n_bytes);
    POISON(block + GUARD + n_bytes, after);
    return block + GUARD;
}

/* Checks the guards and frees. */
static inline void guard_free(void *p, const char *what) {
    uint8_t *block = (uint8_t *)p - GUARD;
    size_t n_bytes, changed = 0;
    memcpy(&n_bytes, block, sizeof n_bytes);
    size_t after = (2 * GUARD + n_bytes + 63) / 64 * 64 + 64 - GUARD - n_bytes;
    UNPOISON(block, GUARD);
    UNPOISON(block + GUARD + n_bytes, after);
    for (size_t i = sizeof n_bytes; i < GUARD; i++) changed += block[i] != 0xff;
    for (size_t i = 0; i < after; i++) changed += block[GUARD + n_bytes + i] != 0xff;
    CHECK(changed == 0, "%s: %zu bytes outside were written", what, changed);
    free(block);
}

static inline float *guard_floats(size_t n) {
    return guard_new(n * sizeof(float));
}

static inline float random_float(rng *r, double scale) {
    return (float)((rng_f64(r) + rng_f64(r) + rng_f64(r) - 1.5) * scale);
}

static inline void fill(float *x, size_t n, rng *r, double scale) {
    for (size_t i = 0; i < n; i++) x[i] = random_float(r, scale);
}

/* Whether set i is to be tested. Asked only once, because an engine may compile the same code again later
 * and then compute differently. Only the sets with relaxed dots may be refused: where an engine computes
 * them wrongly, the probe must find it. */
static inline bool usable(size_t i) {
    static int known[8];
    const char *name = kernel_at(i)->name;
    if (!known[i])
        known[i] = (strcmp(name, "relaxed") != 0 && strcmp(name, "pairs") != 0) || kernel_find(name) ? 1 : 2;
    return known[i] == 1;
}

#endif
