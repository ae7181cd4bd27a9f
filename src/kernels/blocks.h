/*
 * Blocks: how a quantized block of 32 or 256 weights lies in a file, in one description per format, and the
 * codes in it.
 *
 * The *codes* of a block are its unsigned integers of 4 to 6 bits, one byte each, in the logical order of
 * the columns, held four to a word (column 4j + i in byte i of word j). ggml stores them in several orders;
 * this header is the only place that knows which. pack.c permutes codes into groups, blocks.c turns them
 * into floats.
 *
 * Origin of the layouts: ggml-common.h and the dequantize_row_* functions of ggml-quants.c in llama.cpp
 * (MIT). The machine must be little-endian, as wasm is.
 */
#ifndef NUT_KERNELS_BLOCKS_H
#define NUT_KERNELS_BLOCKS_H

#include "kernels/formats.h"

#include <string.h>

#define BLOCK_INLINE static inline __attribute__((always_inline))

enum { BLOCK_UNIT = 32 }; // columns of a unit: one activation block
enum { BLOCK_WORDS = FORMAT_MAX_BLOCK / 4, UNIT_WORDS = BLOCK_UNIT / 4 };

/* Order of the low nibbles: how the two halves of a byte map to columns. */
typedef enum block_order {
    ORDER_HALVES, // per 32 columns: byte i holds columns i and i + 16
    ORDER_PAIRS,  // per 64 columns: byte i holds columns i and i + 32
    ORDER_Q6_K,   // per 128 columns: byte i holds columns i and i + 64
} block_order;

typedef struct block_layout {
    uint8_t bytes;                                 // of a block in a file
    uint8_t n_units;                               // units of 32 columns
    uint8_t n_high;                                // bits beyond the low four: 0, 1, 2
    uint8_t offset;                                // what is subtracted from a code
    uint8_t n_half;                                // f16 values in front of the scales: d, or d and m
    uint8_t n_scale;                               // bytes of sub-block scales
    uint8_t half_at[2], scale_at, high_at, low_at; // byte offsets in the file's block
    block_order order;
} block_layout;

// clang-format off
/* Formats whose weights are codes; X(name, layout). */
#define BLOCK_LAYOUTS(X)                                                                                  \
    /*       bytes n_units high offset half scale  half_at     scale_at high_at low_at order */           \
    X(Q4_0, {18,   1,      0,   8,     1,   0,     {0, 0},     0,       0,      2,     ORDER_HALVES})     \
    X(Q4_1, {20,   1,      0,   0,     2,   0,     {0, 2},     0,       0,      4,     ORDER_HALVES})     \
    X(Q5_0, {22,   1,      1,   16,    1,   0,     {0, 0},     0,       2,      6,     ORDER_HALVES})     \
    X(Q5_1, {24,   1,      1,   0,     2,   0,     {0, 2},     0,       4,      8,     ORDER_HALVES})     \
    X(Q4_K, {144,  8,      0,   0,     2,   12,    {0, 2},     4,       0,      16,    ORDER_PAIRS})      \
    X(Q5_K, {176,  8,      1,   0,     2,   12,    {0, 2},     4,       16,     48,    ORDER_PAIRS})      \
    X(Q6_K, {210,  8,      2,   32,    1,   16,    {208, 208}, 192,     128,    0,     ORDER_Q6_K})
// clang-format on

#define NUT_X(name, ...) static const block_layout block_##name = __VA_ARGS__;
BLOCK_LAYOUTS(NUT_X)
#undef NUT_X

