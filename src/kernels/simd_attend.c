/*
 * Attention (kernels/cache.h): keys times queries, then values times softmax weights. A row is one query
 * head of one token; four rows go through a tile of 64 positions together, and up to 32 through all of it
 * while it is in the first cache. A row takes the same operations whatever else is computed with it.
 *
 * Integers are multiplied by i32x4.dot_i16x8 with two columns, or two positions, to a lane, so that nothing
 * is added across lanes. Their sums are exact; floats come in once for a tile. Floats are multiplied in the
 * same order: the first and the second of each pair have sums of their own, which are added at the end.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/simd_math.h"

#include <math.h>
#include <string.h>

enum {
    TILE = CACHE_TILE,
    ROWS = 32, // rows that go through a tile, group by group, while it is in the first cache
    GROUP = 4, // rows whose products are computed together
};

#define LOG2E       1.44269504f
#define WEIGHT_MOST 32767.0f // of an integer query or weight

typedef struct rows {
    const kernel_attend *a;
    size_t first, n; // rows of the call: row r is head r % n_q of token r / n_q
    float *sums;     // (n, stride) of the span, multiples of 2^highest
    size_t stride;
    /* One lane a row, so that a group's are computed at once; the last three are never used. */
    float to_cap[ROWS + 3];  // with a softcap: what a score times its key's scale is multiplied by for tanh
    float to_log2[ROWS + 3]; // what that, or tanh of it, is multiplied by for a logarithm to base 2
    float highest[ROWS + 3]; // of all scores so far, to base 2
    float total[ROWS + 3];   // of all weights so far, multiples of 2^highest
    _Alignas(16) int16_t q[ROWS / GROUP][CACHE_MAX_DIM / 2][GROUP][2];
    /* Of the tile and group at hand: scores, then weights; their integers for each block of columns, what
     * one of those stands for, and what the sums before are multiplied by. */
    _Alignas(16) float score[GROUP][TILE];
    _Alignas(16) int16_t weight[CACHE_MAX_BLOCKS][GROUP][TILE];
    float unit[CACHE_MAX_BLOCKS][GROUP], factor[GROUP];
    float inverse[ROWS]; // what queries are multiplied by to be integers
    cache_tile tile;     // at hand, and where it is packed, its numbers, scales and center
    _Alignas(16) int8_t unpacked[2][TILE * CACHE_MAX_DIM];
    _Alignas(16) float scales[2][TILE * CACHE_MAX_BLOCKS];
    float center[CACHE_MAX_DIM];
    /* What queries of the group at hand make of the center: see center_numbers. */
    _Alignas(16) int16_t turned[CACHE_MAX_DIM / 2][GROUP][2];
    float turned_unit[GROUP], still[GROUP];
} rows;

/* A row sees positions [row_begin, row_end). */
static size_t row_end(const rows *s, size_t r) {
    return s->a->n_kv + (s->first + r) / s->a->n_q;
}
static size_t row_begin(const rows *s, size_t r) {
    return kernel_first_seen(row_end(s, r), s->a->window);
}

/* Positions of the tile that begins at `tile` that the rows of a group see: row i sees [begin[i], end[i]),
 * all of them together [first, last), of which first is rounded down, and padded is last rounded up, to a
 * multiple of 8. */
typedef struct seen {
    size_t tile, begin[GROUP], end[GROUP], first, last, padded;
} seen;

/* Whether two rows see the same positions of a tile. */
static bool same_seen(const rows *s, size_t r, size_t other, size_t tile) {
    const size_t end = tile + TILE;
    const bool all = row_begin(s, r) <= tile && row_begin(s, other) <= tile && row_end(s, r) >= end &&
                     row_end(s, other) >= end;
    return all || row_end(s, r) == row_end(s, other);
}

/* Rows [r, r + m) and the tile that begins at `tile`. */
static seen tile_seen(const rows *s, size_t m, size_t r, size_t tile) {
    seen n = {.tile = tile, .first = TILE};
    for (size_t i = 0; i < m; i++) {
        const size_t begin = row_begin(s, r + i), end = row_end(s, r + i) - tile;
        n.begin[i] = begin > tile ? begin - tile : 0;
        n.end[i] = end < TILE ? end : TILE;
        n.first = n.begin[i] < n.first ? n.begin[i] : n.first;
        n.last = n.end[i] > n.last ? n.end[i] : n.last;
    }
    n.first = n.first / 8 * 8, n.padded = (n.last + 7) / 8 * 8;
    return n;
}

static const float *row_query(const rows *s, size_t r) {
    const kernel_attend *a = s->a;
    return a->q + (s->first + r) / a->n_q * a->q_stride + (s->first + r) % a->n_q * a->cache->k_dim;
}

static float *row_out(const rows *s, size_t r) {
    const kernel_attend *a = s->a;
    return a->out + (s->first + r) / a->n_q * a->out_stride + (s->first + r) % a->n_q * a->cache->v_dim;
}

static const float *row_sink(const rows *s, size_t r) {
    return s->a->sinks ? s->a->sinks + (s->first + r) % s->a->n_q : NULL;
}

