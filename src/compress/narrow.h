/*
 * What steps share that make layers narrower: parts of them go (parts.h), those that the matrix behind them
 * misses least, and the matrix is fitted to those that are left (channels.h).
 */
#ifndef NUT_COMPRESS_NARROW_H
#define NUT_COMPRESS_NARROW_H

#include "compress/changing.h"

/* What goes, as bits. Heads that share keys and values go together; where all do, each goes alone. */
enum { NARROW_CHANNELS = 1, NARROW_HEADS = 2 };

typedef struct narrow_options {
    unsigned what; // of both the share is of all their weights, by layer
    double share;  // of the parts that goes
    bool by_layer; // each layer loses as many as cost little there (shares.h); else all lose the same share
    bool alone;    // what layers before have lost is not made up for
    bool fisher;   // errors count by how much the loss feels them (train/fisher.h), not all alike
    bool order;    // channels that stay are put in order (activity.h); none has to go then, and the model
                   // computes the same
    uint32_t window; // of the text
} narrow_options;

/* E_ARGUMENT where the share is not positive and no order is asked for, or both kinds are to lose the same
 * one. */
nut_status narrow_check(const narrow_options *o, nut_error *err);
/* Begins the job. */
nut_status narrow_begin(recipe *r, const narrow_options *o, nut_job **out, nut_error *err);

#endif
