/*
 * The pieces of a vocabulary and a hash table from their bytes to ids. Pieces stay in the header's bytes;
 * the table costs 8 bytes a slot, 1.5 to 3 slots a piece.
 */
#ifndef NUT_MODEL_PIECES_H
#define NUT_MODEL_PIECES_H

#include "model/gguf.h"

typedef struct piece {
    const char *s; // not terminated
    uint32_t n;
} piece;

typedef struct pieces_slot {
    uint32_t hash;
    int32_t id; // -1: empty
} pieces_slot;

typedef struct pieces {
    piece *list;        // (n)
    uint32_t n;         // 1 .. PIECES_MAX
    uint32_t longest;   // bytes
    pieces_slot *slots; // (mask + 1)
    size_t mask;        // a power of two, less 1
} pieces;

enum { PIECES_MAX = 1 << 24 };

/* Reads the strings of an array. Of equal pieces the first is found; an empty one never is. E_CORRUPT where
 * kv is no array of 1 .. PIECES_MAX strings, or where the pieces were made to collide. Free with pieces_free
 * whatever happens.
 */
nut_status pieces_read(pieces *p, const gguf *g, const gguf_kv *kv, nut_error *err);
void pieces_free(pieces *p);

/* Id of the piece that is a followed by b, or -1. */
int32_t pieces_find2(const pieces *p, const char *a, size_t n_a, const char *b, size_t n_b);
static inline int32_t pieces_find(const pieces *p, const char *s, size_t n) {
    return pieces_find2(p, s, n, s, 0);
}

#endif
