/*
 * Divergences of a student's distribution q from a teacher's p over the vocabulary. A kind is a row of
 * divergence.c: what one token of the vocabulary adds, and its derivative by q times q, from which the
 * gradient by the student's logits follows.
 */
#ifndef NUT_TRAIN_DIVERGENCE_H
#define NUT_TRAIN_DIVERGENCE_H

#include "nutshell.h"

typedef struct divergence {
    const char *name;
    const char *takes; // what `a` is; NULL: nothing
    double usual;      // a, where none is given
    /* From log p and log q: *value, and *slope = q d value / d q. */
    void (*term)(double log_p, double log_q, double a, double *value, double *slope);
    /* Tokens count by how hard they are for the teacher: the softmax over a window of its cross entropies,
     * times the window's number of tokens (after TSLD: Kim et al. 2023, arXiv 2308.06744). */
    bool scaled;
    /* Of windows that the student writes alone, and with a reward for what follows each token (MiniLLM); `a`
     * is the teacher's share in what they are drawn from. */
    bool rewarded;
} divergence;

/* E_ARGUMENT, with all names, where there is none of this one. */
nut_status divergence_find(const char *name, const divergence **out, nut_error *err);

#endif
