/* Rotation of heads, and keys and values into the cache (kernels/cache.h), in SIMD. */
#include "kernels/sets.h"

#ifdef KERNEL_HAS_SIMD128
#include "kernels/simd_math.h"

#include <string.h>

/* ---- rotation ---- */

SIMD_INLINE void rotate_4(float *x, float *y, v128_t a, v128_t b, const kernel_rope *r, size_t i) {
    v128_t c = wasm_v128_load(r->cosine + i), s = wasm_v128_load(r->sine + i);
    v128_t rotated_a = wasm_f32x4_sub(wasm_f32x4_mul(a, c), wasm_f32x4_mul(b, s));
    v128_t rotated_b = wasm_f32x4_add(wasm_f32x4_mul(a, s), wasm_f32x4_mul(b, c));
    if (r->adjacent) {
        wasm_v128_store(x, wasm_i32x4_shuffle(rotated_a, rotated_b, 0, 4, 1, 5));
        wasm_v128_store(y, wasm_i32x4_shuffle(rotated_a, rotated_b, 2, 6, 3, 7));
    } else {
        wasm_v128_store(x, rotated_a);
        wasm_v128_store(y, rotated_b);
    }
}

static void rotate_head(float *x, const kernel_rope *r) {
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
        rotate_4(at, other, a, b, r, i);
    }
    for (; i < n; i++) {
        float *a = x + i * step, *b = a + apart, before = *a;
        *a = before * r->cosine[i] - *b * r->sine[i];
        *b = before * r->sine[i] + *b * r->cosine[i];
    }
}

void simd_rope(float *heads, size_t n_heads, size_t head_dim, const kernel_rope *r) {
    for (size_t h = 0; h < n_heads; h++) rotate_head(heads + h * head_dim, r);
}

/* ---- the cache ---- */

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

/* Lane by lane, since another thread may store the neighbouring position. */
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

static void store_key(const cache_head *h, const cache_tile *t, size_t pos, const float *k) {
    const cache_kind *kind = h->kind;
    const size_t dim = h->k_dim, step = kind->block < dim ? kind->block : dim;
    const v128_t round = wasm_f32x4_splat(EXP_ROUND);
    for (size_t begin = 0; begin < dim; begin += step) {
        const size_t n = dim - begin < step ? dim - begin : step;
        float *scale = t->k_scale + begin / step * CACHE_TILE + pos % CACHE_TILE;
        *scale = simd_cache_scale(k + begin, n, kind->k_most, kind->k_length);
        const v128_t inverse = simd_cache_inverse(*scale);
        for (size_t c = begin; c < begin + n; c += 8) {
            const size_t index = cache_k_index(dim, pos, c);
            const v128_t x = simd_to_i16(k + c, inverse, round);
            if (kind->bytes == 2)
                put_k_i16(t->k, index, x);
            else
                put_k_i8(t->k, index, x);
        }
    }
}

static void store_value(const cache_head *h, const cache_tile *t, size_t pos, const float *v) {
    const cache_kind *kind = h->kind;
    const size_t dim = h->v_dim, step = kind->block < dim ? kind->block : dim;
    const v128_t round = wasm_f32x4_splat(EXP_ROUND);
    for (size_t begin = 0; begin < dim; begin += step) {
        const size_t n = dim - begin < step ? dim - begin : step;
        float *scale = t->v_scale + begin / step * CACHE_TILE + pos % CACHE_TILE;
        *scale = simd_cache_scale(v + begin, n, kind->v_most, 0);
        const v128_t inverse = simd_cache_inverse(*scale);
        for (size_t c = begin; c < begin + n; c += 8) {
            const size_t index = cache_v_index(pos, c);
            const v128_t x = simd_to_i16(v + c, inverse, round);
            if (kind->bytes == 2)
                put_v_i16(t->v, index, x);
            else
                put_v_i8(t->v, index, x);
        }
    }
}

static void store_floats(const cache_head *h, const cache_tile *t, size_t pos, const float *k,
                         const float *v) {
    float *key = (float *)(void *)t->k, *value = (float *)(void *)t->v;
    for (size_t c = 0; c < h->k_dim; c += 2)
        memcpy(key + cache_k_index(h->k_dim, pos, c), k + c, 2 * sizeof *k);
    for (size_t c = 0; c < h->v_dim; c++) value[cache_v_index(pos, c)] = v[c];
}

void simd_store(const cache_head *h, size_t pos, const kernel_rope *r, const float *k, const float *v) {
    const cache_tile t = cache_tile_of(h, pos);
    _Alignas(16) float key[CACHE_MAX_DIM];
    memcpy(key, k, h->k_dim * sizeof *k);
    rotate_head(key, r);
    if (!h->kind->block) {
        store_floats(h, &t, pos, key, v);
        return;
    }
    if (h->kind->packed) {
        cache_put(h, pos, key, v);
        return;
    }
    store_key(h, &t, pos, key);
    store_value(h, &t, pos, v);
}
#else
typedef int kernel_simd_cache_is_not_in_this_build;
#endif
