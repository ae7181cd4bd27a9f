/* The kinds of cache, and their numbers one by one: what the reference kernels and the tests use. */
#include "kernels/cache.h"

#include "base/half.h"

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

/* The values of the 16 codes. For blocks of 64 normal numbers, scaled so that the largest magnitude is 127,
 * they give the least mean squared error (Lloyd 1982, Least squares quantization in PCM). */
const int8_t cache_levels[16] = {-121, -95, -75, -59, -44, -31, -18, -6, 6, 18, 31, 44, 59, 75, 95, 121};

static uint8_t *packed_byte(const void *numbers, size_t i) {
    return (uint8_t *)(uintptr_t)numbers + i / CACHE_PACKED * 16 + i % 16;
}
static float get_i4(const void *numbers, size_t i) {
    const uint8_t byte = *packed_byte(numbers, i);
    return cache_levels[i / 16 % 2 ? byte >> 4 : byte & 15];
}
static void put_i4(void *numbers, size_t i, float number) {
    uint8_t *byte = packed_byte(numbers, i), code = 0;
    while (code < 15 && 2 * number > (float)(cache_levels[code] + cache_levels[code + 1])) code++;
    *byte = i / 16 % 2 ? (uint8_t)((*byte & 15) | code << 4) : (uint8_t)((*byte & 240) | code);
}

enum { PACKED_BLOCK = 128 };

/* Two bytes hold a key's integers to a length of 46300 and a value's to 13 bits and a sign: finer, for the
 * largest numbers of a head, than the 11 bits of a half float. */
const cache_kind cache_kinds[CACHE_KINDS] = {
    [NUT_KV_F16] = {"f16", 2, CACHE_MAX_DIM, false, 32767, CACHE_LENGTH, 8191, 262000, get_i16, put_i16},
    [NUT_KV_Q8_0] = {"q8_0", 1, 32, false, 127, 0, 127, 2e6f, get_i8, put_i8},
    [NUT_KV_Q4_0] = {"q4_0", 1, PACKED_BLOCK, true, 127, 0, 127, 2e6f, get_i4, put_i4},
    [CACHE_F32] = {"f32", 4, 0, false, 0, 0, 0, 0, get_f32, put_f32},
    [CACHE_RECENT] = {"recent", 1, PACKED_BLOCK, false, 127, 0, 127, 2e6f, get_i8, put_i8},
};

/* ---- reading ---- */

float cache_scale_at(const cache_kind *kind, const float *scales, size_t b, size_t pos) {
    const size_t i = b * CACHE_TILE + pos % CACHE_TILE;
    if (!kind->packed) return scales[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)(const void *)scales)[i] << 16;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

static void put_scale(const cache_kind *kind, float *scales, size_t b, size_t pos, float scale) {
    const size_t i = b * CACHE_TILE + pos % CACHE_TILE;
    if (kind->packed)
        memcpy((uint16_t *)(void *)scales + i, (const char *)&scale + 2, 2);
    else
        scales[i] = scale;
}

static float scale_at(const cache_kind *kind, const float *scales, size_t pos, size_t c) {
    return kind->block ? cache_scale_at(kind, scales, c / kind->block, pos) : 1;
}

/* A tile that holds a position, and how. */
typedef struct held_tile {
    const cache_kind *kind;
    cache_tile tile;
} held_tile;

static held_tile in_page(const cache_head *h, size_t pos) {
    return (held_tile){h->kind, cache_tile_of(h, pos)};
}

static held_tile finest(const cache_head *h, size_t pos) {
    return h->recent ? (held_tile){&cache_kinds[CACHE_RECENT], cache_recent(h)} : in_page(h, pos);
}

void cache_transform(float *x, size_t dim) {
    const size_t n = dim & (0 - dim);
    for (size_t step = 1; step < n; step *= 2)
        for (size_t i = 0; i < dim; i += 2 * step)
            for (size_t k = i; k < i + step; k++) {
                const float a = x[k], b = x[k + step];
                x[k] = a + b, x[k + step] = a - b;
            }
    const float by = 1 / sqrtf((float)n);
    for (size_t i = 0; i < dim; i++) x[i] *= by;
}

