/* Code points of UTF-8 text, and the classes that the regular expressions of pre-tokenizers name. */
#ifndef NUT_MODEL_UNICODE_H
#define NUT_MODEL_UNICODE_H

#include <stddef.h>
#include <stdint.h>

typedef enum unicode_class { // numbered as in unicode_tables.py
    UNICODE_OTHER,           // \p{C} but for white space
    UNICODE_LOWER,           // \p{Ll}
    UNICODE_UPPER,           // \p{Lu}, \p{Lt}
    UNICODE_LETTER,          // the other \p{L}
    UNICODE_NUMBER,          // \p{N}
    UNICODE_PUNCTUATION,     // \p{P}
    UNICODE_SYMBOL,          // \p{S}
    UNICODE_MARK,            // \p{Mn}
    UNICODE_MARK_SPACING,    // the other \p{M}
    UNICODE_SPACE,           // \s: White_Space
} unicode_class;

/* Code points first, first + each .. last, which become others by an addition. */
typedef struct unicode_run {
    uint32_t first, last, each;
    int32_t add;
} unicode_run;

/* unicode_tables.c, generated: the classes of ASCII; beyond it, sorted entries, each a code point * 16 + the
 * class of the code points from it to the next entry; and sorted runs of what is folded beyond ASCII. */
extern const uint8_t unicode_ascii[128];
extern const uint32_t unicode_changes[];
extern const size_t unicode_n_changes;
extern const unicode_run unicode_folds[];
extern const size_t unicode_n_folds;

static inline unicode_class unicode_class_of(uint32_t c) {
    if (c < 128) return (unicode_class)unicode_ascii[c];
    size_t lo = 0, hi = unicode_n_changes; // the last entry <= c is in [lo, hi)
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (unicode_changes[mid] >> 4 <= c)
            lo = mid;
        else
            hi = mid;
    }
    return (unicode_class)(unicode_changes[lo] & 15);
}

/* c in lower case and without the marks that it is composed of, where one code point remains. */
static inline uint32_t unicode_fold(uint32_t c) {
    if (c < 128) return c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
    size_t lo = 0, hi = unicode_n_folds; // the last run that begins at or before c is below hi
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (unicode_folds[mid].first <= c)
            lo = mid + 1;
        else
            hi = mid;
    }
    const unicode_run *r = &unicode_folds[hi - (hi > 0)];
    return hi > 0 && c <= r->last && (c - r->first) % r->each == 0 ? c + (uint32_t)r->add : c;
}

/* UTF-8 of a code point to out (4); its length. */
static inline size_t unicode_put(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(0xf0u << (4 - n) | c);
    return n;
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
