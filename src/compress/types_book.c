/* Types whose codes are entries of code books: what their blocks can hold (fit_book.h), and where it stands.
 * Origin of the places and values: ggml-common.h of llama.cpp (MIT); kernels/blocks_grid.inc reads them. */
#include "compress/types.h"

#include "base/half.h"

#include <string.h>

/* ---- little-endian numbers ---- */

static void put_16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put_32(uint8_t *p, uint32_t v) {
    put_16(p, v);
    put_16(p + 2, v >> 16);
}

static void put_d(const book_block *f, uint8_t *p) {
    put_16(p, half_f32_to_f16(f->d));
}

/* Four bits of each group, or of each second one. */
static void put_halves(const book_block *f, uint32_t n, uint8_t *to) {
    for (uint32_t g = 0; g < n; g++) to[g / 2] |= (uint8_t)(f->scales[g] << (g % 2 ? 4 : 0));
}

/* Signs of seven of each eight columns, and the scale: a word for 32 columns. */
static uint32_t signs_and_scale(const book_block *f, uint32_t unit) {
    uint32_t word = (uint32_t)f->scales[unit] << 28;
    for (uint32_t i = 0; i < 4; i++) word |= (uint32_t)(f->signs[4 * unit + i] & 127) << 7 * i;
    return word;
}

/* ---- two bits ---- */

static void put_iq2_xxs(const book_block *f, uint8_t *block) {
    put_d(f, block);
    for (uint32_t u = 0; u < 8; u++) {
        for (uint32_t i = 0; i < 4; i++) block[2 + 8 * u + i] = (uint8_t)f->codes[4 * u + i];
        put_32(block + 6 + 8 * u, signs_and_scale(f, u));
    }
}

static void put_iq2_xs(const book_block *f, uint8_t *block) {
    put_d(f, block);
    for (uint32_t i = 0; i < 32; i++)
        put_16(block + 2 + 2 * i, f->codes[i] | (uint32_t)(f->signs[i] & 127) << 9);
    put_halves(f, 16, block + 66);
}

static void put_iq2_s(const book_block *f, uint8_t *block) {
    put_d(f, block);
    for (uint32_t i = 0; i < 32; i++) {
        block[2 + i] = (uint8_t)f->codes[i];
        block[34 + i] = f->signs[i];
        block[66 + i / 4] |= (uint8_t)(f->codes[i] >> 8 << 2 * (i % 4));
    }
    put_halves(f, 16, block + 74);
}

/* ---- three bits ---- */

static void put_iq3_xxs(const book_block *f, uint8_t *block) {
    put_d(f, block);
    for (uint32_t i = 0; i < 64; i++) block[2 + i] = (uint8_t)f->codes[i];
    for (uint32_t u = 0; u < 8; u++) put_32(block + 66 + 4 * u, signs_and_scale(f, u));
}

static void put_iq3_s(const book_block *f, uint8_t *block) {
    put_d(f, block);
    for (uint32_t i = 0; i < 64; i++) {
        block[2 + i] = (uint8_t)f->codes[i];
        block[66 + i / 8] |= (uint8_t)(f->codes[i] >> 8 << i % 8);
    }
    memcpy(block + 74, f->signs, sizeof f->signs);
    put_halves(f, 8, block + 106);
}

/* ---- one bit ---- */

static void put_iq1_s(const book_block *f, uint8_t *block) {
    put_d(f, block);
    for (uint32_t u = 0; u < 8; u++) {
        uint32_t high = (uint32_t)f->scales[u] << 12 | (uint32_t)f->signs[4 * u] << 15;
        for (uint32_t i = 0; i < 4; i++) {
            block[2 + 4 * u + i] = (uint8_t)f->codes[4 * u + i];
            high |= (uint32_t)(f->codes[4 * u + i] >> 8) << 3 * i;
        }
        put_16(block + 34 + 2 * u, high);
    }
}

/* The half float is in the upper four bits of the four words of the scales. */
static void put_iq1_m(const book_block *f, uint8_t *block) {
    const uint32_t d = half_f32_to_f16(f->d);
    for (uint32_t i = 0; i < 32; i++) {
        block[i] = (uint8_t)f->codes[i];
        block[32 + i / 2] |= (uint8_t)((f->codes[i] >> 8 | f->signs[i] << 3) << (i % 2 ? 4 : 0));
    }
    for (uint32_t w = 0; w < 4; w++) {
        uint32_t word = (d >> 4 * w & 15) << 12;
        for (uint32_t i = 0; i < 4; i++) word |= (uint32_t)f->scales[4 * w + i] << 3 * i;
        put_16(block + 48 + 2 * w, word);
    }
}

/* ---- the table ---- */

/* As parts of the smallest, or of the largest that has no shift. */
static const float values_2[] = {1, 3.125f, 5.375f}, values_3x[] = {1, 3, 5, 7, 9, 11, 13, 15.5f},
                   values_3s[] = {1, 3, 5, 7, 9, 11, 13, 15}, values_1[] = {-1, 0, 1};

// clang-format off
static const book_kind kinds[TYPE_BOOKS] = {
    // book, columns of an entry, bits, values, signs, columns of a shift, of a group, scale to
    {GRID_IQ3_S,   4, 3, values_3s, BOOK_SIGNS,  0,  32, 15},
    {GRID_IQ3_XXS, 4, 3, values_3x, BOOK_EVEN,   0,  32, 15},
    {GRID_IQ2_S,   8, 2, values_2,  BOOK_SIGNS,  0,  16, 15},
    {GRID_IQ2_XS,  8, 2, values_2,  BOOK_EVEN,   0,  16, 15},
    {GRID_IQ2_XXS, 8, 2, values_2,  BOOK_EVEN,   0,  32, 15},
    {GRID_IQ1,     8, 2, values_1,  BOOK_SHIFTS, 32, 32, 7},
    {GRID_IQ1,     8, 2, values_1,  BOOK_SHIFTS, 8,  16, 7},
};

const type_row type_books[TYPE_BOOKS] = {
    {.id = FORMAT_IQ3_S,   .shorter = FORMAT_IQ4_NL, .book = &kinds[0], .put_book = put_iq3_s},
    {.id = FORMAT_IQ3_XXS, .shorter = FORMAT_IQ4_NL, .book = &kinds[1], .put_book = put_iq3_xxs},
    {.id = FORMAT_IQ2_S,   .shorter = FORMAT_IQ4_NL, .book = &kinds[2], .put_book = put_iq2_s},
    {.id = FORMAT_IQ2_XS,  .shorter = FORMAT_IQ4_NL, .book = &kinds[3], .put_book = put_iq2_xs},
    {.id = FORMAT_IQ2_XXS, .shorter = FORMAT_IQ4_NL, .book = &kinds[4], .put_book = put_iq2_xxs},
    {.id = FORMAT_IQ1_S,   .shorter = FORMAT_IQ4_NL, .book = &kinds[5], .put_book = put_iq1_s},
    {.id = FORMAT_IQ1_M,   .shorter = FORMAT_IQ4_NL, .book = &kinds[6], .put_book = put_iq1_m},
};
// clang-format on