/* ---- products of integers ---- */

/* Eight numbers of the cache, two to a lane. */
SIMD_INLINE v128_t numbers_load(int bytes, const uint8_t *p) {
    return bytes == 2 ? wasm_v128_load(p) : wasm_i16x8_load8x8(p);
}

/* acc (m rows, 8 lanes) = products of n pairs: those of row i at a + i * a_row, a_step apart, in every lane,
 * and those of the cache at b. Strides are counted in int16. */
SIMD_INLINE void dots(int m, int bytes, const int16_t *a, size_t a_row, size_t a_step, const uint8_t *b,
                      size_t n, v128_t (*acc)[2]) {
    SIMD_UNROLL
    for (int i = 0; i < m; i++) acc[i][0] = acc[i][1] = wasm_i32x4_splat(0);
    const uint8_t *end = b + n * (size_t)(16 * bytes);
    SIMD_NO_UNROLL
    for (; b < end; b += 16 * bytes, a += a_step) {
        v128_t b0 = numbers_load(bytes, b), b1 = numbers_load(bytes, b + 8 * bytes);
        SIMD_UNROLL
        for (int i = 0; i < m; i++) {
            v128_t x = wasm_v128_load32_splat(a + (size_t)i * a_row);
            acc[i][0] = wasm_i32x4_add(acc[i][0], wasm_i32x4_dot_i16x8(b0, x));
            acc[i][1] = wasm_i32x4_add(acc[i][1], wasm_i32x4_dot_i16x8(b1, x));
        }
    }
}

/* Scores of rows [r, r + m) with positions [first, end) of a tile, multiples of 8. */
SIMD_INLINE void tile_scores(rows *s, int m, int bytes, size_t r, const cache_tile *t, size_t first,
                             size_t end) {
    const cache_kind *kind = s->a->cache->kind;
    const size_t dim = s->a->cache->k_dim, step = kind->block < dim ? kind->block : dim;
    const int16_t *q = s->q[r / GROUP][0][r % GROUP];
    for (size_t p = first; p < end; p += 8) {
        const uint8_t *k = t->k + p * dim * (size_t)bytes;
        for (size_t c = 0; c < dim; c += step) {
            const float *scale = t->k_scale + c / step * TILE + p;
            v128_t acc[GROUP][2];
            dots(m, bytes, q + c * GROUP, 2, 2 * GROUP, k + 8 * c * (size_t)bytes,
                 (dim - c < step ? dim - c : step) / 2, acc);
            SIMD_UNROLL
            for (int i = 0; i < 2 * m; i++) {
                float *to = s->score[i / 2] + p + 4 * (i % 2);
                v128_t x = wasm_f32x4_convert_i32x4(acc[i / 2][i % 2]);
                x = wasm_f32x4_mul(x, wasm_v128_load(scale + 4 * (i % 2)));
                wasm_v128_store(to, c ? wasm_f32x4_add(wasm_v128_load(to), x) : x);
            }
        }
    }
}

/* ---- packed numbers ---- */

/* A tile's keys or values, of dim columns, as NUT_KV_Q8_0 has them. */
static void unpack(const cache_kind *kind, const uint8_t *packed, const float *scales, size_t dim,
                   int8_t *numbers, float *unpacked_scales) {
    const v128_t levels = wasm_v128_load(cache_levels), low = wasm_i8x16_splat(15);
    for (const uint8_t *end = packed + TILE * dim / 2; packed < end; packed += 16, numbers += CACHE_PACKED) {
        const v128_t x = wasm_v128_load(packed);
        wasm_v128_store(numbers, wasm_i8x16_swizzle(levels, wasm_v128_and(x, low)));
        wasm_v128_store(numbers + 16, wasm_i8x16_swizzle(levels, wasm_v128_and(wasm_u16x8_shr(x, 4), low)));
    }
    const uint16_t *upper = (const uint16_t *)(const void *)scales;
    for (size_t i = 0; i < TILE * cache_blocks(kind, dim); i += 4)
        wasm_v128_store(unpacked_scales + i, wasm_i32x4_shl(wasm_i32x4_load16x4(upper + i), 16));
}

static cache_tile tile_of(rows *s, size_t pos) {
    const cache_head *h = s->a->cache;
    const cache_tile t = cache_tile_of(h, pos);
    if (!h->kind->packed) return t;
    cache_center(&t, h->k_dim, s->center);
    if (kernel_sees_recent(s->a, pos)) {
        cache_tile recent = cache_recent(h);
        recent.center = t.center;
        return recent;
    }
    unpack(h->kind, t.k, t.k_scale, h->k_dim, s->unpacked[0], s->scales[0]);
    unpack(h->kind, t.v, t.v_scale, h->v_dim, s->unpacked[1], s->scales[1]);
    return (cache_tile){(uint8_t *)s->unpacked[0], (uint8_t *)s->unpacked[1], s->scales[0], s->scales[1],
                        t.center};
}

/* The nearest integer; 0 where there is none. */
static int16_t nearest(float x) {
    return fabsf(x) <= WEIGHT_MOST + 0.25f ? (int16_t)rintf(x) : 0;
}

