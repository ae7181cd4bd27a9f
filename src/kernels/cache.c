/* The kinds of cache, and their numbers one by one: what the reference kernels and the tests use. */
#include "kernels/cache.h"

#include <math.h>
#include <string.h>

static float get_i16(const void *numbers, size_t i) {
    return ((const int16_t *)numbers)[i];
}
static void put_i16(void *numbers, size_t i, float number) {
    ((int16_t *)numbers)[i] = (int16_t)number;
}
static float get_i8(const void *numbers, size_t i) {
    return ((const int8_t *)numbers)[i];
}
static void put_i8(void *numbers, size_t i, float number) {
    ((int8_t *)numbers)[i] = (int8_t)number;
}
static float get_f32(const void *numbers, size_t i) {
    return ((const float *)numbers)[i];
}
static void put_f32(void *numbers, size_t i, float number) {
    ((float *)numbers)[i] = number;
}

/* Two bytes hold a key's integers to a length of 46300 and a value's to 13 bits and a sign: finer, for the
 * largest numbers of a head, than the 11 bits of a half float. */
const cache_kind cache_kinds[CACHE_KINDS] = {
    [NUT_KV_F16] = {"f16", 2, CACHE_MAX_DIM, 32767, CACHE_LENGTH, 8191, 262000, get_i16, put_i16},
    [NUT_KV_Q8_0] = {"q8_0", 1, 32, 127, 0, 127, 2e6f, get_i8, put_i8},
    [CACHE_F32] = {"f32", 4, 0, 0, 0, 0, 0, get_f32, put_f32},
};

static float scale_at(const cache_head *h, const float *scales, size_t pos, size_t c) {
    return h->kind->block ? scales[c / h->kind->block * CACHE_TILE + pos % CACHE_TILE] : 1;
}

float cache_key(const cache_head *h, size_t pos, size_t c) {
    const cache_tile t = cache_tile_of(h, pos);
    return h->kind->get(t.k, cache_k_index(h->k_dim, pos, c)) * scale_at(h, t.k_scale, pos, c);
}

float cache_value(const cache_head *h, size_t pos, size_t c) {
    const cache_tile t = cache_tile_of(h, pos);
    return h->kind->get(t.v, cache_v_index(pos, c)) * scale_at(h, t.v_scale, pos, c);
}

float cache_scale(float largest, float squares, float most, float length) {
    if (!(largest >= CACHE_LOWEST)) return 0; // also where it is a NaN
    const float by_length = length > 0 ? sqrtf(squares) / length : 0, by_most = largest / most;
    const float scale = by_length > by_most ? by_length : by_most;
    return scale < 0x1p100f ? scale : 0x1p100f;
}

/* The integer nearest to x; 0 where x is no number. */
static float whole(float x, float most) {
    return fabsf(x) <= most + 0.5f ? rintf(x) : 0;
}

/* The scale of n columns of x; the numbers that are stored for them come to y. */
static float to_numbers(const float *x, size_t n, float most, float length, float *y) {
    float largest = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fabsf(x[i]) > largest || x[i] != x[i] ? fabsf(x[i]) : largest;
        squares += x[i] * x[i];
    }
    const float scale = cache_scale(largest, squares, most, length), inverse = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < n; i++) y[i] = whole(x[i] * inverse, most);
    return scale;
}

/* Stores n columns of x that begin at column c of a key (values: not is_key). */
static void put_block(const cache_head *h, size_t pos, size_t c, size_t n, const float *x, bool is_key) {
    const cache_kind *kind = h->kind;
    const cache_tile t = cache_tile_of(h, pos);
    float number[CACHE_MAX_DIM];
    if (kind->block) {
        float *scale = (is_key ? t.k_scale : t.v_scale) + c / kind->block * CACHE_TILE + pos % CACHE_TILE;
        *scale = is_key ? to_numbers(x, n, kind->k_most, kind->k_length, number)
                        : to_numbers(x, n, kind->v_most, 0, number);
    } else {
        memcpy(number, x, n * sizeof *x);
    }
    for (size_t i = 0; i < n; i++)
        if (is_key)
            kind->put(t.k, cache_k_index(h->k_dim, pos, c + i), number[i]);
        else
            kind->put(t.v, cache_v_index(pos, c + i), number[i]);
}

static void put_vector(const cache_head *h, size_t pos, const float *x, size_t dim, bool is_key) {
    const size_t step = h->kind->block ? h->kind->block : dim;
    for (size_t c = 0; c < dim; c += step)
        put_block(h, pos, c, dim - c < step ? dim - c : step, x + c, is_key);
}

void cache_put_key(const cache_head *h, size_t pos, const float *k) {
    put_vector(h, pos, k, h->k_dim, true);
}

void cache_put(const cache_head *h, size_t pos, const float *k, const float *v) {
    cache_put_key(h, pos, k);
    put_vector(h, pos, v, h->v_dim, false);
}
