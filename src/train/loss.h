/*
 * The loss that training makes smaller, and its gradient: cross entropy with the next tokens, a divergence
 * from a teacher, or both by weights. A few tokens at a time have their logits over the whole vocabulary.
 */
#ifndef NUT_TRAIN_LOSS_H
#define NUT_TRAIN_LOSS_H

#include "train/divergence.h"
#include "train/pass.h"

typedef struct loss_options {
    const divergence *kind; // NULL: there is no teacher
    double weight;          // of the divergence; that of cross entropy is what is left of 1
    double temperature;     // logits of both are divided by it, and the divergence times its square
    double a;               // of the divergence
} loss_options;

typedef struct loss_head loss_head;

/* The student's pass and the teacher's (NULL: none), of as many tokens, whose vocabularies are as large.
 * They must outlive it. */
nut_status loss_new(const loss_options *o, pass *student, pass *teacher, loss_head **out, nut_error *err);
void loss_free(loss_head *l); // NULL is allowed

/* Sums over tokens. */
typedef struct loss_sums {
    double loss, cross_entropy, divergence; // the last with the temperature's square
} loss_sums;

/* Adds to *sums what the last layers' outputs x (n, n_embd) and teacher_x (n, n_embd), NULL without a
 * teacher, give for labels (n). dx (n, n_embd): the gradient of the sum of losses by x, with that of the
 * output's weights and norm told to the student's learner; NULL: not wanted. */
void loss_add(loss_head *l, const float *x, const float *teacher_x, const int32_t *labels, loss_sums *sums,
              float *dx);

#endif
