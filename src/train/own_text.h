/*
 * Windows that the student writes itself: the beginning of a window of the text, which it goes on from by
 * sampling from its own distribution. Learning from a teacher on them, the student sees its own mistakes:
 * on-policy distillation (Agarwal et al. 2024, GKD, arXiv 2306.13649, algorithm 1). A teacher may have a
 * share in the distribution, so that the text is not all mistakes (Gu et al. 2024, MiniLLM, arXiv
 * 2306.08543, section 2.2).
 */
#ifndef NUT_TRAIN_OWN_TEXT_H
#define NUT_TRAIN_OWN_TEXT_H

#include "nutshell.h"

typedef struct own_text own_text;

/* The models, all of whose layers are bound, must outlive it. Weights may change between windows. The
 * teacher, of the same vocabulary, has that share of the distribution, 0 to 1; it may be NULL where that is
 * 0. */
nut_status own_text_new(const nut_model *m, const nut_model *teacher, double share, size_t window,
                        uint32_t n_threads, own_text **out, nut_error *err);
void own_text_free(own_text *o); // NULL is allowed

/* Replaces tokens of a window, ids (window), behind its first n_prompt (>= 1) by sampled ones, and labels
 * (window) by the tokens behind each; -1 within the prompt, and behind a token that ends a text, where the
 * window does not go on. The seed and the weights say what is sampled. */
nut_status own_text_write(own_text *o, uint64_t seed, size_t n_prompt, int32_t *ids, int32_t *labels,
                          nut_error *err);

#endif
