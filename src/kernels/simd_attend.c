/*
 * Attention over integers (kernels/cache.h): keys times queries, then values times softmax weights, both by
 * i32x4.dot_i16x8 with two columns, or two positions, to a lane, so that nothing is added across lanes. Sums of
 * integers are exact; floats come in once for a tile of 64 positions, where a row takes the same operations
 * whatever else is computed with it. A row is one query head of one token; four rows go through a tile
 * together, and up to 32 through all of it while it is in the first cache.
 */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/simd_math.h"

#include <math.h>
#include <string.h>

enum {
    TILE = CACHE_TILE,
    ROWS = 32, // that take turns with a tile
    GROUP = 4, // that go through it together
};

#define LOG2E       1.44269504f
#define WEIGHT_MOST 32767.0f // of an integer query or weight

typedef struct rows {
    const kernel_attend *a;
    size_t first, n;     // rows of the call: row r is head r % n_q of token r / n_q
    size_t size;         // of a part
    float *part;         // (n) of the span, see kernel_part_size
    float to_log2[ROWS]; // what integer scores are multiplied by, besides their key's scale
    _Alignas(16) int16_t q[ROWS / GROUP][CACHE_MAX_DIM / 2][GROUP][2];
    /* of the tile and group at hand: scores, then weights; their integers for each block of columns, what one
     * of those stands for, and what the sums before are multiplied by */
    _Alignas(16) float score[GROUP][TILE];
    _Alignas(16) int16_t weight[CACHE_MAX_BLOCKS][GROUP][TILE];
    float unit[CACHE_MAX_BLOCKS][GROUP], factor[GROUP];
} rows;

static size_t row_positions(const rows *s, size_t r) {
    return s->a->n_kv + (s->first + r) / s->a->n_q;
}

/* ---- integers ---- */

