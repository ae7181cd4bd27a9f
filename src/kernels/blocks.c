/*
 * Blocks to floats and back: dequantization exactly as ggml-quants.c (llama.cpp, MIT) computes it, in the
 * same order of float operations; round-to-nearest quantization as its quantize_row_*_ref functions do.
 */
#include "kernels/blocks.h"
#include "base/half.h"

#include <math.h>

static float half_at(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, 2);
    return half_f16_to_f32(h);
}

static void half_put(uint8_t *p, float f) {
    uint16_t h = half_f32_to_f16(f);
    memcpy(p, &h, 2);
}

/* ---- to floats ---- */

/* w = d * (code - offset) per 32, then + m where there is one. */
BLOCK_INLINE void simple_dequantize(const block_layout *l, const uint8_t *src, float *dst) {
    uint32_t codes[UNIT_WORDS];
    block_codes(l, src, codes);
    float d = half_at(src + l->half_at[0]), m = l->n_half == 2 ? half_at(src + l->half_at[1]) : 0;
    for (uint32_t c = 0; c < BLOCK_UNIT; c++) {
        int32_t code = (int32_t)(codes[c / 4] >> 8 * (c % 4) & 255u) - l->offset;
        dst[c] = l->n_half == 2 ? (float)code * d + m : (float)code * d;
    }
}

/* w = (d * scale) * code - dmin * min per sub-block of 32. */
BLOCK_INLINE void min_k_dequantize(const block_layout *l, const uint8_t *src, float *dst) {
    uint32_t codes[BLOCK_WORDS];
    block_codes(l, src, codes);
    float d = half_at(src + l->half_at[0]), dmin = half_at(src + l->half_at[1]);
    for (uint32_t s = 0; s < l->n_units; s++) {
        uint32_t scale, min;
        block_scale_min(src + l->scale_at, 1, s, &scale, &min);
        float ds = d * (float)scale, ms = dmin * (float)min;
        for (uint32_t c = BLOCK_UNIT * s; c < BLOCK_UNIT * (s + 1); c++)
            dst[c] = ds * (float)(codes[c / 4] >> 8 * (c % 4) & 255u) - ms;
    }
}

#define SIMPLE(name)                                                                                        \
    void dequantize_##name(const uint8_t *src, size_t n_blocks, float *dst) {                               \
        for (size_t b = 0; b < n_blocks; b++)                                                               \
            simple_dequantize(&block_##name, src + b * block_##name.bytes, dst + BLOCK_UNIT * b);           \
    }
SIMPLE(Q4_0)
SIMPLE(Q4_1)
SIMPLE(Q5_0)
SIMPLE(Q5_1)

#define MIN_K(name)                                                                                         \
    void dequantize_##name(const uint8_t *src, size_t n_blocks, float *dst) {                               \
        for (size_t b = 0; b < n_blocks; b++)                                                               \
            min_k_dequantize(&block_##name, src + b * block_##name.bytes, dst + FORMAT_MAX_BLOCK * b);      \
    }
MIN_K(Q4_K)
MIN_K(Q5_K)

/* w = (d * scale) * (code - 32) per sub-block of 16, scales signed. */
void dequantize_Q6_K(const uint8_t *src, size_t n_blocks, float *dst) {
    const block_layout *l = &block_Q6_K;
    for (size_t b = 0; b < n_blocks; b++, src += l->bytes, dst += FORMAT_MAX_BLOCK) {
        uint32_t codes[BLOCK_WORDS];
        block_codes(l, src, codes);
        float d = half_at(src + l->half_at[0]);
        for (uint32_t c = 0; c < FORMAT_MAX_BLOCK; c++) {
            float ds = d * (float)(int8_t)src[l->scale_at + c / 16];
            dst[c] = ds * (float)((int32_t)(codes[c / 4] >> 8 * (c % 4) & 255u) - l->offset);
        }
    }
}

enum { Q8_BYTES = 34 };

void dequantize_Q8_0(const uint8_t *src, size_t n_blocks, float *dst) {
    for (size_t b = 0; b < n_blocks; b++, src += Q8_BYTES, dst += BLOCK_UNIT) {
        float d = half_at(src);
        for (uint32_t c = 0; c < BLOCK_UNIT; c++) dst[c] = (float)(int8_t)src[2 + c] * d;
    }
}

void dequantize_F32(const uint8_t *src, size_t n, float *dst) {
    memcpy(dst, src, n * sizeof(float));
}

void dequantize_F16(const uint8_t *src, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) dst[i] = half_at(src + 2 * i);
}

void dequantize_BF16(const uint8_t *src, size_t n, float *dst) {
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, 2);
        dst[i] = half_bf16_to_f32(h);
    }
}

/* ---- from floats ---- */

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
    for (size_t b = 0; b < n_blocks; b++, src += BLOCK_UNIT, dst += Q8_BYTES) {
        float amax = 0;
        for (int c = 0; c < BLOCK_UNIT; c++) amax = fabsf(src[c]) > amax ? fabsf(src[c]) : amax;
        float d = amax / 127.0f, inverse = d != 0 ? 1.0f / d : 0;
        half_put(dst, d);
        for (int c = 0; c < BLOCK_UNIT; c++)
            dst[2 + c] = (uint8_t)clamp_int(roundf(src[c] * inverse), -127, 127);
    }
}

/* Stores 32 codes of 4 bits given one by one: byte i holds columns i and i + 16. */
static void put_nibble(uint8_t *low, int column, int code) {
    low[column % 16] = (uint8_t)(column < 16 ? code : low[column % 16] | code << 4);
}

void quantize_Q4_0(const float *src, size_t n_blocks, uint8_t *dst) {
    for (size_t b = 0; b < n_blocks; b++, src += BLOCK_UNIT, dst += block_Q4_0.bytes) {
        /* The value of largest magnitude, with its sign: it becomes code 0, -8 * d. Its magnitude has a
         * variable of its own because clang 19 drops the sign of `|x| > |extreme| ? x : extreme` at -O3
         * with AVX and for wasm. */
        float amax = 0, extreme = 0;
        for (int c = 0; c < BLOCK_UNIT; c++)
            if (fabsf(src[c]) > amax) amax = fabsf(src[c]), extreme = src[c];
        float d = extreme / -8.0f, inverse = d != 0 ? 1.0f / d : 0;
        half_put(dst, d);
        for (int c = 0; c < BLOCK_UNIT; c++)
            put_nibble(dst + block_Q4_0.low_at, c, clamp_int(src[c] * inverse + 8.5f, 0, 15));
    }
}

void quantize_Q4_1(const float *src, size_t n_blocks, uint8_t *dst) {
    for (size_t b = 0; b < n_blocks; b++, src += BLOCK_UNIT, dst += block_Q4_1.bytes) {
        float min = src[0], max = src[0];
        for (int c = 1; c < BLOCK_UNIT; c++) {
            min = src[c] < min ? src[c] : min;
            max = src[c] > max ? src[c] : max;
        }
        float d = (max - min) / 15.0f, inverse = d != 0 ? 1.0f / d : 0;
        half_put(dst, d);
        half_put(dst + 2, min);
        for (int c = 0; c < BLOCK_UNIT; c++)
            put_nibble(dst + block_Q4_1.low_at, c, clamp_int((src[c] - min) * inverse + 0.5f, 0, 15));
    }
}
