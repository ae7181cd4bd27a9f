/* Stored logits by window and token. */
#include "train/stored_teacher.h"

#include "base/error.h"
#include "base/mem.h"

#include <string.h>

nut_status stored_teacher_read(stored_teacher *s, const uint8_t *bytes, size_t n, const batches *b,
                               const vocab *v, nut_error *err) {
    windows w = {.window = (uint32_t)b->window, .n_ids = b->n_ids};
    if (n < STORED_HEADER)
        return error_set(err, NUT_E_ARGUMENT, "the file is too short to hold stored logits");
    w.ids = mem_calloc(b->n_ids, sizeof *w.ids);
    if (!w.ids) return error_memory(err, b->n_ids * sizeof *w.ids);
    memcpy(w.ids, b->ids, b->n_ids * sizeof *w.ids);
    windows_whole(&w, 0);
    windows_begin(&w, v);
    *s = (stored_teacher){.bytes = bytes, .window = b->window};
    const nut_status status = stored_check(bytes, n, &w, v, &s->form, &s->first, err);
    s->n_windows = w.n;
    s->row_bytes = stored_row_bytes(s->form, vocab_size(v));
    windows_free(&w);
    return status;
}

const uint8_t *stored_teacher_row(const stored_teacher *s, size_t which, size_t at) {
    if (which >= s->n_windows || at < s->first || at + 1 >= s->window) return NULL;
    const size_t row = which * (s->window - 1 - s->first) + at - s->first;
    return s->bytes + STORED_HEADER + row * s->row_bytes;
}
