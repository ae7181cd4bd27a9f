/*
 * A method of compression says which matrices of a model it writes in which tensor format, and encodes their
 * rows. Reading, checking, splitting into slices, progress and writing are the job's (compress.c), the same
 * for all. To add a method: a file compress/NAME.c that defines method_NAME and cites its paper, and a line
 * of METHOD_LIST.
 */
#ifndef NUT_COMPRESS_METHOD_H
#define NUT_COMPRESS_METHOD_H

#include "base/job.h"
#include "compress/coded_write.h"
#include "evaluate/statistics.h"
#include "kernels/formats.h"
#include "model/gguf_write.h"
#include "nutshell_compress.h"

// clang-format off
#define METHOD_LIST(X) \
    X(round)           \
    X(coded)           \
    X(hqq)
// clang-format on

/* Rows of a matrix to encode, or a stretch of one row where rows are very long. */
typedef struct method_slice {
    const gguf_tensor *tensor; // as it is in the source
    const format *to;
    uint64_t row, col;     // of the first weight
    size_t n_rows, n_cols; // whole blocks of `to`; n_rows is 1 where n_cols is less than a row
    float *weights;        // (n_rows, n_cols), finite; `code`, `encode` and `change` may overwrite them
    const statistics *statistics; // of the matrix' inputs; NULL where there are none. Of a stack, those of
                                  // its first matrix, and the others' behind
    const void *ctx;              // what compress_begin was given
} method_slice;

typedef struct method {
    const char *name;
    unsigned statistics; // kinds that encode needs for each matrix (evaluate/statistics.h); 0: none
    unsigned weighs;     // kinds that encode takes where there are any: a matrix without them is told
    bool tells;          // what each tensor becomes is told
    bool whole_rows;     // slices are always whole rows, which may take more memory

    /* Checks the options, and sets metadata that the file is to have. NULL: all options are good. */
    nut_status (*begin)(const nut_compress_options *options, const void *ctx, gguf_meta *meta,
                        nut_error *err);
    /* Refuses a ctx that is of another model. NULL: none is. */
    nut_status (*check)(const void *ctx, const gguf *model, nut_error *err);
    /* The format that a tensor of the model is written in; NULL: it is copied. What cannot be written in
     * that format, as its rows are not whole blocks, is copied too. */
    const format *(*plan)(const nut_compress_options *options, const void *ctx, const gguf *model,
                          const gguf_tensor *t);
    /* The table of a tensor that is written in a type that has one, in place of the type's. NULL: all keep
     * that. */
    void (*table)(const void *ctx, const gguf_tensor *t, uint8_t *table);
    /* Changes weights of a tensor that is copied, of F32; false: they stay. NULL: all do. */
    bool (*change)(const method_slice *slice);
    /* Encodes a slice as blocks of slice->to. */
    nut_status (*encode)(const method_slice *slice, uint8_t *blocks, nut_error *err);
    /* What encoding or coding a tensor needs of the job's files: called before, until *n is 0; n bytes at
     * *at of the state go to *into. NULL: nothing. */
    nut_status (*wants)(const void *ctx, const gguf_tensor *t, uint64_t *at, uint8_t **into, size_t *n,
                        nut_error *err);
    /* Encodes a whole matrix where the planned format is a coded one; the format of the result may be
     * another of them. NULL: the method plans none. */
    nut_status (*code)(const method_slice *whole, coded_data *out, nut_error *err);
} method;

#define NUT_X(name) extern const method method_##name;
METHOD_LIST(NUT_X)
#undef NUT_X

enum { METHOD_FILE_TYPE_UNSAID = 1024 }; // general.file_type: LLAMA_FTYPE_GUESSED of llama.cpp

/* The method of a name; NULL or "": the default. */
nut_status method_by_name(const char *name, const method **out, nut_error *err);

/* Whether t is one of the large matrices, which nearly all methods are for: two dimensions, more than one
 * row, a name that ends in "weight". Norms, biases and tables of other kinds are not. */
bool method_is_matrix(const gguf_tensor *t);

/* Whether t holds the matrices of all experts of a layer, one after the other. */
bool method_is_stack(const gguf_tensor *t);
/* Whether t is a small matrix on which much depends: it costs little as it is. */
bool method_is_small(const gguf_tensor *t);

/* Finds the statistics of the inputs of a tensor; NULL where there are none. */
typedef const statistics *method_find_statistics(const void *ctx, gguf_str tensor);

/* Begins a job with a method that need not be in the list. ctx is the method's, and find's; find NULL: there
 * are no statistics. */
nut_status compress_begin(const method *m, const nut_compress_options *options, method_find_statistics *find,
                          const void *ctx, nut_job **out, nut_error *err);

#endif
