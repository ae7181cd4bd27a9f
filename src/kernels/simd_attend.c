/*
 * Attention of one token over one key/value head, for all query heads of its group at once: softmax computed
 * online over tiles of positions (Milakov and Gimelshein 2018, arXiv 1805.02867). A tile's keys, then its
 * values, are turned into floats once, in 16 kB of stack, and read by every head.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/simd_math.h"

#include <math.h>

enum {
    TILE_FLOATS = 4096, // of keys or values at a time
    TILE_MAX = 32,      // positions of a tile
    HEADS_MAX = 8,      // heads that share a tile; more take turns
};

/* The state of one pass: heads [0, n_heads) of q and out. */
typedef struct attend_state {
    const kernel_attend *a;
    const float *q; // (n_heads, head_dim)
    float *out;     // (n_heads, head_dim), sums not yet divided
    size_t n_heads;
    float highest[HEADS_MAX];             // largest score so far
    float total[HEADS_MAX];               // sum of weights
    float weight[HEADS_MAX][TILE_MAX];    // scores of the tile, then weights
    _Alignas(16) float tile[TILE_FLOATS]; // (positions, head_dim)
} attend_state;

/* n rows of halves to floats, then rows of zeros up to a multiple of 4. */
static void tile_load(const uint16_t *src, size_t n, size_t head_dim, float *tile) {
    size_t i = 0;
    for (; i < n * head_dim; i += 8) {
        v128_t half = wasm_v128_load(src + i);
        wasm_v128_store(tile + i, simd_f16_extended(wasm_i32x4_extend_low_i16x8(half)));
        wasm_v128_store(tile + i + 4, simd_f16_extended(wasm_i32x4_extend_high_i16x8(half)));
    }
    for (; i < (n + 3) / 4 * 4 * head_dim; i += 4) wasm_v128_store(tile + i, wasm_f32x4_splat(0));
}

/* The sums of a, b, c, d as lanes; each is (0 + 2) + (1 + 3). */
SIMD_INLINE v128_t sums_of_4(v128_t a, v128_t b, v128_t c, v128_t d) {
    v128_t ab = wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
    v128_t cd = wasm_f32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
    return wasm_f32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

/* Scores of 4 positions k (4, head_dim) for m heads from h on. */
SIMD_INLINE void scores_of_4(attend_state *s, size_t h, int m, const float *k, size_t position) {
    const size_t dim = s->a->head_dim;
    v128_t sum[2][4];
    for (int i = 0; i < m; i++)
        for (int p = 0; p < 4; p++) sum[i][p] = wasm_f32x4_splat(0);
    for (size_t c = 0; c < dim; c += 4) {
        SIMD_UNROLL
        for (int i = 0; i < m; i++) {
            v128_t q = wasm_v128_load(s->q + (h + (size_t)i) * dim + c);
            SIMD_UNROLL
            for (int p = 0; p < 4; p++) {
                v128_t product = wasm_f32x4_mul(q, wasm_v128_load(k + (size_t)p * dim + c));
                sum[i][p] = wasm_f32x4_add(sum[i][p], product);
            }
        }
    }
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        v128_t score = sums_of_4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
        score = wasm_f32x4_mul(score, wasm_f32x4_splat(s->a->scale));
        wasm_v128_store(s->weight[h + (size_t)i] + position, score);
    }
}

static void tile_scores(attend_state *s, size_t n) {
    for (size_t p = 0; p < n; p += 4) {
        const float *k = s->tile + p * s->a->head_dim;
        size_t h = 0;
        for (; h + 2 <= s->n_heads; h += 2) scores_of_4(s, h, 2, k, p);
        if (h < s->n_heads) scores_of_4(s, h, 1, k, p);
    }
}

