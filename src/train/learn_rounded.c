/*
 * Weights that are rounded while they learn (straight-through: Bengio et al. 2013, arXiv 1308.3432, section
 * 2.3; for language models LLM-QAT, arXiv 2305.17888): numbers are weights as floats, the model computes
 * with what a block of the type makes of them, and the gradient of that is taken for theirs. Scales are
 * chosen again after each step.
 */
#include "train/learn.h"

#include "base/error.h"

static nut_status plan(const learn *l, learn_tensor *t, nut_error *err) {
    return rounding_find(l->options.type, t->n_cols, &t->to, err);
}

static void block(const learn *l, const learn_tensor *t, size_t row, size_t col, uint8_t *to) {
    t->to.encode(t->to.to, l->numbers + t->at + row * t->n_cols + col, 1, to);
}

const learn_kind learn_rounded = {.name = "rounded",
                                  .outside = &learn_full,
                                  .plan = plan,
                                  .n_numbers = learn_full_numbers,
                                  .begin = learn_full_begin,
                                  .gradient = learn_full_gradient,
                                  .block = block};
