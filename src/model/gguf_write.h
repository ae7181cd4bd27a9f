/* Writing GGUF v3 in order: header (metadata copied byte for byte from another header), then tensors one by
 * one. */
#ifndef NUT_MODEL_GGUF_WRITE_H
#define NUT_MODEL_GGUF_WRITE_H

#include "model/gguf.h"

typedef struct gguf_writer {
    const nut_sink *sink;
    uint64_t at; // bytes written
    uint64_t alignment;
} gguf_writer;

/* A metadata value that replaces the one of the same key, or is added. */
typedef struct gguf_set_u32 {
    const char *key;
    uint32_t value;
} gguf_set_u32;

/* Writes the header: source's metadata with `sets` (n_sets), and a table of n tensors whose offsets it works
 * out from their n_bytes, in order. Tensor data must follow in that order, each ended by gguf_write_pad. */
nut_status gguf_write_header(gguf_writer *w, const gguf *source, const gguf_set_u32 *sets, size_t n_sets,
                             const gguf_tensor *tensors, uint64_t n, nut_error *err);
nut_status gguf_write_bytes(gguf_writer *w, const void *bytes, size_t n, nut_error *err);
/* Zeros up to the alignment. */
nut_status gguf_write_pad(gguf_writer *w, nut_error *err);

#endif
