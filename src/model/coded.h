/*
 * Coded tensors: matrices whose integers are compressed (docs/format.md has the bytes). A tensor is a head,
 * which says how it is coded, and chunks of groups of rows, each of which is decoded without the others.
 *
 *     w[r][c] = z[r][c] * row_scale[r] * col_scale[c]
 */
#ifndef NUT_MODEL_CODED_H
#define NUT_MODEL_CODED_H

#include "base/mem.h"
#include "base/threads.h"
#include "kernels/rans.h"
#include "model/gguf.h"

enum {
    CODED_VERSION = 1,
    CODED_FIXED = 28,             // bytes of the head's first part
    CODED_LANES = 4 * 8,          // of a chunk: the lanes, in front of
    CODED_CHUNK_HEAD = 4 + 4 * 8, // the number of words, and the lanes
    CODED_ENTRY = 16,             // of the table of chunks
    CODED_MAX_CHUNK = 256 << 10,  // bytes of a chunk
    CODED_REST = 255,             // the count of the symbol that has the rest of a table's slots
};

/* ---- numbers of the head ---- */

/* A scale: 6 bits of exponent, 10 bits behind the leading one; from 2^-40 to nearly 2^24. */
static inline float coded_scale_of(uint16_t code) {
    union {
        uint32_t bits;
        float f;
    } u = {((uint32_t)code << 13) + (87u << 23)};
    return u.f;
}

/* How many slots a symbol has: 4 bits of precision. Codes 0..15 are themselves. */
static inline uint32_t coded_count_of(uint8_t code) {
    return code < 8 ? code : (8u + code % 8) << (code / 8 - 1);
}

/* ---- reading ---- */

typedef struct coded_chunk {
    uint64_t at; // of its bytes in the tensor's
    uint32_t n_bytes, group, n_groups, outlier, n_outliers, checksum;
} coded_chunk;

/* A head that was read and checked. */
typedef struct coded {
    rans_model model;
    uint32_t n_outliers, n_chunks;
    coded_chunk *chunks; // (n_chunks)
    arena memory;
} coded;

/* Where a tensor goes. */
typedef struct coded_target {
    rans_target to;
    float *col_scale; // (n_cols) receives the scales, where `to` is coded
} coded_target;

/* Bytes of the head by its first CODED_FIXED bytes; 0: it cannot be one of tensor t. */
size_t coded_head_bytes(const uint8_t *fixed, const gguf_tensor *t);
/* Reads the head of tensor t, for decoding into matrices of format `as`. coded_close whatever happens. */
nut_status coded_open(coded *c, const gguf_tensor *t, const uint8_t *head, size_t n, const format *as,
                      nut_error *err);
void coded_close(coded *c);
/* Writes what the head has for the target: scales of columns, and the end of the outliers. */
void coded_begin(const coded *c, const coded_target *to);
/* Decodes chunk i, whose bytes are given. Chunks may come in any order, and in several threads at once. */
bool coded_decode(const coded *c, uint32_t i, const uint8_t *bytes, const rans_target *to);

/* ---- bytes as they come ---- */

/* Starts as {0}. Between calls it keeps a piece of the head or of a chunk. */
typedef struct coded_feed {
    threads *team; // that decodes chunks, the caller's; NULL: the calling thread does
    bool open;
    coded coded;
    uint32_t chunk; // that comes next
    uint8_t *kept;  // (room)
    size_t n_kept, room;
} coded_feed;

/* Takes the next n bytes of tensor t; the whole chunks among them are shared out among the team. E_CORRUPT
 * where they are damaged. */
nut_status coded_take(coded_feed *f, const gguf_tensor *t, const coded_target *to, const uint8_t *bytes,
                      size_t n, nut_error *err);
void coded_drop(coded_feed *f); // frees what it holds, and keeps the team

#endif
