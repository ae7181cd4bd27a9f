/*
 * Calibration: a text goes through a model layer by layer, in floats, and the statistics of the inputs of
 * each layer's linears are gathered on the way. In memory are one layer's weights and statistics, and the
 * residual of all tokens.
 *
 * Whoever uses the statistics drives the job (or a job of its own that forwards to it, job_forward in
 * base/job.h), and looks between its steps:
 *
 *     TRY(calibrate_begin(&options, text, n_text, &job, err));
 *     ... step it and answer its events; after each step:
 *         int which = calibrate_complete(job);
 *         if (which != CALIBRATE_NONE) s = calibrate_find(job, name_of_a_matrix_of_that_layer);
 *
 * In the step after that the layer, its weights and its statistics are gone.
 */
#ifndef NUT_EVALUATE_CALIBRATE_H
#define NUT_EVALUATE_CALIBRATE_H

#include "base/job.h"
#include "evaluate/statistics.h"
#include "model/model.h"

typedef struct calibrate_options {
    unsigned kinds;     // of statistics, see statistics.h
    uint32_t window;    // tokens that are run together from an empty cache; 0: 512, or the model's context
    uint32_t n_threads; // 0: 1
    bool special;       // special tokens are recognized in the text
    bool sequential;    // layers are run a second time after they were complete, so that later ones see the
                        // outputs of weights that were changed meanwhile
    const char *fitted; // the name behind "blk.N." of a matrix that is to make up for what was lost before
                        // it (drift.h), where the job is sequential; NULL: none
    float *residual;    // (n_residual) calibrate_residual of a job like this one when it had completed the
    size_t n_residual;  // layers before `first`, the one that is to be next. It is the job's now, from
    uint32_t first;     // mem_alloc; NULL: it begins at the beginning. Not where it is sequential
} calibrate_options;

/* The text must outlive the job. E_ARGUMENT, once the model is known, where it is shorter than a window. */
nut_status calibrate_begin(const calibrate_options *options, const char *text, size_t n_text, nut_job **out,
                           nut_error *err);

enum { CALIBRATE_NONE = -3, CALIBRATE_OUTPUT = -2 };

/* What the last step has completed the statistics of: a layer's number, the output's linear
 * (CALIBRATE_OUTPUT, last of all; its matrix is token_embd.weight where the model ties them), or nothing. */
int calibrate_complete(const nut_job *job);
/* A method_find_statistics (compress/method.h), ctx is the job: of a matrix of the complete layer, or the
 * first of a stack; NULL: it is not of that layer, or was not used. */
const statistics *calibrate_find(const void *job, gguf_str tensor);
/* Of number `which` of a stack, such as an expert. */
const statistics *calibrate_find_in_stack(const nut_job *job, gguf_str tensor, uint32_t which);

/* Inputs of that matrix, which statistics that are pooled do not tell. */
uint64_t calibrate_used(const nut_job *job, gguf_str tensor, uint32_t which);

/* The model, once its headers are read (else NULL); its layer that is complete is bound, as floats, and may
 * be changed where the job is sequential. It is the job's. */
nut_model *calibrate_model(const nut_job *job);
/* What all tokens have become behind the layer that is complete, (*n) floats, once its last window was run.
 */
const float *calibrate_residual(const nut_job *job, size_t *n);
/* Whether the last step has embedded the last tokens: calibrate_residual is what the first layer reads. */
bool calibrate_embedded(const nut_job *job);
/* Of options.fitted in the complete layer: the mean of e x^T (n_rows, n_cols), as sums over *n tokens; NULL
 * where the layer has no such matrix, or its result is not what the residual gains (drift.h). */
const double *calibrate_drift(const nut_job *job, size_t *n);
/* Tokens of the text and of a window, once its first layer is complete. */
uint64_t calibrate_n_tokens(const nut_job *job);
uint32_t calibrate_window(const nut_job *job);

#endif
