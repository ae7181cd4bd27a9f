/*
 * Pre-tokenizers: how a text is split into words before byte pairs are merged inside the words. A row of the
 * table is a list of stages; each stage splits what the stage before has given. The stages are hand-written
 * and match, alternative by alternative, the regular expressions that stand over them in pretok.c.
 */
#ifndef NUT_MODEL_PRETOK_H
#define NUT_MODEL_PRETOK_H

#include "model/gguf.h"

/* Length of the first word of text (n > 0 bytes), 1 .. n. */
typedef size_t pretok_stage(const char *text, size_t n);

enum { PRETOK_MAX_STAGES = 5 };

typedef struct pretok {
    const char *name;                     // tokenizer.ggml.pre
    bool ignore_merges, add_bos, add_eos; // where the metadata does not say
    bool nfc;                             // the text is brought into normalization form C before
    pretok_stage *stages[PRETOK_MAX_STAGES];
} pretok;

/* NULL where the name is not in the table. */
const pretok *pretok_find(gguf_str name);
/* The name in the table that a name differs from in the fewest letters. */
const char *pretok_nearest(gguf_str name);

/* Calls fn for each word of the text, in order; stops and returns false when it does. Linear in n. */
typedef bool pretok_fn(void *ctx, const char *word, size_t n);
bool pretok_split(const pretok *p, const char *text, size_t n, pretok_fn *fn, void *ctx);

#endif
