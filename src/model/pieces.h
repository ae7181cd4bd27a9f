/*
 * What vocabularies of SentencePiece's kind share (tok_spm.c, tok_unigram.c): U+2581 stands for a space in
 * token texts, tokens like "<0x0A>" for bytes that are in no other token, and tokens may have scores.
 */
#ifndef NUT_MODEL_PIECES_H
#define NUT_MODEL_PIECES_H

#include "model/tokenizer.h"

#include <string.h>

enum { SPACE_MARK_BYTES = 3 };
#define SPACE_MARK "\xe2\x96\x81" // U+2581

static inline bool space_mark_begins(const char *s, size_t n) {
    return n >= SPACE_MARK_BYTES && !memcmp(s, SPACE_MARK, SPACE_MARK_BYTES);
}
static inline bool space_mark_ends(const char *s, size_t n) {
    return n >= SPACE_MARK_BYTES && !memcmp(s + n - SPACE_MARK_BYTES, SPACE_MARK, SPACE_MARK_BYTES);
}

/* Finds the byte tokens, and which bytes stand before a space mark inside some token's text. Elsewhere texts
 * can be split before a mark that stands behind another character, since no token crosses the place. */
void pieces_prepare(vocab *v);

/* Calls take(v, id, score) for each token. E_CORRUPT where the scores are not one float for each. */
nut_status pieces_scores(vocab *v, const gguf *g, void (*take)(vocab *v, uint32_t id, float score),
                         nut_error *err);

/* The tokens of n bytes that are in no token's text; false, and nothing is put, where a byte has none. */
bool pieces_put_bytes(const vocab *v, const char *s, size_t n, ids_out *out);

/* tokenizer.text: spaces for marks, bytes for byte tokens. */
void pieces_text(const vocab *v, int32_t id, text_out *out);

#endif
