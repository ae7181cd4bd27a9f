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
 *     center       (k_dim) half floats         where numbers are packed
 *
 * Packed numbers take 4 bits, scales the upper 16 bits of a float; products read them unpacked. So that 4
 * bits are enough, what is stored of a value is its Hadamard transform, whose columns are all about as large
 * (Ashkboos et al. 2024, arXiv 2404.00456), and of a key that of its difference from a center. Keys have
 * means, by channel and before their rotation, that are larger than what a token adds to them (Liu et al.
 * 2024, arXiv 2402.02750; Hooper et al. 2024, arXiv 2401.18079). The center of a tile is the mean of the
 * keys of the tile before, each rotated to one position; it turns with the positions of its tile, and
 * attention adds its product with the query. So the first position of a tile is stored after the tile
 * before. The center of the first tile is the keys' bias, or zeros.
 *
 * A token sees the tile that it stands in with numbers of 8 bits (CACHE_RECENT), of the same transforms and
 * differences, and all tiles before in 4 (KIVI, cited above, keeps such a window in floats). That tile lies
 * outside of pages; who keeps it, and for how long, is the caller's concern.
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
    CACHE_PACKED = 32, // numbers that are packed into 16 bytes
};

/* The kinds of NUT_KV_LIST, floats, for models that are computed in floats, and how the last tiles of a
 * packed cache are held beside their pages. */
enum { CACHE_F32 = NUT_KV_COUNT, CACHE_RECENT, CACHE_KINDS };

typedef struct cache_kind {
    const char *name;
    size_t bytes; // of a number, as products read it
    size_t block; // columns that share a scale; 0: there are no scales
    bool packed;
    /* The largest integers, chosen so that no product overflows: |q . k| <= 2^31 holds by Cauchy and Schwarz
     * for queries and keys whose Euclidean length is at most CACHE_LENGTH, |w . v| <= 2^31 for weights that
     * sum to at most weight_sum. k_length 0: keys of k_most are short enough. */
    float k_most, k_length, v_most, weight_sum;
    float (*get)(const void *numbers, size_t i);
    void (*put)(void *numbers, size_t i, float number);
} cache_kind;
extern const cache_kind cache_kinds[CACHE_KINDS];

/* What the codes of packed numbers stand for. */
extern const int8_t cache_levels[16];

/* Keys, values and queries all below this become zeros: squares of smaller ones would be lost. */
#define CACHE_LOWEST 0x1p-50f

/* Euclidean length that integer queries and keys may have: the square root of 2^31, less what rounding adds.
 */
#define CACHE_LENGTH 46300.0f

/* How a center turns from a tile's first position on: its pairs of columns by the angle whose cosine is
 * cosine[i * CACHE_TURNS + n] at the n-th position behind that; all zeros: it stays. */
enum { CACHE_TURNS = CACHE_TILE + 4 }; // the last three are never used
typedef struct cache_turns {
    const float *cosine, *sine; // (n_pairs, CACHE_TURNS)
    size_t n_pairs;
    bool adjacent;        // pairs are (2i, 2i + 1), else (i, i + n_pairs)
    const int16_t *table; // (CACHE_TILE / 8, n_pairs, 8, 2) both times CACHE_TURN_MOST, for products
} cache_turns;
#define CACHE_TURN_MOST 32767.0f

/* Fills a table (CACHE_TILE * n_pairs * 2) from the cosines and sines. */
void cache_turn_table(const cache_turns *t, int16_t *table);

/* The columns of pair i. */
static inline size_t cache_turned(const cache_turns *t, size_t i) {
    return t->adjacent ? 2 * i : i;
}
static inline size_t cache_turned_with(const cache_turns *t, size_t i) {
    return t->adjacent ? 2 * i + 1 : i + t->n_pairs;
}

/* One key/value head of one layer of one sequence. The table and its pages are the caller's. Only pages of
 * positions that a call stores or sees are touched. */
typedef struct cache_head {
    const cache_kind *kind;
    size_t k_dim, v_dim;   // columns of a key (and of a query), and of a value (and of a result)
    uint8_t *const *pages; // page of positions [64 i, 64 i + 64): pages[i], 16-byte aligned
    size_t offset;         // of this layer's and head's tile in a page: a multiple of 16
    cache_turns turns;     // of centers
    const float *bias;     // (k_dim) of keys before their rotation, or NULL
    /* Of a 4-bit cache: the 8-bit copy of the tile that is stored, or that the query's position is in;
     * 16-byte aligned. NULL: there is none, and that tile too has 4 bits alone. */
    uint8_t *recent;
} cache_head;

