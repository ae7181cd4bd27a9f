/*
 * The classes of code points, what they are folded to, what they are made of, and how marks are ordered. The
 * tables travel packed (unicode_tables.py) and
 * are unpacked at the first character beyond ASCII; what is searched then are sorted arrays.
 */
#include "model/unicode.h"
#include "model/unicode_tables.h"

#include "base/sort.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Where the class changes: a code point * 16 + the class from it to the next entry. */
static uint32_t changes[UNICODE_CHANGES];
/* Code points that are folded, and what they become. */
static uint32_t folded[UNICODE_FOLDS], folded_to[UNICODE_FOLDS];

/* Characters that are made of two others, or of one: the code points, in order, and what they are made of.
 */
static uint32_t pairs[UNICODE_PAIRS], pairs_first[UNICODE_PAIRS], pairs_second[UNICODE_PAIRS];
static uint32_t singles[UNICODE_SINGLES], singles_to[UNICODE_SINGLES];
/* The pairs that are put together again, in the order of both. */
typedef struct composed {
    uint32_t first, second, c;
} composed;
static composed compositions[UNICODE_PAIRS];
static size_t n_compositions;
/* Marks of one combining class: the first and the last of each run. */
static uint32_t runs[UNICODE_RUNS], runs_last[UNICODE_RUNS];
static uint8_t runs_class[UNICODE_RUNS];

/* The next number of a packed table. */
static uint32_t unpack(const uint8_t **p) {
    uint32_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        const uint8_t byte = *(*p)++;
        v |= (byte & 127u) << shift;
        if (byte < 128) return v;
    }
}

/* A difference: twice its amount, less 1 where it is negative. */
static uint32_t unpack_step(const uint8_t **p) {
    const uint32_t step = unpack(p);
    return step % 2 ? ~(step / 2) : step / 2;
}

static int by_parts(const void *a, const void *b) {
    const composed *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->second > y->second) - (x->second < y->second);
}

static void unpack_pairs(void) {
    const uint8_t *p = unicode_packed_seconds;
    uint32_t seconds[UNICODE_SECONDS], c = 0, first = 0;
    for (size_t i = 0; i < UNICODE_SECONDS; i++) seconds[i] = c += unpack(&p);
    p = unicode_packed_pairs, c = 0;
    for (size_t i = 0; i < UNICODE_PAIRS; i++) {
        pairs[i] = c += unpack(&p);
        pairs_first[i] = first += unpack_step(&p);
        const uint32_t second = unpack(&p);
        pairs_second[i] = seconds[second / 2];
        if (second % 2 == 0) compositions[n_compositions++] = (composed){first, pairs_second[i], c};
    }
    sort_rows(compositions, n_compositions, sizeof *compositions, by_parts);
}

static void unpack_marks(void) {
    const uint8_t *p = unicode_packed_singles;
    uint32_t c = 0, to = 0;
    for (size_t i = 0; i < UNICODE_SINGLES; i++) {
        singles[i] = c += unpack(&p);
        singles_to[i] = to += unpack_step(&p);
    }
    p = unicode_packed_runs, c = 0;
    for (size_t i = 0; i < UNICODE_RUNS; i++) {
        runs[i] = c += unpack(&p);
        runs_last[i] = c + unpack(&p);
        runs_class[i] = (uint8_t)unpack(&p);
    }
}

static void unpack_tables(void) {
    unpack_pairs();
    unpack_marks();
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
        folded_to[i] = to += unpack_step(&p);
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

/* Hangul syllables are made of their parts by counting (Unicode 15.1, section 3.12). */
enum { SYLLABLES = 0xac00, LEADS = 0x1100, VOWELS = 0x1161, TAILS = 0x11a7 };
enum { N_LEADS = 19, N_VOWELS = 21, N_TAILS = 28, N_SYLLABLES = N_LEADS * N_VOWELS * N_TAILS };

size_t unicode_parts(uint32_t c, uint32_t parts[2]) {
    const uint32_t s = c - SYLLABLES;
    need_tables();
    if (s < N_SYLLABLES) {
        const uint32_t tail = s % N_TAILS;
        parts[0] = tail ? c - tail : LEADS + s / (N_VOWELS * N_TAILS);
        parts[1] = tail ? TAILS + tail : VOWELS + s / N_TAILS % N_VOWELS;
        return 2;
    }
    const size_t pair = last_at_most(pairs, UNICODE_PAIRS, c),
                 single = last_at_most(singles, UNICODE_SINGLES, c);
    parts[0] = pairs[pair] == c ? pairs_first[pair] : singles_to[single];
    parts[1] = pairs_second[pair];
    return pairs[pair] == c ? 2 : singles[single] == c ? 1 : 0;
}

uint32_t unicode_compose(uint32_t first, uint32_t second) {
    const uint32_t lead = first - LEADS, vowel = second - VOWELS, s = first - SYLLABLES,
                   tail = second - TAILS;
    need_tables();
    if (lead < N_LEADS && vowel < N_VOWELS) return SYLLABLES + (lead * N_VOWELS + vowel) * N_TAILS;
    if (s < N_SYLLABLES && s % N_TAILS == 0 && tail - 1 < N_TAILS - 1) return first + tail;
    const composed wanted = {first, second, 0};
    size_t lo = 0, hi = n_compositions;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        const int order = by_parts(&compositions[mid], &wanted);
        if (order == 0) return compositions[mid].c;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return 0;
}

unsigned unicode_combining(uint32_t c) {
    need_tables();
    const size_t i = last_at_most(runs, UNICODE_RUNS, c);
    return c >= runs[i] && c <= runs_last[i] ? runs_class[i] : 0;
}
