/*
 * How keys and values are held, one row per kind, and where each number lies.
 *
 * Numbers are integers with a scale, so that attention multiplies integers: exact whatever the order, twice
 * as many to an instruction as floats. (CACHE_F32 holds floats.) They lie as the products read them, in
 * tiles of 64 positions of one key/value head, front to back:
 *
 *     keys         (64 / 8, k_dim / 2, 8, 2)   two columns of each of eight positions
 *     values       (v_dim / 8, 64 / 2, 8, 2)   two positions of each of eight columns
 *     key scales   (k_blocks, 64) floats       a block is up to `block` columns of a position
 *     value scales (v_blocks, 64) floats
 *
 * A page is the tiles of the same 64 positions of all layers and heads of a model. Sequences find their
 * pages through a table, so that several of them can share a page (Kwon et al. 2023, arXiv 2309.06180).
 * This file addresses pages; who allocates, shares and copies them is another's concern.
 *
 * Tiles begin at multiples of 64 positions, and spans, for which attention makes partial results, at
 * multiples of four tiles. So what a token's attention adds up, and in which order, depends on its position
 * alone.
 */
#ifndef NUT_KERNELS_CACHE_H
#define NUT_KERNELS_CACHE_H

#include "nutshell.h"

enum {
    CACHE_TILE = 64,             // positions
    CACHE_SPAN = 4 * CACHE_TILE, // positions
    CACHE_MAX_DIM = 576,         // k_dim and v_dim are multiples of 8 up to this
    CACHE_MAX_BLOCKS = CACHE_MAX_DIM / 32,
};

/* NUT_KV_F16, NUT_KV_Q8_0, and floats, for models that are computed in floats. */
enum { CACHE_F32 = NUT_KV_COUNT, CACHE_KINDS };

typedef struct cache_kind {
    const char *name;
    size_t bytes; // of a number
    size_t block; // columns that share a scale; 0: there are no scales
    /* The largest integers, chosen so that no product overflows: |q . k| <= 2^31 holds by Cauchy and Schwarz
     * for queries and keys whose Euclidean length is at most CACHE_LENGTH, |w . v| <= 2^31 for weights that
     * sum to at most weight_sum. k_length 0: keys of k_most are short enough. */
    float k_most, k_length, v_most, weight_sum;
    float (*get)(const void *numbers, size_t i);
    void (*put)(void *numbers, size_t i, float number);
} cache_kind;
extern const cache_kind cache_kinds[CACHE_KINDS];

/* Keys, values and queries all below this become zeros: squares of smaller ones would be lost. */
#define CACHE_LOWEST 0x1p-50f

/* Euclidean length that integer queries and keys may have: the square root of 2^31, less what rounding adds.
 */
#define CACHE_LENGTH 46300.0f

/* One key/value head of one layer of one sequence. The table and its pages are the caller's. Only pages of
 * positions that a call stores or sees are touched. */
typedef struct cache_head {
    const cache_kind *kind;
    size_t k_dim, v_dim;   // columns of a key (and of a query), and of a value (and of a result)
    uint8_t *const *pages; // page of positions [64 i, 64 i + 64): pages[i], 16-byte aligned
    size_t offset;         // of this layer's and head's tile in a page: a multiple of 16
} cache_head;

/* Scales of a position. */
static inline size_t cache_blocks(const cache_kind *kind, size_t dim) {
    return kind->block ? (dim + kind->block - 1) / kind->block : 0;
}

/* Bytes of a tile's keys, of dim k_dim, or of its values, of dim v_dim. */
static inline size_t cache_number_bytes(const cache_kind *kind, size_t dim) {
    return CACHE_TILE * dim * kind->bytes;
}
static inline size_t cache_scale_bytes(const cache_kind *kind, size_t dim) {
    return CACHE_TILE * cache_blocks(kind, dim) * sizeof(float);
}

/* Bytes of a tile, a multiple of 16. */
static inline size_t cache_tile_bytes(const cache_kind *kind, size_t k_dim, size_t v_dim) {
    return cache_number_bytes(kind, k_dim) + cache_number_bytes(kind, v_dim) +
           cache_scale_bytes(kind, k_dim) + cache_scale_bytes(kind, v_dim);
}

static inline size_t cache_tiles(size_t n_positions) {
    return n_positions / CACHE_TILE + (n_positions % CACHE_TILE != 0);
}
static inline size_t cache_spans(size_t n_positions) {
    return n_positions / CACHE_SPAN + (n_positions % CACHE_SPAN != 0);
}

/* The tile of a position. */
typedef struct cache_tile {
    uint8_t *k, *v;
    float *k_scale, *v_scale; // (k_blocks, 64), (v_blocks, 64)
} cache_tile;

/* The one function that knows where a tile is. */
static inline cache_tile cache_tile_of(const cache_head *h, size_t pos) {
    uint8_t *k = h->pages[pos / CACHE_TILE] + h->offset, *v = k + cache_number_bytes(h->kind, h->k_dim);
    uint8_t *k_scale = v + cache_number_bytes(h->kind, h->v_dim);
    uint8_t *v_scale = k_scale + cache_scale_bytes(h->kind, h->k_dim);
    return (cache_tile){k, v, (float *)(void *)k_scale, (float *)(void *)v_scale};
}

/* Index of column c of a position among the keys, and among the values, of its tile. */
static inline size_t cache_k_index(size_t k_dim, size_t pos, size_t c) {
    const size_t p = pos % CACHE_TILE;
    return p / 8 * 8 * k_dim + c / 2 * 16 + p % 8 * 2 + c % 2;
}
static inline size_t cache_v_index(size_t pos, size_t c) {
    const size_t p = pos % CACHE_TILE;
    return c / 8 * 8 * CACHE_TILE + p / 2 * 16 + c % 8 * 2 + p % 2;
}

/* Column c of the key, and of the value, of a position, as attention reads it. */
float cache_key(const cache_head *h, size_t pos, size_t c);
float cache_value(const cache_head *h, size_t pos, size_t c);

/* The scale of integers for numbers whose largest magnitude and sum of squares are given: the smallest that
 * keeps them within `most` and `length`; 0 for zeros, and never infinite, so that a position that is not
 * seen adds nothing. */
float cache_scale(float largest, float squares, float most, float length);

/* Stores the key (k_dim) and value (v_dim) of a position, number by number. */
void cache_put(const cache_head *h, size_t pos, const float *k, const float *v);
/* The key alone. */
void cache_put_key(const cache_head *h, size_t pos, const float *k);

#endif