/* What a row's query makes of the tile's center: for each pair of columns what its cosine and its sine are
 * multiplied by, as integers; and the columns that stay. Sums of their products with the table of turns stay
 * below 2^31. */
static void center_numbers(rows *s, size_t i, size_t r) {
    enum { MOST_SUM = 65000 };
    const cache_turns *t = &s->a->cache->turns;
    const float *q = row_query(s, r), *k = s->center, by = s->inverse[r];
    float still = 0, sum = 0, most = 0, even[CACHE_MAX_DIM / 2], odd[CACHE_MAX_DIM / 2];
    for (size_t c = 2 * t->n_pairs; c < s->a->cache->k_dim; c++) still += q[c] * k[c];
    for (size_t n = 0; n < t->n_pairs; n++) {
        const size_t a = cache_turned(t, n), b = cache_turned_with(t, n);
        even[n] = q[a] * k[a] + q[b] * k[b], odd[n] = q[b] * k[a] - q[a] * k[b];
        sum += fabsf(even[n]) + fabsf(odd[n]);
        most = fmaxf(most, fmaxf(fabsf(even[n]), fabsf(odd[n])));
    }
    const float unit = fmaxf(cache_scale(most, 0, WEIGHT_MOST, 0), cache_scale(sum, 0, MOST_SUM, 0)),
                each = unit > 0 ? 1 / unit : 0;
    for (size_t n = 0; n < t->n_pairs; n++)
        s->turned[n][i][0] = nearest(even[n] * each), s->turned[n][i][1] = nearest(odd[n] * each);
    s->turned_unit[i] = unit * by / CACHE_TURN_MOST, s->still[i] = still * by;
}

/* Adds the products of m rows' queries with the tile's turned center to their scores [first, end). */
SIMD_INLINE void center_scores(rows *s, int m, size_t r, size_t first, size_t end) {
    const size_t n_pairs = s->a->cache->turns.n_pairs;
    const uint8_t *table = (const uint8_t *)s->a->cache->turns.table;
    for (size_t i = 0; i < (size_t)m; i++) center_numbers(s, i, r + i);
    for (size_t p = first; p < end; p += 8) {
        v128_t acc[GROUP][2];
        dots(m, 2, s->turned[0][0], 2, 2 * GROUP, table + p * n_pairs * 4, n_pairs, acc);
        SIMD_UNROLL
        for (int i = 0; i < 2 * m; i++) {
            float *to = s->score[i / 2] + p + 4 * (i % 2);
            v128_t x = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(acc[i / 2][i % 2]),
                                      wasm_v128_load32_splat(&s->turned_unit[i / 2]));
            x = wasm_f32x4_add(x, wasm_v128_load32_splat(&s->still[i / 2]));
            wasm_v128_store(to, wasm_f32x4_add(wasm_v128_load(to), x));
        }
    }
}

/* ---- products of floats ---- */

/* Vectors of 16 floats that a row takes at once: more for few rows, so that there are as many sums as hide
 * the time that an addition takes. */
SIMD_INLINE int float_vectors(int m) {
    return m <= 2 ? 4 : 2;
}

/* acc (m rows, float_vectors) += products of one pair, of row i at a[i], with the cache's at b; of each pair
 * at b only what `keep` has. */
SIMD_INLINE void float_pair(int m, const float *const *a, const float *b, v128_t keep, v128_t (*acc)[4]) {
    SIMD_UNROLL
    for (int k = 0; k < float_vectors(m); k++) {
        const v128_t y = wasm_v128_and(wasm_v128_load(b + 4 * k), keep);
        SIMD_UNROLL
        for (int i = 0; i < m; i++)
            acc[i][k] = wasm_f32x4_add(acc[i][k], wasm_f32x4_mul(y, wasm_v128_load64_splat(a[i])));
    }
}

/* acc = products of pairs [begin / 2, end / 2), and of the halves of pairs that are left over where begin or
 * end is odd. The pairs of row i begin at a[i], those of the cache at b, 16 floats apart. What is not in
 * [begin, end) may be anything. */
SIMD_INLINE void float_dots(int m, const float *const *a, const float *b, size_t begin, size_t end,
                            v128_t (*acc)[4]) {
    const v128_t second = wasm_i32x4_make(0, -1, 0, -1);
    const float *at[GROUP], *const stop = b + end / 2 * 16;
    SIMD_UNROLL
    for (int i = 0; i < m; i++) {
        at[i] = a[i] + begin / 2 * 2;
        acc[i][0] = acc[i][1] = acc[i][2] = acc[i][3] = wasm_f32x4_splat(0);
    }
    b += begin / 2 * 16;
    if (begin % 2) {
        float_pair(m, at, b, second, acc);
        for (int i = 0; i < m; i++) at[i] += 2;
        b += 16;
    }
    SIMD_NO_UNROLL
    for (; b < stop; b += 16) {
        float_pair(m, at, b, wasm_i32x4_splat(-1), acc);
        SIMD_UNROLL
        for (int i = 0; i < m; i++) at[i] += 2;
    }
    if (end % 2) float_pair(m, at, b, wasm_v128_not(second), acc);
}

