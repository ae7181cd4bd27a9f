/*
 * Adapters of low rank as llama.cpp's GGUF files hold them: general.type "adapter", adapter.type "lora",
 * adapter.lora.alpha, and for each matrix NAME the tensors NAME.lora_a (n_cols, rank) and NAME.lora_b (rank,
 * n_rows), row lengths first. What is added to a matrix is alpha / rank B A, alpha 0 standing for the rank.
 */
#ifndef NUT_MODEL_ADAPTER_FILE_H
#define NUT_MODEL_ADAPTER_FILE_H

#include "model/gguf.h"

typedef struct adapter {
    gguf g;
    const uint8_t *bytes; // (n) of the file, the caller's
    size_t n;
    double alpha;
} adapter;

/* Reads a whole file, which must outlive it. E_ARGUMENT where it is no adapter of this kind, else as
 * gguf_feed. Free with adapter_free whatever happens. */
nut_status adapter_read(adapter *a, const uint8_t *bytes, size_t n, nut_error *err);
void adapter_free(adapter *a);
/* The rank of what is added to a tensor of that name; 0: nothing. ctx: an adapter. */
uint32_t adapter_rank(const void *ctx, gguf_str name);
/* The tensor of a matrix' name with the first end (A) or the second (B); NULL: there is none. */
const gguf_tensor *adapter_find(const adapter *a, gguf_str name, int which);

/* Row `row` of that tensor, out (n_cols); it must be (n_rows, n_cols). E_ARGUMENT where it is missing or is
 * another, E_CORRUPT where a number is not finite. */
nut_status adapter_row(const adapter *a, gguf_str name, int which, uint64_t n_rows, uint64_t n_cols,
                       uint64_t row, float *out, nut_error *err);

extern const char *const adapter_ends[2];
enum { ADAPTER_END = 7 }; // bytes of an end

#endif