/* Scales of a position. */
static inline size_t cache_blocks(const cache_kind *kind, size_t dim) {
    return kind->block ? (dim + kind->block - 1) / kind->block : 0;
}

/* Bytes of a tile's keys, of dim k_dim, or of its values, of dim v_dim. */
static inline size_t cache_number_bytes(const cache_kind *kind, size_t dim) {
    return kind->packed ? CACHE_TILE * dim / 2 : CACHE_TILE * dim * kind->bytes;
}
static inline size_t cache_scale_bytes(const cache_kind *kind, size_t dim) {
    return CACHE_TILE * cache_blocks(kind, dim) * (kind->packed ? sizeof(uint16_t) : sizeof(float));
}
static inline size_t cache_center_bytes(const cache_kind *kind, size_t k_dim) {
    return kind->packed ? k_dim * sizeof(uint16_t) : 0;
}

/* Bytes of a tile, a multiple of 16. */
static inline size_t cache_tile_bytes(const cache_kind *kind, size_t k_dim, size_t v_dim) {
    return cache_number_bytes(kind, k_dim) + cache_number_bytes(kind, v_dim) +
           cache_scale_bytes(kind, k_dim) + cache_scale_bytes(kind, v_dim) + cache_center_bytes(kind, k_dim);
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
    float *k_scale, *v_scale; // (k_blocks, 64), (v_blocks, 64); of packed numbers upper halves of floats
    uint16_t *center;         // (k_dim) half floats; NULL where numbers are not packed
} cache_tile;

/* The one function that knows what is where in a tile of this kind, which begins at k. */
static inline cache_tile cache_tile_at(const cache_head *h, const cache_kind *kind, uint8_t *k) {
    uint8_t *v = k + cache_number_bytes(kind, h->k_dim), *k_scale = v + cache_number_bytes(kind, h->v_dim);
    uint8_t *v_scale = k_scale + cache_scale_bytes(kind, h->k_dim);
    uint8_t *center = v_scale + cache_scale_bytes(kind, h->v_dim);
    return (cache_tile){k, v, (float *)(void *)k_scale, (float *)(void *)v_scale,
                        kind->packed ? (uint16_t *)(void *)center : NULL};
}

/* A position's tile in its page. */
static inline cache_tile cache_tile_of(const cache_head *h, size_t pos) {
    return cache_tile_at(h, h->kind, h->pages[pos / CACHE_TILE] + h->offset);
}

/* The tile h->recent, which has no center of its own. */
static inline cache_tile cache_recent(const cache_head *h) {
    return cache_tile_at(h, &cache_kinds[CACHE_RECENT], h->recent);
}

/* A tile's center (k_dim) as floats, and the other way. Half floats end at 65504. */
void cache_center(const cache_tile *t, size_t k_dim, float *center);
void cache_put_center(const cache_tile *t, size_t k_dim, const float *center);

/* Index of column c of a position among the keys, and among the values, of its tile. */
static inline size_t cache_k_index(size_t k_dim, size_t pos, size_t c) {
    const size_t p = pos % CACHE_TILE;
    return p / 8 * 8 * k_dim + c / 2 * 16 + p % 8 * 2 + c % 2;
}
static inline size_t cache_v_index(size_t pos, size_t c) {
    const size_t p = pos % CACHE_TILE;
    return c / 8 * 8 * CACHE_TILE + p / 2 * 16 + c % 8 * 2 + p % 2;
}

/* A scale: block b of a position. */
float cache_scale_at(const cache_kind *kind, const float *scales, size_t b, size_t pos);

/* The key (k_dim), and the value (v_dim), of a position, as attention reads them. */
void cache_key(const cache_head *h, size_t pos, float *key);
void cache_value(const cache_head *h, size_t pos, float *value);
/* The key less its center. */
void cache_key_rest(const cache_head *h, size_t pos, float *key);

/* x (dim) transformed, by Hadamard matrices of the largest power of two that divides dim; twice: as it was.
 */
void cache_transform(float *x, size_t dim);

/* The scale of integers for numbers whose largest magnitude and sum of squares are given: the smallest that
 * keeps them within `most` and `length`; 0 for zeros, and never infinite, so that a position that is not
 * seen adds nothing. */
float cache_scale(float largest, float squares, float most, float length);

/* Stores the key (k_dim) and value (v_dim) of a position, number by number. */
void cache_put(const cache_head *h, size_t pos, const float *k, const float *v);
/* The key alone, less its center. */
void cache_put_key_rest(const cache_head *h, size_t pos, const float *k);

#endif