/* The sums of pairs: four lanes of two vectors. */
SIMD_INLINE v128_t pairs_added(v128_t a, v128_t b) {
    return wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
}

/* As tile_scores. */
SIMD_INLINE void float_scores(rows *s, int m, size_t r, const cache_tile *t, const seen *n) {
    const size_t dim = s->a->cache->k_dim, step = 2 * (size_t)float_vectors(m);
    const float *k = (const float *)(const void *)t->k, *q[GROUP];
    for (int i = 0; i < m; i++) q[i] = row_query(s, r + (size_t)i);
    for (size_t p = n->first; p < n->padded; p += step) {
        v128_t acc[GROUP][4];
        float_dots(m, q, k + p / 8 * 8 * dim + p % 8 * 2, 0, dim, acc);
        SIMD_UNROLL
        for (int i = 0; i < m; i++)
            for (int h = 0; h < float_vectors(m) / 2; h++)
                wasm_v128_store(s->score[i] + p + 4 * h, pairs_added(acc[i][2 * h], acc[i][2 * h + 1]));
    }
}

/* As tile_values, but all rows see the same positions, and others may hold anything. */
SIMD_INLINE void float_values(rows *s, int m, size_t r, const cache_tile *t, const seen *n) {
    const size_t dim = s->a->cache->v_dim, step = 2 * (size_t)float_vectors(m);
    const float *v = (const float *)(const void *)t->v, *weights[GROUP];
    for (int i = 0; i < m; i++) weights[i] = s->score[i];
    for (size_t c = 0; c < dim; c += step) {
        v128_t acc[GROUP][4];
        float_dots(m, weights, v + c / 8 * 8 * TILE + c % 8 * 2, n->begin[0], n->end[0], acc);
        SIMD_UNROLL
        for (int i = 0; i < m; i++)
            for (int h = 0; h < float_vectors(m) / 2; h++) {
                float *to = s->sums + (r + (size_t)i) * s->stride + c + 4 * (size_t)h;
                v128_t before = wasm_f32x4_mul(wasm_v128_load(to), wasm_v128_load32_splat(&s->factor[i]));
                wasm_v128_store(to, wasm_f32x4_add(before, pairs_added(acc[i][2 * h], acc[i][2 * h + 1])));
            }
    }
}

/* ---- softmax ---- */

/* Lane i: the largest, or the sum, of the lanes of x[i]. */
SIMD_INLINE v128_t each_reduced(const v128_t *x, bool largest) {
    v128_t ab = wasm_i32x4_shuffle(x[0], x[1], 0, 4, 1, 5), cd = wasm_i32x4_shuffle(x[2], x[3], 0, 4, 1, 5);
    v128_t ab_hi = wasm_i32x4_shuffle(x[0], x[1], 2, 6, 3, 7),
           cd_hi = wasm_i32x4_shuffle(x[2], x[3], 2, 6, 3, 7);
    v128_t both_ab = largest ? wasm_f32x4_pmax(ab, ab_hi) : wasm_f32x4_add(ab, ab_hi);
    v128_t both_cd = largest ? wasm_f32x4_pmax(cd, cd_hi) : wasm_f32x4_add(cd, cd_hi);
    v128_t even = wasm_i64x2_shuffle(both_ab, both_cd, 0, 2),
           odd = wasm_i64x2_shuffle(both_ab, both_cd, 1, 3);
    return largest ? wasm_f32x4_pmax(even, odd) : wasm_f32x4_add(even, odd);
}

/* Stores the first m lanes of x. */
SIMD_INLINE void store_lanes(float *to, v128_t x, int m) {
    static const int32_t mask[7] = {-1, -1, -1, -1};
    wasm_v128_store(to, wasm_v128_bitselect(x, wasm_v128_load(to), wasm_v128_load(mask + 4 - m)));
}

/* Scores [first, end) to tanh(score * to_cap). */
static void scores_capped(float *score, size_t first, size_t end, v128_t to_cap) {
    const simd_tanh_c c = simd_tanh_consts();
    for (size_t p = first; p < end; p += 4)
        wasm_v128_store(score + p, simd_tanh(wasm_f32x4_mul(wasm_v128_load(score + p), to_cap), &c));
}

/* Scores [first, end) of a tile to score * to_log2 - slope * distance, to base 2; `own` is the token's
 * position. */
static void scores_sloped(float *score, size_t first, size_t end, float to_log2, float slope, float own,
                          size_t tile) {
    static const float lanes[4] = {0, 1, 2, 3};
    const v128_t each = wasm_f32x4_splat(to_log2), by = wasm_f32x4_splat(slope * LOG2E);
    for (size_t p = first; p < end; p += 4) {
        const float at = (float)(tile + p) - own;
        const v128_t away = wasm_f32x4_add(wasm_f32x4_splat(at), wasm_v128_load(lanes));
        const v128_t x = wasm_f32x4_mul(wasm_v128_load(score + p), each);
        wasm_v128_store(score + p, wasm_f32x4_sub(x, wasm_f32x4_mul(wasm_f32x4_abs(away), by)));
    }
}

