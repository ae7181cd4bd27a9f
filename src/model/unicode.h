/* Code points of UTF-8 text and their classes, as the regular expressions of pre-tokenizers name them. */
#ifndef NUT_MODEL_UNICODE_H
#define NUT_MODEL_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum unicode_class { // order of unicode_tables
    UNICODE_LETTER,          // \p{L}
    UNICODE_NUMBER,          // \p{N}
    UNICODE_PUNCTUATION,     // \p{P}
    UNICODE_SPACE,           // \s
    UNICODE_CLASSES
} unicode_class;

typedef struct unicode_range {
    uint32_t first, last;
} unicode_range;

typedef struct unicode_table {
    const unicode_range *ranges;
    size_t n;
} unicode_table;

extern const unicode_table unicode_tables[UNICODE_CLASSES];

static inline bool unicode_is(uint32_t c, unicode_class class) {
    const unicode_table *t = &unicode_tables[class];
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c < t->ranges[mid].first) hi = mid;
        else if (c > t->ranges[mid].last) lo = mid + 1;
        else return true;
    }
    return false;
}

/* The code point at s (n > 0 bytes) and its length; a byte that begins none counts as U+FFFD of length 1. */
static inline uint32_t unicode_at(const char *s, size_t n, size_t *length) {
    const uint8_t *p = (const uint8_t *)s;
    size_t want = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    uint32_t c = want == 1 ? p[0] : want ? p[0] & (0x7fu >> want) : 0;
    *length = 1;
    if (want == 0 || want > n) return 0xfffd;
    for (size_t i = 1; i < want; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0xfffd;
        c = c << 6 | (p[i] & 0x3f);
    }
    *length = want;
    return c;
}

#endif
