/*
 * Writing a model whose tensors are not all those of its source: fewer of them, fewer rows, or other values.
 * It belongs to a job, which says how far to write, so that it can compute values on the way. What stays is
 * copied byte for byte, whatever its type; what is computed is written in floats.
 */
#ifndef NUT_COMPRESS_REWRITE_H
#define NUT_COMPRESS_REWRITE_H

#include "base/job.h"
#include "kernels/formats.h"
#include "model/gguf_write.h"

/* Metadata, (n_tensors) in the order of the tensors: ggml's types in the source, and the root of the mean
 * square change of a weight as a part of that of the weights. */
#define COMPRESS_RECIPE "nutshell.compress.recipe" // as it was given
#define COMPRESS_TYPES  "nutshell.compress.source_types"
#define COMPRESS_ERRORS "nutshell.compress.errors"

/* A tensor of the new model. */
typedef struct rewrite_tensor {
    const gguf_tensor *from; // of the source
    gguf_str name;
    uint64_t n_cols, n_rows; // of the new one: all rows of all dimensions but the first
    const uint32_t *rows;    // (n_rows / each) of the source, in any order; NULL: all
    uint64_t each;           // rows that each of them stands for, such as those of a stack's matrix; 0: one
    bool computed;           // its values come from rewrite.rows
} rewrite_tensor;

/* Fills the values of rows [row, row + n) of tensor number `tensor`: out (n, n_cols). */
typedef nut_status rewrite_rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err);

/* Starts as {0}. */
typedef struct rewrite {
    const gguf *source;
    const rewrite_tensor *plan; // (n)
    gguf_tensor *tensors;       // (n) as the header has them
    size_t n;
    gguf_meta meta; // pairs that are set, also by the owner before rewrite_begin
    rewrite_rows *rows;
    void *ctx; // of rows
    gguf_writer writer;
    bool in_data, told; // the header is written; bytes that were wanted have come
    size_t tensor;      // that is written
    uint64_t row;       // of its next row
    size_t n_rows;      // that were asked for
    uint64_t written;   // bytes of the output
    uint8_t *bytes;     // (room)
    float *floats;      // (room / 4)
    size_t room;
} rewrite;

/* The type in which a changed tensor is written: its own where that is one of floats, else F16. */
const format *rewrite_format(const gguf_tensor *from);

/* The whole source, tensor by tensor, in *plan (source->n_tensors), freed with mem_free. */
nut_status rewrite_plan(const gguf *source, rewrite_tensor **plan, nut_error *err);
/* source and plan must outlive it; pairs of the source that describe a model in several files are dropped.
 * E_UNSUPPORTED names a tensor that cannot be read. */
nut_status rewrite_begin(rewrite *w, gguf *source, const rewrite_tensor *plan, size_t n, nut_error *err);
/* Writes on, up to but not with tensor `until`; n: the whole model. To be called step after step until
 * *ready. */
nut_status rewrite_step(rewrite *w, nut_job *job, size_t until, bool *ready, nut_error *err);
void rewrite_free(rewrite *w);

#endif
