/*
 * The classes of code points and what they are folded to. The tables travel packed (unicode_tables.py) and
 * are unpacked at the first character beyond ASCII; what is searched then are sorted arrays.
 */
#include "model/unicode.h"
#include "model/unicode_tables.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Where the class changes: a code point * 16 + the class from it to the next entry. */
static uint32_t changes[UNICODE_CHANGES];
/* Code points that are folded, and what they become. */
static uint32_t folded[UNICODE_FOLDS], folded_to[UNICODE_FOLDS];

/* The next number of a packed table. */
static uint32_t unpack(const uint8_t **p) {
    uint32_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        const uint8_t byte = *(*p)++;
        v |= (byte & 127u) << shift;
        if (byte < 128) return v;
    }
}

static void unpack_tables(void) {
    const uint8_t *p = unicode_packed_changes;
    uint32_t c = 0, to = 0;
    for (size_t i = 0; i < UNICODE_CHANGES; i++) {
        const uint32_t v = unpack(&p);
        c += v >> 4;
        changes[i] = c << 4 | (v & 15);
    }
    p = unicode_packed_folds, c = 0;
    for (size_t i = 0; i < UNICODE_FOLDS; i++) {
        folded[i] = c += unpack(&p);
        const uint32_t step =
            unpack(&p); // twice the difference; where it is negative, its amount less a half
        folded_to[i] = to += step % 2 ? ~(step / 2) : step / 2;
    }
}

/* Threads may come here at once: one unpacks, the others wait for it. */
static void need_tables(void) {
    static atomic_bool ready;
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    if (atomic_load_explicit(&ready, memory_order_acquire)) return;
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire)) {
    }
    if (!atomic_load_explicit(&ready, memory_order_relaxed)) unpack_tables();
    atomic_store_explicit(&ready, true, memory_order_release);
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

/* The last of n sorted values that is at most v; 0 where there is none. */
static size_t last_at_most(const uint32_t *values, size_t n, uint32_t v) {
    size_t lo = 0, hi = n;
    while (hi - lo > 1) {
        const size_t mid = (lo + hi) / 2;
        if (values[mid] <= v)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

unicode_class unicode_class_beyond(uint32_t c) {
    need_tables();
    return (unicode_class)(changes[last_at_most(changes, UNICODE_CHANGES, c << 4 | 15)] & 15);
}

uint32_t unicode_fold(uint32_t c) {
    if (c < 128) return c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
    need_tables();
    const size_t i = last_at_most(folded, UNICODE_FOLDS, c);
    return folded[i] == c ? folded_to[i] : c;
}
