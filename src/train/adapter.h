/*
 * Adapters as llama.cpp's GGUF files hold them: general.type "adapter", adapter.type "lora",
 * adapter.lora.alpha, and for each matrix NAME the tensors NAME.lora_a (n_cols, rank) and NAME.lora_b (rank,
 * n_rows), row lengths first.
 */
#ifndef NUT_TRAIN_ADAPTER_H
#define NUT_TRAIN_ADAPTER_H

#include "base/job.h"
#include "model/gguf_write.h"
#include "train/learn.h"

/* ---- reading ---- */

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
/* Sets the numbers of l, of which learn_begin was called, to those of the adapter. E_ARGUMENT where it was
 * made for another model. */
nut_status adapter_take(const adapter *a, learn *l, nut_error *err);

/* ---- writing ---- */

typedef struct adapter_writer {
    const learn *l;
    gguf source; // of no metadata
    gguf_meta meta;
    gguf_tensor *tensors; // (2 l->n_tensors)
    char (*names)[80];    // (2 l->n_tensors)
    gguf_writer out;
    uint64_t written; // bytes
    size_t tensor;    // that is written
    uint64_t pad;     // zeros that are still to follow
    uint8_t bytes[4096];
} adapter_writer;

/* What a learner of adapters has learned. It must outlive the writer. Free with adapter_write_free whatever
 * happens. */
nut_status adapter_write_begin(adapter_writer *w, const learn *l, const char *recipe, nut_error *err);
/* A step of the job that writes: tells an event, or *over. */
nut_status adapter_write_step(adapter_writer *w, nut_job *job, bool *over, nut_error *err);
void adapter_write_free(adapter_writer *w);

#endif
