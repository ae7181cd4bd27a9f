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

extern const uint8_t unicode_ascii[128];        // classes
unicode_class unicode_class_beyond(uint32_t c); // ASCII

/* Of Unicode 15.1, as llama.cpp's tables. */
static inline unicode_class unicode_class_of(uint32_t c) {
    return c < 128 ? (unicode_class)unicode_ascii[c] : unicode_class_beyond(c);
}

/* c in lower case and without the marks that it is composed of, where one code point remains. */
uint32_t unicode_fold(uint32_t c);

/* What c is canonically made of; their number, 0: it is made of nothing else. The first may have parts too.
 */
size_t unicode_parts(uint32_t c, uint32_t parts[2]);
/* The character that two others are put together to; 0: none. */
uint32_t unicode_compose(uint32_t first, uint32_t second);
/* The combining class of a mark, by which marks are ordered; 0: no mark, or one that stays in its place. */
unsigned unicode_combining(uint32_t c);

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
