/*
 * Packing: the blocks of one row into its lane of a group of 8 rows, and back. Only bytes and nibbles move;
 * the layouts are those in formats.h. A row arrives in pieces as the file does, so that a lane is written
 * alone.
 *
 * The halves of a block, scales and minimums, are multiplied by 2^10 on the way: then none is subnormal, and
 * the kernels turn a half into a float by a shift and a mask. That is exact, and undone when unpacking, for
 * all halves below 64; a larger one is refused, as no model has such weights.
 */
#include "kernels/blocks.h"

enum { L = FORMAT_LANES };

/* ---- halves ---- */

enum { UP = FORMAT_HALF_UP, HALF_BITS = 10, HALF_ONE = 1 << HALF_BITS };

/* A half times 2^UP to dst; false, and nothing written, where it is too large or not a number. */
BLOCK_INLINE bool half_up(uint8_t *dst, const uint8_t *src) {
    uint16_t h;
    memcpy(&h, src, 2);
    uint32_t magnitude = h & 0x7fffu, exponent = magnitude >> HALF_BITS;
    if (exponent + UP > 30) return false;
    if (exponent > 0) {
        magnitude += UP << HALF_BITS;
    } else if (magnitude > 0) { // subnormal: m * 2^-24
        uint32_t e = UP + 1;
        for (; magnitude < HALF_ONE; magnitude <<= 1) e--;
        magnitude += (e - 1) << HALF_BITS;
    }
    h = (uint16_t)(magnitude | (h & 0x8000u));
    memcpy(dst, &h, 2);
    return true;
}

/* The inverse. */
BLOCK_INLINE void half_down(uint8_t *dst, const uint8_t *src) {
    uint16_t h;
    memcpy(&h, src, 2);
    uint32_t magnitude = h & 0x7fffu, exponent = magnitude >> HALF_BITS;
    if (exponent > UP)
        magnitude -= UP << HALF_BITS;
    else if (magnitude > 0)
        magnitude = (magnitude % HALF_ONE | HALF_ONE) >> (UP + 1 - exponent);
    h = (uint16_t)(magnitude | (h & 0x8000u));
    memcpy(dst, &h, 2);
}

/* ---- codes: Q4_0 .. Q6_K ---- */

enum { NIBBLE_BYTES = 128, HIGH_BYTES = 32 }; // of one unit, per bit beyond the fourth

/* The words of one unit, 8 rows; high bits come first, then nibbles. */
BLOCK_INLINE void unit_pack(uint8_t *unit, uint32_t lane, uint32_t n_high, const uint32_t *codes) {
    uint8_t *low = unit + n_high * HIGH_BYTES + 4 * (lane % 4);
    for (uint32_t j = 0; j < UNIT_WORDS; j++) {
        uint32_t nibbles = codes[j] & 0x0f0f0f0fu;
        word_store(low + 16 * j, word_load(low + 16 * j) | nibbles << (lane < 4 ? 0 : 4));
    }
    for (uint32_t part = 0; part < n_high; part++) {
        uint32_t bits = 0, steps = UNIT_WORDS / n_high; // steps that share a byte
        for (uint32_t j = 0; j < steps; j++)
            bits |= (codes[part * steps + j] >> 4 & (n_high == 2 ? 0x03030303u : 0x01010101u)) << n_high * j;
        word_store(unit + HIGH_BYTES * part + 4 * lane, bits);
    }
}

BLOCK_INLINE void unit_unpack(const uint8_t *unit, uint32_t lane, uint32_t n_high, uint32_t *codes) {
    const uint8_t *low = unit + n_high * HIGH_BYTES + 4 * (lane % 4);
    for (uint32_t j = 0; j < UNIT_WORDS; j++)
        codes[j] = word_load(low + 16 * j) >> (lane < 4 ? 0 : 4) & 0x0f0f0f0fu;
    for (uint32_t part = 0; part < n_high; part++) {
        uint32_t bits = word_load(unit + HIGH_BYTES * part + 4 * lane), steps = UNIT_WORDS / n_high;
        for (uint32_t j = 0; j < steps; j++)
            codes[part * steps + j] |= (bits >> n_high * j & (n_high == 2 ? 0x03030303u : 0x01010101u)) << 4;
    }
}

