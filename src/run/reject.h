/*
 * Rejection sampling: a token that was drawn from another distribution is kept so often, and replaced so,
 * that what comes out is distributed as if it were sampled alone (Leviathan et al. 2023, arXiv 2211.17192,
 * section 2.3 and appendix A.1). Both distributions are those behind all steps of the sampler.
 */
#ifndef NUT_RUN_REJECT_H
#define NUT_RUN_REJECT_H

#include "run/sampler.h"

/* Samples as sampler_sample, and tells how likely each token was: shares (n_vocab), which add up to 1. */
nut_status reject_draw(sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                       float *shares, int32_t *id, nut_error *err);

/* Samples as sampler_sample, where `drafted` was drawn by `shares` (n_vocab) before, by other random
 * numbers: *id is `drafted` as often as can be. */
nut_status reject_sample(sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                         const float *shares, int32_t drafted, int32_t *id, nut_error *err);

#endif
