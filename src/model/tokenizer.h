/*
 * What the tokenizers share: the inside of a vocabulary, the row of the table that a tokenizer is, and what
 * a call works with. A text is first cut at special tokens (special.c); what stands between goes to the
 * row's `tokenize`.
 */
#ifndef NUT_MODEL_TOKENIZER_H
#define NUT_MODEL_TOKENIZER_H

#include "model/merge.h"
#include "model/pieces.h"
#include "model/vocab.h"

enum { VOCAB_NONE = -1 }; // no such token

/* Ids written so far; counting goes on where the buffer is full. */
typedef struct ids_out {
    int32_t *ids;
    size_t cap, n;
} ids_out;

static inline void ids_put(ids_out *out, int32_t id) {
    if (out->n < out->cap) out->ids[out->n] = id;
    out->n++;
}

/* Text written so far, likewise. */
typedef struct text_out {
    char *text;
    size_t cap, n;
    bool strip; // the next byte is left out if it is a space
} text_out;

static inline void text_put(text_out *out, char c) {
    bool drop = out->strip && c == ' ';
    out->strip = false;
    if (drop) return;
    if (out->n < out->cap) out->text[out->n] = c;
    out->n++;
}

static inline void text_put_all(text_out *out, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) text_put(out, s[i]);
}

/* One call's memory: grows to the longest word. */
typedef struct scratch {
    char *text;
    size_t text_cap;
    merge_work work;
} scratch;

/* Room for n bytes of text (contents are lost); false: no memory. */
bool scratch_text(scratch *s, size_t n);
void scratch_free(scratch *s);

typedef struct tokenizer {
    const char *name; // tokenizer.ggml.model
    /* Reads what only this tokenizer needs, and sets the defaults of what vocab.c reads next. */
    nut_status (*prepare)(vocab *v, const gguf *g, nut_error *err);
    /* n > 0 bytes of plain text: the whole, or what stands between special tokens. False: no memory. */
    bool (*tokenize)(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out);
    /* The text of a normal or byte token. */
    void (*text)(const vocab *v, int32_t id, text_out *out);
} tokenizer;

extern const tokenizer tokenizer_spm, tokenizer_bpe;

struct vocab {
    const tokenizer *kind;
    pieces pieces;
    uint8_t *kinds; // (pieces.n) vocab_kind, and VOCAB_EOG
    int32_t bos, eos;
    bool add_bos;
    int32_t byte_ids[256]; // tokens of single bytes

    int32_t *special;         // (special_at[256]) tokens looked for in texts, sorted by their bytes
    uint32_t special_at[257]; // where those of each first byte begin

    /* SentencePiece; empty and VOCAB_NONE in others */
    bool add_space_prefix;  // texts and what follows special tokens get a space in front
    bool before_space[256]; // bytes that stand before a space inside some piece
    int32_t unk;
    uint32_t *ranks; // (pieces.n) scores as numbers that sort, best first

    /* byte-pair encoding */
    const struct pretok *pretok;
    struct bpe_merges *merges;
    bool ignore_merges; // a word that is a piece is one token, however its merges would go
};

enum { VOCAB_EOG = 0x80, VOCAB_KIND = 0x7f }; // in kinds

/* E_CORRUPT: "the model's vocabulary is damaged: <what>; ..." */
nut_status vocab_damaged(nut_error *err, const char *what);

/* special.c: sorts the special tokens, once kinds and pieces are known. */
nut_status special_prepare(vocab *v, nut_error *err);
/* The longest special token that begins at text (n > 0 bytes), or VOCAB_NONE. Control and unknown tokens
 * count only where `control`. */
int32_t special_match(const vocab *v, const char *text, size_t n, bool control);

void bpe_free(struct bpe_merges *m); // NULL is allowed

#endif