BLOCK_INLINE bool codes_pack(const block_layout *l, uint8_t *to, uint32_t lane, const uint8_t *src) {
    bool right = true;
    for (uint32_t h = 0; h < l->n_half; h++, to += 2 * L)
        right &= half_up(to + 2 * lane, src + l->half_at[h]);
    for (uint32_t s = 0; s < l->n_scale; s++, to += L) to[lane] = src[l->scale_at + s];
    uint32_t codes[BLOCK_WORDS];
    block_codes(l, src, codes);
    for (uint32_t u = 0; u < l->n_units; u++, to += NIBBLE_BYTES + l->n_high * HIGH_BYTES)
        unit_pack(to, lane, l->n_high, codes + UNIT_WORDS * u);
    return right;
}

BLOCK_INLINE void codes_unpack(const block_layout *l, const uint8_t *from, uint32_t lane, uint8_t *dst) {
    memset(dst, 0, l->bytes);
    for (uint32_t h = 0; h < l->n_half; h++, from += 2 * L) half_down(dst + l->half_at[h], from + 2 * lane);
    for (uint32_t s = 0; s < l->n_scale; s++, from += L) dst[l->scale_at + s] = from[lane];
    uint32_t codes[BLOCK_WORDS];
    for (uint32_t u = 0; u < l->n_units; u++, from += NIBBLE_BYTES + l->n_high * HIGH_BYTES)
        unit_unpack(from, lane, l->n_high, codes + UNIT_WORDS * u);
    block_set_codes(l, codes, dst);
}

#define NUT_X(name, ...)                                                                                    \
    bool pack_##name(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src) {           \
        const size_t bytes = block_##name.bytes;                                                            \
        bool right = true;                                                                                  \
        for (size_t b = 0; b < n; b++)                                                                      \
            right &= codes_pack(&block_##name, group + (first + b) * bytes * L, lane, src + b * bytes);     \
        return right;                                                                                       \
    }                                                                                                       \
    void unpack_##name(const uint8_t *group, uint32_t lane, size_t first, size_t n, uint8_t *dst) {         \
        const size_t bytes = block_##name.bytes;                                                            \
        for (size_t b = 0; b < n; b++)                                                                      \
            codes_unpack(&block_##name, group + (first + b) * bytes * L, lane, dst + b * bytes);            \
    }
BLOCK_LAYOUTS(NUT_X)
#undef NUT_X

/* ---- Q8_0 ---- */

enum { Q8_BYTES = 34 };

bool pack_Q8_0(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src) {
    bool right = true;
    for (size_t b = 0; b < n; b++, src += Q8_BYTES) {
        uint8_t *to = group + (first + b) * Q8_BYTES * L;
        right &= half_up(to + 2 * lane, src);
        for (uint32_t j = 0; j < UNIT_WORDS; j++)
            memcpy(to + 2 * L + 4 * L * j + 4 * lane, src + 2 + 4 * j, 4);
    }
    return right;
}

void unpack_Q8_0(const uint8_t *group, uint32_t lane, size_t first, size_t n, uint8_t *dst) {
    for (size_t b = 0; b < n; b++, dst += Q8_BYTES) {
        const uint8_t *from = group + (first + b) * Q8_BYTES * L;
        half_down(dst, from + 2 * lane);
        for (uint32_t j = 0; j < UNIT_WORDS; j++)
            memcpy(dst + 2 + 4 * j, from + 2 * L + 4 * L * j + 4 * lane, 4);
    }
}

/* ---- floats ---- */

#define PACK_FLOATS(name, size)                                                                             \
    bool pack_##name(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src) {           \
        for (size_t c = 0; c < n; c++)                                                                      \
            memcpy(group + size * (L * (first + c) + lane), src + size * c, size);                          \
        return true;                                                                                        \
    }                                                                                                       \
    void unpack_##name(const uint8_t *group, uint32_t lane, size_t first, size_t n, uint8_t *dst) {         \
        for (size_t c = 0; c < n; c++)                                                                      \
            memcpy(dst + size * c, group + size * (L * (first + c) + lane), size);                          \
    }
PACK_FLOATS(F32, 4)
PACK_FLOATS(F16, 2)
PACK_FLOATS(BF16, 2)
