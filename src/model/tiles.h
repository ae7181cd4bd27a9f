/*
 * Attention over some tiles of 64 positions (families with ARCH_TILES): which tiles before its own a token
 * sees, the same in all heads and layers. Blocks of the patterns of Child et al. 2019 (arXiv 1904.10509),
 * Beltagy et al. 2020 (arXiv 2004.05150), and Zaheer et al. 2020 (arXiv 2007.14062, section 2), whose random
 * blocks are drawn once, from a seed in the file.
 */
#ifndef NUT_MODEL_TILES_H
#define NUT_MODEL_TILES_H

#include "model/model.h"

/* The i-th random tile of tile `own`, which is not the first one: SplitMix64 of seed, own and i (Steele et
 * al. 2014, "Fast splittable pseudorandom number generators"), modulo own. Some may be the same. */
static inline size_t tiles_random(const tile_hparams *t, size_t own, uint32_t i) {
    uint64_t x = t->seed + (((uint64_t)own << 32 | i) + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (size_t)((x ^ (x >> 31)) % own);
}

/* Whether tokens of tile `own` see that tile, which is not behind it. */
static inline bool tiles_see(const tile_hparams *t, size_t own, size_t tile) {
    if (own - tile < t->local || tile < t->global || (t->stride && (own - tile) % t->stride == 0))
        return true;
    for (uint32_t i = 0; i < t->random; i++)
        if (tiles_random(t, own, i) == tile) return true;
    return false;
}

#endif
