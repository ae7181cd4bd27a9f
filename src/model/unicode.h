/* Code points of UTF-8 text, and the classes that the regular expressions of pre-tokenizers name. */
#ifndef NUT_MODEL_UNICODE_H
#define NUT_MODEL_UNICODE_H

#include <stddef.h>
#include <stdint.h>

typedef enum unicode_class { // numbered as in unicode_tables.py
    UNICODE_OTHER,
    UNICODE_LETTER,      // \p{L}
    UNICODE_NUMBER,      // \p{N}
    UNICODE_PUNCTUATION, // \p{P}
    UNICODE_SPACE,       // \s: White_Space
} unicode_class;

/* unicode_tables.c, generated: the classes of ASCII; beyond it, sorted entries, each a code point * 8 + the
 * class of the code points from it to the next entry. */
extern const uint8_t unicode_ascii[128];
extern const uint32_t unicode_changes[];
extern const size_t unicode_n_changes;

static inline unicode_class unicode_class_of(uint32_t c) {
    if (c < 128) return (unicode_class)unicode_ascii[c];
    size_t lo = 0, hi = unicode_n_changes; // the last entry <= c is in [lo, hi)
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (unicode_changes[mid] >> 3 <= c)
            lo = mid;
        else
            hi = mid;
    }
    return (unicode_class)(unicode_changes[lo] & 7);
}

/* The code point at s (n > 0 bytes) and its length in bytes. A byte that begins no code point counts as
 * U+FFFD of length 1; overlong forms and surrogates are no code points. */
static inline uint32_t unicode_at(const char *s, size_t n, size_t *length) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *p = (const uint8_t *)s;
    *length = 1;
    if (p[0] < 0x80) return p[0];
    size_t want = p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0;
    if (want == 0 || want > n) return 0xfffd;
    uint32_t c = p[0] & (0x7fu >> want);
    for (size_t i = 1; i < want; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0xfffd;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[want] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0xfffd;
    *length = want;
    return c;
}

#endif
