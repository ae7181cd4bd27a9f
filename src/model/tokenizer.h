/*
 * What the tokenizers share: the fields of a vocabulary, the table row of a tokenizer, and the memory of a
 * call. A text is first split at special tokens (special.c); the text between them goes to the row's
 * `tokenize`.
 */
#ifndef NUT_MODEL_TOKENIZER_H
#define NUT_MODEL_TOKENIZER_H

#include "model/charsmap.h"
#include "model/merge.h"
#include "model/merges.h"
#include "model/token_table.h"
#include "model/trie.h"
#include "model/vocab.h"
#include "model/words.h"

enum { VOCAB_NONE = -1 }; // no such token

/* Ids written so far; counting goes on where the buffer is full. */
typedef struct ids_out {
    int32_t *ids;
    size_t cap, n;
    int32_t last[WORDS_MAX_IDS]; // the last ids, the i-th at i % WORDS_MAX_IDS
} ids_out;

static inline void ids_put(ids_out *out, int32_t id) {
    if (out->n < out->cap) out->ids[out->n] = id;
    out->last[out->n++ % WORDS_MAX_IDS] = id;
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

/* Memory of one call; grows to what the longest word needs. */
typedef struct scratch {
    char *text;
    size_t text_cap;
    void *cells; // what a tokenizer keeps for each byte of a word
    size_t cells_cap;
    merge_work work;
    words_slot *words; // (WORDS_SLOTS), or NULL: the text is short
} scratch;

/* Space for n bytes of text, and for n bytes of cells; what was there is kept. False: no memory. */
bool scratch_text(scratch *s, size_t n);
bool scratch_cells(scratch *s, size_t n);
void scratch_free(scratch *s);

/* Puts the ids of a word of n > 0 bytes that was tokenized lately; false: it was not. */
bool scratch_recall(const scratch *s, const char *word, size_t n, ids_out *out);
/* Keeps the ids that were put for a word since there were n_before. They must depend on the word alone. */
void scratch_keep(scratch *s, const char *word, size_t n, const ids_out *out, size_t n_before);

typedef struct tokenizer {
    const char *name; // tokenizer.ggml.model
    /* Reads what only this tokenizer needs, and sets the default special ids and add_bos. */
    nut_status (*prepare)(vocab *v, const gguf *g, nut_error *err);
    /* n > 0 bytes of text without special tokens. False: no memory. */
    bool (*tokenize)(const vocab *v, scratch *s, const char *text, size_t n, ids_out *out);
    /* The bytes that a normal or byte token adds to a text. */
    void (*text)(const vocab *v, int32_t id, text_out *out);
} tokenizer;

extern const tokenizer tokenizer_spm, tokenizer_gemma4, tokenizer_bpe, tokenizer_wordpiece,
    tokenizer_unigram, tokenizer_rwkv;

struct vocab {
    const tokenizer *tokenizer;
    token_table tokens;
    uint8_t *types; // (tokens.n) vocab_type, with the bits below
    int32_t bos, eos;
    int32_t sep; // what stands behind a text that is not to be continued: in others than BERT's, eos
    bool add_bos, add_eos;
    int32_t byte_ids[256]; // tokens of single bytes

    int32_t *special;         // (special_at[256]) tokens that are searched for in texts, sorted by text
    uint32_t special_at[257]; // the first of them for each first byte

    /* SentencePiece; empty and VOCAB_NONE in others */
    bool add_space_prefix;  // a text, and the text behind a special token, gets a space in front
    bool before_space[256]; // bytes that stand before a space inside some token's text
    int32_t unk;
    uint32_t *ranks; // (tokens.n) scores as numbers that sort, best first

    /* Unigram */
    bool merge_spaces; // spaces at the ends of a text are left out, others count as one
    float *scores;     // (tokens.n)
    float unk_score;   // of a character that no token begins with
    charsmap charsmap;

    trie trie; // Unigram, RWKV

    bool cased; // WordPiece: texts keep their case and their accents

    /* byte-pair encoding */
    const char *pre; // name of the pre-tokenizer, while the vocabulary is made; NULL: the metadata says it
    const struct pretok *pretok;
    struct merges *merges;
    bool ignore_merges; // a word that is a token's text is that token, whatever the merges say
};

/* Bits of `types`. A special token takes the white space on its left, or on its right, as a part of itself.
 */
enum { VOCAB_EOG = 0x80, VOCAB_LEFT = 0x40, VOCAB_RIGHT = 0x20, VOCAB_TYPE = 0x1f };

/* E_CORRUPT: "the model's vocabulary cannot be used: <what>; convert the model again". The metadata
 * contradicts itself, so the program that wrote the file is at fault, not the download. */
nut_status vocab_invalid(nut_error *err, const char *what);

/* special_ids.c: reads the ids of special tokens, finds special tokens by their texts, marks the tokens that
 * end a generation. Token texts and types are known, and `prepare` has set the default ids. */
nut_status special_ids_read(vocab *v, const gguf *g, nut_error *err);

/* special_marks.c: which special tokens take the white space beside them. */
nut_status special_marks_read(vocab *v, const gguf *g, nut_error *err);

/* special.c: sorts the special tokens, once texts and types are known. */
nut_status special_prepare(vocab *v, nut_error *err);
typedef enum special_set {
    SPECIAL_ALL,
    SPECIAL_DEFINED, // the user-defined ones: no control and unknown tokens
    SPECIAL_TEXT,    // the user-defined ones that are no marks: blanks, words
} special_set;
/* The longest special token of a set that begins at text (n > 0 bytes), or VOCAB_NONE. */
int32_t special_match(const vocab *v, const char *text, size_t n, special_set set);
/* Whether a token may come out of a text that is not trusted: it is no control token, and no user-defined
 * one that looks like a mark ("<think>", "[TOOL_CALLS]"). */
bool special_is_text(const vocab *v, int32_t id);

#endif
