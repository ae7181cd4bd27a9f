/*
 * The token texts of a vocabulary, and a hash table from a text to its token id. Texts are not copied: they
 * stay in the header's bytes. The hash table takes 8 bytes a slot, 1.5 to 3 slots a token.
 */
#ifndef NUT_MODEL_TOKEN_TABLE_H
#define NUT_MODEL_TOKEN_TABLE_H

#include "model/gguf.h"

typedef struct token_text {
    const char *s; // not terminated
    uint32_t n;
} token_text;

typedef struct token_slot {
    uint32_t hash;
    int32_t id; // -1: empty
} token_slot;

typedef struct token_table {
    token_text *texts; // (n) by token id
    uint32_t n;        // 1 .. TOKEN_TABLE_MAX
    uint32_t longest;  // bytes of the longest text
    token_slot *slots; // (mask + 1)
    size_t mask;       // a power of two, less 1
    char *own;         // NULL, or bytes that texts point to in place of the header's
} token_table;

enum { TOKEN_TABLE_MAX = 1 << 24 };

/* Reads the strings of the array kv; NULL counts as no array. Where texts are equal, the first token is the
 * one that is found; an empty text is never found. E_CORRUPT unless kv is an array of 1 .. TOKEN_TABLE_MAX
 * strings, and where texts were chosen so that they collide in the hash table. Free with token_table_free
 * whatever happens. */
nut_status token_table_read(token_table *t, const gguf *g, const gguf_kv *kv, nut_error *err);
void token_table_free(token_table *t);

/* Id of the token whose text is a followed by b, or -1. */
int32_t token_table_find2(const token_table *t, const char *a, size_t n_a, const char *b, size_t n_b);
/* Id of the longest token text, of at most `most` bytes, that s (n bytes) begins with, and its length; or
 * -1. One look-up for each of its prefixes. */
int32_t token_table_longest(const token_table *t, const char *s, size_t n, size_t most, size_t *length);
static inline int32_t token_table_find(const token_table *t, const char *s, size_t n) {
    return token_table_find2(t, s, n, s, 0);
}

#endif
