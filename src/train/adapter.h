/* Adapters that are learned: from files (model/adapter_file.h) and to them. */
#ifndef NUT_TRAIN_ADAPTER_H
#define NUT_TRAIN_ADAPTER_H

#include "base/job.h"
#include "model/adapter_file.h"
#include "model/gguf_write.h"
#include "train/learn.h"

/* ---- reading ---- */

/* Sets the numbers of l, of which learn_begin was called, to those of the adapter. E_ARGUMENT where it was
 * made for another model. */
nut_status adapter_take(const adapter *a, learn *l, nut_error *err);

/* ---- writing ---- */

/* What is added to a matrix: B A. */
typedef struct adapter_part {
    gguf_str name;
    size_t n_rows, n_cols, rank;
    const float *a, *b; // (rank, n_cols), (n_rows, rank)
} adapter_part;

/* Begins with type, n, parts (from mem_calloc; it is the writer's) and, where there is some, more metadata.
 */
typedef struct adapter_writer {
    const format *type; // of floats
    size_t n;
    adapter_part *parts; // (n)
    gguf_meta meta;
    gguf source;          // of no metadata
    gguf_tensor *tensors; // (2 n)
    char (*names)[80];    // (2 n)
    gguf_writer out;
    uint64_t written; // bytes
    size_t tensor;    // that is written
    size_t at;        // numbers of it that were written
    uint64_t pad;     // zeros that are still to follow
    uint8_t bytes[4096];
} adapter_writer;

/* For a model of m's family; alpha as in adapter.lora.alpha. Free with adapter_write_free whatever happens.
 */
nut_status adapter_write_begin(adapter_writer *w, const nut_model *m, double alpha, nut_error *err);
/* What a learner of adapters has learned, which must outlive the writer; the same, from nothing. */
nut_status adapter_write_learned(adapter_writer *w, const learn *l, const char *recipe, nut_error *err);
/* A step of the job that writes: tells an event, or returns true: all is written. */
bool adapter_write_step(adapter_writer *w, nut_job *job);
void adapter_write_free(adapter_writer *w);

#endif
