/* The hashes of token_table.c and merges.c, to make vocabularies that collide. Should the hashes change
 * there, such vocabularies are accepted and test_vocab.c fails. */
#ifndef NUT_TESTS_HASHES_H
#define NUT_TESTS_HASHES_H

#include <stdint.h>

static inline uint32_t hash_of_text(const char *s) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    return (uint32_t)((h ^ (h >> 29)) * 0x9e3779b97f4a7c15u >> 32);
}

static inline uint32_t hash_of_merge(uint32_t left, uint32_t right) {
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return (uint32_t)((h ^ (h >> 32)) * 0xd6e8feb86659fd93u >> 32);
}

/* Slots of a table of n. */
static inline uint32_t hash_slots(uint32_t n) {
    uint32_t n_slots = 16;
    while (2 * n_slots < 3 * n) n_slots *= 2;
    return n_slots;
}

#endif