void cache_turn_table(const cache_turns *t, int16_t *table) {
    for (size_t i = 0; i < t->n_pairs; i++)
        for (size_t p = 0; p < CACHE_TILE; p++) {
            int16_t *to = table + (p / 8 * t->n_pairs + i) * 16 + p % 8 * 2;
            to[0] = (int16_t)rintf(t->cosine[i * CACHE_TURNS + p] * CACHE_TURN_MOST);
            to[1] = (int16_t)rintf(t->sine[i * CACHE_TURNS + p] * CACHE_TURN_MOST);
        }
}

void cache_center(const cache_tile *t, size_t k_dim, float *center) {
    for (size_t c = 0; c < k_dim; c++) center[c] = half_f16_to_f32(t->center[c]);
}

void cache_put_center(const cache_tile *t, size_t k_dim, const float *center) {
    const float most = 65504;
    for (size_t c = 0; c < k_dim; c++) {
        const float x = fabsf(center[c]) <= most ? center[c] : copysignf(most, center[c]);
        t->center[c] = half_f32_to_f16(x);
    }
}

/* x (k_dim) += sign times the center of the position's tile, turned to it. */
static void add_center(const cache_head *h, size_t pos, float sign, float *x) {
    const cache_turns *t = &h->turns;
    const cache_tile tile = cache_tile_of(h, pos);
    float center[CACHE_MAX_DIM];
    cache_center(&tile, h->k_dim, center);
    for (size_t i = 0; i < t->n_pairs; i++) {
        const size_t first = cache_turned(t, i), second = cache_turned_with(t, i),
                     at = i * CACHE_TURNS + pos % CACHE_TILE;
        const float a = center[first], b = center[second], c = t->cosine[at], s = t->sine[at];
        x[first] += sign * (a * c - b * s);
        x[second] += sign * (a * s + b * c);
    }
    for (size_t c = 2 * t->n_pairs; c < h->k_dim; c++) x[c] += sign * center[c];
}

void cache_key_rest(const cache_head *h, size_t pos, float *key) {
    const held_tile t = finest(h, pos);
    for (size_t c = 0; c < h->k_dim; c++)
        key[c] = t.kind->get(t.tile.k, cache_k_index(h->k_dim, pos, c)) *
                 scale_at(t.kind, t.tile.k_scale, pos, c);
    if (h->kind->packed) cache_transform(key, h->k_dim);
}

void cache_key(const cache_head *h, size_t pos, float *key) {
    cache_key_rest(h, pos, key);
    if (h->kind->packed) add_center(h, pos, 1, key);
}

void cache_value(const cache_head *h, size_t pos, float *value) {
    const held_tile t = finest(h, pos);
    for (size_t c = 0; c < h->v_dim; c++)
        value[c] = t.kind->get(t.tile.v, cache_v_index(pos, c)) * scale_at(t.kind, t.tile.v_scale, pos, c);
    if (h->kind->packed) cache_transform(value, h->v_dim);
}

/* ---- writing ---- */

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

/* x as it is stored: of packed numbers its upper half. (GCC 12 leaves out a call of a function that takes
 * the upper half always, where it stands behind an if.) */
static float as_stored(const cache_kind *kind, float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof x);
    bits &= kind->packed ? 0xffff0000u : 0xffffffffu;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The scale of n columns of x; the numbers that are stored for them come to y. */
static float to_numbers(const cache_kind *kind, const float *x, size_t n, float most, float length,
                        float *y) {
    float largest = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fabsf(x[i]) > largest || x[i] != x[i] ? fabsf(x[i]) : largest;
        squares += x[i] * x[i];
    }
    const float scale = as_stored(kind, cache_scale(largest, squares, most, length));
    const float inverse = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < n; i++) y[i] = kind->packed ? x[i] * inverse : whole(x[i] * inverse, most);
    return scale;
}

