/*
 * How keys and values are held, one row per kind, and where each number lies.
 *
 * Numbers are integers with a scale, so that attention multiplies integers: exact whatever the order, twice
 * as many to an instruction as floats. They lie as the products read them, in tiles of 64 positions of one
 * key/value head, front to back:
 *
 *     keys         (64 / 8, head_dim / 2, 8, 2)   two columns of each of eight positions
 *     values       (head_dim / 8, 64 / 2, 8, 2)   two positions of each of eight columns
 *     key scales   (blocks, 64) floats            a block being up to `block` columns of a position
 *     value scales (blocks, 64) floats
 *
 * Tiles begin at multiples of 64 positions whatever was asked for, and spans, which attention takes apart
 * and joins, at multiples of four tiles: what a token's attention adds up, and in which order, depends on
 * its position alone.
 */
#ifndef NUT_KERNELS_CACHE_H
#define NUT_KERNELS_CACHE_H

#include "nutshell.h"

enum {
    CACHE_TILE = 64,             // positions
    CACHE_SPAN = 4 * CACHE_TILE, // positions
    CACHE_MAX_DIM = 256,         // head_dim is a multiple of 8 up to this
    CACHE_MAX_BLOCKS = CACHE_MAX_DIM / 32,
};

/* NUT_KV_F16, NUT_KV_Q8_0, and floats, for the reference path. */
enum { CACHE_F32 = NUT_KV_COUNT, CACHE_KINDS };

typedef struct cache_kind {
    const char *name;
    size_t bytes; // of a number
    size_t block; // columns that share a scale; 0: there are no scales
    /* The largest integers, and what a product may come to: |q . k| <= 2^31 holds by Cauchy and Schwarz for
     * queries and keys no longer than CACHE_LENGTH, |w . v| <= 2^31 for weights that sum to no more than
     * weight_sum. A length of 0: keys are short enough whatever their integers. */
    float k_most, k_length, v_most, weight_sum;
    float (*get)(const void *numbers, size_t i);
    void (*put)(void *numbers, size_t i, float number);
} cache_kind;
extern const cache_kind cache_kinds[CACHE_KINDS];

/* Keys, values and queries all below this are taken as zeros: squares of smaller ones would be lost. */
#define CACHE_LOWEST 0x1p-50f

/* Euclidean length that integer queries and keys may have: the root of 2^31, less what rounding adds. */
#define CACHE_LENGTH 46300.0f

/* One key/value head of one layer. */
typedef struct cache_head {
    const cache_kind *kind;
    size_t head_dim;
    uint8_t *tiles; // 16-byte aligned
} cache_head;

static inline size_t cache_blocks(const cache_kind *kind, size_t head_dim) {
    return kind->block ? (head_dim + kind->block - 1) / kind->block : 0;
}

/* Bytes of the keys, or of the values, of a tile. */
static inline size_t cache_half_bytes(const cache_kind *kind, size_t head_dim) {
    return CACHE_TILE * head_dim * kind->bytes;
}

static inline size_t cache_tile_bytes(const cache_kind *kind, size_t head_dim) {
    return 2 * cache_half_bytes(kind, head_dim) +
           2 * CACHE_TILE * cache_blocks(kind, head_dim) * sizeof(float);
}

static inline size_t cache_tiles(size_t n_positions) {
    return n_positions / CACHE_TILE + (n_positions % CACHE_TILE != 0);
}
static inline size_t cache_spans(size_t n_positions) {
    return n_positions / CACHE_SPAN + (n_positions % CACHE_SPAN != 0);
}

/* Where the parts of the tile of a position are. */
typedef struct cache_tile {
    uint8_t *k, *v;
    float *k_scale, *v_scale; // (blocks, 64)
} cache_tile;

static inline cache_tile cache_tile_of(const cache_head *h, size_t pos) {
    const size_t half = cache_half_bytes(h->kind, h->head_dim), blocks = cache_blocks(h->kind, h->head_dim);
    uint8_t *tile = h->tiles + pos / CACHE_TILE * cache_tile_bytes(h->kind, h->head_dim);
    float *scales = (float *)(void *)(tile + 2 * half);
    return (cache_tile){tile, tile + half, scales, scales + CACHE_TILE * blocks};
}

/* Index of column c of a position among the keys, and among the values, of its tile. */
static inline size_t cache_k_index(size_t head_dim, size_t pos, size_t c) {
    const size_t p = pos % CACHE_TILE;
    return p / 8 * 8 * head_dim + c / 2 * 16 + p % 8 * 2 + c % 2;
}
static inline size_t cache_v_index(size_t pos, size_t c) {
    const size_t p = pos % CACHE_TILE;
    return c / 8 * 8 * CACHE_TILE + p / 2 * 16 + c % 8 * 2 + p % 2;
}

/* Column c of the key, and of the value, of a position, as attention takes it. */
float cache_key(const cache_head *h, size_t pos, size_t c);
float cache_value(const cache_head *h, size_t pos, size_t c);

/* The scale of integers for numbers whose largest magnitude and sum of squares are given: the smallest that
 * keeps them within `most` and `length`; 0 for zeros, and never infinite, so that a position that is not
 * seen adds nothing. */
float cache_scale(float largest, float squares, float most, float length);

/* Stores the key and value (head_dim) of a position, number by number. */
void cache_put(const cache_head *h, size_t pos, const float *k, const float *v);

#endif
