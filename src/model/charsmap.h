/*
 * SentencePiece's compiled normalization (tokenizer.ggml.precompiled_charsmap): which sequences of bytes
 * become which others, such as NFKC with its own rules for spaces. Four bytes say how long a double-array
 * trie (Aoe 1989; as in the library darts-clone) is; the trie follows, in units of 32 bits, then the texts
 * that sequences become, each ended by a zero.
 */
#ifndef NUT_MODEL_CHARSMAP_H
#define NUT_MODEL_CHARSMAP_H

#include "model/gguf.h"

typedef struct charsmap {
    const uint8_t *units; // (n_units) little-endian, unaligned; in the header's bytes
    uint32_t n_units;     // 0: nothing is replaced
    const char *texts;    // (n_texts) the last byte is zero
    size_t n_texts;
} charsmap;

/* Reads the array of bytes kv, or nothing where kv is NULL. E_CORRUPT where its parts do not fit. */
nut_status charsmap_read(charsmap *m, const gguf_kv *kv, nut_error *err);

/* The longest sequence of the map that s (n bytes) begins with: its length, and what it becomes; 0: none. At
 * most 256 bytes are looked at, and a text of more than 256 bytes is none. */
size_t charsmap_match(const charsmap *m, const char *s, size_t n, gguf_str *to);

#endif
