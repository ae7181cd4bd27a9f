/*
 * Hints: what a student learns from inside of its teacher, beside the teacher's distribution. A kind is a
 * row of hint.c; what is learned beside the model (a projection, where widths differ) is numbers that the
 * optimizer sees with the model's own, and that no file gets.
 */
#ifndef NUT_TRAIN_HINT_H
#define NUT_TRAIN_HINT_H

#include "train/pass.h"

typedef struct hint_kind hint_kind;
typedef struct hints hints;

/* E_ARGUMENT, with all names, where there is none of this one. */
nut_status hint_find(const char *name, const hint_kind **out, nut_error *err);

typedef struct hint_options {
    const hint_kind *kind;
    double weight; // of the hint's loss, beside all others
    const char
        *layers;   // "": spread evenly; else for each layer of the student one of the teacher, from 0, or
                   // -, parted by commas
    uint64_t seed; // of the projection
} hint_options;

/* For the passes of student and teacher, of as many tokens, which must outlive it. E_ARGUMENT where the
 * layers are none of the teacher's, or its heads are not as many as a kind needs. */
nut_status hints_new(const hint_options *o, pass *student, pass *teacher, hints **out, nut_error *err);
void hints_free(hints *h); // NULL is allowed

/* Numbers that are learned beside the model. */
size_t hints_numbers(const hints *h);
/* Where they, (hints_numbers), and their gradients are; sets them to what they begin with. */
void hints_begin(hints *h, float *numbers, float *gradients);

/* Of the teacher, forward: the output x (n, its n_embd) of layer il. */
void hints_see(hints *h, uint32_t il, const float *x);
/* Of the student, backward, before its layer il: x (n, n_embd) is the layer's output, labels (n), -1 for
 * tokens without a loss. Adds to dx (n, n_embd) what the hint wants of x. */
void hints_back(hints *h, uint32_t il, const float *x, const int32_t *labels, float *dx);
/* The hint's loss, times its weight, as a sum over tokens, behind the way back through all layers. */
double hints_loss(const hints *h);

#endif
