/*
 * Skills: questions that are built in, so that what a model can still do after it was made smaller is seen
 * without any file: facts, words, numbers, code, other languages, copying. Each question has four answers
 * that are alike in kind; the wrong ones are right answers of other questions, or numbers nearby.
 */
#ifndef NUT_EVALUATE_SKILLS_H
#define NUT_EVALUATE_SKILLS_H

#include "nutshell_compress.h"

/* The questions of a skill in the form of task "hellaswag" (six lines each), terminated, with their number
 * of bytes; NULL: there is no such skill (*n 0), or no memory (*n the bytes that were wanted). Free with
 * mem_free. */
char *skills_text(const char *name, size_t *n);

#endif
