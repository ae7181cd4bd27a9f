/*
 * What of a model meets the residual: matrices that read it, behind a norm or as embeddings, what gives to
 * it, and the norms between. So steps can turn it into another basis. The tables of tensors tell
 * (model/arch.h), by the letter E.
 */
#ifndef NUT_COMPRESS_RESIDUAL_H
#define NUT_COMPRESS_RESIDUAL_H

#include "model/bind.h"

/* Where a tensor meets the residual. */
typedef struct residual_meeting {
    const tensor_spec *spec; // NULL: the family has no such tensor, or it is a stack
    void *to;                // bind_find's
    int which;               // a layer, or BIND_MODEL
    bool reads;              // the residual is in its columns
    bool gives;              // in its rows, or it is a vector that is added
    bool is_norm;            // it is the gain of one
} residual_meeting;

residual_meeting residual_meet(const nut_model *m, gguf_str tensor);
/* The gain (n_embd) of the norm before a matrix that reads the residual; NULL: it has none, as embeddings.
 * The layer must be bound. */
const float *residual_gain(const nut_model *m, const residual_meeting *t);
/* Whether it is before the feed-forward that the matrix reads it. */
bool residual_feeds(const residual_meeting *t);
/* Whether layers are attention and a feed-forward, each with one RMS norm without a bias in front of it, so
 * that the residual can be turned. */
bool residual_is_plain(const nut_model *m);
/* Whether the model has an output matrix apart from the token embeddings. */
bool residual_has_output(const nut_model *m);

#endif
