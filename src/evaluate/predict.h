/*
 * From the layers of a model that were timed to all of them: part of nut_predict_finish
 * (nutshell_dynamic.h), here for its test.
 */
#ifndef EVALUATE_PREDICT_H
#define EVALUATE_PREDICT_H

#include <stdint.h>

typedef struct predict_layer {
    uint64_t bytes;     // weights in memory
    double seconds;     // a step takes; 0: it was not timed
    uint8_t mixer, ffn; // block ids of model/arch.h
} predict_layer;

/* Seconds that a step takes in all n layers. One that was not timed takes as long for each byte as those of
 * its kind, or, where none of them was timed, as all. Even a layer that was timed counts by its kind's rate:
 * its own time may have been disturbed. */
double predict_layers(const predict_layer *layers, uint32_t n);

#endif
