/* The file that training writes: the model's metadata, what was learned as F32 or F16, and all other tensors
 * as they are in the source. */
#ifndef NUT_TRAIN_OUTPUT_H
#define NUT_TRAIN_OUTPUT_H

#include "base/job.h"
#include "model/gguf_write.h"
#include "train/learn.h"

/* Metadata: the recipe, as it was given. */
#define TRAIN_RECIPE "nutshell.train.recipe"

typedef struct output {
    const learn *l;
    const format *type; // of learned matrices; NULL: as in the source, or F16
    gguf_meta meta;
    gguf_tensor *tensors; // (header.n_tensors) as they will be written
    gguf_writer writer;
    uint64_t written;    // bytes, in order
    uint64_t tensor, at; // that is worked on, and what of it was written: rows of a learned one, or bytes
    uint64_t pad;        // zeros that are still to follow
    size_t wanted;       // bytes of a copied tensor that have come
    uint8_t *bytes;      // (room)
    size_t room;
    float *row; // (the longest row)
} output;

/* type: "f32" or "f16"; "": F32 where the source has it, else F16. recipe: for the metadata, or NULL. The
 * learner must outlive it. Free with output_free whatever happens. */
nut_status output_begin(output *o, const learn *l, const char *type, const char *recipe, nut_error *err);
/* A step of the job that writes: tells an event, or *over. */
nut_status output_step(output *o, nut_job *job, bool *over, nut_error *err);
void output_free(output *o);

#endif
