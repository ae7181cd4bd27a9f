/*
 * The recipe that needs no choice but a size: gradients, calibration, then coded GPTQ with the one lambda
 * that gives the size. A job of jobs: train/fisher.h, evaluate/calibrate.h and compress.c do their parts,
 * here they are put in order, and lambda is looked for by coding the model without writing it.
 */
#ifndef NUT_COMPRESS_AUTO_H
#define NUT_COMPRESS_AUTO_H

#include "base/job.h"

/* nut_compress_begin's for options with a size; the options are checked, and copied but for the text. */
nut_status auto_begin(const nut_compress_options *options, nut_job **out, nut_error *err);

#endif