BLOCK_INLINE uint32_t word_load(const uint8_t *p) {
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

BLOCK_INLINE void word_store(uint8_t *p, uint32_t w) {
    memcpy(p, &w, 4);
}

/* The byte offset of word w (columns 4w..4w+3) among the low nibbles; *high receives whether it is the upper
 * half. */
BLOCK_INLINE uint32_t low_place(block_order order, uint32_t w, bool *high) {
    uint32_t span = order == ORDER_HALVES ? 4 : order == ORDER_PAIRS ? 8 : 16; // words in one half
    *high = (w / span) & 1;
    return 4 * (w / (2 * span) * span + w % span);
}

/* The high bits of word w's four codes, in bits 0 and 1 of each byte. */
BLOCK_INLINE uint32_t high_load(const block_layout *l, const uint8_t *src, uint32_t w) {
    const uint8_t *high = src + l->high_at;
    if (l->order == ORDER_PAIRS) return word_load(high + 4 * (w % 8)) >> (w / 8) & 0x01010101u;
    if (l->order == ORDER_Q6_K)
        return word_load(high + 4 * (w / 32 * 8 + w % 8)) >> (2 * (w / 8 % 4)) & 0x03030303u;
    uint32_t four = word_load(high) >> (4 * w) & 15u; // bit c is column c's
    return (four & 1) | (four & 2) << 7 | (four & 4) << 14 | (four & 8) << 21;
}

/* Adds the high bits of word w to cleared or partly written high bytes. */
BLOCK_INLINE void high_store(const block_layout *l, uint8_t *dst, uint32_t w, uint32_t bits) {
    uint8_t *high = dst + l->high_at;
    if (l->order == ORDER_PAIRS) {
        high += 4 * (w % 8), bits <<= w / 8;
    } else if (l->order == ORDER_Q6_K) {
        high += 4 * (w / 32 * 8 + w % 8), bits <<= 2 * (w / 8 % 4);
    } else {
        bits = ((bits & 1) | (bits >> 7 & 2) | (bits >> 14 & 4) | (bits >> 21 & 8)) << (4 * w);
    }
    word_store(high, word_load(high) | bits);
}

/* Codes of a block in a file, (8 * n_units words). */
BLOCK_INLINE void block_codes(const block_layout *l, const uint8_t *src, uint32_t *codes) {
    for (uint32_t w = 0; w < UNIT_WORDS * l->n_units; w++) {
        bool upper;
        uint32_t place = low_place(l->order, w, &upper);
        codes[w] = word_load(src + l->low_at + place) >> (upper ? 4 : 0) & 0x0f0f0f0fu;
        if (l->n_high) codes[w] |= high_load(l, src, w) << 4;
    }
}

/* The inverse, into a cleared block. */
BLOCK_INLINE void block_set_codes(const block_layout *l, const uint32_t *codes, uint8_t *dst) {
    for (uint32_t w = 0; w < UNIT_WORDS * l->n_units; w++) {
        bool upper;
        uint8_t *low = dst + l->low_at + low_place(l->order, w, &upper);
        word_store(low, word_load(low) | (codes[w] & 0x0f0f0f0fu) << (upper ? 4 : 0));
        if (l->n_high) high_store(l, dst, w, codes[w] >> 4 & 0x03030303u);
    }
}

/* The 6-bit scale and min of sub-block s (0..7) from the 12 bytes of Q4_K and Q5_K, `stride` bytes apart. */
BLOCK_INLINE void block_scale_min(const uint8_t *q, size_t stride, uint32_t s, uint32_t *scale,
                                  uint32_t *min) {
    if (s < 4) {
        *scale = q[s * stride] & 63u, *min = q[(s + 4) * stride] & 63u;
    } else {
        uint32_t both = q[(s + 4) * stride];
        *scale = (both & 15u) | (uint32_t)(q[(s - 4) * stride] >> 6) << 4;
        *min = both >> 4 | (uint32_t)(q[s * stride] >> 6) << 4;
    }
}

/* The functions of the formats table, one of each kind per format that has it. */
#define NUT_X(name)                                                                                         \
    bool pack_##name(uint8_t *group, uint32_t lane, size_t first_block, size_t n_blocks,                    \
                     const uint8_t *src);                                                                   \
    void unpack_##name(const uint8_t *group, uint32_t lane, size_t first_block, size_t n_blocks,            \
                       uint8_t *dst);                                                                       \
    void dequantize_##name(const uint8_t *src, size_t n_blocks, float *dst);
FORMAT_LIST(NUT_X)
#undef NUT_X
void quantize_F32(const float *src, size_t n_blocks, uint8_t *dst);
void quantize_F16(const float *src, size_t n_blocks, uint8_t *dst);
void quantize_BF16(const float *src, size_t n_blocks, uint8_t *dst);
void quantize_Q8_0(const float *src, size_t n_blocks, uint8_t *dst);
void quantize_Q4_0(const float *src, size_t n_blocks, uint8_t *dst);
void quantize_Q4_1(const float *src, size_t n_blocks, uint8_t *dst);

#endif
