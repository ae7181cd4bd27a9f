/*
 * Tensor formats: one table, one row per format, and the packed layout that all kernels read.
 *
 * In a file a matrix is rows of blocks. In memory it is *packed*: rows are taken in groups of 8, and within
 * a group the same 4 columns of 8 rows stand together, so that one SIMD lane is one row, no kernel adds
 * across lanes, and one stretch of memory is read from front to back. Packing only permutes bytes and
 * nibbles, and scales halves: a packed matrix is as large as the file's (rows padded with zeros
 * to a multiple of 8), and unpacking gives the file's bytes back.
 *
 * Packed group of one block (8 rows; r = row 0..7, step j = 4 columns 4j..4j+3, i = column within the step):
 *   F32            per column: float[8]
 *   F16, BF16      per column: uint16[8]
 * f16 stands for a half times 2^10 (pack.c), but in the format F16.
 *   Q8_0           d[8] f16, then per step j = 0..7: 32 bytes, byte 4r+i
 *   Q4_0           d[8] f16, then NIBBLES
 *   Q4_1           d[8], m[8] f16, then NIBBLES
 *   Q5_0           d[8] f16, HIGH1, NIBBLES
 *   Q5_1           d[8], m[8] f16, HIGH1, NIBBLES
 *   Q4_K           d[8], dmin[8] f16, scales: byte s of the 12 of row r at 8s+r; then 8 times NIBBLES
 *   Q5_K           d[8], dmin[8] f16, scales as Q4_K; then 8 times (HIGH1, NIBBLES)
 *   Q6_K           d[8] f16, scales: int8 s of the 16 of row r at 8s+r; then 8 times (HIGH2, NIBBLES)
 * where, for 32 columns each:
 *   NIBBLES        128 bytes. Per step j 16 bytes; byte 4(r%4)+i holds row r in its low half for r < 4 and
 *                  in its high half for r >= 4.
 *   HIGH1          32 bytes. Byte 4r+i holds in bit j the fifth bit of column 4j+i.
 *   HIGH2          64 bytes: 32 for steps 0..3, then 32 for steps 4..7. Byte 4r+i holds in bits 2(j%4) and
 *                  2(j%4)+1 the fifth and sixth bit of column 4j+i.
 *
 * Columns are numbered by their logical place in the row, not by ggml's order inside a block.
 */
#ifndef NUT_KERNELS_FORMATS_H
#define NUT_KERNELS_FORMATS_H

#include "nutshell.h"

enum { FORMAT_LANES = 8 };       // rows of a group
enum { FORMAT_MAX_BLOCK = 256 }; // weights of the largest block
enum { FORMAT_MAX_BYTES = 210 }; // bytes of the largest block in a file
enum { FORMAT_HALF_UP = 10 };    // the halves of quantized blocks are packed as 2^10 times their value

/* Order of the table; also the index into a kernel set's mul_mat. */
#define FORMAT_LIST(X) X(F32) X(F16) X(BF16) X(Q8_0) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q4_K) X(Q5_K) X(Q6_K)

typedef enum format_id {
#define NUT_X(name) FORMAT_##name,
    FORMAT_LIST(NUT_X)
#undef NUT_X
        FORMAT_COUNT
} format_id;

typedef enum format_act {
    FORMAT_ACT_F32,
    FORMAT_ACT_Q8
} format_act; // what the activations are for a product

typedef struct format {
    format_id id;
    const char *name;   // "Q4_0"
    uint32_t ggml_type; // its number in GGUF files
    uint32_t block;     // weights per block
    uint32_t bytes;     // bytes per block, in the file and packed
    format_act act;
    float tolerance; // largest error of a product, relative to sum |w||x|, against the ref kernels

    /* Packs n_blocks blocks of row `lane` from src into a group, from block first_block on. group is the
     * first byte of the group (all its blocks follow each other, each 8 * bytes long) and was cleared before
     * the first pack. False where a scale is not a number or not below 64 in magnitude: such a block is
     * damaged. */
    bool (*pack)(uint8_t *group, uint32_t lane, size_t first_block, size_t n_blocks, const uint8_t *src);
    /* The inverse: the file's bytes of those blocks. */
    void (*unpack)(const uint8_t *group, uint32_t lane, size_t first_block, size_t n_blocks, uint8_t *dst);
    /* Blocks as a file has them to floats, (n_blocks * block). */
    void (*dequantize)(const uint8_t *src, size_t n_blocks, float *dst);
    /* Floats to blocks, round to nearest as llama.cpp's reference does; NULL where this format is only read.
     */
    void (*quantize)(const float *src, size_t n_blocks, uint8_t *dst);
} format;

extern const format format_table[FORMAT_COUNT];

/* The row of a ggml type number or of a name in any case ("q4_0"); NULL when there is none. */
const format *format_by_ggml(uint32_t ggml_type);
const format *format_by_name(const char *name);
/* ggml's name for any type number that ggml has or had, for messages; "unknown" otherwise. */
const char *format_ggml_name(uint32_t ggml_type);

/* A packed matrix, or a plain row of floats where n_rows is 1 and format F32 (norms and biases are never
 * packed). */
typedef struct matrix {
    const format *format;
    size_t n_rows;
    size_t n_cols; // a multiple of format->block
    uint8_t *data; // groups of 8 rows, each matrix_group_bytes long, 64-byte aligned
} matrix;

static inline size_t matrix_groups(const matrix *m) {
    return (m->n_rows + FORMAT_LANES - 1) / FORMAT_LANES;
}
static inline size_t matrix_group_bytes(const matrix *m) {
    return m->n_cols / m->format->block * m->format->bytes * FORMAT_LANES;
}

/* Row `row` of a packed matrix as floats, (n_cols). */
void matrix_row(const matrix *m, size_t row, float *out);

#endif
