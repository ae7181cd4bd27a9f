/*
 * Fewer tokens: which ones stay, and the metadata of what is left. A token is only ever made of others, by
 * merges, so that with it stay those that it is made of; then every text whose tokens all stay is tokenized
 * as before, and others in smaller pieces, bytes at the least.
 */
#ifndef NUT_COMPRESS_VOCABULARY_H
#define NUT_COMPRESS_VOCABULARY_H

#include "model/gguf_write.h"
#include "model/vocab.h"

typedef struct vocabulary {
    uint32_t n, n_kept;
    uint32_t *kept;  // (n_kept) ids of the source, ascending: what is now id i
    int32_t *number; // (n) the new id; -1: it goes
} vocabulary;

/* Keeps special tokens and bytes, and then up to about `most` tokens in all: those that a text has most
 * often, counts (v's tokens), and of equal ones those with the least ids, which training found first. g is
 * the header of v. E_UNSUPPORTED where tokens are not made by merges, E_ARGUMENT where v has no more than
 * `most`. Free with vocabulary_free whatever happens. */
nut_status vocabulary_choose(const vocab *v, const gguf *g, const uint32_t *counts, uint32_t most,
                             vocabulary *out, nut_error *err);
/* Sets the pairs of g that list tokens, or name one: arrays, merges, special ids, the family's vocab_size.
 */
nut_status vocabulary_meta(const vocabulary *c, const vocab *v, const gguf *g, gguf_meta *meta,
                           nut_error *err);
void vocabulary_free(vocabulary *c);

#endif
