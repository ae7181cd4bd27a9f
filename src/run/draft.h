/*
 * Drafts: tokens that may come next, guessed without the model. A step that reads several tokens costs less
 * than as many steps of one, so a draft that holds is a gain; one that does not costs time, never the text:
 * each token of it is kept only if the model, asked as without a draft, would have sampled the same.
 *
 * The guess is prompt lookup: what followed the last tokens where they stood before, in the prompt or the
 * answer (Yang et al. 2023, "Inference with Reference", arXiv 2304.04487, section 3). How many tokens are
 * drafted is chosen by what drafts were worth so far, and by what steps of several tokens cost on this
 * machine (Leviathan et al. 2023, arXiv 2211.17192, section 3.5: the expected gain).
 */
#ifndef NUT_RUN_DRAFT_H
#define NUT_RUN_DRAFT_H

#include <stddef.h>
#include <stdint.h>

enum {
    DRAFT_MAX = 15,    // tokens of a draft
    DRAFT_CLASSES = 4, // of matches, by their length
    DRAFT_MIN_MATCH = 2,
};

typedef struct draft {
    float accepted[DRAFT_CLASSES]; // share of the tokens tried that were right, of matches of this length
    double one;                    // seconds of a step of one token; 0: not known yet
    double more;                   // what each further token of a step costs, as a part of `one`
    size_t n_class;                // of the last draft
    uint64_t n_drafted, n_accepted;
} draft;

/* Forgets the counts of tokens, and takes moderate gains for granted where nothing was measured yet. */
void draft_reset(draft *d);

/* A draft of at most max tokens to follow tokens (n), to out. Returns its length, 0 where no draft is worth
 * its cost. */
size_t draft_make(draft *d, const int32_t *tokens, size_t n, int32_t *out, size_t max);

/* Tells what became of a draft: of n_tried tokens that the model was asked for, n_right were right; those
 * after the first wrong one were not tried. */
void draft_judge(draft *d, size_t n_tried, size_t n_right);

/* Tells how long a step of n tokens took. */
void draft_time(draft *d, size_t n, double seconds);

#endif
