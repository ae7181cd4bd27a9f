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
} divergence;

/* E_ARGUMENT, with all names, where there is none of this one. */
nut_status divergence_find(const char *name, const divergence **out, nut_error *err);

#endif
