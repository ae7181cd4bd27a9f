/*
 * Attention of one token over one key/value head, for the query heads of its group at once: softmax computed
 * online over tiles of positions (Milakov and Gimelshein 2018, arXiv 1805.02867).
 *
 * Keys and values are halves. Shifted into a float's fields (simd_f16_fields) a half is 2^112 too small;
 * that factor goes into the queries and into the softmax weights, so that no key or value costs a
 * multiplication. Each is turned into floats once for up to four heads, in registers.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/simd_math.h"

#include <math.h>

enum {
    TILE = 32,     // positions of a tile
    HEADS_MAX = 4, // heads of a pass; more take turns
};

#define HALF_SCALE 0x1p112f

/* One pass: heads [0, m) of q and out. */
typedef struct pass {
    const kernel_attend *a;
    float *out;                                           // (m, head_dim), sums not yet divided
    float highest[HEADS_MAX];                             // largest score so far
    float total[HEADS_MAX];                               // sum of weights
    _Alignas(16) float weight[HEADS_MAX][TILE];           // scores of the tile, then weights * 2^112
    _Alignas(16) float q[HEADS_MAX][KERNEL_MAX_HEAD_DIM]; // queries * scale * 2^112
} pass;

/* The sums of a, b, c, d as lanes; each is (0 + 2) + (1 + 3). */
SIMD_INLINE v128_t sums_of_4(v128_t a, v128_t b, v128_t c, v128_t d) {
    v128_t ab = wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
    v128_t cd = wasm_f32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
    return wasm_f32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

/* Scores of two positions with m heads. k1 may be k0: the second score then means nothing. */
SIMD_INLINE void scores_of_2(pass *s, int m, const uint16_t *k0, const uint16_t *k1, size_t position) {
    const v128_t fields = simd_const(SIMD_F16_FIELDS);
    v128_t sum[HEADS_MAX][2];
    SIMD_UNROLL
    for (int h = 0; h < HEADS_MAX; h++) sum[h][0] = sum[h][1] = wasm_f32x4_splat(0);
    const float *q = s->q[0];
    const uint16_t *end = k0 + s->a->head_dim;
    SIMD_NO_UNROLL
    for (; k0 < end; k0 += 8, k1 += 8, q += 8) {
        SIMD_UNROLL
        for (int c = 0; c < 8; c += 4) {
            v128_t x0 = simd_f16_fields(k0 + c, fields), x1 = simd_f16_fields(k1 + c, fields);
            SIMD_UNROLL
            for (int h = 0; h < m; h++) {
                v128_t part = wasm_v128_load(q + h * KERNEL_MAX_HEAD_DIM + c);
                sum[h][0] = wasm_f32x4_add(sum[h][0], wasm_f32x4_mul(part, x0));
                sum[h][1] = wasm_f32x4_add(sum[h][1], wasm_f32x4_mul(part, x1));
            }
        }
    }
    SIMD_UNROLL
    for (int h = 0; h < m; h += 2) {
        v128_t both = sums_of_4(sum[h][0], sum[h][1], sum[h + 1][0], sum[h + 1][1]);
        wasm_v128_store64_lane(s->weight[h] + position, both, 0);
        if (h + 1 < m) wasm_v128_store64_lane(s->weight[h + 1] + position, both, 1);
    }
}

/* Scores of head h to weights; what was summed before is scaled down where a larger score has come. */
static void tile_softmax(pass *s, size_t h, size_t n) {
    float *weight = s->weight[h], highest = s->highest[h];
    const size_t padded = (n + 3) / 4 * 4, dim = s->a->head_dim;
    for (size_t p = 0; p < n; p++) highest = weight[p] > highest ? weight[p] : highest;
    for (size_t p = n; p < padded; p++) weight[p] = -INFINITY;
    v128_t sum = wasm_f32x4_splat(0);
    const simd_exp_c e = simd_exp_consts();
    for (size_t p = 0; p < padded; p += 4) {
        v128_t w = simd_exp(wasm_f32x4_sub(wasm_v128_load(weight + p), wasm_f32x4_splat(highest)), &e);
        wasm_v128_store(weight + p, wasm_f32x4_mul(w, wasm_f32x4_splat(HALF_SCALE)));
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

/* out (m heads, 8 columns from c on) += weights * values v (n, head_dim). */
SIMD_INLINE void values_of_8(pass *s, int m, const uint16_t *v, size_t c, size_t n) {
    const size_t dim = s->a->head_dim;
    const v128_t fields = simd_const(SIMD_F16_FIELDS);
    v128_t sum[HEADS_MAX][2];
    SIMD_UNROLL
    for (size_t h = 0; h < (size_t)m; h++) {
        sum[h][0] = wasm_v128_load(s->out + h * dim + c);
        sum[h][1] = wasm_v128_load(s->out + h * dim + c + 4);
    }
    const float *weight = s->weight[0], *end = weight + n;
    SIMD_NO_UNROLL
    for (v += c; weight < end; weight++, v += dim) {
        v128_t x0 = simd_f16_fields(v, fields), x1 = simd_f16_fields(v + 4, fields);
        SIMD_UNROLL
        for (int h = 0; h < m; h++) {
            v128_t w = wasm_v128_load32_splat(weight + h * TILE);
            sum[h][0] = wasm_f32x4_add(sum[h][0], wasm_f32x4_mul(w, x0));
            sum[h][1] = wasm_f32x4_add(sum[h][1], wasm_f32x4_mul(w, x1));
        }
    }
    SIMD_UNROLL
    for (size_t h = 0; h < (size_t)m; h++) {
        wasm_v128_store(s->out + h * dim + c, sum[h][0]);
        wasm_v128_store(s->out + h * dim + c + 4, sum[h][1]);
    }
}

SIMD_INLINE void pass_tiles(pass *s, int m) {
    const kernel_attend *a = s->a;
    const size_t dim = a->head_dim;
    for (size_t first = 0; first < a->n_kv; first += TILE) {
        const size_t n = a->n_kv - first < TILE ? a->n_kv - first : TILE;
        const uint16_t *k = a->k + first * dim, *v = a->v + first * dim;
        for (size_t p = 0; p < n; p += 2)
            scores_of_2(s, m, k + p * dim, k + (p + 1 < n ? p + 1 : p) * dim, p);
        for (size_t h = 0; h < (size_t)m; h++) tile_softmax(s, h, n);
        for (size_t c = 0; c < dim; c += 8) values_of_8(s, m, v, c, n);
    }
}

#define PASS_FUNCTION(m)                                                                                    \
    static void pass_tiles_##m(pass *s) {                                                                   \
        pass_tiles(s, m);                                                                                   \
    }
PASS_FUNCTION(1)
PASS_FUNCTION(2)
PASS_FUNCTION(3)
PASS_FUNCTION(4)

/* Heads [h, h + m) of a. */
static void pass_run(const kernel_attend *a, size_t h, size_t m) {
    static void (*const tiles[])(pass *) = {pass_tiles_1, pass_tiles_2, pass_tiles_3, pass_tiles_4};
    const size_t dim = a->head_dim;
    const v128_t scale = wasm_f32x4_splat(a->scale * HALF_SCALE);
    pass s;
    s.a = a;
    s.out = a->out + h * dim;
    for (size_t i = 0; i < m; i++) {
        s.highest[i] = -INFINITY, s.total[i] = 0;
        for (size_t c = 0; c < dim; c += 4) {
            wasm_v128_store(s.q[i] + c, wasm_f32x4_mul(wasm_v128_load(a->q + (h + i) * dim + c), scale));
            wasm_v128_store(s.out + i * dim + c, wasm_f32x4_splat(0));
        }
    }
    tiles[m - 1](&s);
    for (size_t i = 0; i < m; i++) {
        const float inverse = 1.0f / s.total[i];
        for (size_t c = 0; c < dim; c++) s.out[i * dim + c] *= inverse;
    }
}

void simd_attend(const kernel_attend *a) {
    for (size_t h = 0; h < a->n_q; h += HEADS_MAX)
        pass_run(a, h, a->n_q - h < HEADS_MAX ? a->n_q - h : HEADS_MAX);
}
#else
typedef int kernel_simd_attend_is_not_in_this_build;
#endif
