/*
 * Families of questions that are built in, so that what a model can still do after it was made smaller is
 * seen without any file: facts, words, numbers, code, other languages, copying. Each question has four
 * answers that are alike in kind; the wrong ones are right answers of other questions, or numbers nearby.
 */
#ifndef NUT_EVALUATE_FAMILIES_H
#define NUT_EVALUATE_FAMILIES_H

#include "nutshell.h"

/* The questions of a family in the form of task "hellaswag" (six lines each), terminated, with their number
 * of bytes; NULL: there is no such family (*n 0), or no memory (*n the bytes that were wanted). Free with
 * mem_free. */
char *families_text(const char *name, size_t *n);

#endif
