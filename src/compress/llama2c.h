/*
 * Checkpoints of llama2.c (Karpathy 2023, export.py): which numbers stand where in a file of version 0, 1 or
 * 2, and its tokenizer. Version 0 has no mark, so that the size of the file must be what its header says.
 */
#ifndef NUT_COMPRESS_LLAMA2C_H
#define NUT_COMPRESS_LLAMA2C_H

#include "model/gguf_write.h"

enum { LLAMA2C_HEADER = 256, LLAMA2C_NAME = 64 };
enum { LLAMA2C_MOST_GROUP = 1 << 16 }; // numbers that share a scale

typedef struct llama2c_header {
    uint32_t version;
    uint32_t n_embd, n_ff, n_layer, n_head, n_head_kv, n_vocab, n_ctx;
    uint32_t group;  // numbers that share a scale, in version 2; 0: numbers are floats
    bool own_output; // the output matrix is not the embeddings
} llama2c_header;

/* Reads the first n bytes of a file of `size` bytes; n is LLAMA2C_HEADER, or less where the file is shorter.
 * E_CORRUPT where it is no checkpoint, or not a whole one. */
nut_status llama2c_read(const uint8_t *bytes, size_t n, uint64_t size, llama2c_header *out, nut_error *err);

/* A tensor of the file: n_rows * n_cols floats, or in version 2 as many int8 and, behind them, a float for
 * each `group` of them. */
typedef struct llama2c_tensor {
    char name[LLAMA2C_NAME]; // as in a GGUF file
    uint64_t n_cols, n_rows; // n_rows 0: a vector
    uint64_t offset;         // in the file
    bool scaled;             // int8 with scales
} llama2c_tensor;

/* Tensors that a file has, most. */
size_t llama2c_count(const llama2c_header *h);
/* All of them in the order of the file; returns how many. */
size_t llama2c_tensors(const llama2c_header *h, llama2c_tensor *out);

/* Sets the metadata of a vocabulary, as llama.cpp names it, from a file of tokenizer.py. E_CORRUPT where it
 * has another number of tokens, or ends within one. */
nut_status llama2c_vocabulary(const void *file, size_t n, uint32_t n_vocab, gguf_meta *meta, nut_error *err);

#endif