/* The largest of scores [begin, end), in four lanes; -infinity is put around them up to multiples of 8. */
static v128_t scores_most(float *score, size_t begin, size_t end) {
    v128_t most[2] = {wasm_f32x4_splat(-INFINITY), wasm_f32x4_splat(-INFINITY)};
    const size_t first = begin / 8 * 8;
    for (size_t p = first; p < begin; p++) score[p] = -INFINITY;
    SIMD_NO_VECTORS
    for (size_t p = end; p % 8; p++) score[p] = -INFINITY;
    SIMD_NO_UNROLL
    for (size_t p = first; p < end; p += 8) {
        most[0] = wasm_f32x4_pmax(most[0], wasm_v128_load(score + p));
        most[1] = wasm_f32x4_pmax(most[1], wasm_v128_load(score + p + 4));
    }
    return wasm_f32x4_pmax(most[0], most[1]);
}

/* Eight scores to weights 2^(score * scale - base), or zero where `keep` is, and added to sum. */
SIMD_INLINE void weights_of_8(float *score, const int32_t *keep, v128_t scale, v128_t base,
                              const simd_exp2_c *e, int degree, v128_t *sum) {
    SIMD_UNROLL
    for (size_t k = 0; k < 2; k++) {
        v128_t x = wasm_f32x4_mul(wasm_v128_load(score + 4 * k), scale);
        x = simd_exp2(wasm_f32x4_sub(x, base), e, degree);
        x = wasm_v128_and(x, wasm_v128_load(keep + 4 * k));
        wasm_v128_store(score + 4 * k, x);
        sum[k] = wasm_f32x4_add(sum[k], x);
    }
}

/* Scores [begin, end) to weights, with zeros around them from first to padded. Returns their sum, in four
 * lanes. */
