/*
 * nutshell_train.h: training, beside nutshell.h, whose rules and jobs it shares. No browser module that runs
 * models has it.
 */
#ifndef NUTSHELL_TRAIN_H
#define NUTSHELL_TRAIN_H

#include "nutshell.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NUT_TRAIN_PATH = 1024 };

/* The files that a recipe of training names, for its caller to open; "": it names none. */
typedef struct nut_train_files {
    char model[NUT_TRAIN_PATH], output[NUT_TRAIN_PATH];       // these it must name,
    char text[NUT_TRAIN_PATH], conversations[NUT_TRAIN_PATH]; // and one of these
    char teacher[NUT_TRAIN_PATH], logits[NUT_TRAIN_PATH];     // the latter in the place of the former
    char adapter[NUT_TRAIN_PATH];                             // that learning goes on from
    char log[NUT_TRAIN_PATH];
} nut_train_files;

/* Reads a recipe, JSON (docs/training.md), and checks all of it. E_ARGUMENT and E_CORRUPT say the line. */
nut_status nut_train_read(const char *recipe, size_t n_recipe, nut_train_files *out, nut_error *err);

typedef struct nut_train_options {
    const char *recipe; // (n_recipe) JSON; copied
    size_t n_recipe;
    const char *text; // (n_text) UTF-8 to learn from; the caller's until the job is freed
    size_t n_text;
    const int32_t *ids;     // (n_ids) tokens in the place of the text, the caller's likewise; NULL: the text
    const uint8_t *learned; // (n_ids) 0: the token is read, and not learned; NULL: all are learned
    size_t n_ids;
    const nut_model *teacher; // loaded with `reference`, the caller's until the job is freed; NULL: none
    const void *logits;       // (n_logits) its logits for this text, a file of nut_evaluate_begin with
    size_t n_logits;          // whole_windows, the caller's likewise; NULL: none
    const void *adapter; // (n_adapter) a file of the adapter that learning goes on from, likewise; NULL:
    size_t n_adapter;    // none
    uint32_t n_threads;  // 0: 1
    bool keeps_state; // the caller keeps NUT_JOB_STATE beside the output, and drops it when the job is done
} nut_train_options;

/* A job that trains the model that it reads, in floats, and writes it with what it has learned as F32 or
 * F16; other tensors are copied. It keeps a checkpoint as its state: one that was interrupted goes on with
 * it, and comes to the same bits. Memory: the model in floats, and 20 bytes for each number that is learned.
 * A loss that is no number ends it with E_STATE, and a message that says where; the checkpoint stays good.
 * E_UNSUPPORTED where the family has no gradients here, or the teacher lacks tokens of the model's. */
nut_status nut_train_begin(const nut_train_options *options, nut_job **out, nut_error *err);

/* A step, as it was made. Losses are nats for each token that is learned. */
typedef struct nut_train_step {
    float loss;          // that is learned from: of both parts, by their weights
    float cross_entropy; // with the next tokens
    float divergence;    // from the teacher; 0 without
    float hint;          // the hint's loss, by its weight; 0 without
    float rate, norm;    // of the learning, and of the gradient before it was clipped
    float held_out;      // cross entropy of the part of the text that is held out, before the step; < 0: it
                         // was not measured here
} nut_train_step;

/* All steps so far, (*n), from the first on; they live until the job's next step. */
const nut_train_step *nut_train_steps(const nut_job *job, uint32_t *n);
/* Cross entropy of the part that is held out, of the model that was written; < 0: none is, or the job is not
 * done. */
float nut_train_result(const nut_job *job);

/* ---- adapters ---- */

typedef struct nut_merge_options {
    const void *adapter; // (n_adapter) a file of a LoRA adapter as llama.cpp has it; the caller's until the
    size_t n_adapter;    // job is freed
    float scale;         // of what it adds, beside its own: 1 for as it was trained
    const char *type;    // of matrices that change: "f32" or "f16"; NULL: F32 where they are F32, else F16
} nut_merge_options;

/* A job that reads a model and writes it with an adapter added to its weights; other tensors are copied.
 * Memory: the model in floats, and the matrices that change once more. E_ARGUMENT where the adapter was made
 * for another model. */
nut_status nut_merge_begin(const nut_merge_options *options, nut_job **out, nut_error *err);

#ifdef __cplusplus
}
#endif

#endif
