/*
 * Evaluation windows: the tokens of a text, cut into pieces that are evaluated from an empty cache each. As
 * in llama.cpp's tools, a model that wants BOS in front of a prompt finds it in front of the text, and then
 * as the first token of every window, in the place of the text's own.
 */
#ifndef NUT_EVALUATE_WINDOWS_H
#define NUT_EVALUATE_WINDOWS_H

#include "model/vocab.h"

typedef struct windows {
    int32_t *ids; // (n_ids)
    size_t n_ids;
    uint32_t window; // tokens of each, but for the last one, which may have fewer
    size_t n;        // windows
} windows;

/* Tokenizes a text; `special`: special tokens are recognized in it. Free with windows_free. */
nut_status windows_of_text(windows *w, const vocab *v, const char *text, size_t n_text, bool special,
                           uint32_t window, nut_error *err);
/* Drops a last window that is not whole, and all beyond the first `most` (0: none). */
void windows_whole(windows *w, size_t most);
/* Puts BOS in place. */
void windows_begin(windows *w, const vocab *v);
void windows_free(windows *w);

/* Window i: its tokens and their number. */
static inline const int32_t *windows_at(const windows *w, size_t i, size_t *n) {
    const size_t first = i * w->window;
    *n = w->n_ids - first < w->window ? w->n_ids - first : w->window;
    return w->ids + first;
}

#endif
