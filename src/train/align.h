/*
 * Tokens of a student and a teacher that are the same: those of equal texts, in vocabularies of one kind of
 * tokenizer. Vocabularies may be padded, each with as many unused tokens as it likes, their tokens may be in
 * another order, and the student may lack some of the teacher's.
 */
#ifndef NUT_TRAIN_ALIGN_H
#define NUT_TRAIN_ALIGN_H

#include "model/vocab.h"

/* The teacher's id for each token of the student, (vocab_size(student)), -1 for padding that the teacher
 * lacks; *out is the caller's (mem_free), or NULL where ids and sizes are the same. E_UNSUPPORTED names the
 * first token that the teacher lacks. */
nut_status align_tokens(const vocab *student, const vocab *teacher, int32_t **out, nut_error *err);

#endif