/* Stores n columns of x that begin at column c of a key of dim columns (values: not is_key). */
static void put_block(const held_tile *to, size_t dim, size_t pos, size_t c, size_t n, const float *x,
                      bool is_key) {
    const cache_kind *kind = to->kind;
    const cache_tile t = to->tile;
    float number[CACHE_MAX_DIM];
    if (kind->block) {
        const float scale = is_key ? to_numbers(kind, x, n, kind->k_most, kind->k_length, number)
                                   : to_numbers(kind, x, n, kind->v_most, 0, number);
        put_scale(kind, is_key ? t.k_scale : t.v_scale, c / kind->block, pos, scale);
    } else {
        memcpy(number, x, n * sizeof *x);
    }
    for (size_t i = 0; i < n; i++)
        if (is_key)
            kind->put(t.k, cache_k_index(dim, pos, c + i), number[i]);
        else
            kind->put(t.v, cache_v_index(pos, c + i), number[i]);
}

static void put_blocks(held_tile to, size_t dim, size_t pos, const float *x, bool is_key) {
    const size_t step = to.kind->block ? to.kind->block : dim;
    for (size_t c = 0; c < dim; c += step)
        put_block(&to, dim, pos, c, dim - c < step ? dim - c : step, x + c, is_key);
}

static void put_vector(const cache_head *h, size_t pos, const float *x, size_t dim, bool is_key) {
    float transformed[CACHE_MAX_DIM];
    if (h->kind->packed) {
        memcpy(transformed, x, dim * sizeof *x);
        cache_transform(transformed, dim);
        x = transformed;
    }
    put_blocks(in_page(h, pos), dim, pos, x, is_key);
    if (h->recent) put_blocks(finest(h, pos), dim, pos, x, is_key);
}

void cache_put_key_rest(const cache_head *h, size_t pos, const float *k) {
    put_vector(h, pos, k, h->k_dim, true);
}

/* x (k_dim) turned from the n-th position of a tile to its first (back), or from that on. */
static void turn(const cache_turns *t, size_t n, bool back, float *x) {
    for (size_t i = 0; i < t->n_pairs; i++) {
        float *first = x + cache_turned(t, i), *second = x + cache_turned_with(t, i);
        const float a = *first, b = *second, c = t->cosine[i * CACHE_TURNS + n],
                    s = back ? -t->sine[i * CACHE_TURNS + n] : t->sine[i * CACHE_TURNS + n];
        *first = a * c - b * s;
        *second = a * s + b * c;
    }
}

/* The center of the tile that begins at pos: the mean of the keys of the tile before, as pages have them,
 * each turned to where the tile begins. */
static void put_center(const cache_head *h, size_t pos) {
    const cache_tile to = cache_tile_of(h, pos);
    float center[CACHE_MAX_DIM], key[CACHE_MAX_DIM];
    cache_head whole = *h;
    whole.recent = NULL;
    for (size_t c = 0; c < h->k_dim; c++) center[c] = h->bias && !pos ? h->bias[c] : 0;
    for (size_t n = 0; pos && n < CACHE_TILE; n++) {
        cache_key_rest(&whole, pos - CACHE_TILE + n, key);
        turn(&h->turns, n, true, key);
        for (size_t c = 0; c < h->k_dim; c++) center[c] += key[c] * (1.0f / (float)CACHE_TILE);
    }
    if (pos) {
        const cache_tile before = cache_tile_of(h, pos - CACHE_TILE);
        cache_center(&before, h->k_dim, key);
        for (size_t c = 0; c < h->k_dim; c++) center[c] += key[c];
        turn(&h->turns, CACHE_TILE, false, center);
    }
    cache_put_center(&to, h->k_dim, center);
}

void cache_put(const cache_head *h, size_t pos, const float *k, const float *v) {
    float rest[CACHE_MAX_DIM];
    memcpy(rest, k, h->k_dim * sizeof *k);
    if (h->kind->packed) {
        if (pos % CACHE_TILE == 0) put_center(h, pos);
        add_center(h, pos, -1, rest);
    }
    put_vector(h, pos, rest, h->k_dim, true);
    put_vector(h, pos, v, h->v_dim, false);
}
