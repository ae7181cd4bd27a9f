/* Windows of a text. */
#include "evaluate/windows.h"

#include "base/error.h"

static void count(windows *w) {
    w->n = (w->n_ids + w->window - 1) / w->window;
}

nut_status windows_of_text(windows *w, const vocab *v, const char *text, size_t n_text, bool special,
                           uint32_t window, nut_error *err) {
    const unsigned flags = NUT_TOKENIZE_ADD_BOS | (special ? NUT_TOKENIZE_SPECIAL : 0u);
    *w = (windows){.window = window};
    const nut_status counted = vocab_tokenize(v, text, n_text, flags, NULL, 0, &w->n_ids, err);
    if (counted != NUT_E_ARGUMENT) return counted; // no tokens, or none could be counted
    w->ids = mem_calloc(w->n_ids, sizeof *w->ids);
    if (!w->ids) return error_memory(err, w->n_ids * sizeof *w->ids);
    TRY(vocab_tokenize(v, text, n_text, flags, w->ids, w->n_ids, &w->n_ids, err));
    count(w);
    return NUT_OK;
}

void windows_whole(windows *w, size_t most) {
    size_t n = w->n_ids / w->window;
    if (most && n > most) n = most;
    w->n_ids = n * w->window;
    count(w);
}

void windows_begin(windows *w, const vocab *v) {
    if (!vocab_add_bos(v) || vocab_bos(v) < 0) return;
    for (size_t i = 0; i < w->n; i++) w->ids[i * w->window] = vocab_bos(v);
}

void windows_free(windows *w) {
    mem_free(w->ids);
    *w = (windows){0};
}
