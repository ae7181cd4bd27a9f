/*
 * A trie over token texts: which tokens a text begins with, at a step for each of its bytes. Nodes lie level
 * by level, the children of a node side by side in the order of their bytes, so that a node needs only the
 * place of its first child: the next node's children follow. 9 bytes a node.
 */
#ifndef NUT_MODEL_TRIE_H
#define NUT_MODEL_TRIE_H

#include "model/token_table.h"

#include <string.h>

typedef struct trie {
    uint32_t n;          // nodes; node 0 is the root, of the empty text
    uint32_t *child;     // (n + 1) first child; those of node i are child[i] .. child[i + 1] - 1
    int32_t *ids;        // (n) the token whose text leads to the node, or -1
    uint8_t *bytes;      // (n) the last byte of the text that leads to the node
    uint32_t roots[256]; // child of the root for each byte; 0: none
} trie;

enum { TRIE_MAX_TEXT = 512 }; // longer texts are left out, so that the time for a text is bounded

/* Builds the trie of those tokens for which take(ctx, id). Of equal texts the first counts, the empty text
 * never. Free with trie_free whatever happens. E_NO_MEMORY. */
typedef bool trie_take(const void *ctx, uint32_t id);
nut_status trie_build(trie *t, const token_table *tokens, trie_take *take, const void *ctx, nut_error *err);
void trie_free(trie *t);

/* Steps from a node along one byte; 0: there is no such text. */
static inline uint32_t trie_step(const trie *t, uint32_t node, uint8_t byte) {
    if (node == 0) return t->roots[byte];
    const uint32_t first = t->child[node], n = t->child[node + 1] - first;
    if (n < 8) {
        for (uint32_t i = first; i < first + n; i++)
            if (t->bytes[i] == byte) return i;
        return 0;
    }
    const uint8_t *found = memchr(t->bytes + first, byte, n);
    return found ? (uint32_t)(found - t->bytes) : 0;
}

#endif
