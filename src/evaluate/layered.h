/*
 * What a written model has lost, found layer by layer: a text goes through the source and then through what
 * the job has written, both in floats, and their logits are compared. In memory are one layer, or both
 * models' embeddings and outputs, and the residuals of the text. So it says what the weights lost; int8
 * activations, with which a model runs, add to it (nut_evaluate_begin measures both).
 */
#ifndef NUT_EVALUATE_LAYERED_H
#define NUT_EVALUATE_LAYERED_H

#include "base/job.h"
#include "nutshell_compress.h"

typedef struct layered_options {
    uint32_t window;    // tokens that are run together from an empty cache; 0: 512, or the model's context
    uint32_t n_windows; // at most; 0: all of the text
    uint32_t n_threads; // 0: 1
} layered_options;

typedef struct layered_result {
    nut_estimate kl, nll, source_nll;
    nut_fraction same_top;
} layered_result;

/* Begins the job. The text must outlive it. Whoever runs it must be able to read the output back
 * (NUT_JOB_OUTPUT). Steps return E_ARGUMENT where the text is shorter than a window or the vocabularies
 * differ, and E_UNSUPPORTED where the model's layers cannot run one at a time. */
nut_status layered_begin(const layered_options *options, const char *text, size_t n_text, nut_job **out,
                         nut_error *err);
/* Once the job is done. */
layered_result layered_get(const nut_job *job);

#endif
