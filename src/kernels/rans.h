/*
 * Decoding of coded integers: rANS (Duda 2013, arXiv 1311.2540; interleaved as Giesen 2014, arXiv 1402.3392)
 * with a lane for each of the eight rows of a group, and where the integers go.
 *
 * The integers of a group are coded by units of 32 columns; in a unit column by column, and in a column row
 * by row. Each row is a lane: a number of 32 bits whose lowest RANS_BITS bits choose the next integer in the
 * table of its class. All lanes take 16-bit words from one stream as they run dry. So no integer waits for
 * the one before, and a processor works on eight at once.
 *
 * Bytes come from files: whatever they are, no access is outside of what was given.
 */
#ifndef NUT_KERNELS_RANS_H
#define NUT_KERNELS_RANS_H

#include "kernels/formats.h"

enum { RANS_BITS = 11, RANS_SLOTS = 1 << RANS_BITS };
enum { RANS_LOW = 1 << 16 }; // a lane is not below it between two integers, and begins as it when encoding
enum { RANS_ESCAPE = -128 }; // stands for an integer that is written apart
enum { RANS_MAX_CLASSES = 64 };
enum { RANS_PARTS = 3 }; // matrices that a row of a stack may be made of

/* A slot of a table: bits 0..7 the integer's code, 8..19 the slot less the integer's first one, 20..31 how
 * many slots it has. */
static inline uint32_t rans_slot(uint8_t code, uint32_t from_first, uint32_t count) {
    return code | from_first << 8 | count << 20;
}

/* How the integers of a tensor are coded. */
typedef struct rans_model {
    const uint32_t *tables[RANS_MAX_CLASSES]; // of each class, (RANS_SLOTS)
    const uint8_t *row_class;                 // (n_rows)
    const uint8_t *col_class;                 // (n_cols); the sum of both is below RANS_MAX_CLASSES
    const float *row_scale;                   // (n_rows)
    const float *col_scale;                   // (n_cols)
    size_t n_rows, n_cols;                    // n_cols a multiple of 32
} rans_model;

/* Coded groups that follow one another. */
typedef struct rans_stream {
    uint32_t lanes[FORMAT_LANES]; // as they begin
    const uint8_t *words;         // (n_words) of 16 bits
    size_t n_words;
    const uint8_t *escapes; // integers that are written apart, each as a zigzag number in groups of 7 bits,
                            // lowest first (LEB128): in a unit row by row
    size_t n_escapes;       // bytes
} rans_stream;

/* Where the integers go: into matrices of floats, or of a coded format. In the latter an integer that has no
 * code is the nearest code and an outlier. */
typedef struct rans_target {
    const format *format;     // of the matrices
    matrix *w[RANS_PARTS];    // of which the rows are, one after the other, each a stack; what follows the
                              // last is NULL. Where there are several matrices they are whole groups.
    uint32_t *first;          // (groups) matrix_coded.first; NULL for floats
    matrix_outlier *outliers; // all
} rans_target;

/* What integer 0 has as its code: codes are integers plus this, modulo 256. */
int32_t rans_offset(const format *to);
/* Decodes n groups from group g on, whose outliers are [first, end). False where the stream is not exactly
 * that: too short or long, or with another number of outliers. */
bool rans_decode(const rans_model *m, const rans_stream *s, const rans_target *to, size_t g, size_t n,
                 uint32_t first, uint32_t end);

#endif
