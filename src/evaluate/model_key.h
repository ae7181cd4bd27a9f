/*
 * What kept work belongs to: a number of a model and of what else the work depends on. Weights of another
 * model differ everywhere, so the beginning of each tensor tells models apart.
 */
#ifndef NUT_EVALUATE_MODEL_KEY_H
#define NUT_EVALUATE_MODEL_KEY_H

#include "evaluate/model_source.h"

typedef struct model_key {
    uint64_t key;
    model_source source; // its headers are read once `m` is there
    uint64_t tensor;     // whose first bytes are read next
} model_key;

void model_key_mix(model_key *k, const void *bytes, size_t n);
/* Mixes in the tensors' names, shapes and first bytes, step after step until *ready. The headers were read.
 */
nut_status model_key_tensors(model_key *k, nut_job *job, bool *ready, nut_error *err);

#endif
