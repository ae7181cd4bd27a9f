/*
 * The merges of a byte-pair vocabulary: pairs of tokens with the token that they become, in the order of
 * training, and a hash table from a pair to its place in that order, the merge rank.
 */
#ifndef NUT_MODEL_MERGES_H
#define NUT_MODEL_MERGES_H

#include "model/merge.h"
#include "model/token_table.h"

typedef struct merges merges;

/* Reads tokenizer.ggml.merges, texts "left right" of tokens of t. A merge that names no tokens never applies
 * and is left out. E_CORRUPT where there are no merges, where none of them names tokens, and where pairs
 * were chosen so that they collide in the hash table. Free with merges_free whatever happens. */
nut_status merges_read(merges **out, const token_table *t, const gguf *g, nut_error *err);
void merges_free(merges *m); // NULL is allowed

/* What two tokens become, with the rank; false: they are not merged. */
bool merges_find(const merges *m, int32_t left, int32_t right, merge_result *out);

#endif
