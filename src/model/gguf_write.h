/*
 * Writing GGUF v3. The header comes as bytes in order, as many at a time as the caller has room for, and
 * takes no memory: the metadata of another header is copied byte for byte, so that nothing of it can be lost
 * or changed, but for the pairs of a gguf_meta, which replace or follow it. Format: ggml's docs/gguf.md.
 */
#ifndef NUT_MODEL_GGUF_WRITE_H
#define NUT_MODEL_GGUF_WRITE_H

#include "model/gguf.h"

/* ---- metadata that is set ---- */

/* Pairs of any type, encoded as in a file. Starts as {0}. A key that is set again replaces the pair before.
 */
typedef struct gguf_meta {
    struct gguf_meta_pair *pairs; // (n_pairs)
    size_t n_pairs, pairs_cap;
    uint8_t *bytes; // (n_bytes) of all pairs
    size_t n_bytes, bytes_cap;
} gguf_meta;

/* Scalars of any type. Integers: the value, which is cut to the type's width. */
nut_status gguf_meta_int(gguf_meta *m, const char *key, gguf_type type, int64_t value, nut_error *err);
nut_status gguf_meta_f32(gguf_meta *m, const char *key, float value, nut_error *err);
nut_status gguf_meta_f64(gguf_meta *m, const char *key, double value, nut_error *err);
nut_status gguf_meta_str(gguf_meta *m, const char *key, gguf_str value, nut_error *err);
/* An array of n numbers or booleans of type elem, `values` as they lie in memory. */
nut_status gguf_meta_array(gguf_meta *m, const char *key, gguf_type elem, const void *values, uint64_t n,
                           nut_error *err);
nut_status gguf_meta_strings(gguf_meta *m, const char *key, const gguf_str *values, uint64_t n,
                             nut_error *err);
void gguf_meta_free(gguf_meta *m);

/* ---- the file ---- */

typedef struct gguf_writer {
    const gguf *source;
    const gguf_meta *meta;
    const gguf_tensor *tensors; // (n_tensors)
    uint64_t n_tensors;
    uint64_t alignment;
    uint64_t n_bytes;     // written
    uint64_t item;        // the one that is written: counts, pairs, tensors, padding
    uint64_t item_at;     // bytes of it that were written
    uint64_t data_offset; // of the next tensor, from the beginning of the data
    uint8_t scratch[128]; // an item that lies nowhere else
} gguf_writer;

/* Begins a file with the metadata of source, as meta changes it, and with n tensors, whose offsets follow
 * from their n_bytes in order. All must outlive the writer. Data must follow the header in the same order,
 * each tensor's padded with gguf_padding zeros. Their tables are set in meta. E_CORRUPT where the file would
 * be larger than 2^63 bytes. */
nut_status gguf_write_begin(gguf_writer *w, const gguf *source, gguf_meta *meta, const gguf_tensor *tensors,
                            uint64_t n, nut_error *err);
/* The next bytes of the header, at most cap of them (cap > 0); 0: it is complete, with its padding. */
size_t gguf_write_header(gguf_writer *w, uint8_t *out, size_t cap);

/* Zeros that follow n bytes. */
static inline uint64_t gguf_padding(uint64_t n, uint64_t alignment) {
    return (alignment - n % alignment) % alignment;
}

#endif
