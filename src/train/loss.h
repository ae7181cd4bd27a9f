/*
 * The loss that training makes smaller, and its gradient: cross entropy with the next tokens, a divergence
 * from a teacher, or both by weights. A few tokens at a time have their logits over the whole vocabulary.
 */
#ifndef NUT_TRAIN_LOSS_H
#define NUT_TRAIN_LOSS_H

#include "evaluate/stored.h"
#include "train/divergence.h"
#include "train/pass.h"

typedef struct loss_options {
    const divergence *kind; // NULL: there is no teacher
    double weight;          // of the divergence; that of cross entropy is what is left of 1
    double temperature;     // logits of both are divided by it, and the divergence times its square
    double a;               // of the divergence
    const int32_t *aligned; // (n_vocab) the teacher's ids, as align_tokens gives them, the caller's; or NULL
    stored_form form;       // of a teacher's stored logits
} loss_options;

typedef struct loss_head loss_head;

/* The forward passes of the student and of the teacher (NULL: there is none) have the same number of tokens.
 * Both must outlive the loss_head. */
nut_status loss_new(const loss_options *o, pass *student, pass *teacher, loss_head **out, nut_error *err);
void loss_free(loss_head *l); // NULL is allowed

/* As many windows as the passes have. */
typedef struct loss_batch {
    const float *x, *teacher_x; // (n, n_embd) last layers' outputs; the teacher's NULL without one
    const int32_t *labels;      // (n), -1: none, which adds nothing
    /* (n) in the place of the teacher's pass, its logits as they were stored for the student's vocabulary;
     * a NULL among them: cross entropy alone is learned. NULL: there are none. */
    const uint8_t *const *rows;
    const bool *own; // (n / window) the student wrote it: the divergence alone is learned; NULL: none
} loss_batch;

/* Sums over tokens. */
typedef struct loss_sums {
    double loss, cross_entropy, divergence; // the last with the temperature's square
    uint64_t n;                             // tokens with a label
    uint64_t n_text;                        // of them, those of the text, which have a cross entropy
} loss_sums;

/* Adds to *sums what a batch gives. dx (n, n_embd): the gradient of the sum of losses by x, with that of the
 * output's weights and norm told to the student's learner; NULL: not wanted. False where stored logits are
 * damaged: what was added is then meaningless. */
bool loss_add(loss_head *l, const loss_batch *b, loss_sums *sums, float *dx);

#endif
