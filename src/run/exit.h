/*
 * Early exit: a token leaves the layers as soon as a rule finds it decided (Schuster et al. 2022, "CALM",
 * arXiv 2207.07061). Later tokens need its keys and values in all layers: those that it left out get them
 * from the state with which it left (section 3.2 there, "state propagation"), two products a layer.
 *
 * A sequence without exits has none of this: the code is reached through it alone, so that modules that
 * never set any do not hold it.
 */
#ifndef NUT_RUN_EXIT_H
#define NUT_RUN_EXIT_H

#include "run/session.h"

typedef struct early_exit early_exit;

struct early_exit {
    /* A step of one token from the embedding to the logits. */
    void (*run)(early_exit *e, forward_step *s);
    nut_exit_options options; // with defaults in place
    nut_exit_figures figures;
    int32_t id;      // of the exit before
    uint32_t n_same; // exits in a row that found it likeliest
    uint32_t begin;  // position of the first token behind the prompt
    uint32_t next;   // position behind the token before
    float threshold; // of the token
    float *before;   // (n_embd) the state before the last layer that ran
};

#endif
