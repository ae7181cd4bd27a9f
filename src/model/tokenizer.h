/*
 * What the tokenizers share: the inside of a vocabulary, and the table row that a tokenizer is. A text is first cut at
 * special tokens (vocab.c); the pieces between go to the row's `tokenize`.
 */
#ifndef NUT_MODEL_TOKENIZER_H
#define NUT_MODEL_TOKENIZER_H

#include "model/vocab.h"

/* Ids written so far; counting goes on where the buffer is full. */
typedef struct ids_out {
    int32_t *ids;
    size_t cap, n;
} ids_out;

static inline void ids_put(ids_out *out, int32_t id) {
    if (out->n < out->cap) out->ids[out->n] = id;
    out->n++;
}

typedef struct tokenizer {
    const char *name; // tokenizer.ggml.model
    /* Reads what only this tokenizer needs. */
    nut_status (*prepare)(vocab *v, const gguf *g, nut_error *err);
    /* Plain text between special tokens; `first`: nothing but BOS stands before it, or a special token does. */
    nut_status (*tokenize)(const vocab *v, const char *text, size_t n, bool first, ids_out *out, nut_error *err);
    /* The text of a normal piece. Writes at most cap bytes, returns the full length. */
    size_t (*text)(const vocab *v, int32_t id, char *out, size_t cap);
} tokenizer;

extern const tokenizer tokenizer_spm, tokenizer_bpe;

typedef struct bpe_merges bpe_merges;

struct vocab {
    const tokenizer *kind;
    uint32_t n;
    gguf_str *pieces;    // (n)
    uint8_t *kinds;      // (n) vocab_kind
    uint8_t *eog;        // (n) ends a generation
    float *scores;       // (n), SentencePiece only
    int32_t *slots;      // (n_slots) hash of pieces to ids, -1 where empty
    size_t n_slots;
    int32_t *special;    // (n_special) tokens that are looked for in texts, by first byte, longest first
    size_t n_special;
    uint32_t special_at[257]; // first of each first byte
    int32_t bos, eos, unk;
    bool add_bos, add_space_prefix;
    int32_t byte_ids[256];    // tokens of single bytes, -1 where there are none
    bpe_merges *merges;       // byte-pair only
    const struct pretok *pretok;
    bool ignore_merges;
};

/* Id of a piece, -1 where there is none. */
int32_t vocab_find(const vocab *v, const char *piece, size_t n);

void bpe_free(bpe_merges *m);

#endif
