/* A teacher's logits as `nutshell evaluate --store` has kept them (docs/format.md), in the place of the
 * teacher: for the same text and windows, and the student's own vocabulary. */
#ifndef NUT_TRAIN_STORED_TEACHER_H
#define NUT_TRAIN_STORED_TEACHER_H

#include "evaluate/stored.h"
#include "train/batches.h"

typedef struct stored_teacher {
    const uint8_t *bytes; // of the file, the caller's
    stored_form form;
    size_t n_windows, window, row_bytes;
    uint32_t first; // position of a window whose logits are its first ones
} stored_teacher;

/* Reads the header of a whole file, (n). E_ARGUMENT where it is of another text, of other windows or of
 * another vocabulary. */
nut_status stored_teacher_read(stored_teacher *s, const uint8_t *bytes, size_t n, const batches *b,
                               const vocab *v, nut_error *err);
/* The stored row behind token `at` of window `which` of the text; NULL: the file has none. */
const uint8_t *stored_teacher_row(const stored_teacher *s, size_t which, size_t at);

#endif