SIMD_INLINE v128_t scores_to_weights(float *score, size_t begin, size_t end, const seen *n, v128_t scale,
                                     v128_t base, const simd_exp2_c *e, int degree) {
    static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    v128_t sum[2] = {wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
    size_t p = n->first;
    SIMD_NO_VECTORS
    for (; p < begin / 8 * 8; p += 4) wasm_v128_store(score + p, wasm_f32x4_splat(0));
    if (p < begin) {
        int32_t keep[8];
        for (size_t i = 0; i < 8; i++) keep[i] = p + i >= begin && p + i < end ? -1 : 0;
        weights_of_8(score + p, keep, scale, base, e, degree, sum);
        p += 8;
    }
    SIMD_NO_UNROLL
    for (; p < end; p += 8)
        weights_of_8(score + p, mask + 8 - (end - p < 8 ? end - p : 8), scale, base, e, degree, sum);
    SIMD_NO_VECTORS
    for (; p < n->padded; p += 4) wasm_v128_store(score + p, wasm_f32x4_splat(0));
    return wasm_f32x4_add(sum[0], sum[1]);
}

static void row_sloped(rows *s, size_t i, size_t r, const seen *n) {
    scores_sloped(s->score[i], n->first, n->padded, s->to_log2[r + i],
                  s->a->slopes[(s->first + r + i) % s->a->n_q],
                  (float)(row_end(s, r + i) - 1 - s->a->n_behind), n->tile);
}

/* Scores of rows [r, r + m) to weights. */
SIMD_INLINE void tile_softmax(rows *s, int m, size_t r, const seen *n, int degree) {
    const simd_exp2_c e = simd_exp2_consts(degree);
    v128_t found[GROUP], scale = wasm_v128_load(s->to_log2 + r);
    float base[GROUP], to_log2[GROUP];
    if (s->a->slopes) {
        for (int i = 0; i < m; i++) row_sloped(s, (size_t)i, r, n);
        scale = wasm_f32x4_splat(1);
    }
    wasm_v128_store(to_log2, scale);
    for (int i = 0; i < m && s->a->softcap > 0; i++)
        scores_capped(s->score[i], n->first, n->padded, wasm_v128_load32_splat(s->to_cap + r + i));
    for (int i = 0; i < GROUP; i++) found[i] = scores_most(s->score[i], n->begin[i], n->end[i]);
    v128_t highest = wasm_v128_load(s->highest + r);
    v128_t top = wasm_f32x4_mul(each_reduced(found, true), scale);
    v128_t now = wasm_f32x4_pmax(highest, top), factor = simd_exp2(wasm_f32x4_sub(highest, now), &e, degree);
    wasm_v128_store(base, now);
    for (int i = 0; i < GROUP; i++) found[i] = wasm_f32x4_splat(0);
    for (int i = 0; i < m; i++)
        found[i] =
            scores_to_weights(s->score[i], n->begin[i], n->end[i], n, wasm_v128_load32_splat(to_log2 + i),
                              wasm_v128_load32_splat(base + i), &e, degree);
    v128_t total = wasm_f32x4_mul(wasm_v128_load(s->total + r), factor);
    store_lanes(s->total + r, wasm_f32x4_add(total, each_reduced(found, false)), m);
    store_lanes(s->highest + r, now, m);
    wasm_v128_store(s->factor, factor);
}

static void integer_softmax(rows *s, int m, size_t r, const seen *n) {
    tile_softmax(s, m, r, n, SIMD_EXP2);
}
static void float_softmax(rows *s, int m, size_t r, const seen *n) {
    tile_softmax(s, m, r, n, SIMD_EXP2_FINE);
}

/* m rows of weights [first, padded) times their values' scales of one block to integers. */
static void weights_to_i16(rows *s, int m, size_t block, const float *scale, size_t first, size_t padded) {
    const v128_t round = simd_const_f32(EXP_ROUND), zero = wasm_f32x4_splat(0);
    _Alignas(16) float y[GROUP][TILE], inverse[GROUP];
    v128_t most[GROUP] = {zero, zero, zero, zero}, sum[GROUP] = {zero, zero, zero, zero};
    for (int i = 0; i < m; i++) {
        v128_t most_2[2] = {zero, zero}, sum_2[2] = {zero, zero};
        SIMD_NO_UNROLL
        for (size_t p = first; p < padded; p += 8) {
            SIMD_UNROLL
            for (size_t k = 0; k < 2; k++) {
                v128_t x = wasm_v128_load(s->score[i] + p + 4 * k);
                x = wasm_f32x4_mul(x, wasm_v128_load(scale + p + 4 * k));
                wasm_v128_store(y[i] + p + 4 * k, x);
                most_2[k] = wasm_f32x4_pmax(most_2[k], x);
                sum_2[k] = wasm_f32x4_add(sum_2[k], x);
            }
        }
        most[i] = wasm_f32x4_pmax(most_2[0], most_2[1]);
        sum[i] = wasm_f32x4_add(sum_2[0], sum_2[1]);
    }
    v128_t by_most = wasm_f32x4_mul(each_reduced(most, true), wasm_f32x4_splat(1 / WEIGHT_MOST));
    v128_t by_sum =
        wasm_f32x4_mul(each_reduced(sum, false), wasm_f32x4_splat(1 / s->a->cache->kind->weight_sum));
    v128_t unit = wasm_f32x4_pmax(by_most, by_sum), over = wasm_f32x4_div(wasm_f32x4_splat(1), unit);
    wasm_v128_store(inverse, wasm_v128_and(over, wasm_f32x4_gt(unit, zero)));
    wasm_v128_store(s->unit[block], unit);
    for (int i = 0; i < m; i++) {
        const v128_t each = wasm_v128_load32_splat(inverse + i);
        SIMD_NO_UNROLL
        for (size_t p = first; p < padded; p += 8)
            wasm_v128_store(s->weight[block][i] + p, simd_to_i16(y[i] + p, each, round));
    }
}

/* ---- tiles ---- */

/* Sums of rows [r, r + m) += weights * values of positions [first, last); first is even. */
SIMD_INLINE void tile_values(rows *s, int m, int bytes, size_t r, const cache_tile *t, size_t first,
                             size_t last) {
    const size_t dim = s->a->cache->v_dim, block = s->a->cache->kind->block;
    for (size_t c = 0; c < dim; c += 8) {
        const size_t b = c / block;
        v128_t acc[GROUP][2];
        dots(m, bytes, s->weight[b][0] + first, TILE, 2, t->v + (c * TILE + 8 * first) * (size_t)bytes,
             (last - first + 1) / 2, acc);
        SIMD_UNROLL
        for (int i = 0; i < 2 * m; i++) {
            float *to = s->sums + (r + (size_t)i / 2) * s->stride + c + 4 * (i % 2);
            v128_t x = wasm_f32x4_convert_i32x4(acc[i / 2][i % 2]);
            x = wasm_f32x4_mul(x, wasm_v128_load32_splat(&s->unit[b][i / 2]));
            v128_t before = wasm_f32x4_mul(wasm_v128_load(to), wasm_v128_load32_splat(&s->factor[i / 2]));
            wasm_v128_store(to, wasm_f32x4_add(before, x));
        }
    }
}

/* Integers for the weights of m rows. Scales of positions from n->last on may be anything. */
static void tile_weights(rows *s, int m, const cache_tile *t, const seen *n) {
    const size_t blocks = cache_blocks(s->a->cache->kind, s->a->cache->v_dim);
    _Alignas(16) float scale[TILE] = {0};
    for (size_t b = 0; b < blocks; b++) {
        const float *from = t->v_scale + b * TILE;
        if (n->last < n->padded) from = memcpy(scale, from, n->last * sizeof *scale);
        weights_to_i16(s, m, b, from, n->first, n->padded);
    }
}

/* Rows [r, r + m) of a group through the tile that begins at position `tile`, of which each sees some. Over
 * floats (bytes: 4) all see the same. */
SIMD_INLINE void tile_rows(rows *s, int m, int bytes, size_t r, size_t tile) {
    const cache_tile t = s->tile;
    const seen n = tile_seen(s, (size_t)m, r, tile);
    if (bytes == 4) {
        float_scores(s, m, r, &t, &n);
        float_softmax(s, m, r, &n);
        float_values(s, m, r, &t, &n);
        return;
    }
    tile_scores(s, m, bytes, r, &t, n.first, n.padded);
    if (bytes == 1 && t.center) center_scores(s, m, r, n.first, n.padded);
    integer_softmax(s, m, r, &n);
    tile_weights(s, m, &t, &n);
    tile_values(s, m, bytes, r, &t, n.first, n.last);
}

#define ROWS_FUNCTION(m, bytes)                                                                             \
    static void tile_rows_##m##_##bytes(rows *s, size_t r, size_t tile) {                                   \
        tile_rows(s, m, bytes, r, tile);                                                                    \
    }
