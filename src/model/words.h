/*
 * The words that a call has tokenized lately, with their ids: most of a text are few words. A word of at
 * most 16 bytes and 4 tokens is kept in the slot of its hash, in place of what was there.
 */
#ifndef NUT_MODEL_WORDS_H
#define NUT_MODEL_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { WORDS_SLOTS = 1024, WORDS_MAX_BYTES = 16, WORDS_MAX_IDS = 4 }; // 32 KiB

/* The first and the last bytes of a word, which together with its length are the whole word. Ids have 24
 * bits (TOKEN_TABLE_MAX); the bits above those of the first are the length, 0: an empty slot; above those of
 * the second, the number of ids. */
typedef struct words_slot {
    uint64_t first, last;
    uint32_t ids[WORDS_MAX_IDS];
} words_slot;

static inline uint64_t words_load(const char *s, size_t n) { // n bytes, 4 or 8
    uint64_t out = 0;
    memcpy(&out, s, n);
    return out;
}

/* first and last of a word of 1 .. WORDS_MAX_BYTES bytes. */
static inline words_slot words_key(const char *s, size_t n) {
    if (n >= 8) return (words_slot){words_load(s, 8), words_load(s + n - 8, 8), {0}};
    if (n >= 4) return (words_slot){words_load(s, 4), words_load(s + n - 4, 4), {0}};
    return (words_slot){(uint8_t)s[0], (uint64_t)(uint8_t)s[n / 2] << 8 | (uint8_t)s[n - 1], {0}};
}

static inline size_t words_slot_of(const words_slot *key, size_t n) {
    const uint64_t h = (key->first ^ (key->last << 23 | key->last >> 41) ^ n) * 0x9e3779b97f4a7c15u;
    return (size_t)((h ^ h >> 32) * 0xd6e8feb86659fd93u >> 54); // WORDS_SLOTS is 2^10
}

/* The slot that holds a word, or NULL. */
static inline const words_slot *words_find(const words_slot *slots, const char *s, size_t n) {
    const words_slot key = words_key(s, n), *slot = &slots[words_slot_of(&key, n)];
    const bool same = slot->first == key.first && slot->last == key.last && slot->ids[0] >> 24 == n;
    return same ? slot : NULL;
}

static inline void words_keep(words_slot *slots, const char *s, size_t n, const int32_t *ids, size_t n_ids) {
    words_slot key = words_key(s, n);
    for (size_t i = 0; i < n_ids; i++) key.ids[i] = (uint32_t)ids[i];
    key.ids[0] |= (uint32_t)n << 24;
    key.ids[1] |= (uint32_t)n_ids << 24;
    slots[words_slot_of(&key, n)] = key;
}

#endif
