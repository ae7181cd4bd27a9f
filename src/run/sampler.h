/*
 * Sampling: which token comes next, given the logits of all. sampler.c checks the options, holds the
 * candidates and runs the steps in their order; sampler_steps.c has the steps.
 *
 * One seed gives one text in every build: probabilities are computed with the engine's own exponential, and
 * ties are broken by id.
 */
#ifndef NUT_RUN_SAMPLER_H
#define NUT_RUN_SAMPLER_H

#include "base/rng.h"
#include "nutshell.h"

typedef struct sampler_candidate {
    int32_t id;
    float logit;
    float p; // not normalized
} sampler_candidate;

typedef struct sampler {
    nut_generate_options options; // stop is not used here
    rng random;
    uint32_t n_vocab;
    sampler_candidate *candidates; // (n_vocab)
    uint32_t *counts;              // (n_vocab) zeros between two steps
} sampler;

/* Copies the options and seeds the random numbers. E_ARGUMENT names an option that is out of its range. */
nut_status sampler_reset(sampler *s, const nut_generate_options *options, nut_error *err);

/* E_CORRUPT, and words that say what the model has computed, where one of n logits is NaN or the best is
 * infinite: such a model predicts nothing. */
nut_status sampler_check_logits(const float *logits, size_t n, nut_error *err);

/* Samples one token from logits (n_vocab); recent (n_recent) are the last tokens of the text, for penalties.
 * E_CORRUPT as above: *id is unchanged then. */
nut_status sampler_sample(sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                          int32_t *id, nut_error *err);

/* ---- candidates ---- */

/* The tokens that can still be sampled. They begin as all of the vocabulary, which is not written to `c`
 * until a step needs that: choosing the k best of all logits is much faster without it. */
typedef struct sampler_pool {
    const float *logits;   // (n_vocab) as the model computed them
    const int32_t *recent; // (n_recent)
    size_t n_recent;
    sampler_candidate *c; // (n)
    size_t n;
    bool listed; // c holds the candidates
    bool sorted; // c has the best first
} sampler_pool;

/* All steps but the last: leaves the candidates of which one is to be sampled. Contract of sampler_sample.
 */
nut_status sampler_spread(sampler *s, const float *logits, const int32_t *recent, size_t n_recent,
                          sampler_pool *p, nut_error *err);

/* Sees to it that c holds the candidates; of all tokens, in the order of their ids. */
void pool_list(sampler_pool *p);
/* Leaves the k (>= 1) best. */
void pool_keep_best(sampler_pool *p, size_t k);
/* Puts the best first. */
void pool_sort(sampler_pool *p);
float pool_best_logit(sampler_pool *p);
/* Sets p of all candidates to the exponential of their logit, 1 for the best; returns the sum. */
double pool_weigh(sampler_pool *p);
/* Leaves the fewest of the best whose p reach `mass` together, best first. */
void pool_keep_mass(sampler_pool *p, double mass);

/* ---- steps ---- */

/* A step changes logits or leaves candidates out. Steps that change the logits of certain tokens come first:
 * there c[i] of a listed pool is token i. */
typedef struct sampler_step {
    const char *name;
    bool (*is_off)(const nut_generate_options *o); // the step changes nothing with these options
    void (*run)(sampler *s, sampler_pool *p);
} sampler_step;

/* In the order in which they run, which is llama.cpp's by default. The last leaves one candidate. */
#define SAMPLER_STEPS(X)                                                                                    \
    X(penalties)                                                                                            \
    X(greedy)                                                                                               \
    X(top_k)                                                                                                \
    X(typical_p)                                                                                            \
    X(top_p)                                                                                                \
    X(min_p)                                                                                                \
    X(temperature)                                                                                          \
    X(sample)

#define NUT_X(name) extern const sampler_step sampler_step_##name;
SAMPLER_STEPS(NUT_X)
#undef NUT_X

#endif
