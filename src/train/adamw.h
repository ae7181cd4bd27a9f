/*
 * AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2) with the gradient's norm clipped
 * (Pascanu et al. 2013, arXiv 1211.5063, section 3.2) and a rate that rises linearly and then falls by a
 * schedule. Operations and their order are PyTorch's.
 */
#ifndef NUT_TRAIN_ADAMW_H
#define NUT_TRAIN_ADAMW_H

#include "train/learn.h"

/* How rates fall behind the warm-up: a row of adamw.c. */
typedef struct schedule {
    const char *name;
    /* The rate as a part of the highest, where `along`, 0 to 1, of the steps is done; final: the last one.
     */
    double (*part)(double along, double final);
    double decays; // until there numbers decay
} schedule;

/* E_ARGUMENT, with all names, where there is none of this one. */
nut_status schedule_find(const char *name, const schedule **out, nut_error *err);

typedef struct adamw_options {
    const schedule *schedule;
    double rate, final; // the highest rate, and the last one as a part of it
    double beta1, beta2, epsilon;
    double decay; // of matrices
    double clip;  // most of the gradient's norm; 0: any
    uint32_t warmup, steps;
} adamw_options;

/* The rate of step `step`, from 0. */
double adamw_rate(const adamw_options *o, uint32_t step);

/* Makes step `step`, from 0, along the gradients of l times scale, which are zero afterwards; first and
 * second (l->n) are the moments, zero before the first step. Returns the norm of the gradient before it was
 * clipped; where that is not finite, nothing has changed. */
double adamw_step(const adamw_options *o, uint32_t step, learn *l, float *first, float *second,
                  double scale);

#endif
