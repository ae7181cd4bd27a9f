/* A text to calibrate the models of make_gguf.h with. */
#ifndef NUT_TESTS_LONG_TEXT_H
#define NUT_TESTS_LONG_TEXT_H

#include <stdlib.h>
#include <string.h>

static const char long_text_of[] =
    "The owl sat in the tree and the cat went to the sea. A band of men then came to the inn at the end of "
    "the road, and the rain ran down the pane. What the hen ate that day no one can tell. ";

/* A text of some windows; free() it. */
static inline char *long_text(size_t *n) {
    enum { TIMES = 12 };
    char *out = malloc(TIMES * sizeof long_text_of);
    *n = TIMES * (sizeof long_text_of - 1);
    for (size_t i = 0; i < TIMES; i++)
        memcpy(out + i * (sizeof long_text_of - 1), long_text_of, sizeof long_text_of - 1);
    for (size_t i = 7; i < *n; i += 11) out[i] = (char)('a' + (i * i) % 26); // no two alike
    return out;
}

#endif
