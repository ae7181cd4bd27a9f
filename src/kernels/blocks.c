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
GGML_FORMAT_LIST(NUT_X)
#undef NUT_X

#define NUT_X(name, layout, type, block, bytes, ...)                                                        \
    FLOATS(static void table_##name, (const uint8_t *table, const uint8_t *src, size_t n, float *dst),      \
           table, name, layout, bytes)                                                                      \
    void dequantize_##name(const uint8_t *src, size_t n, float *dst) {                                      \
        table_##name(NULL, src, n, dst);                                                                    \
    }
OWN_FORMAT_LIST(NUT_X)
#undef NUT_X

void format_floats(const format *f, const uint8_t *table, const uint8_t *src, size_t n, float *dst) {
    switch (f->id) {
#define NUT_X(name, ...)                                                                                    \
    case FORMAT_##name: table_##name(table, src, n, dst); return;
        OWN_FORMAT_LIST(NUT_X)
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