ROWS_FUNCTION(1, 1)
ROWS_FUNCTION(2, 1)
ROWS_FUNCTION(3, 1)
ROWS_FUNCTION(4, 1)
ROWS_FUNCTION(1, 2)
ROWS_FUNCTION(2, 2)
ROWS_FUNCTION(3, 2)
ROWS_FUNCTION(4, 2)
#ifndef NUT_FLOAT_CACHE_BY_REF
ROWS_FUNCTION(1, 4)
ROWS_FUNCTION(2, 4)
ROWS_FUNCTION(3, 4)
ROWS_FUNCTION(4, 4)
#endif

/* Rows [r, stop) of a group, all of which see something of the tile. */
static void group_rows(rows *s, size_t r, size_t stop, size_t tile) {
    static void (*const by_bytes[][GROUP])(rows *, size_t, size_t) = {
        [1] = {tile_rows_1_1, tile_rows_2_1, tile_rows_3_1, tile_rows_4_1},
        [2] = {tile_rows_1_2, tile_rows_2_2, tile_rows_3_2, tile_rows_4_2},
#ifndef NUT_FLOAT_CACHE_BY_REF
        [4] = {tile_rows_1_4, tile_rows_2_4, tile_rows_3_4, tile_rows_4_4}
#endif
    };
    const size_t bytes = s->a->cache->kind->bytes;
    while (r < stop) {
        size_t end = bytes == 4 ? r + 1 : stop;
        while (end < stop && same_seen(s, r, end, tile)) end++;
        by_bytes[bytes][end - r - 1](s, r, tile);
        r = end;
    }
}

/* The rows of [*r, *stop) that see something of a tile. Those that do not reach it yet are the first, those
 * whose window is beyond it the last. */
static void rows_seeing(const rows *s, size_t tile, size_t *r, size_t *stop) {
    while (*r < *stop && row_end(s, *r) <= tile) ++*r;
    while (*r < *stop && row_begin(s, *stop - 1) >= tile + TILE) --*stop;
}

/* All rows through the tiles of the span that begins at `first`. */
static void span_rows(rows *s, size_t first) {
    const size_t most = row_end(s, s->n - 1), end = most < first + CACHE_SPAN ? most : first + CACHE_SPAN;
    const size_t seen_first = row_begin(s, 0) / TILE * TILE;
    for (size_t r = 0; r < s->n; r++) {
        memset(s->sums + r * s->stride, 0, s->a->cache->v_dim * sizeof *s->sums);
        s->highest[r] = -INFINITY, s->total[r] = 0;
    }
    for (size_t tile = first > seen_first ? first : seen_first; tile < end; tile += TILE) {
        s->tile = tile_of(s, tile);
        for (size_t g = 0; g < s->n; g += GROUP) {
            size_t r = g, stop = s->n - g < GROUP ? s->n : g + GROUP;
            rows_seeing(s, tile, &r, &stop);
            group_rows(s, r, stop, tile);
        }
    }
}

/* ---- rows ---- */

static void query_to_integers(rows *s, size_t r, const float *x, float scale) {
    const v128_t round = wasm_f32x4_splat(EXP_ROUND), inverse = simd_cache_inverse(scale);
    int16_t(*q)[GROUP][2] = s->q[r / GROUP];
    for (const float *end = x + s->a->cache->k_dim; x < end; x += 8, q += 4) {
        v128_t q8 = simd_to_i16(x, inverse, round);
        wasm_v128_store32_lane(q[0][r % GROUP], q8, 0);
        wasm_v128_store32_lane(q[1][r % GROUP], q8, 1);
        wasm_v128_store32_lane(q[2][r % GROUP], q8, 2);
        wasm_v128_store32_lane(q[3][r % GROUP], q8, 3);
    }
}

