/*
 * Prompt lookup: a draft is what followed the last tokens where they stood before, in the prompt or the
 * answer (Yang et al. 2023, "Inference with Reference", arXiv 2304.04487, section 3). It costs next to
 * nothing, and holds where a text repeats itself: edits, quotes, code.
 */
#ifndef NUT_RUN_LOOKUP_H
#define NUT_RUN_LOOKUP_H

#include "run/draft.h"

enum { LOOKUP_MIN_MATCH = 2, LOOKUP_MOST_MATCH = 24 };

/* A draft of at most max tokens to follow tokens (n), to out. Returns its length, 0 where nothing is found,
 * or is worth its cost. */
size_t lookup_make(draft *d, const int32_t *tokens, size_t n, int32_t *out, size_t max);

#endif
