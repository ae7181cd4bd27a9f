/*
 * Blocks to floats and back: dequantization exactly as ggml-quants.c (llama.cpp, MIT) computes it, in the
 * same order of float operations; round-to-nearest quantization as its quantize_row_*_ref functions do.
 */
#include "kernels/blocks.h"
#include "base/half.h"
#include "kernels/blocks.inc"

#include <math.h>

/* ---- to floats ---- */

#define FLOATS(function, params, own, name, layout, bytes)                                                  \
    function params {                                                                                       \
        block_parts parts = {.table = own};                                                                 \
        for (size_t b = 0; b < n; b++) {                                                                    \
            read_##name(src + b * bytes, &parts);                                                           \
            layout_floats(&layout_##layout, &parts, dst + b * layout_columns(&layout_##layout));            \
        }                                                                                                   \
    }

#define NUT_X(name, layout, type, block, bytes, ...)                                                        \
    FLOATS(void dequantize_##name, (const uint8_t *src, size_t n, float *dst), NULL, name, layout, bytes)
MAIN_FORMAT_LIST(NUT_X)
#ifndef NUT_PAGES
MORE_FORMAT_LIST(NUT_X)
OWN_FORMAT_LIST(NUT_X)
#endif
#undef NUT_X

#define NUT_X(name, layout, type, block, bytes, ...)                                                        \
    FLOATS(static void table_##name, (const uint8_t *table, const uint8_t *src, size_t n, float *dst),      \
           table, name, layout, bytes)                                                                      \
    void dequantize_##name(const uint8_t *src, size_t n, float *dst) {                                      \
        table_##name(NULL, src, n, dst);                                                                    \
    }
TABLE_FORMAT_LIST(NUT_X)
#undef NUT_X

/* ---- of which half are zero ---- */

/* The columns that are kept of each four, a bit each, by pattern; the last two are not written. */
enum { PATTERNS = 0x33CA6953 };

/* The columns that are kept, a bit each. */
BLOCK_SMALL static uint32_t kept_of(const sparse_kind *k, const uint8_t *places) {
    uint32_t all = 0, kept = 0;
    for (uint32_t i = 0; i < k->n_places; i++) all |= (uint32_t)places[i] << 8 * i;
    for (uint32_t w = 0; w < UNIT_WORDS; w++)
        kept |= ((uint32_t)PATTERNS >> 4 * (all >> 3 * w & 7u) & 15u) << 4 * w;
    return k->n_places == 4 ? all : kept;
}

BLOCK_SMALL void blocks_fill(const sparse_kind *k, const uint8_t *src, uint8_t *dense) {
    const bool nibbles = k->dense == BLOCK_BYTES_Q4_0;
    const uint32_t kept = kept_of(k, src + 2);
    const uint8_t *codes = src + 2 + k->n_places;
    memcpy(dense, src, 2);
    memset(dense + 2, nibbles ? 0x88 : 0, k->dense - 2u);
    for (uint32_t c = 0, i = 0; c < FORMAT_UNIT; c++) {
        if (!(kept >> c & 1)) continue;
        const uint32_t at = i++ % (FORMAT_UNIT / 2); // a damaged block may ask for more than there are
        if (nibbles)
            dense[2 + c % 16] ^= (uint8_t)(((codes[at / 2] >> 4 * (at % 2) & 15u) ^ 8u) << 4 * (c / 16));
        else
            dense[2 + c] = codes[at];
    }
}

#ifndef NUT_PAGES
static void floats_sparse(void (*floats)(const uint8_t *, size_t, float *), const sparse_kind *k,
                          const uint8_t *src, size_t n, float *dst) {
    uint8_t dense[SPARSE_MOST];
    for (size_t b = 0; b < n; b++, src += k->bytes, dst += FORMAT_UNIT) {
        blocks_fill(k, src, dense);
        floats(dense, 1, dst);
    }
}

#define NUT_X(name, layout, type, block, bytes, quantize, dense, n_places)                                  \
    void dequantize_##name(const uint8_t *src, size_t n, float *dst) {                                      \
        floats_sparse(dequantize_##dense, &sparse_##name, src, n, dst);                                     \
    }
SPARSE_FORMAT_LIST(NUT_X)
#undef NUT_X
#endif

#define NUT_X(name, layout, type, block, bytes, quantize, dense, n_places)                                  \
    const sparse_kind sparse_##name = {bytes, n_places, BLOCK_BYTES_##dense};
SPARSE_FORMAT_LIST(NUT_X)
#undef NUT_X

/* ---- in a page ---- */

void blocks_floats_packed(const format *f, const uint8_t *src, size_t n, float *dst) {
    _Alignas(16) uint8_t group[FORMAT_MAX_BYTES * FORMAT_LANES];
    for (size_t b = 0; b < n; b++, src += f->bytes, dst += f->block) {
        memset(group, 0, sizeof group);
        const bool right = f->pack(group, 0, 0, 1, src);
        f->layout->floats(group, NULL, 0, 0, 1, dst);
        for (uint32_t c = 0; !right && c < f->block; c++) dst[c] = NAN;
    }
}

#ifdef NUT_PAGES
#define NUT_X(name, ...)                                                                                    \
    void dequantize_##name(const uint8_t *src, size_t n, float *dst) {                                      \
        blocks_floats_packed(&format_table[FORMAT_##name], src, n, dst);                                    \
    }
MORE_FORMAT_LIST(NUT_X)
OWN_FORMAT_LIST(NUT_X)
SPARSE_FORMAT_LIST(NUT_X)
#undef NUT_X
#endif

/* ---- of a tensor with a table ---- */

void format_floats(const format *f, const uint8_t *table, const uint8_t *src, size_t n, float *dst) {
    switch (f->id) {
#define NUT_X(name, ...)                                                                                    \
    case FORMAT_##name: table_##name(table, src, n, dst); return;
        TABLE_FORMAT_LIST(NUT_X)
#undef NUT_X
    default: f->dequantize(src, n, dst);
    }
}

void dequantize_F32(const uint8_t *src, size_t n, float *dst) {
    memcpy(dst, src, n * sizeof(float));
}

void dequantize_F16(const uint8_t *src, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, 2);
        dst[i] = half_f16_to_f32(h);
    }
}

