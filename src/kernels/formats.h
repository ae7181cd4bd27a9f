/*
 * Formats and layouts: how weights lie in a file, and how they lie in memory.
 *
 * A *format* is a tensor type of GGUF: rows of blocks. A *layout* is what the kernels read: the same codes
 * and scales in another order. Loading *packs* the blocks of a format into its layout. Packing loses
 * nothing. A packed matrix is as large as the file's, but for rows of zeros up to a multiple of 8; codes of
 * fewer than four bits become four, but for those of Q2_K, so that they take no longer to multiply. Formats
 * may share a layout. A *coded* format has no blocks: its tensors are compressed streams (docs/format.md),
 * which are decoded into the layout.
 *
 * All are lists of rows. A format is a row of FLOAT_FORMAT_LIST, CODE_FORMAT_LIST or CODED_FORMAT_LIST. A
 * layout is a row of FLOAT_LAYOUT_LIST or CODE_LAYOUT_LIST: a kind of codes (codes_*.inc) with a kind of
 * scales (scales.inc). The tables, the packing and the products of all kernel sets are made from these rows.
 *
 * In a packed matrix rows stand in *groups* of 8. A *step* is 4 columns. The same step of 8 rows stands
 * together, so that a SIMD lane is a row, no kernel adds across lanes, and memory is read from front to
 * back. A group is its blocks in order, after the scales of its rows where the layout has those. A packed
 * block is its scales, then its *units* of 32 columns; the
 * .inc files say how those lie. A group of floats is eight numbers for each column. Columns are numbered by
 * their place in the row, not by ggml's order inside a block.
 */
#ifndef NUT_KERNELS_FORMATS_H
#define NUT_KERNELS_FORMATS_H

#include "nutshell.h"

enum { FORMAT_LANES = 8 };       // rows of a group
enum { FORMAT_UNIT = 32 };       // columns of a unit
enum { FORMAT_MAX_BLOCK = 256 }; // weights of the largest block
enum { FORMAT_MAX_BYTES = 210 }; // bytes of the largest block, in a file and packed
enum { FORMAT_TABLE = 16 };      // values that a tensor's codes may stand for
enum { FORMAT_HALF_UP = 10 };    // half floats of code layouts are packed as 2^10 times their value

// clang-format off
/* ---- the lists ---- */

/* X(name, bytes of a number). Weights are numbers as the file has them; activations are floats. */
#define FLOAT_LAYOUT_LIST(X) X(F32, 4) X(F16, 2) X(BF16, 2)

/* X(name, codes, scales, offset). A weight is a scale times its code less the offset (0 or a power of two),
 * plus a minimum where the scales have one; activations are int8. */
#define MAIN_LAYOUT_LIST(X)           \
    X(I8,     int8,   d,      0)      \
    X(U4,     bits4,  d,      8)      \
    X(U4_M,   bits4,  d_min,  0)      \
    X(U4_K,   bits4,  k_min,  0)      \
    X(U5_K,   bits5,  k_min,  0)      \
    X(U6_K,   bits6,  k_half, 32)
/* Of those, with products that pass over zeros (vec_live.inc); in a page they are not worth their bytes. */
#ifdef NUT_NO_LIVE
enum { FORMAT_LIVE = false };
#define LIVE_LAYOUT_LIST(X)
#else
enum { FORMAT_LIVE = true };
#define LIVE_LAYOUT_LIST(X) X(I8) X(U4)
#endif
/* Those that a set may leave to another: their kernels are not worth their bytes in a page once more. */
#define MORE_LAYOUT_LIST(X)           \
    X(U5,     bits5,  d,      16)     \
    X(U5_M,   bits5,  d_min,  0)      \
    X(U2_K,   bits2,  k_mins, 0)      \
    X(U4_H,   bits4,  k_half, 8)      \
    X(GRID2,  grid2,  k_half, 64)     \
    X(GRID3X, grid3x, k,      32)     \
    X(GRID3S, grid3s, k,      16)     \
    X(NL4_K,  nl,     k,      0)      \
    X(NL4,    nl,     d,      0)      \
    X(MX4,    mx,     e,      16)     \
    X(NV4,    mx,     f8,     16)     \
    X(LUT4,   lut,    h8,     64)      \
    X(R4,     bits4,  row,    8)      \
    X(R5,     bits5,  row,    16)     \
    X(R6,     bits6,  row,    32)     \
    X(R8,     int8,   row,    0)