/* Rows [first, first + n) of a call; queries become integers where keys are. */
static void rows_begin(rows *s, const kernel_attend *a, size_t first, size_t n, float *sums, size_t stride) {
    const bool integers = a->cache->kind->block > 0;
    s->a = a, s->first = first, s->n = n, s->sums = sums, s->stride = stride;
    for (size_t r = 0; r < n; r++) {
        const float *x = row_query(s, r);
        _Alignas(16) float transformed[CACHE_MAX_DIM];
        if (a->cache->kind->packed) {
            x = memcpy(transformed, x, a->cache->k_dim * sizeof *x);
            cache_transform(transformed, a->cache->k_dim);
        }
        const float scale = integers ? simd_cache_scale(x, a->cache->k_dim, WEIGHT_MOST, CACHE_LENGTH) : 1;
        s->to_log2[r] = a->softcap > 0 ? a->softcap * LOG2E : scale * a->scale * LOG2E;
        s->to_cap[r] = a->softcap > 0 ? scale * a->scale / a->softcap : 0;
        s->inverse[r] = scale > 0 ? 1 / scale : 0;
        if (integers) query_to_integers(s, r, x, scale);
    }
}

/* What spans add up to: out (v_dim), a multiple of 2^highest, and the weights' sum likewise. */
typedef struct joined {
    const cache_head *cache;
    float *out, highest, total;
} joined;

static joined join_begin(const cache_head *cache, const float *sink, float *out) {
    memset(out, 0, cache->v_dim * sizeof *out);
    return (joined){cache, out, sink ? *sink * LOG2E : -INFINITY, sink ? 1 : 0};
}

static float join_exp2(const joined *j, float x) {
    return j->cache->kind->block ? exp2_scalar(x) : exp2_fine_scalar(x);
}

static void join_add(joined *to, const float *sums, float highest, float total) {
    if (total == 0) return; // nothing of the span was seen
    const float now = highest > to->highest ? highest : to->highest;
    const float before = join_exp2(to, to->highest - now), after = join_exp2(to, highest - now);
    const v128_t a = wasm_f32x4_splat(before), b = wasm_f32x4_splat(after);
    for (size_t c = 0; c < to->cache->v_dim; c += 4)
        wasm_v128_store(to->out + c, wasm_f32x4_add(wasm_f32x4_mul(wasm_v128_load(to->out + c), a),
                                                    wasm_f32x4_mul(wasm_v128_load(sums + c), b)));
    to->highest = now;
    to->total = to->total * before + total * after;
}

static void join_end(const joined *to) {
    const v128_t inverse = wasm_f32x4_splat(1.0f / to->total);
    for (size_t c = 0; c < to->cache->v_dim; c += 4)
        wasm_v128_store(to->out + c, wasm_f32x4_mul(wasm_v128_load(to->out + c), inverse));
    if (to->cache->kind->packed) cache_transform(to->out, to->cache->v_dim);
}

/* NUT_FLOAT_CACHE_BY_REF: floats are left to the kernels in plain C. For modules of pages, which cannot load
 * a model as a reference. */
static bool left_to_ref(const cache_head *c) {
#ifdef NUT_FLOAT_CACHE_BY_REF
    return !c->kind->block;
#else
    (void)c;
    return false;
#endif
}

void simd_attend(const kernel_attend *a) {
    if (left_to_ref(a->cache)) {
        kernel_set_ref.attend(a);
        return;
    }
    const size_t all = a->n_tokens * a->n_q, dim = a->cache->v_dim;
    _Alignas(16) float sums[ROWS * CACHE_MAX_DIM];
    joined out[ROWS];
    rows s;
    for (size_t begin = 0; begin < all; begin += ROWS) {
        rows_begin(&s, a, begin, all - begin < ROWS ? all - begin : ROWS, sums, dim);
        for (size_t r = 0; r < s.n; r++) out[r] = join_begin(a->cache, row_sink(&s, r), row_out(&s, r));
        size_t first = row_begin(&s, 0) / CACHE_SPAN * CACHE_SPAN;
        for (; first < row_end(&s, s.n - 1); first += CACHE_SPAN) {
            span_rows(&s, first);
            for (size_t r = 0; r < s.n; r++) join_add(&out[r], sums + r * dim, s.highest[r], s.total[r]);
        }
        for (size_t r = 0; r < s.n; r++) join_end(&out[r]);
    }
}

void simd_attend_span(const kernel_attend *a, size_t first, float *partials) {
    if (left_to_ref(a->cache)) {
        kernel_set_ref.attend_span(a, first, partials);
        return;
    }
    const size_t dim = a->cache->v_dim, size = kernel_partial_size(dim);
    rows s;
    for (size_t h = 0; h < a->n_q; h += ROWS, partials += ROWS * size) {
        rows_begin(&s, a, h, a->n_q - h < ROWS ? a->n_q - h : ROWS, partials, size);
        span_rows(&s, first);
        for (size_t r = 0; r < s.n; r++)
            partials[r * size + dim] = s.highest[r], partials[r * size + dim + 1] = s.total[r];
    }
}

void simd_attend_join(const cache_head *c, const float *partials, size_t n, size_t stride, const float *sink,
                      float *out) {
    if (left_to_ref(c)) {
        kernel_set_ref.attend_join(c, partials, n, stride, sink, out);
        return;
    }
    const size_t dim = c->v_dim;
    joined all = join_begin(c, sink, out);
    for (size_t i = 0; i < n; i++, partials += stride)
        join_add(&all, partials, partials[dim], partials[dim + 1]);
    join_end(&all);
}
#else
typedef int kernel_simd_attend_is_not_in_this_build;
#endif