void dequantize_BF16(const uint8_t *src, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, 2);
        dst[i] = half_bf16_to_f32(h);
    }
}

/* ---- from floats ---- */

static void half_put(uint8_t *p, float f) {
    const uint16_t h = half_f32_to_f16(f);
    memcpy(p, &h, 2);
}

void quantize_F32(const float *src, size_t n, uint8_t *dst) {
    memcpy(dst, src, n * sizeof(float));
}

void quantize_F16(const float *src, size_t n, uint8_t *dst) {
    for (size_t i = 0; i < n; i++) half_put(dst + 2 * i, src[i]);
}

void quantize_BF16(const float *src, size_t n, uint8_t *dst) {
    for (size_t i = 0; i < n; i++) {
        uint16_t h = half_f32_to_bf16(src[i]);
        memcpy(dst + 2 * i, &h, 2);
    }
}

/* x as an integer in lo..hi; 0 for a NaN, so that weights that are not finite cost no undefined conversion.
 */
static int clamp_int(float x, int lo, int hi) {
    if (!(x == x)) return 0;
    return x <= (float)lo ? lo : x >= (float)hi ? hi : (int)x;
}

void quantize_Q8_0(const float *src, size_t n_blocks, uint8_t *dst) {
    for (size_t b = 0; b < n_blocks; b++, src += FORMAT_UNIT, dst += BLOCK_BYTES_Q8_0) {
        float amax = 0;
        for (int c = 0; c < FORMAT_UNIT; c++) amax = fabsf(src[c]) > amax ? fabsf(src[c]) : amax;
        float d = amax / 127.0f, inverse = d != 0 ? 1.0f / d : 0;
        half_put(dst, d);
        for (int c = 0; c < FORMAT_UNIT; c++)
            dst[places_Q8_0.low + c] = (uint8_t)clamp_int(roundf(src[c] * inverse), -127, 127);
    }
}

/* Stores 32 codes of 4 bits given one by one: byte i holds columns i and i + 16. */
static void put_nibble(uint8_t *low, int column, int code) {
    low[column % 16] = (uint8_t)(column < 16 ? code : low[column % 16] | code << 4);
}

void quantize_Q4_0(const float *src, size_t n_blocks, uint8_t *dst) {
    for (size_t b = 0; b < n_blocks; b++, src += FORMAT_UNIT, dst += BLOCK_BYTES_Q4_0) {
        /* The value of largest magnitude, with its sign: it becomes code 0, -8 * d. Its magnitude has a
         * variable of its own because clang 19 drops the sign of `|x| > |extreme| ? x : extreme` at -O3
         * with AVX and for wasm. */
        float amax = 0, extreme = 0;
        for (int c = 0; c < FORMAT_UNIT; c++)
            if (fabsf(src[c]) > amax) amax = fabsf(src[c]), extreme = src[c];
        float d = extreme / -8.0f, inverse = d != 0 ? 1.0f / d : 0;
        half_put(dst, d);
        for (int c = 0; c < FORMAT_UNIT; c++)
            put_nibble(dst + places_Q4_0.low, c, clamp_int(src[c] * inverse + 8.5f, 0, 15));
    }
}

void quantize_Q4_1(const float *src, size_t n_blocks, uint8_t *dst) {
    for (size_t b = 0; b < n_blocks; b++, src += FORMAT_UNIT, dst += BLOCK_BYTES_Q4_1) {
        float min = src[0], max = src[0];
        for (int c = 1; c < FORMAT_UNIT; c++) {
            min = src[c] < min ? src[c] : min;
            max = src[c] > max ? src[c] : max;
        }
        float d = (max - min) / 15.0f, inverse = d != 0 ? 1.0f / d : 0;
        half_put(dst, d);
        half_put(dst + places_Q4_1.half[1], min);
        for (int c = 0; c < FORMAT_UNIT; c++)
            put_nibble(dst + places_Q4_1.low, c, clamp_int((src[c] - min) * inverse + 0.5f, 0, 15));
    }
}