#define CODE_LAYOUT_LIST(X) MAIN_LAYOUT_LIST(X) MORE_LAYOUT_LIST(X)

/* X(name, layout, type, bytes): ggml's type number and the bytes of a number. A block is one number. */
#define FLOAT_FORMAT_LIST(X) \
    X(F32,  F32,  0,  4)     \
    X(F16,  F16,  1,  2)     \
    X(BF16, BF16, 30, 2)

/* X(name, layout, type, block, bytes, quantize, read, places). `block` and `bytes` are the weights and bytes
 * of a block in a file. `quantize` makes blocks of floats; NULL: files are only read. `read` takes a block
 * apart (blocks.inc), and `places` are the byte offsets of its half floats, scales, high bits and low bits,
 * and the order of the low bits. */
#define MAIN_FORMAT_LIST(X)                                                                                 \
    X(Q8_0,    I8,     8,  32,  34,  quantize_Q8_0, read_bytes,   {{0, 0},     0,   0,   2,  ORDER_HALVES}) \
    X(Q4_0,    U4,     2,  32,  18,  quantize_Q4_0, read_bits,    {{0, 0},     0,   0,   2,  ORDER_HALVES}) \
    X(Q4_1,    U4_M,   3,  32,  20,  quantize_Q4_1, read_bits,    {{0, 2},     0,   0,   4,  ORDER_HALVES}) \
    X(Q4_K,    U4_K,   12, 256, 144, NULL,          read_bits,    {{0, 2},     4,   0,   16, ORDER_PAIRS})  \
    X(Q5_K,    U5_K,   13, 256, 176, NULL,          read_bits,    {{0, 2},     4,   16,  48, ORDER_PAIRS})  \
    X(Q6_K,    U6_K,   14, 256, 210, NULL,          read_bits,    {{208, 208}, 192, 128, 0,  ORDER_Q6_K})
/* Those that are packed by smaller, slower code in a page. */
#define MORE_FORMAT_LIST(X)                                                                                 \
    X(Q5_0,    U5,     6,  32,  22,  NULL,          read_bits,    {{0, 0},     0,   2,   6,  ORDER_HALVES}) \
    X(Q5_1,    U5_M,   7,  32,  24,  NULL,          read_bits,    {{0, 2},     0,   4,   8,  ORDER_HALVES}) \
    X(Q2_K,    U2_K,   10, 256, 84,  NULL,          read_q2_k,    {{80, 82},   0,   0,   16, ORDER_PAIRS})  \
    X(Q3_K,    U4_H,   11, 256, 110, NULL,          read_q3_k,    {{108, 0},   96,  0,   32, ORDER_PAIRS})  \
    X(IQ2_XXS, GRID2,  16, 256, 66,  NULL,          read_iq2_xxs, {{0, 0},     0,   0,   2,  ORDER_HALVES}) \
    X(IQ2_XS,  GRID2,  17, 256, 74,  NULL,          read_iq2_xs,  {{0, 0},     66,  0,   2,  ORDER_HALVES}) \
    X(IQ3_XXS, GRID3X, 18, 256, 98,  NULL,          read_iq3_xxs, {{0, 0},     66,  0,   2,  ORDER_HALVES}) \
    X(IQ1_S,   GRID2,  19, 256, 50,  NULL,          read_iq1_s,   {{0, 0},     0,   34,  2,  ORDER_HALVES}) \
    X(IQ4_NL,  NL4,    20, 32,  18,  NULL,          read_bits,    {{0, 0},     0,   0,   2,  ORDER_HALVES}) \
    X(IQ3_S,   GRID3S, 21, 256, 110, NULL,          read_iq3_s,   {{0, 0},     106, 66,  2,  ORDER_HALVES}) \
    X(IQ2_S,   GRID2,  22, 256, 82,  NULL,          read_iq2_s,   {{0, 0},     74,  66,  2,  ORDER_HALVES}) \
    X(IQ4_XS,  NL4_K,  23, 256, 136, NULL,          read_iq4_xs,  {{0, 0},     4,   2,   8,  ORDER_HALVES}) \
    X(IQ1_M,   GRID2,  29, 256, 56,  NULL,          read_iq1_m,   {{0, 0},     48,  32,  0,  ORDER_HALVES}) \
    X(TQ1_0,   GRID2,  34, 256, 54,  NULL,          read_tq1,     {{52, 0},    0,   0,   0,  ORDER_HALVES}) \
    X(TQ2_0,   GRID2,  35, 256, 66,  NULL,          read_tq2,     {{64, 0},    0,   0,   0,  ORDER_HALVES}) \
    X(MXFP4,   MX4,    39, 32,  17,  NULL,          read_bits,    {{0, 0},     0,   0,   1,  ORDER_HALVES}) \
    X(NVFP4,   NV4,    40, 64,  36,  NULL,          read_bits,    {{0, 0},     0,   0,   4,  ORDER_EIGHTS})
