/*
 * The vocabulary of a model: token texts and types, special tokens, and the tokenizer that the metadata
 * names. Tokenizers are rows of a table in vocab.c, pre-tokenizers rows of a table in pretok.c. Token texts
 * point into the header's bytes, which the model keeps.
 */
#ifndef NUT_MODEL_VOCAB_H
#define NUT_MODEL_VOCAB_H

#include "model/gguf.h"

typedef enum vocab_type { // values of tokenizer.ggml.token_type
    VOCAB_NORMAL = 1,
    VOCAB_UNKNOWN,
    VOCAB_CONTROL,
    VOCAB_USER_DEFINED,
    VOCAB_UNUSED,
    VOCAB_BYTE
} vocab_type;

typedef struct vocab vocab;

/* Reads tokenizer.ggml.* of a complete header; g must outlive the vocabulary. E_UNSUPPORTED names an unknown
 * tokenizer or pre-tokenizer; E_CORRUPT: a vocabulary without tokens, arrays shorter than the tokens, merges
 * that name none of the tokens. A special id that is out of range is replaced (special_ids.c). pre: the
 * pre-tokenizer in place of the one that the metadata names; NULL: that one. */
nut_status vocab_new(const gguf *g, const char *pre, vocab **out, nut_error *err);
void vocab_free(vocab *v);

uint32_t vocab_size(const vocab *v);
gguf_str vocab_text(const vocab *v, int32_t id); // as the file has it
/* The file's token type, or another one where the text says that the token is special (special_ids.c). */
vocab_type vocab_type_of(const vocab *v, int32_t id);
/* Special token ids, -1 where the model has none. */
int32_t vocab_bos(const vocab *v);
int32_t vocab_eos(const vocab *v);
bool vocab_add_bos(const vocab *v); // the model wants BOS in front of a prompt
/* Whether the token ends a generation: eos, eot, eom, and tokens that are known by their text
 * ("<|im_end|>", "<|eot_id|>", "<end_of_turn>" ...). */
bool vocab_is_eog(const vocab *v, int32_t id);
const char *vocab_tokenizer_name(const vocab *v);

/* Contracts of nut_tokenize and nut_detokenize. */
nut_status vocab_tokenize(const vocab *v, const char *text, size_t n_text, unsigned flags, int32_t *ids,
                          size_t cap, size_t *n_out, nut_error *err);
/* A text of which each byte has a mark, (n_text): 0 where special tokens are recognized; 1: never in a byte
 * that came from elsewhere, whatever stands beside it. marks NULL: all 0. Writes what fits cap; *n_out
 * receives the full count, and where that is more than cap, the call is to be made again with more. */
nut_status vocab_tokenize_marked(const vocab *v, const char *text, const uint8_t *marks, size_t n_text,
                                 int32_t *ids, size_t cap, size_t *n_out, nut_error *err);
nut_status vocab_detokenize(const vocab *v, const int32_t *ids, size_t n_ids, bool special, char *text,
                            size_t cap, size_t *n_out, nut_error *err);

/* The bytes that one token adds to a text, at most cap of them; returns the full length. For streaming: no
 * leading space is removed (vocab_detokenize removes the space that a SentencePiece model puts before the
 * first word). */
size_t vocab_token_text(const vocab *v, int32_t id, bool special, char *text, size_t cap);

#endif
