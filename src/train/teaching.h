/*
 * What a student learns from its teacher in a group of windows: logits, computed or read from a file; token
 * ids in the teacher's vocabulary; hints; and the windows that the student generated itself.
 */
#ifndef NUT_TRAIN_TEACHING_H
#define NUT_TRAIN_TEACHING_H

#include "train/batches.h"
#include "train/hint.h"
#include "train/loss.h"
#include "train/own_text.h"
#include "train/stored_teacher.h"

typedef struct teaching_options {
    const nut_model *teacher; // loaded with `reference`; NULL: none
    const void *logits;       // (n_logits) a file of its stored logits, in its place; NULL: none
    size_t n_logits;
    hint_options hint; // kind NULL: none
    double own;        // share of windows that the student writes
    double mixed;      // the teacher's share in the distribution that they are drawn from
    uint64_t seed;     // of which they are, and of what it writes
    uint32_t n_threads;
} teaching_options;

typedef struct teaching {
    teaching_options o;
    pass *student, *pass; // pass: the teacher's, or NULL
    batches *batches;
    int32_t *aligned; // (n_vocab of the student) or NULL, see align_tokens
    stored_teacher stored;
    hints *hints;       // or NULL
    own_text *own_text; // or NULL
    // of the group
    int32_t *ids;         // (n) as the teacher knows them
    float *x;             // (n, the teacher's n_embd) output of its last layer
    const uint8_t **rows; // (n) stored logits; NULL: none
    bool *own;            // (n / window) the student wrote it
} teaching;

/* E_ARGUMENT, E_UNSUPPORTED where the teacher cannot teach this student: its vocabulary, its context, stored
 * logits of another text. All that is named must outlive it. Free with teaching_free whatever happens. */
nut_status teaching_begin(teaching *t, const teaching_options *o, pass *student, batches *b, nut_error *err);
void teaching_free(teaching *t);

/* Takes window `which` of all that training takes as window `at` of the group: ids (window), labels
 * (window). */
nut_status teaching_take(teaching *t, uint64_t which, size_t at, int32_t *ids, int32_t *labels,
                         nut_error *err);
/* The group is of windows of the text that is held out, and has no teacher. */
void teaching_rest(teaching *t);
/* The teacher's forward pass over ids (n). */
void teaching_forward(teaching *t, const int32_t *ids);
/* The group for the loss: x (n, n_embd) and labels (n) of the student. */
loss_batch teaching_batch(const teaching *t, const float *x, const int32_t *labels);

#endif
