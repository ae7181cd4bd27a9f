/*
 * Finding a block of a type whose codes are entries of a code book (kernels/grids.h): a number d, an odd
 * number 2 s + 1 of each group of columns, and entries, so that the weights d * (2 s + 1) * v are nearest to
 * given ones. An entry gives four or eight columns their values together. Signs, or a shift of all values,
 * stand apart.
 */
#ifndef NUT_COMPRESS_FIT_BOOK_H
#define NUT_COMPRESS_FIT_BOOK_H

#include "kernels/grids.h"

#include <stdbool.h>
#include <stdint.h>

enum { BOOK_COLS = 256, BOOK_EIGHTS = BOOK_COLS / 8, BOOK_GROUPS = 16 };

typedef enum book_signs {
    BOOK_SIGNS, // each column has one
    BOOK_EVEN,  // of eight columns an even number are negative
    BOOK_SHIFTS // values have the signs; all of some columns are an eighth larger, or an eighth smaller
} book_signs;

/* What a block can hold. */
typedef struct book_kind {
    grid grid;
    uint32_t n_dims, n_bits; // numbers of an entry, 8 or 4; bits of a number
    const float *values;     // what the numbers stand for
    book_signs signs;
    uint32_t n_shifted; // columns that are shifted together, 8 or all of a group
    uint32_t n_cols;    // of a group
    int scale_hi;       // s is 0..scale_hi
} book_kind;

typedef struct book_block {
    float d; // a half float
    int scales[BOOK_GROUPS];
    uint16_t codes[2 * BOOK_EIGHTS]; // entries, in the order of their columns
    uint8_t signs[BOOK_EIGHTS];      // of eight columns, lowest first; with shifts: 1 where they are smaller
    double error;                    // sum of weight * (difference)^2
} book_block;

/* Fits a block to x (BOOK_COLS), finite, whose errors count by weight (likewise, >= 0). For a scale, the
 * entry with the least error is found exactly, but for which sign of an even number gives way; scales are
 * looked for over a range, then d and the integers in turn (as quantize_row_iq2_s_impl and others of
 * ggml-quants.c in llama.cpp, MIT, which take entries from a list of neighbours). */
void book_fit(const book_kind *kind, const float *x, const float *weight, book_block *out);

#endif