SIMD_INLINE float max_of_4(v128_t x) {
    x = wasm_f32x4_pmax(x, wasm_i32x4_shuffle(x, x, 2, 3, 0, 1));
    x = wasm_f32x4_pmax(x, wasm_i32x4_shuffle(x, x, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(x, 0);
}

/* Four floats, of magnitude below 2^22, to the nearest integers; ties to even. */
SIMD_INLINE v128_t nearest(v128_t x, v128_t round) {
    return wasm_i32x4_sub(wasm_f32x4_add(x, round), round);
}

/* The scale of n columns of x (a multiple of 8). */
static float scale_of(const float *x, size_t n, float most, float length) {
    v128_t largest = wasm_f32x4_splat(0), squares = largest;
    for (size_t i = 0; i < n; i += 4) {
        v128_t v = wasm_v128_load(x + i);
        largest = wasm_f32x4_pmax(largest, wasm_f32x4_abs(v));
        squares = wasm_f32x4_add(squares, wasm_f32x4_mul(v, v));
    }
    return cache_scale(max_of_4(largest), simd_sum(squares), most, length);
}

/* Eight floats times inverse to int16. */
SIMD_INLINE v128_t to_i16(const float *x, v128_t inverse, v128_t round) {
    return wasm_i16x8_narrow_i32x4(nearest(wasm_f32x4_mul(wasm_v128_load(x), inverse), round),
                                   nearest(wasm_f32x4_mul(wasm_v128_load(x + 4), inverse), round));
}

SIMD_INLINE v128_t inverse_of(float scale) {
    return wasm_f32x4_splat(scale > 0 ? 1 / scale : 0);
}

/* ---- the cache ---- */

SIMD_INLINE void turn_4(float *x, float *y, v128_t a, v128_t b, const kernel_rope *r, size_t i) {
    v128_t c = wasm_v128_load(r->cosine + i), s = wasm_v128_load(r->sine + i);
    v128_t turned_a = wasm_f32x4_sub(wasm_f32x4_mul(a, c), wasm_f32x4_mul(b, s));
    v128_t turned_b = wasm_f32x4_add(wasm_f32x4_mul(a, s), wasm_f32x4_mul(b, c));
    if (r->adjacent) {
        wasm_v128_store(x, wasm_i32x4_shuffle(turned_a, turned_b, 0, 4, 1, 5));
        wasm_v128_store(y, wasm_i32x4_shuffle(turned_a, turned_b, 2, 6, 3, 7));
    } else {
        wasm_v128_store(x, turned_a);
        wasm_v128_store(y, turned_b);
    }
}

static void turn_head(float *x, const kernel_rope *r) {
    const size_t n = r->n_pairs, step = r->adjacent ? 2 : 1, apart = r->adjacent ? 1 : n;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float *at = x + i * step, *other = r->adjacent ? at + 4 : at + n;
        v128_t a = wasm_v128_load(at), b = wasm_v128_load(other);
        if (r->adjacent) {
            v128_t even = wasm_i32x4_shuffle(a, b, 0, 2, 4, 6);
            b = wasm_i32x4_shuffle(a, b, 1, 3, 5, 7);
            a = even;
        }
        turn_4(at, other, a, b, r, i);
    }
    for (; i < n; i++) {
        float *a = x + i * step, *b = a + apart, before = *a;
        *a = before * r->cosine[i] - *b * r->sine[i];
        *b = before * r->sine[i] + *b * r->cosine[i];
    }
}

void simd_rope(float *heads, size_t n_heads, size_t head_dim, const kernel_rope *r) {
    for (size_t h = 0; h < n_heads; h++) turn_head(heads + h * head_dim, r);
}

/* Columns [c, c + 8) of a key or value, as int16, to their places in the tile: index is that of column c. */
SIMD_INLINE void put_k_i16(uint8_t *tile, size_t index, v128_t x) {
    int16_t *to = (int16_t *)(void *)tile + index;
    wasm_v128_store32_lane(to, x, 0);
    wasm_v128_store32_lane(to + 16, x, 1);
    wasm_v128_store32_lane(to + 32, x, 2);
    wasm_v128_store32_lane(to + 48, x, 3);
}

SIMD_INLINE void put_k_i8(uint8_t *to, size_t index, v128_t x) {
    x = wasm_i8x16_narrow_i16x8(x, x);
    to += index;
    wasm_v128_store16_lane(to, x, 0);
    wasm_v128_store16_lane(to + 16, x, 1);
    wasm_v128_store16_lane(to + 32, x, 2);
    wasm_v128_store16_lane(to + 48, x, 3);
}

/* Lane by lane, since the position beside may be stored by another thread. */
SIMD_INLINE void put_v_i16(uint8_t *tile, size_t index, v128_t x) {
    int16_t *to = (int16_t *)(void *)tile + index;
    wasm_v128_store16_lane(to, x, 0);
    wasm_v128_store16_lane(to + 2, x, 1);
    wasm_v128_store16_lane(to + 4, x, 2);
    wasm_v128_store16_lane(to + 6, x, 3);
    wasm_v128_store16_lane(to + 8, x, 4);
    wasm_v128_store16_lane(to + 10, x, 5);
    wasm_v128_store16_lane(to + 12, x, 6);
    wasm_v128_store16_lane(to + 14, x, 7);
}

SIMD_INLINE void put_v_i8(uint8_t *to, size_t index, v128_t x) {
    x = wasm_i8x16_narrow_i16x8(x, x);
    to += index;
    wasm_v128_store8_lane(to, x, 0);
    wasm_v128_store8_lane(to + 2, x, 1);
    wasm_v128_store8_lane(to + 4, x, 2);
    wasm_v128_store8_lane(to + 6, x, 3);
    wasm_v128_store8_lane(to + 8, x, 4);
    wasm_v128_store8_lane(to + 10, x, 5);
    wasm_v128_store8_lane(to + 12, x, 6);
    wasm_v128_store8_lane(to + 14, x, 7);
}

void simd_store(const cache_head *h, size_t pos, const kernel_rope *r, const float *k, const float *v) {
    const cache_kind *kind = h->kind;
    const cache_tile t = cache_tile_of(h, pos);
    const size_t dim = h->head_dim, step = kind->block < dim ? kind->block : dim;
    const v128_t round = wasm_f32x4_splat(EXP_ROUND);
    _Alignas(16) float key[CACHE_MAX_DIM];
    memcpy(key, k, dim * sizeof *k);
    turn_head(key, r);
    for (size_t begin = 0; begin < dim; begin += step) {
        const size_t n = dim - begin < step ? dim - begin : step;
        const size_t at = begin / step * TILE + pos % TILE;
        t.k_scale[at] = scale_of(key + begin, n, kind->k_most, kind->k_length);
        t.v_scale[at] = scale_of(v + begin, n, kind->v_most, 0);
        const v128_t k_inverse = inverse_of(t.k_scale[at]), v_inverse = inverse_of(t.v_scale[at]);
        for (size_t c = begin; c < begin + n; c += 8) {
            const size_t k_index = cache_k_index(dim, pos, c), v_index = cache_v_index(pos, c);
            const v128_t k8 = to_i16(key + c, k_inverse, round), v8 = to_i16(v + c, v_inverse, round);
            if (kind->bytes == 2) {
                put_k_i16(t.k, k_index, k8);
                put_v_i16(t.v, v_index, v8);
            } else {
                put_k_i8(t.k, k_index, k8);
                put_v_i8(t.v, v_index, v8);
            }
        }
    }
}

/* ---- products ---- */

/* Eight numbers of the cache, two to a lane. */
SIMD_INLINE v128_t numbers_load(int bytes, const uint8_t *p) {
    return bytes == 2 ? wasm_v128_load(p) : wasm_i16x8_load8x8(p);
}

/* acc (m rows, 8 lanes) = products of n pairs: those of row i at a + i * a_row, a_step apart, in every lane, and
 * those of the cache at b. Strides are counted in int16. */
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

/* Scores of rows [r, r + m) with the first n positions of a tile, a multiple of 8. */
SIMD_INLINE void tile_scores(rows *s, int m, int bytes, size_t r, const cache_tile *t, size_t n) {
    const cache_kind *kind = s->a->cache->kind;
    const size_t dim = s->a->cache->head_dim, step = kind->block < dim ? kind->block : dim;
    const int16_t *q = s->q[r / GROUP][0][r % GROUP];
    for (size_t p = 0; p < n; p += 8) {
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

/* ---- softmax ---- */

/* 2^(x * scale - base) of the first n of four scores, 0 of the rest. */
SIMD_INLINE v128_t weights_of_4(const float *x, size_t n, v128_t scale, v128_t base, const simd_exp2_c *e) {
    static const uint32_t mask[] = {~0u, ~0u, ~0u, ~0u, 0, 0, 0};
    v128_t w = simd_exp2(wasm_f32x4_sub(wasm_f32x4_mul(wasm_v128_load(x), scale), base), e);
    return n < 4 ? wasm_v128_and(w, wasm_v128_load(mask + 4 - n)) : w;
}

/* Scores of row r, the i-th of its group, over its n positions of a tile to weights; zeros up to `padded`. */
static void tile_softmax(rows *s, size_t r, size_t i, size_t n, size_t padded) {
    const simd_exp2_c e = simd_exp2_consts();
    float *score = s->score[i], *highest = s->part + r * s->size + s->a->cache->head_dim, *total = highest + 1;
    v128_t most = wasm_f32x4_splat(-INFINITY), sum = wasm_f32x4_splat(0);
    for (size_t p = n; p < padded; p++) score[p] = -INFINITY;
    for (size_t p = 0; p < n; p += 4) most = wasm_f32x4_pmax(most, wasm_v128_load(score + p));
    const float top = max_of_4(most) * s->to_log2[r], now = top > *highest ? top : *highest;
    const v128_t scale = wasm_f32x4_splat(s->to_log2[r]), base = wasm_f32x4_splat(now);
    for (size_t p = 0; p < n; p += 4) {
        v128_t w = weights_of_4(score + p, n - p, scale, base, &e);
        wasm_v128_store(score + p, w);
        sum = wasm_f32x4_add(sum, w);
    }
    for (size_t p = n; p < padded; p++) score[p] = 0;
    s->factor[i] = exp2_scalar(*highest - now);
    *total = *total * s->factor[i] + simd_sum(sum);
    *highest = now;
}

/* Weights of row i of the group times their values' scales of one block, to integers. */
static void weights_to_i16(rows *s, size_t i, size_t block, const float *scale, size_t n, size_t padded) {
    const v128_t round = simd_const_f32(EXP_ROUND);
    const float *weight = s->score[i];
    _Alignas(16) float y[TILE] = {0};
    v128_t most = wasm_f32x4_splat(0), sum = most;
    for (size_t p = 0; p < n; p += 4) {
        v128_t x = wasm_f32x4_mul(wasm_v128_load(weight + p), wasm_v128_load(scale + p));
        wasm_v128_store(y + p, x);
        most = wasm_f32x4_pmax(most, x);
        sum = wasm_f32x4_add(sum, x);
    }
    const float by_sum = simd_sum(sum) / s->a->cache->kind->weight_sum, by_most = max_of_4(most) / WEIGHT_MOST;
    const float unit = by_most > by_sum ? by_most : by_sum;
    const v128_t inverse = inverse_of(unit);
    for (size_t p = 0; p < padded; p += 8)
        wasm_v128_store(s->weight[block][i] + p, to_i16(y + p, inverse, round));
    s->unit[block][i] = unit;
}

/* ---- tiles ---- */

/* Sums of rows [r, r + m) += weights * the first n positions' values. */
SIMD_INLINE void tile_values(rows *s, int m, int bytes, size_t r, const cache_tile *t, size_t n) {
    const size_t dim = s->a->cache->head_dim, block = s->a->cache->kind->block;
    for (size_t c = 0; c < dim; c += 8) {
        const size_t b = c / block;
        v128_t acc[GROUP][2];
        dots(m, bytes, s->weight[b][0], TILE, 2, t->v + c * TILE * (size_t)bytes, (n + 1) / 2, acc);
        SIMD_UNROLL
        for (int i = 0; i < 2 * m; i++) {
            float *to = s->part + (r + (size_t)i / 2) * s->size + c + 4 * (i % 2);
            v128_t x = wasm_f32x4_convert_i32x4(acc[i / 2][i % 2]);
            x = wasm_f32x4_mul(x, wasm_v128_load32_splat(&s->unit[b][i / 2]));
            v128_t before = wasm_f32x4_mul(wasm_v128_load(to), wasm_v128_load32_splat(&s->factor[i / 2]));
            wasm_v128_store(to, wasm_f32x4_add(before, x));
        }
    }
}

/* Rows [r, r + m) of a group through the tile that begins at position `first`, of which each sees some. */
SIMD_INLINE void tile_rows(rows *s, int m, int bytes, size_t r, size_t first) {
    const cache_head *cache = s->a->cache;
    const cache_tile t = cache_tile_of(cache, first);
    size_t n[GROUP], most = 0;
    for (size_t i = 0; i < (size_t)m; i++) {
        n[i] = row_positions(s, r + i) - first < TILE ? row_positions(s, r + i) - first : TILE;
        most = n[i] > most ? n[i] : most;
    }
    const size_t padded = (most + 7) / 8 * 8;
    tile_scores(s, m, bytes, r, &t, padded);
    for (size_t i = 0; i < (size_t)m; i++) {
        tile_softmax(s, r + i, i, n[i], padded);
        for (size_t b = 0; b < cache_blocks(cache->kind, cache->head_dim); b++)
            weights_to_i16(s, i, b, t.v_scale + b * TILE, n[i], padded);
    }
    tile_values(s, m, bytes, r, &t, most);
}

#define ROWS_FUNCTION(m, bytes)                                                                             \
    static void tile_rows_##m##_##bytes(rows *s, size_t r, size_t first) {                                  \
        tile_rows(s, m, bytes, r, first);                                                                   \
    }
ROWS_FUNCTION(1, 1)
ROWS_FUNCTION(2, 1)
ROWS_FUNCTION(3, 1)
ROWS_FUNCTION(4, 1)
ROWS_FUNCTION(1, 2)
ROWS_FUNCTION(2, 2)
ROWS_FUNCTION(3, 2)
ROWS_FUNCTION(4, 2)

/* All rows through the tiles of the span that begins at `first`. Rows that see nothing of a tile are the first
 * of theirs group and stay out. */
static void span_rows(rows *s, size_t first) {
    static void (*const by_bytes[][GROUP])(rows *, size_t, size_t) = {
        {tile_rows_1_1, tile_rows_2_1, tile_rows_3_1, tile_rows_4_1},
        {tile_rows_1_2, tile_rows_2_2, tile_rows_3_2, tile_rows_4_2}};
    const size_t end = first + CACHE_SPAN, dim = s->a->cache->head_dim;
    memset(s->part, 0, s->n * s->size * sizeof *s->part);
    for (size_t r = 0; r < s->n; r++) s->part[r * s->size + dim] = -INFINITY;
    for (; first < end && first < row_positions(s, s->n - 1); first += TILE)
        for (size_t g = 0; g < s->n; g += GROUP) {
            const size_t stop = s->n - g < GROUP ? s->n : g + GROUP;
            size_t r = g;
            while (r < stop && row_positions(s, r) <= first) r++;
            if (r < stop) by_bytes[s->a->cache->kind->bytes - 1][stop - r - 1](s, r, first);
        }
}

/* ---- rows ---- */

static const float *row_query(const rows *s, size_t r) {
    const kernel_attend *a = s->a;
    return a->q + (s->first + r) / a->n_q * a->stride + (s->first + r) % a->n_q * a->cache->head_dim;
}

static float *row_out(const rows *s, size_t r) {
    return s->a->out + (row_query(s, r) - s->a->q);
}

/* Rows [first, first + n) of a call: their queries to integers. */
static void rows_begin(rows *s, const kernel_attend *a, size_t first, size_t n, float *part) {
    const size_t dim = a->cache->head_dim;
    const v128_t round = wasm_f32x4_splat(EXP_ROUND);
    s->a = a, s->first = first, s->n = n, s->size = kernel_part_size(dim), s->part = part;
    for (size_t r = 0; r < n; r++) {
        const float *x = row_query(s, r), scale = scale_of(x, dim, WEIGHT_MOST, CACHE_LENGTH);
        int16_t(*q)[GROUP][2] = s->q[r / GROUP];
        s->to_log2[r] = scale * a->scale * LOG2E;
        for (size_t c = 0; c < dim; c += 8, q += 4) {
            v128_t q8 = to_i16(x + c, inverse_of(scale), round);
            wasm_v128_store32_lane(q[0][r % GROUP], q8, 0);
            wasm_v128_store32_lane(q[1][r % GROUP], q8, 1);
            wasm_v128_store32_lane(q[2][r % GROUP], q8, 2);
            wasm_v128_store32_lane(q[3][r % GROUP], q8, 3);
        }
    }
}

/* Adds a part to the sums so far, out and state {logarithm, total}. */
static void part_add(const float *part, size_t dim, float *out, float *state) {
    const float now = part[dim] > state[0] ? part[dim] : state[0];
    const float before = exp2_scalar(state[0] - now), after = exp2_scalar(part[dim] - now);
    const v128_t a = wasm_f32x4_splat(before), b = wasm_f32x4_splat(after);
    for (size_t c = 0; c < dim; c += 4)
        wasm_v128_store(out + c, wasm_f32x4_add(wasm_f32x4_mul(wasm_v128_load(out + c), a),
                                                wasm_f32x4_mul(wasm_v128_load(part + c), b)));
    state[0] = now;
    state[1] = state[1] * before + part[dim + 1] * after;
}

static void part_begin(size_t dim, float *out, float *state) {
    memset(out, 0, dim * sizeof *out);
    state[0] = -INFINITY, state[1] = 0;
}

static void part_end(size_t dim, float *out, const float *state) {
    const v128_t inverse = wasm_f32x4_splat(1.0f / state[1]);
    for (size_t c = 0; c < dim; c += 4)
        wasm_v128_store(out + c, wasm_f32x4_mul(wasm_v128_load(out + c), inverse));
}

void simd_attend(const kernel_attend *a) {
    const size_t all = a->n_tokens * a->n_q, dim = a->cache->head_dim;
    _Alignas(16) float part[ROWS * (CACHE_MAX_DIM + 2)], state[ROWS][2];
    rows s;
    for (size_t begin = 0; begin < all; begin += ROWS) {
        rows_begin(&s, a, begin, all - begin < ROWS ? all - begin : ROWS, part);
        for (size_t r = 0; r < s.n; r++) part_begin(dim, row_out(&s, r), state[r]);
        for (size_t first = 0; first < row_positions(&s, s.n - 1); first += CACHE_SPAN) {
            span_rows(&s, first);
            for (size_t r = 0; r < s.n; r++)
                if (first < row_positions(&s, r)) part_add(part + r * s.size, dim, row_out(&s, r), state[r]);
        }
        for (size_t r = 0; r < s.n; r++) part_end(dim, row_out(&s, r), state[r]);
    }
}

void simd_attend_span(const kernel_attend *a, size_t first, float *parts) {
    rows s;
    for (size_t h = 0; h < a->n_q; h += ROWS) {
        rows_begin(&s, a, h, a->n_q - h < ROWS ? a->n_q - h : ROWS, parts + h * kernel_part_size(a->cache->head_dim));
        span_rows(&s, first);
    }
}

void simd_attend_join(const float *parts, size_t n, size_t stride, size_t head_dim, float *out) {
    float state[2];
    part_begin(head_dim, out, state);
    for (size_t i = 0; i < n; i++) part_add(parts + i * stride, head_dim, out, state);
    part_end(head_dim, out, state);
}
#else
typedef int kernel_simd_attend_is_not_in_this_build;
#endif