/* Scores of head h to weights; what was summed before is scaled down where a larger score has come. */
static void tile_softmax(attend_state *s, size_t h, size_t n) {
    float *weight = s->weight[h], highest = s->highest[h];
    const size_t padded = (n + 3) / 4 * 4, dim = s->a->head_dim;
    for (size_t p = 0; p < n; p++) highest = weight[p] > highest ? weight[p] : highest;
    for (size_t p = n; p < padded; p++) weight[p] = -INFINITY;
    v128_t sum = wasm_f32x4_splat(0);
    for (size_t p = 0; p < padded; p += 4) {
        v128_t w = simd_exp(wasm_f32x4_sub(wasm_v128_load(weight + p), wasm_f32x4_splat(highest)));
        wasm_v128_store(weight + p, w);
        sum = wasm_f32x4_add(sum, w);
    }
    if (highest > s->highest[h]) {
        float factor = exp_scalar(s->highest[h] - highest), *out = s->out + h * dim;
        s->total[h] *= factor;
        s->highest[h] = highest;
        for (size_t c = 0; c < dim; c += 4)
            wasm_v128_store(out + c, wasm_f32x4_mul(wasm_v128_load(out + c), wasm_f32x4_splat(factor)));
    }
    s->total[h] += simd_sum(sum);
}

/* out (m heads, 8 columns from c on) += weights * values of the tile. */
SIMD_INLINE void values_of_8(attend_state *s, size_t h, int m, size_t c, size_t n) {
    const size_t dim = s->a->head_dim;
    float *out = s->out + h * dim + c;
    v128_t sum[2][2];
    for (int i = 0; i < m; i++) {
        sum[i][0] = wasm_v128_load(out + (size_t)i * dim);
        sum[i][1] = wasm_v128_load(out + (size_t)i * dim + 4);
    }
    for (size_t p = 0; p < n; p++) {
        v128_t v0 = wasm_v128_load(s->tile + p * dim + c), v1 = wasm_v128_load(s->tile + p * dim + c + 4);
        SIMD_UNROLL
        for (int i = 0; i < m; i++) {
            v128_t w = wasm_v128_load32_splat(s->weight[h + (size_t)i] + p);
            sum[i][0] = wasm_f32x4_add(sum[i][0], wasm_f32x4_mul(w, v0));
            sum[i][1] = wasm_f32x4_add(sum[i][1], wasm_f32x4_mul(w, v1));
        }
    }
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        wasm_v128_store(out + (size_t)i * dim, sum[i][0]);
        wasm_v128_store(out + (size_t)i * dim + 4, sum[i][1]);
    }
}

static void tile_values(attend_state *s, size_t n) {
    size_t h = 0;
    for (; h + 2 <= s->n_heads; h += 2)
        for (size_t c = 0; c < s->a->head_dim; c += 8) values_of_8(s, h, 2, c, n);
    if (h < s->n_heads)
        for (size_t c = 0; c < s->a->head_dim; c += 8) values_of_8(s, h, 1, c, n);
}

static void attend_heads(attend_state *s) {
    const kernel_attend *a = s->a;
    const size_t dim = a->head_dim;
    size_t tile = TILE_FLOATS / dim / 4 * 4;
    tile = tile > TILE_MAX ? TILE_MAX : tile;
    for (size_t h = 0; h < s->n_heads; h++) s->highest[h] = -INFINITY, s->total[h] = 0;
    for (size_t i = 0; i < s->n_heads * dim; i++) s->out[i] = 0;
    for (size_t p = 0; p < a->n_kv; p += tile) {
        size_t n = a->n_kv - p < tile ? a->n_kv - p : tile;
        tile_load(a->k + p * dim, n, dim, s->tile);
        tile_scores(s, n);
        for (size_t h = 0; h < s->n_heads; h++) tile_softmax(s, h, n);
        tile_load(a->v + p * dim, n, dim, s->tile);
        tile_values(s, n);
    }
    for (size_t h = 0; h < s->n_heads; h++) {
        float inverse = 1.0f / s->total[h];
        for (size_t c = 0; c < dim; c++) s->out[h * dim + c] *= inverse;
    }
}

void simd_attend(const kernel_attend *a) {
    attend_state s;
    s.a = a;
    for (size_t h = 0; h < a->n_q; h += HEADS_MAX) {
        s.q = a->q + h * a->head_dim;
        s.out = a->out + h * a->head_dim;
        s.n_heads = a->n_q - h < HEADS_MAX ? a->n_q - h : HEADS_MAX;
        attend_heads(&s);
    }
}
#else
typedef int kernel_simd_attend_is_not_in_this_build;
#endif