/* Types of our own (docs/format.md). Their numbers are far from ggml's, so that no type of ggml can get one.
 * A code of LUT4 is an index into a table of 16 values; each tensor may bring its own table. */
#define TABLE_FORMAT_LIST(X)                                                                                \
    X(LUT4,    LUT4,   0x4e555414u, 64, 33, NULL,   read_bits,    {{0, 0},     0,   0,   1,  ORDER_HALVES})
#define OWN_FORMAT_LIST(X)                                                                                  \
    X(STEP2,   U4,     0x4e555422u, 32, 10, NULL,   read_step2,   {{0, 0},     0,   0,   2,  ORDER_HALVES})
/* X(name, layout, type, block, bytes, quantize, dense, n_places): of their columns two of four, or four of
 * eight, are there, and the others zero. A block becomes one of a dense format first (blocks_fill), behind
 * `n_places` bytes that say where its codes go. */
#define SPARSE_FORMAT_LIST(X)                                   \
    X(Q4_24,   U4,     0x4e555434u, 32, 13, NULL,   Q4_0,   3)  \
    X(Q4_48,   U4,     0x4e555444u, 32, 14, NULL,   Q4_0,   4)  \
    X(Q8_24,   I8,     0x4e555438u, 32, 21, NULL,   Q8_0,   3)
#define READ_FORMAT_LIST(X) MAIN_FORMAT_LIST(X) MORE_FORMAT_LIST(X) OWN_FORMAT_LIST(X) TABLE_FORMAT_LIST(X)
#define CODE_FORMAT_LIST(X) READ_FORMAT_LIST(X) SPARSE_FORMAT_LIST(X)

/* X(name, layout, type): coded tensors, by the layout that holds their integers. Their type numbers are
 * "NUT" and the bits of a weight in memory: far from ggml's, so that other programs refuse the file, and so
 * that none of ggml's to come can be taken for one. */
#define CODED_FORMAT_LIST(X)    \
    X(CODED_4, R4, 0x4e555404u) \
    X(CODED_5, R5, 0x4e555405u) \
    X(CODED_6, R6, 0x4e555406u) \
    X(CODED_8, R8, 0x4e555408u)
// clang-format on

#define LAYOUT_LIST(X) FLOAT_LAYOUT_LIST(X) CODE_LAYOUT_LIST(X)
#define FORMAT_LIST(X) FLOAT_FORMAT_LIST(X) CODE_FORMAT_LIST(X)

/* ---- layouts ---- */

typedef enum layout_id {
#define NUT_X(name, ...) LAYOUT_##name,
    LAYOUT_LIST(NUT_X)
#undef NUT_X
        LAYOUT_COUNT
} layout_id;

/* What the activations of a product are. */
typedef enum format_act { FORMAT_ACT_F32, FORMAT_ACT_Q8 } format_act;

typedef struct layout {
    layout_id id; // index into a kernel set's mul_mat
    const char *name;
    uint32_t block; // columns of a block
    uint32_t bytes; // of a packed block, of one row
    uint32_t head;  // bytes of a group in front of its blocks: a float for each row, or nothing
    format_act act;
    float tolerance; // largest error of a product, relative to sum |w||x|, against the ref kernels

    /* Blocks [first, first + n) of row `lane` of a group as floats, (n * block). `table` is matrix.table. */
    void (*floats)(const uint8_t *group, const uint8_t *table, uint32_t lane, size_t first, size_t n,
                   float *dst);
} layout;

extern const layout layout_table[LAYOUT_COUNT];

/* ---- formats ---- */

typedef enum format_id {
#define NUT_X(name, ...) FORMAT_##name,
    FORMAT_LIST(NUT_X)
#undef NUT_X
        FORMAT_COUNT, // those that are made of blocks
    FORMAT_BEFORE_CODED = FORMAT_COUNT - 1,
#define NUT_X(name, ...) FORMAT_##name,
    CODED_FORMAT_LIST(NUT_X)
#undef NUT_X
        FORMAT_ALL
} format_id;

typedef struct format {
    format_id id;
    const char *name;   // "Q4_0"
    uint32_t ggml_type; // its number in GGUF files
    uint32_t block;     // weights of a block
    uint32_t bytes;     // of a block in a file; 0: coded, and none of the functions below is there
    const layout *layout;

    /* Packs n blocks of row `lane` from src into a group, from block `first` on. `group` is its first byte
     * and was cleared before the first call. False where a scale is not a number or not below 64 in
     * magnitude: such a block is damaged. */
    bool (*pack)(uint8_t *group, uint32_t lane, size_t first, size_t n, const uint8_t *src);
    /* Blocks as a file has them to floats, (n * block), exactly as ggml-quants.c (llama.cpp, MIT) does. */
    void (*dequantize)(const uint8_t *src, size_t n, float *dst);
    /* Floats to blocks, round to nearest as llama.cpp's reference does; NULL where files are only read. */
    void (*quantize)(const float *src, size_t n, uint8_t *dst);
} format;

extern const format format_table[FORMAT_ALL];

/* The row of a ggml type number or of a name in any case ("q4_0"); NULL when there is none. */
const format *format_by_ggml(uint32_t ggml_type);
const format *format_by_name(const char *name);
static inline bool format_is_coded(const format *f) {
    return f->id >= FORMAT_COUNT;
}
/* Whether no other program knows the type. */
static inline bool format_is_own(const format *f) {
    return f->ggml_type >> 8 == 0x4e5554u;
}
/* Whether a tensor may bring the table that its codes stand for. */
static inline bool format_has_table(const format *f) {
    return f->id == FORMAT_LUT4;
}
/* The table of those that bring none, 64 higher: NormalFloat (Dettmers et al. 2023, arXiv 2305.14314,
 * appendix E), times 63. */
enum { FORMAT_TABLE_ZERO = 64 };
extern const uint8_t format_lut_values[FORMAT_TABLE];
/* Blocks as a file has them to floats, (n * block), of a tensor that may have a table (matrix.table). */
void format_floats(const format *f, const uint8_t *table, const uint8_t *src, size_t n, float *dst);
/* The name of a type number that is in the table, or that ggml has or had; "unknown" otherwise. */
const char *format_ggml_name(uint32_t ggml_type);

/* ---- matrices ---- */

/* What a coded matrix has beside its codes and their scales. */
typedef struct matrix_outlier {
    uint16_t col, lane;
    float value; // is added to the weight, before the scale of its column
} matrix_outlier;

typedef struct matrix_coded {
    const float *col_scale;         // (n_cols) what columns are multiplied with: the input of a product is
    const uint32_t *first;          // (groups + 1) where the outliers of each group begin
    const matrix_outlier *outliers; // in the order of the groups
} matrix_coded;

enum { MATRIX_MAX_CODED_COLS = 1 << 16 };

/* A packed matrix, or a plain row of floats where n_rows is 1 and format F32 (norms and biases are never
 * packed). */
typedef struct matrix {
    const format *format;
    size_t n_rows;
    size_t n_cols;             // a multiple of format->block
    uint8_t *data;             // groups of 8 rows, each matrix_group_bytes long, 64-byte aligned
    const matrix_coded *coded; // or NULL
    const uint8_t *table;      // (FORMAT_TABLE) what its codes stand for, as in codes_table.inc; NULL: what
                               // those of the layout do
} matrix;

static inline size_t matrix_groups(const matrix *m) {
    return (m->n_rows + FORMAT_LANES - 1) / FORMAT_LANES;
}
static inline size_t matrix_group_bytes(const matrix *m) {
    const layout *l = m->format->layout;
    return m->n_cols / l->block * l->bytes * FORMAT_LANES + l->head;
}
static inline size_t matrix_bytes(const matrix *m) {
    return matrix_groups(m) * matrix_group_bytes(m);
}

/* The first byte of the group that row `row` is in; its lane there is row % FORMAT_LANES. */
static inline uint8_t *matrix_group(const matrix *m, size_t row) {
    return m->data + row / FORMAT_LANES * matrix_group_bytes(m);
}

/* Row `row` of a packed matrix as floats, (n_cols). */
void matrix_row(const matrix *m, size_t row, float *out);
/* y[row] += the outliers of rows [begin, end) times x (n_cols), whose columns are scaled; whole groups but
 * for the last row. m->coded is there. */
void matrix_add_outliers(const matrix *m, size_t begin, size_t end, const float *x, float *y);

#endif
